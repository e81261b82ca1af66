"""Runs the real agent programs against stand-ins for their models. `tests/run --only agents` starts this.

    python tests/agents --agenthub PATH --install FOLDER [--only PROGRAM] [--scenario TEXT] [--long] [--record]

Prints a table of program, scenario, result and time. The last line is "N passed, N failed".
"""

import argparse
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import programs
from awaited import AWAITED
from lab import Lab
from processes import Failed
from scenarios import all_scenarios

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def main():
    options = parse()
    begun = time.monotonic()
    jobs = [
        (program, scenario)
        for scenario in all_scenarios()
        for program in programs.ALL
        if (not scenario.tools or program.tool in scenario.tools)
        and (options.long or not scenario.is_long)
        and (not options.only or program.id in options.only)
        and (not options.scenario or any(text in scenario.name for text in options.scenario))
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda job: play(*job, options), jobs))
    failed = sum(result.is_failure for result in results)
    for result in sorted(results, key=lambda result: result.is_failure):
        if result.reason:
            print(f"\n{result.program}: {result.scenario}: {result.outcome}\n{result.reason}")
    print_table(results)
    if options.results:
        RESULTS.write_text(results_page(results, options.install))
    awaited = sum(result.outcome == "awaited" for result in results)
    print(f"\n{time.monotonic() - begun:.0f} s, {awaited} awaited")
    print(f"{len(results) - failed - awaited} passed, {failed} failed")
    return 1 if failed else 0


def parse():
    parser = argparse.ArgumentParser(prog="tests/agents")
    parser.add_argument("--agenthub", required=True, help="the program to test")
    parser.add_argument("--install", required=True, help="the folder with node_modules")
    parser.add_argument("--only", action="append", choices=[program.id for program in programs.ALL])
    parser.add_argument("--scenario", action="append", help="only scenarios whose name contains this")
    parser.add_argument("--long", action="store_true", help="also the scenarios that take minutes")
    parser.add_argument("--jobs", type=int, default=3, help="scenarios at the same time")
    parser.add_argument("--record", action="store_true", help="record the formats and the data of the quick tests anew")
    parser.add_argument("--results", action="store_true", help="write the results to RESULTS.md")
    parser.add_argument("--compare", action="store_true", help="differences from the recorded formats are no failure")
    return parser.parse_args()


class Result:
    def __init__(self, program, scenario, outcome, seconds, reason="", notes=()):
        self.program, self.scenario, self.outcome = program, scenario, outcome
        self.seconds, self.reason, self.notes = seconds, reason, notes
        self.is_failure = outcome in ("FAILED", "PASSED, BUT AWAITED")


_printing = threading.Lock()


def play(program, scenario, options):
    """Plays one scenario with one program in a new lab."""
    awaited = AWAITED.get((program.id, scenario.name))
    begun = time.monotonic()
    notes, reason = [], ""
    try:
        lab = Lab(program(options.install), options.agenthub, options.install)
        lab.notes, lab.options = notes, options
        try:
            scenario.play(lab)
            notes += [f"the model was asked for {path}" for path in sorted(set(lab.model.others))]
        finally:
            lab.close()
        outcome = "PASSED, BUT AWAITED" if awaited else "passed"
    except Exception as error:  # noqa: BLE001 - each scenario reports its own failure
        outcome = "awaited" if awaited else "FAILED"
        reason = awaited or (str(error) if isinstance(error, Failed) else traceback.format_exc())
        if awaited:
            notes.append(str(error)[:300])
    result = Result(program.id, scenario.name, outcome, time.monotonic() - begun, reason, notes)
    with _printing:
        print(f"{outcome:8} {program.id:14} {scenario.name} ({result.seconds:.1f} s)", *notes, sep="\n         " if notes else "", flush=True)
    return result


def print_table(results):
    """Prints scenarios as rows and programs as columns."""
    cells = {(result.scenario, result.program): f"{result.outcome} {result.seconds:.0f} s" for result in results}
    columns = [program.id for program in programs.ALL if any(result.program == program.id for result in results)]
    print(f"\n{'scenario':42}", *(f"{column:>16}" for column in columns))
    for name in dict.fromkeys(result.scenario for result in results):
        print(f"{name:42}", *(f"{cells.get((name, column), '-'):>16}" for column in columns))


def results_page(results, install):
    """Returns the table as a Markdown page."""
    found = {(result.scenario, result.program): result for result in results}
    columns = [program(install) for program in programs.ALL]
    lines = [
        "# What the agents' programs were seen to do",
        "",
        "`tests/agents/run --results` writes this page: each scenario in `scenarios/`, played with the real program",
        "against a stand-in for its model. Awaited: the scenario shows a known fault.",
        "",
        "| scenario | " + " | ".join(column.title() for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in dict.fromkeys(result.scenario for result in results):
        cells = [found.get((name, column.id)) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cell.outcome if cell else "–" for cell in cells) + " |")
    faults = [f"* {result.program}: {result.scenario}: {result.reason}" for result in results if result.outcome == "awaited"]
    return "\n".join([*lines, *(["", *faults] if faults else [])]) + "\n"


sys.exit(main())
