"""The agent programs: how each is started in an empty home with a dummy key, and what it says about itself.

`headless` and `interactive` return command lines; `prepare` writes what a person has answered at the first start.
"""

import hashlib
import json
import os
from pathlib import Path

from servers.anthropic import Anthropic
from servers.chat import OpenCodeChat
from servers.copilot import CopilotChat
from servers.gemini import Gemini
from servers.kimi import Kimi
from servers.openai import OpenAi
from servers.qwen import Qwen

KEY = "dummy-key-of-the-lab-0123456789"


class Program:
    """One program. `id` names it in the table, `tool` is agenthub's id, `hooks` the word after `agenthub hook`."""

    id = tool = binary = hooks = name = package = ""
    server = None
    listing = ()  # the command that lists the MCP servers, if the program has one
    dialog = None  # what asks for trust in hooks, the key that agrees, what is shown then
    fault_at_start = None  # shown if the program ends at its start for a reason that is not agenthub's
    clear, compact, leave = "/clear", "/compact", "/exit"
    ready = ()  # texts of the empty prompt
    busy = "esc to interrupt"  # shown during a turn
    turn_ended = ""  # shown after a turn, if `busy` is not shown during a short one
    compacted = ""  # shown after a compaction
    interrupted = ""  # shown after an interruption
    interrupts_again = ""  # shown for a short time after the escape key, if a second one interrupts
    connected = ("onnected", "enabled")  # one of them is in the list of servers
    has_tokens_of_turns = True  # its stream has them
    erase = ""  # the key that removes the interrupted prompt, if the program puts it back into its input
    has_launcher = False  # the program runs in a child of the process that is started
    allows_commands = True  # `agenthub init` allows harmless commands
    tells_calls_late = False  # the stream has a tool's call when the tool has ended

    def __init__(self, install):
        self.install = Path(install) / "node_modules"

    def executable(self):
        """Returns the path that `binary` in the home's bin folder points to."""
        raise NotImplementedError

    def title(self):
        """Returns the program's name and the installed version."""
        package = json.loads((self.install / self.package / "package.json").read_text())
        return f"{self.name} {package['version']}"

    def prepare(self, home, work, url):
        pass

    def ask_first(self, home):
        """Makes the program ask before it runs a command, if it does not by itself."""

    def environment(self, url):
        return {}

    def is_idle(self):
        """Returns whether the program's own record says that no turn runs. True for a program whose screen says it."""
        return True


class Claude(Program):
    tool = binary = "claude"
    hooks = "claude-code"
    name = "Claude Code"
    server = Anthropic
    listing = ("mcp", "list")
    # Needed in the conversation: --allowedTools takes all that follows, so the prompt comes first.
    allowed = ("--allowedTools", "Bash", "mcp__agenthub")

    def executable(self):
        name = f"@anthropic-ai/claude-code-{_platform()}/claude"
        nested = self.install / self.package / "node_modules" / name
        return nested if nested.exists() else self.install / name

    def prepare(self, home, work, url):
        state = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(work): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }
        (home / ".claude.json").write_text(json.dumps(state))

    def environment(self, url):
        off = ("DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER", "DISABLE_BUG_COMMAND")
        return {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "false",
            "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
            **dict.fromkeys(off, "1"),
        }

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        more = ["--resume", resume or fork] if resume or fork else []
        more += ["--fork-session"] if fork else []
        return ["claude", "-p", prompt, *more, *(self.allowed if is_trusted else ())]

    def interactive(self, prompt=None, continues=False):
        # Auto mode, the default of new versions, asks the vendor's server about each command.
        more = ["--permission-mode", "default", *(["-c"] if continues else [])]
        return ["claude", *([prompt] if prompt else []), *more, *self.allowed]

    ready = ("? for shortcuts",)
    compacted = "Compacted (ctrl+o"
    interrupted = "Interrupted"

    @staticmethod
    def session(lines):
        return lines[0]["session_id"]

    @staticmethod
    def figures(lines):
        """Returns what the program itself reports: tokens sent, of these cached, tokens written."""
        # `usage` leaves out answers that came in another way after a cut stream.
        models = lines[-1]["modelUsage"].values()
        cached = sum(model["cacheReadInputTokens"] for model in models)
        fresh = sum(model["inputTokens"] + model["cacheCreationInputTokens"] for model in models)
        return fresh + cached, cached, sum(model["outputTokens"] for model in models)


class ClaudeBefore(Claude):
    id = "claude-before"
    package = "claude-before"


class ClaudeNow(Claude):
    id = "claude"
    package = "claude-code"


class Codex(Program):
    id = tool = binary = hooks = "codex"
    name, package = "Codex", "@openai/codex"
    server = OpenAi
    listing = ("mcp", "list")
    approval = "on-request"  # with "never", it counts as a session that asks the person nothing
    daemon = ("--no-daemon",)  # a scenario may share the daemon of all sessions
    dialog = ("Trust all and continue", "2", "› 2.")
    # It gives up if a busy machine answers too late.
    fault_at_start = "timed out discarding buffered terminal input"

    def executable(self):
        names = {"linux-x64": "x86_64-unknown-linux-musl", "linux-arm64": "aarch64-unknown-linux-musl"}
        names |= {"darwin-x64": "x86_64-apple-darwin", "darwin-arm64": "aarch64-apple-darwin"}
        platform = _platform()
        return self.install / f"@openai/codex-{platform}/vendor/{names[platform]}/bin/codex"

    def prepare(self, home, work, url):
        config = f"""
            model = "gpt-5.5"
            model_provider = "lab"
            approval_policy = "{self.approval}"
            sandbox_mode = "danger-full-access"
            check_for_update_on_startup = false
            disable_paste_burst = true

            [analytics]
            enabled = false

            [model_providers.lab]
            name = "lab"
            base_url = "{url}/v1"
            wire_api = "responses"
            env_key = "OPENAI_API_KEY"
            request_max_retries = 2
            stream_max_retries = 2

            [projects."{work}"]
            trust_level = "trusted"

            [notice.model_migrations]
            "gpt-5.5" = "gpt-6-sol"
        """
        _write(home / ".codex/config.toml", "\n".join(line.strip() for line in config.strip().splitlines()) + "\n")

    def environment(self, url):
        return {"OPENAI_API_KEY": KEY}

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        flags = ["--skip-git-repo-check", "--dangerously-bypass-hook-trust"]
        flags += [] if is_trusted else ["-c", 'sandbox_mode="read-only"']
        if resume:
            return ["codex", "exec", *flags, "resume", resume, prompt]
        if fork:
            return ["codex", "exec", *flags, "fork", fork, prompt]
        return ["codex", "exec", *flags, prompt]

    def interactive(self, prompt=None, continues=False):
        return ["codex", *self.daemon, *(["resume", "--last"] if continues else []), *([prompt] if prompt else [])]

    ready = ("? for shortcuts",)
    turn_ended = "Worked for"
    compacted = "Context compacted"
    interrupted = "Conversation interrupted"

    @staticmethod
    def session(lines):
        return lines[0]["thread_id"]

    @staticmethod
    def figures(lines):
        usage = lines[-1]["usage"]
        return usage["input_tokens"], usage["cached_input_tokens"], usage["output_tokens"]


class GeminiCli(Program):
    id = tool = binary = hooks = "gemini"
    name, package = "Gemini CLI", "@google/gemini-cli"
    server = Gemini
    listing = ("mcp", "list")
    compact, leave = "/compress", "/quit"

    def executable(self):
        return self.install / "@google/gemini-cli/bundle/gemini.js"

    def prepare(self, home, work, url):
        settings = {
            "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            "privacy": {"usageStatisticsEnabled": False},
            "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
            "telemetry": {"enabled": False},
        }
        _write(home / ".gemini/settings.json", json.dumps(settings))

    def environment(self, url):
        return {
            "GEMINI_API_KEY": KEY,
            "GOOGLE_GEMINI_BASE_URL": url,
            "GEMINI_CLI_NO_RELAUNCH": "true",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "NO_UPDATE_NOTIFIER": "1",
        }

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        return ["gemini", *(["-y"] if is_trusted else []), *(["--resume", resume] if resume else []), "-p", prompt]

    def interactive(self, prompt=None, continues=False):
        return ["gemini", "-y", *(["--resume", "latest"] if continues else []), *(["-i", prompt] if prompt else [])]

    ready = ("Type your message",)
    busy = "esc to cancel"
    compacted = "Chat history compressed"
    interrupted = "Request cancelled"

    @staticmethod
    def session(lines):
        return lines[0]["session_id"]

    @staticmethod
    def figures(lines):
        stats = lines[-1]["stats"]
        return stats["input_tokens"], stats["cached"], stats["total_tokens"] - stats["input_tokens"]


class OpenCode(Program):
    id = tool = binary = hooks = "opencode"
    name, package = "OpenCode", "opencode-ai"
    server = OpenCodeChat
    listing = ("mcp", "list")

    def executable(self):
        return self.install / f"opencode-{_platform()}/bin/opencode"

    def prepare(self, home, work, url):
        model = {"name": "Lab", "tool_call": True, "limit": {"context": 200000, "output": 8000}}
        model["cost"] = {"input": 1, "output": 10, "cache_read": 0.1, "cache_write": 0}
        provider = {"npm": "@ai-sdk/openai-compatible", "name": "lab", "models": {"lab-model": model}}
        provider["options"] = {"baseURL": f"{url}/v1", "apiKey": KEY}
        settings = {
            "$schema": "https://opencode.ai/config.json",
            "provider": {"lab": provider},
            "model": "lab/lab-model",
            "small_model": "lab/lab-model",
            "enabled_providers": ["lab"],
            "share": "disabled",
            "autoupdate": False,
        }
        _write(home / ".config/opencode/opencode.json", json.dumps(settings))
        # What its first start has installed. Without it, a start with a plugin waits for npm.
        (home / ".config/opencode/node_modules").mkdir()
        lock = {"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
        _write(home / ".config/opencode/package-lock.json", json.dumps(lock))

    def ask_first(self, home):
        settings = home / ".config/opencode/opencode.json"
        _write(settings, json.dumps({**json.loads(settings.read_text()), "permission": {"bash": "ask"}}))

    def environment(self, url):
        off = ("AUTOUPDATE", "MODELS_FETCH", "SHARE", "LSP_DOWNLOAD")
        return {f"OPENCODE_DISABLE_{name}": "1" for name in off}

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        more = ["--session", resume or fork] if resume or fork else []
        more += ["--fork"] if fork else []
        return ["opencode", "run", *more, prompt]

    def interactive(self, prompt=None, continues=False):
        return ["opencode", *(["--prompt", prompt] if prompt else []), *(["-c"] if continues else [])]

    tells_calls_late = True

    ready = ("ctrl+p commands",)
    busy = "esc interrupt"
    compacted = "Compaction · Lab"
    interrupted = " · interrupted"
    interrupts_again = "esc again to interrupt"

    @staticmethod
    def session(lines):
        return lines[0]["sessionID"]

    @staticmethod
    def figures(lines):
        steps = [line["part"]["tokens"] for line in lines if line["type"] == "step_finish"]
        cached = sum(step["cache"]["read"] for step in steps)
        return sum(step["input"] for step in steps) + cached, cached, sum(step["output"] + step["reasoning"] for step in steps)


class QwenCode(Program):
    id = tool = binary = hooks = "qwen"
    name, package = "Qwen Code", "@qwen-code/qwen-code"
    server = Qwen
    listing = ("mcp", "list")
    compact, leave = "/compress", "/quit"
    allows_commands = False
    erase = "\x15"
    has_launcher = True

    def executable(self):
        return self.install / "@qwen-code/qwen-code/cli-entry.js"

    def prepare(self, home, work, url):
        settings = {
            "$version": 4,
            "general": {"enableAutoUpdate": False},
            "privacy": {"usageStatisticsEnabled": False},
            "security": {"auth": {"selectedType": "openai"}},
            "telemetry": {"enabled": False},
            # By default, a model decides which calls are allowed.
            "tools": {"approvalMode": "default"},
            # Each would be a request of its own after a turn.
            "memory": {"enableManagedAutoMemory": False},
            "ui": {"enableFollowupSuggestions": False},
        }
        _write(home / ".qwen/settings.json", json.dumps(settings))
        (home / "input").touch()

    def environment(self, url):
        return {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_MODEL": "stand-in",
            "QWEN_CODE_NO_RELAUNCH": "true",
        }

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        more = ["--resume", resume or fork] if resume or fork else []
        more += ["--fork-session"] if fork else []
        return ["qwen", *(["-y"] if is_trusted else []), *more, "-p", prompt]

    def interactive(self, prompt=None, continues=False):
        # With -y, it counts as a session that asks the person nothing. The file is relative to the working directory.
        more = ["--allowed-tools", "run_shell_command", "--input-file", "../input", *(["-c"] if continues else [])]
        return ["qwen", *more, *(["-i", prompt] if prompt else [])]

    ready = ("Type your message",)
    busy = "esc to cancel"
    compacted = "compressed"
    interrupted = "Request cancelled"

    @staticmethod
    def session(lines):
        return lines[0]["session_id"]

    @staticmethod
    def figures(lines):
        usage = lines[-1]["usage"]
        return usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]


class Copilot(Program):
    id = tool = binary = hooks = "copilot"
    name, package = "Copilot CLI", "@github/copilot"
    server = CopilotChat
    listing = ("mcp", "list")
    connected = ("(local)",)
    has_tokens_of_turns = False
    features = ("--experimental",)  # without it, agenthub's extension does not run

    def executable(self):
        return self.install / f"@github/copilot-{_platform()}/copilot"

    def prepare(self, home, work, url):
        self.home = home
        _write(home / ".copilot/config.json", json.dumps({"trustedFolders": [str(work)]}))

    def environment(self, url):
        return {
            "COPILOT_OFFLINE": "true",
            "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
            "COPILOT_PROVIDER_API_KEY": KEY,
            "COPILOT_MODEL": "gpt-5.5",
            "COPILOT_AUTO_UPDATE": "false",
        }

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        more = [f"--resume={resume}"] if resume else []
        return ["copilot", *(["--allow-all"] if is_trusted else []), *more, "-p", prompt]

    def interactive(self, prompt=None, continues=False):
        # A session that asks for nothing is not woken by agents.
        allowed = ["--allow-tool=shell", "--allow-tool=agenthub"]
        more = ["--continue"] if continues else []
        return ["copilot", *self.features, *allowed, *more, *(["-i", prompt] if prompt else [])]

    ready = ("/ commands",)
    busy = "esc interrupt"
    compacted = "Compaction completed"
    interrupted = "Operation cancelled by user"
    interrupts_again = "esc again to interrupt"

    @staticmethod
    def session(lines):
        return lines[-1]["sessionId"]

    def figures(self, lines):
        """Returns the totals of the tool's own record: the stream has none."""
        record = self.home / ".copilot/session-state" / self.session(lines) / "events.jsonl"
        events = [json.loads(line) for line in record.read_text().splitlines()]
        end = [event["data"] for event in events if event["type"] == "session.shutdown"][-1]
        models = [model["usage"] for model in end["modelMetrics"].values()]
        return tuple(sum(model[name] for model in models) for name in ("inputTokens", "cacheReadTokens", "outputTokens"))


class KimiCode(Program):
    id = tool = binary = hooks = "kimi"
    name, package = "Kimi Code", "@moonshot-ai/kimi-code"
    server = Kimi
    has_tokens_of_turns = False
    allows_commands = False
    tells_calls_late = True

    def executable(self):
        return self.install / "@moonshot-ai/kimi-code/dist/main.mjs"

    def prepare(self, home, work, url):
        self.home = home
        config = f"""
            # The settings of the lab.
            default_model = "lab"
            telemetry = false

            [providers.lab]
            type = "openai"
            base_url = "{url}/v1"
            api_key = "{KEY}"

            [models.lab]
            provider = "lab"
            model = "stand-in"
            max_context_size = 200000
        """
        _write(home / ".kimi-code/config.toml", "\n".join(line.strip() for line in config.strip().splitlines()) + "\n")
        key = f"wd_{work.name}_{hashlib.sha256(str(work).encode()).hexdigest()[:12]}"
        _write(home / ".kimi-code/workspace-trust" / key, json.dumps({"root": str(work), "trustedAt": 1}))

    def environment(self, url):
        return {"KIMI_CODE_NO_AUTO_UPDATE": "1", "KIMI_DISABLE_TELEMETRY": "1"}

    def headless(self, prompt, resume=None, fork=None, is_trusted=True):
        # Without a terminal, it asks for nothing.
        return ["kimi", *(["-S", resume] if resume else []), "-p", prompt]

    def interactive(self, prompt=None, continues=False):
        return ["kimi", "--auto", *(["-c"] if continues else [])]

    ready = ("context:",)
    busy = "· Tip:"  # in the line of its spinner
    compacted = "Compaction complete"
    interrupted = "Interrupted by user"

    def is_idle(self):
        # The spinner disappears before the hooks at the end of a turn have run.
        def ends(record):
            turns = [line for line in record.read_text().splitlines() if line.startswith('{"type":"turn.')]
            return not turns or turns[-1].startswith('{"type":"turn.ended"')

        return all(ends(record) for record in self._records("*", "main"))

    @staticmethod
    def session(lines):
        return lines[-1]["session_id"]

    def _records(self, session, agent):
        return self.home.glob(f".kimi-code/sessions/*/{session}/agents/{agent}/wire.jsonl")

    def figures(self, lines):
        """Returns the totals of the tool's own record: the stream has none."""
        records = self._records(self.session(lines), "*")
        entries = [json.loads(line) for record in records for line in record.read_text().splitlines()]
        used = [entry["usage"] for entry in entries if entry["type"] == "usage.record"]
        cached = sum(usage["inputCacheRead"] for usage in used)
        fresh = sum(usage["inputOther"] + usage["inputCacheCreation"] for usage in used)
        return fresh + cached, cached, sum(usage["output"] for usage in used)


ALL = (ClaudeBefore, ClaudeNow, Codex, GeminiCli, OpenCode, QwenCode, Copilot, KimiCode)


def node(install):
    """Returns the path of the Node that is installed beside the programs."""
    found = sorted(Path(install).glob("node_modules/node-*/bin/node"))
    return found[0] if found else None


def _platform():
    system, machine = os.uname().sysname.lower(), os.uname().machine
    return f"{system}-{ {'x86_64': 'x64', 'aarch64': 'arm64'}.get(machine, machine)}"


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
