// agenthub's extension for Copilot CLI: mail gives an idle session a prompt. The hooks deliver the mail.
//
// 1. `agenthub hook` names the file to watch, once the session is recorded. When the file changes, it says whether the
//    session is to be woken. Nothing reads the file.
// 2. stdout belongs to Copilot CLI. No error leaves the extension.

import { spawn } from "node:child_process";
import { statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";

import { joinSession } from "@github/copilot-sdk/extension";

// Maximum milliseconds of one hook. It takes a few.
const TIMEOUT = 5000;

const session = await joinSession({});
let isBusy = false;
let watcher;

session.on("user.message", (event) => {
  if (event.agentId) return;
  isBusy = true;
  if (!watcher) begin();
});
session.on("session.idle", () => {
  isBusy = false;
});
session.on("session.permissions_changed", () => {
  if (watcher) hook("Watch");
});

// Watches the file of this session, if it is recorded.
async function begin() {
  const answer = await hook("Watch");
  if (!watcher && typeof answer?.watch_file === "string") watcher = watched(answer.watch_file, wake);
}

async function wake() {
  if (isBusy) return;
  const answer = await hook("Wake");
  if (typeof answer?.prompt !== "string" || isBusy) return;
  await session.send({ prompt: answer.prompt }).catch(() => {});
}

// Returns whether Copilot CLI asks before it runs a tool.
async function permissionMode() {
  try {
    return (await session.rpc.permissions.getMode()).mode ?? "unknown";
  } catch {
    return "unknown";
  }
}

// Runs one hook. Returns its output; undefined if it prints nothing or fails.
async function hook(event) {
  const input = { hook_event_name: event, session_id: session.sessionId, permission_mode: await permissionMode() };
  return new Promise((resolve) => {
    try {
      let text = "";
      const child = spawn(COMMAND[0], COMMAND.slice(1), { stdio: ["pipe", "pipe", "ignore"], timeout: TIMEOUT });
      child.on("error", () => resolve(undefined));
      child.on("close", () => resolve(parsed(text)));
      child.stdout.setEncoding("utf8");
      child.stdout.on("data", (part) => (text += part));
      child.stdin.on("error", () => {});
      child.stdin.end(JSON.stringify(input));
    } catch {
      resolve(undefined);
    }
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// Calls `changed` when the file's time has changed. Returns the watcher; undefined without a file.
function watched(path, changed) {
  const time = () => {
    try {
      return statSync(path).mtimeMs;
    } catch {
      return 0;
    }
  };
  let last = time();
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_, name) => {
      if (name && name !== basename(path)) return;
      const now = time();
      if (now === last) return;
      last = now;
      changed();
    });
    watcher.on("error", () => {});
    return watcher;
  } catch {
    return undefined;
  }
}
