// agenthub's plugin for OpenCode. It tells agenthub what happens in the sessions of this process, one run of
// `agenthub hook` per event, and gives the model the mail that the hook prints.
//
// 1. No error leaves the plugin: OpenCode would end the model's turn.
// 2. A hook that does not end in time is ended. After several of them in a row no further hook runs.
// 3. The hooks of a session run in the order of its events.
// 4. A session of a subagent belongs to the session that has started it.

import { spawn } from "node:child_process"
import { statSync, watch } from "node:fs"
import { basename, dirname } from "node:path"

// Maximum milliseconds of one hook. It takes a few.
const TIMEOUT = 5000
// Maximum milliseconds until OpenCode has stored the beginning of a tool call.
const STORED_TIMEOUT = 1000
// Hooks that fail in a row before no more are run.
const MAX_FAILURES = 3
// Maximum characters of a tool's output in a hook's input.
const MAX_OUTPUT = 300_000
// The prefix of the names of agenthub's MCP tools.
const HUB_TOOL = "agenthub_"
// The argument of agenthub's MCP tools that names the session. OpenCode names none in an MCP call.
const SESSION_ARGUMENT = "agenthub_session"

export const AgentHub = async ({ client, directory }) => {
  // `opencode run` ends with the first turn: a prompt at its end would be lost.
  const isRun = process.argv.slice(2).find((word) => !word.startsWith("-")) === "run"
  const isAuto = process.argv.includes("--auto")
  // OpenCode's settings.
  let settings = {}
  const sessions = new Map()
  // Texts that the plugin itself has sent as prompts.
  const ownTexts = new Set()
  let failures = 0

  // Runs one hook. Returns its output; undefined if it prints nothing or fails.
  function run(input) {
    if (failures >= MAX_FAILURES) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      let child
      let text = ""
      const timer = setTimeout(() => end(false), TIMEOUT)
      const end = (isDone) => {
        clearTimeout(timer)
        failures = isDone ? 0 : failures + 1
        if (!isDone) child?.kill("SIGKILL")
        resolve(isDone ? parsed(text) : undefined)
      }
      try {
        child = spawn(COMMAND[0], COMMAND.slice(1), { stdio: ["pipe", "pipe", "ignore"] })
        child.on("error", () => end(false))
        child.on("close", () => end(true))
        child.stdout.setEncoding("utf8")
        child.stdout.on("data", (part) => (text += part))
        child.stdin.on("error", () => {})
        child.stdin.end(JSON.stringify(input))
      } catch {
        end(false)
      }
    })
  }

  // Returns the session with this id.
  function session(id) {
    let found = sessions.get(id)
    if (!found) {
      found = {
        id,
        // Its row in OpenCode's database.
        row: client.session.get({ path: { id } }).then((answer) => answer.data),
        hooks: Promise.resolve(),
        isNew: false,
        hasBegun: false,
        isBusy: false,
        isContinued: false,
        isDeleted: false,
        source: undefined,
        environment: {},
        error: undefined,
        agent: undefined,
        model: undefined,
        // The usage of the model's messages that no hook has reported yet.
        usage: new Map(),
        calls: new Map(),
        summaries: new Set(),
        watcher: undefined,
      }
      found.row.catch(() => {})
      sessions.set(id, found)
    }
    return found
  }

  // Returns the session that a session of a subagent belongs to, or else the session itself.
  async function rootOf(one) {
    const parent = (await one.row.catch(() => undefined))?.parentID
    return parent ? rootOf(session(parent)) : one
  }

  // Runs a hook after the earlier ones of the session.
  function hook(of, event, fields = {}) {
    const answer = of.hooks.then(async () => {
      const root = await rootOf(of)
      const row = await root.row.catch(() => undefined)
      const ends = ["Stop", "RunEnd", "Interrupt", "StopFailure", "SessionEnd"].includes(event)
      const usage = ends ? [...root.usage.values()] : []
      if (ends) root.usage.clear()
      return run({
        hook_event_name: event,
        session_id: root.id,
        cwd: row?.directory ?? directory,
        permission_mode: isAuto || !asksForCommands(settings, root.agent) ? "allow" : "ask",
        ...(root === of ? {} : { agent_id: of.id }),
        ...(of.model?.modelID ? { model: of.model.modelID } : {}),
        ...(usage.length ? { usage } : {}),
        ...fields,
      })
    })
    of.hooks = answer.catch(() => {})
    return answer
  }

  // Begins the session for agenthub. Returns what the model gets.
  async function begin(one) {
    if (one.hasBegun) return undefined
    one.hasBegun = true
    const others = [...sessions.values()].some((other) => other !== one && other.watcher !== undefined)
    const source = one.source ?? (!one.isNew ? "resume" : others ? "clear" : "startup")
    const answer = await hook(one, "SessionStart", { source })
    one.environment = answer?.env ?? one.environment
    one.watcher ??= watched(answer?.watch_file, () => guarded(() => wake(one))) ?? null
    return answer?.context
  }

  async function wake(one) {
    if (one.isBusy) return
    const answer = await hook(one, "Wake")
    if (typeof answer?.prompt === "string" && !one.isBusy) await prompt(one, answer.prompt, {})
  }

  // Gives the session a prompt. Does not wait for the model.
  async function prompt(one, text, part) {
    await client.session.promptAsync({ path: { id: one.id }, body: body(one, text, part) })
  }

  function body(one, text, part) {
    const as = { ...(one.agent ? { agent: one.agent } : {}), ...(one.model ? { model: one.model } : {}) }
    return { ...as, parts: [{ type: "text", text, ...part }] }
  }

  // Records the end of a turn. The session continues if there is mail.
  async function endTurn(one) {
    const error = one.error
    one.error = undefined
    if ((await rootOf(one)) !== one || !one.hasBegun) return
    if (error?.name === "MessageAbortedError") return void (await hook(one, "Interrupt"))
    if (error) return void (await hook(one, "StopFailure", { error: error.text }))
    if (isRun) return void (await hook(one, "RunEnd"))
    const answer = await hook(one, "Stop", { stop_hook_active: one.isContinued })
    if (!answer?.continuation || one.isBusy) return
    one.isContinued = true
    ownTexts.add(answer.continuation)
    await prompt(one, answer.continuation, { synthetic: true })
  }

  const events = {
    "session.created": ({ info }) => {
      session(info.id).isNew = true
    },
    "session.status": ({ sessionID, status }) => {
      session(sessionID).isBusy = status.type !== "idle"
    },
    "session.idle": ({ sessionID }) => endTurn(session(sessionID)),
    "session.error": ({ sessionID, error }) => {
      if (!sessionID || !error) return
      session(sessionID).error = { name: error.name, text: error.data?.message ?? error.name }
    },
    "session.compacted": ({ sessionID }) => {
      const one = session(sessionID)
      one.hasBegun = false
      one.source = "compact"
    },
    "session.deleted": ({ info }) => {
      const one = session(info.id)
      one.isDeleted = true
      one.watcher?.close()
      return one.hasBegun ? hook(one, "SessionEnd") : undefined
    },
    "message.updated": async ({ info }) => {
      if (info.role !== "assistant") return
      const one = session(info.sessionID)
      if (info.summary) one.summaries.add(info.id)
      const { input = 0, output = 0, reasoning = 0, cache = {} } = info.tokens ?? {}
      if (!(input || output || cache.read || cache.write)) return
      const used = {
        id: info.id,
        model: info.modelID,
        tokens_in: input + (cache.read ?? 0) + (cache.write ?? 0),
        tokens_out: output + reasoning,
        tokens_cached: cache.read ?? 0,
        cost: info.cost ?? 0,
        turns: 1,
      }
      one.usage.set(info.id, used)
      const root = await rootOf(one)
      if (root === one) return
      one.usage.delete(info.id)
      root.usage.set(info.id, { ...used, turns: 0 })
    },
    "message.part.updated": ({ part }) => {
      if (part.type !== "tool" || !["running", "error"].includes(part.state.status)) return
      const one = session(part.sessionID)
      const call = callOf(one, part.callID)
      if (part.state.status === "running") return call.stored.resolve(true)
      one.calls.delete(part.callID)
      return hook(one, "PostToolUseFailure", {
        tool_name: part.tool,
        tool_use_id: part.callID,
        duration_ms: Date.now() - call.begun,
        error: part.state.error ?? "error",
      })
    },
    "permission.asked": ({ sessionID, permission }) =>
      hook(session(sessionID), "PermissionRequest", { tool_name: permission }),
  }

  return {
    config: (all) => void (settings = all ?? {}),

    event: ({ event }) => guarded(() => events[event.type]?.(event.properties)),

    "chat.message": (input, output) =>
      guarded(async () => {
        const one = session(input.sessionID)
        const { message, parts } = output
        if ((await rootOf(one)) !== one) return
        one.agent = message.agent
        one.model = message.model
        const texts = parts.filter((part) => part.type === "text")
        if (texts.some((part) => ownTexts.delete(part.text))) return
        one.isContinued = false
        one.error = undefined
        const written = texts.filter((part) => !part.synthetic).map((part) => part.text)
        const start = await begin(one)
        const all = written.join("\n")
        // `opencode run` puts a prompt of several words in quotes.
        const words = isRun ? all.replace(/^"([^"]*)"$/, "$1") : all
        const answer = await hook(one, "UserPromptSubmit", { prompt: words })
        for (const text of [start, answer?.context]) {
          if (!text) continue
          const id = idAfter(parts.at(-1)?.id)
          parts.push({ id, sessionID: message.sessionID, messageID: message.id, type: "text", synthetic: true, text })
        }
      }),

    "experimental.text.complete": (input, output) =>
      guarded(async () => {
        const one = session(input.sessionID)
        if ((await rootOf(one)) !== one || !one.hasBegun || one.summaries.has(input.messageID)) return
        const fields = { text: output.text, stop_hook_active: one.isContinued }
        const answer = await hook(one, "TextComplete", fields)
        if (!answer?.continuation) return
        one.isContinued = true
        ownTexts.add(answer.continuation)
        // A message after the model's last one: the turn does not end with it.
        const more = body(one, answer.continuation, { synthetic: true })
        await client.session.prompt({ path: { id: one.id }, body: { ...more, noReply: true } })
      }),

    "tool.execute.before": (input, output) =>
      guarded(async () => {
        const one = session(input.sessionID)
        const call = callOf(one, input.callID)
        const fields = { tool_name: input.tool, tool_use_id: input.callID, tool_input: { ...output.args } }
        hook(one, "PreToolUse", fields).catch(() => {})
        if (!input.tool.startsWith(HUB_TOOL) || !output.args) return
        delete output.args[SESSION_ARGUMENT]
        const root = await rootOf(one)
        // The model does not see an argument that is added after OpenCode has stored the call.
        const timer = setTimeout(() => call.stored.resolve(false), STORED_TIMEOUT)
        if (await call.stored.promise) output.args[SESSION_ARGUMENT] = root.id
        clearTimeout(timer)
      }),

    "tool.execute.after": (input, output) =>
      guarded(async () => {
        const one = session(input.sessionID)
        const call = callOf(one, input.callID)
        one.calls.delete(input.callID)
        if (input.args) delete input.args[SESSION_ARGUMENT]
        // An MCP tool returns blocks.
        const blocks = Array.isArray(output?.content) ? output.content : undefined
        const text = output?.output ?? blocks?.map((block) => block.text ?? `[${block.type}]`).join("\n") ?? ""
        const exit = output?.metadata?.exit
        const answer = await hook(one, "PostToolUse", {
          tool_name: input.tool,
          tool_use_id: input.callID,
          tool_input: input.args,
          tool_response: String(text).slice(0, MAX_OUTPUT),
          duration_ms: Date.now() - call.begun,
          ...(exit ? { error: `exit code ${exit}` } : {}),
        })
        if (!answer?.context) return
        if (typeof output.output === "string") output.output += `\n\n${answer.context}`
        else blocks?.push({ type: "text", text: answer.context })
      }),

    "shell.env": (input, output) =>
      guarded(async () => {
        if (!input.sessionID) return
        const root = await rootOf(session(input.sessionID))
        const names = root.environment
        // A tool that the shell starts is another agent.
        if (Object.keys(names).length) Object.assign(output.env, { AGENTHUB_TASK_VENDOR: "opencode" }, names)
      }),

    dispose: () =>
      guarded(async () => {
        for (const one of sessions.values()) one.watcher?.close()
        const open = [...sessions.values()].filter((one) => one.hasBegun && !one.isDeleted)
        await Promise.all(open.map((one) => hook(one, "SessionEnd")))
      }),
  }
}

// Returns what is known of a session's tool call.
function callOf(one, id) {
  let call = one.calls.get(id)
  if (!call) {
    call = { begun: Date.now(), stored: Promise.withResolvers() }
    one.calls.set(id, call)
  }
  return call
}

async function guarded(action) {
  try {
    await action()
  } catch {
    // OpenCode continues without agenthub.
  }
}

// Returns whether the person is asked before the model runs a command. Without a rule OpenCode does not ask. Of several
// rules the last one counts.
function asksForCommands(settings, agent) {
  let answer
  for (const rules of [settings.permission, settings.agent?.[agent]?.permission]) {
    for (const [name, rule] of Object.entries(typeof rules === "string" ? { "*": rules } : (rules ?? {}))) {
      if (name === "*" || name === "bash") answer = typeof rule === "string" ? rule : (rule?.["*"] ?? answer)
    }
  }
  return answer === "ask" || answer === "deny"
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// Returns an id that follows `id` in OpenCode's order of parts.
function idAfter(id) {
  const digits = /^prt_([0-9a-f]{12})/.exec(id ?? "")?.[1]
  const time = digits ? BigInt(`0x${digits}`) + 1n : BigInt(Date.now()) * 0x1000n
  const suffix = crypto.randomUUID().replaceAll("-", "").slice(0, 14)
  return `prt_${BigInt.asUintN(48, time).toString(16).padStart(12, "0")}${suffix}`
}

// Calls `changed` when the file's time has changed. Returns the watcher; undefined without a file.
function watched(path, changed) {
  if (typeof path !== "string") return undefined
  const time = () => {
    try {
      return statSync(path).mtimeMs
    } catch {
      return 0
    }
  }
  let last = time()
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_, name) => {
      if (name && name !== basename(path)) return
      const now = time()
      if (now === last) return
      last = now
      changed()
    })
    watcher.on("error", () => {})
    return watcher
  } catch {
    return undefined
  }
}
