"""Scenarios that fail today because of a known fault, with the reason. One that passes must be removed from here.

The keys are a program's id and a scenario's name.
"""

AWAITED = {
    ("gemini", "knows its name after compaction"): "Gemini CLI has no hook that tells whether it has compacted",
    ("copilot", "knows its name after compaction"): "Copilot CLI has a hook before a compaction, which takes no context, and none after it",
    ("copilot", "allows tools and harmless commands only"): "Copilot CLI stores permissions for each directory, and none for all directories",
    ("kimi", "goes on after a cut stream"): "Kimi Code takes the part of an answer before the cut as the answer",
    ("kimi", "fails with a refused request"): "Kimi Code's stream has no errors",
    ("kimi", "knows its name after compaction"): "Kimi Code has a hook after a compaction, which takes no context",
}
