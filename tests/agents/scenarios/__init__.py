"""The scenarios. Each function with `@scenario` is run once for each program it applies to, with a new lab.

A function's name is its name in the table, with spaces.
"""

import importlib
from dataclasses import dataclass
from typing import Callable

MODULES = ("setup", "recording", "tools", "sessions", "pairs", "waking", "permissions", "formats", "times", "long_runs")

_found = []


@dataclass(frozen=True)
class Scenario:
    name: str
    play: Callable
    tools: tuple  # those it applies to; empty: all
    is_long: bool  # only in the long form


def scenario(*tools, is_long=False):
    """Registers a scenario for these tools (agenthub's ids), by default for all."""

    def register(play):
        _found.append(Scenario(play.__name__.replace("_", " "), play, tools, is_long))
        return play

    return register


def all_scenarios():
    for module in MODULES:
        importlib.import_module(f"scenarios.{module}")
    return list(_found)
