"""Scenarios that fail today because of a known fault, with the reason. One that passes must be removed from here.

The keys are a program's id and a scenario's name.
"""

AWAITED = {
    ("gemini", "knows its name after compaction"): "Gemini CLI has no hook that tells whether it has compacted",
}
