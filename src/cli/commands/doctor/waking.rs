//! Reports which mail wakes idle agents, and proves it (`--wake`): an idle session of each connected tool gets a test
//! mail and a wake that the person asks for.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::Finding;
use super::integrations::connected_tools;
use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::config::HUMAN;
use crate::error::{Code, Error, Result};
use crate::integrations::identity;
use crate::integrations::spec::Integration;
use crate::integrations::wake::{self, BegunWake, CommandWait, Decision, Obstacle, Request};
use crate::protocol::now_ms;
use crate::store::{Author, InboxMessageRow, NewInboxMessage, Reader, WakeMode, WakeRow, Writer};
use crate::text::quantity::count;

const CHECK: &str = "waking";
const TEST_MAIL: &str = "agenthub doctor: test of waking; nothing to do";
/// Maximum time until a session has begun a turn with the test mail.
const TIMEOUT: Duration = Duration::from_secs(35);
/// Milliseconds until the test mail expires, which no later turn is to get.
const EXPIRY: i64 = 60_000;
/// Time between two looks at the database.
const INTERVAL: Duration = Duration::from_millis(50);
/// Milliseconds in which failed wakes are reported.
const REPORTED: i64 = 24 * 3_600_000;

/// Returns a finding about the setting, the tools that can be woken, and wakes that have failed.
pub(super) fn check(reader: &Reader) -> Option<Finding> {
    let mode = reader.wake_rules().ok()?.default;
    let mut lines = vec![
        match mode {
            WakeMode::Off => "off: mail waits for the next turn (agenthub wake important turns it on)",
            WakeMode::Important => "mail with priority action or urgent, and answers to questions, wake idle agents",
            WakeMode::All => "each mail wakes idle agents",
        }
        .to_owned(),
    ];
    let connected = connected_tools().unwrap_or_default();
    let can: Vec<&str> = connected
        .iter()
        .filter(|tool| tool.wake.is_ok())
        .map(|tool| tool.name)
        .collect();
    if !can.is_empty() {
        lines.push(format!("can be woken: {}", can.join(", ")));
    }
    lines.extend(connected.iter().filter_map(|tool| {
        let reason = tool.wake.as_ref().err()?;
        Some(format!("cannot be woken: {} ({reason})", tool.name))
    }));
    let wakes = reader.wakes_since(now_ms() - REPORTED).ok()?;
    lines.extend(failures(&wakes));
    let failing: Vec<&str> = connected
        .iter()
        .filter(|tool| {
            let last = wakes.iter().find(|wake| is_of(wake, tool) && !wake.is_open());
            last.is_some_and(|wake| wake.state == "failed")
        })
        .map(|tool| tool.id)
        .collect();
    let message = lines.join("\n");
    Some(match failing.is_empty() || mode == WakeMode::Off {
        true => Finding::ok(CHECK, message),
        false => Finding::bad(
            CHECK,
            message,
            format!(
                "try it while a session waits: agenthub doctor --wake {}",
                failing.join(" ")
            ),
        ),
    })
}

fn is_of(wake: &WakeRow, tool: &Integration) -> bool {
    wake.session
        .strip_prefix(tool.id)
        .is_some_and(|rest| rest.starts_with('-'))
}

/// Returns one line for each reason for which wakes have failed.
fn failures(wakes: &[WakeRow]) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for wake in wakes.iter().filter(|wake| wake.state == "failed") {
        *counts.entry(&wake.reason).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(reason, n)| format!("failed in the last day: {}: {reason}", count(n, "wake")))
        .collect()
}

/// Wakes an idle session of each of `tools`, or of each connected tool, if the person agrees.
///
/// # Errors
/// [`Code::Forbidden`] if the person does not run this; a `Store…` code.
pub(super) fn prove(database: &DatabaseArgs, tools: &[&'static Integration]) -> anyhow::Result<Vec<Finding>> {
    identity::person_present().map_err(|reason| Error::new(Code::Forbidden, reason))?;
    let connected = connected_tools()?;
    if tools.is_empty() && connected.is_empty() {
        return Ok(vec![Finding::bad(
            CHECK,
            "no tool is connected",
            "connect the tools: agenthub init",
        )]);
    }
    let writer = database.writer()?;
    wake::fail_overdue(&writer, now_ms())?;
    let chosen = if tools.is_empty() { &connected[..] } else { tools };
    let mut findings = Vec::new();
    for tool in chosen.iter().copied() {
        let is_connected = connected.iter().any(|other| other.id == tool.id);
        findings.push(match candidate(&writer, tool, is_connected, !tools.is_empty())? {
            Err(finding) => finding,
            Ok(agent) => {
                let question = format!(
                    "Wake {} ({})? The model takes a turn.",
                    terminal::name(&agent),
                    tool.name
                );
                match terminal::confirm(&question, "wake")? {
                    true => prove_with(&writer, tool, &agent)?,
                    false => Finding::ok(CHECK, format!("{}: not tried", tool.name)),
                }
            }
        });
    }
    Ok(findings)
}

/// Returns the agent of an idle session of the tool, or the finding that there is none.
fn candidate(
    reader: &Reader,
    tool: &Integration,
    is_connected: bool,
    is_named: bool,
) -> Result<std::result::Result<String, Finding>> {
    let bad = |why: &str, advice: String| Err(Finding::bad(CHECK, format!("{}: {why}", tool.name), advice));
    if let Err(reason) = &tool.wake {
        let message = format!("{}: cannot be woken: {reason}", tool.name);
        return Ok(Err(match is_named {
            true => Finding::bad(CHECK, message, "its sessions get mail with their next turn"),
            false => Finding::ok(CHECK, message),
        }));
    }
    if !is_connected {
        let advice = format!("agenthub init --only {}; then start a session", tool.id);
        return Ok(bad("not connected", advice));
    }
    let mut last = None;
    for agent in reader.agents_with_open_session()? {
        let now = now_ms();
        if wake::describe(reader, &agent, now)?.is_none_or(|state| state.tool.id != tool.id) {
            continue;
        }
        match wake::decide(reader, &agent, Request::Person, now)? {
            Decision::Wake(_) | Decision::No(Obstacle::NoMail) => return Ok(Ok(agent)),
            Decision::Later(obstacle) | Decision::No(obstacle) => last = Some((agent, obstacle)),
        }
    }
    Ok(match last {
        None => bad(
            "no session is open",
            format!(
                "start {} in another terminal, give it a prompt, and run this again",
                tool.name
            ),
        ),
        Some((agent, obstacle)) => bad(
            &format!("{agent}: {obstacle}"),
            match obstacle {
                Obstacle::Working | Obstacle::Begun => "run this again when the session waits for a prompt".to_owned(),
                _ => format!("end the session, start {} again, and run this again", tool.name),
            },
        ),
    })
}

/// Wakes the agent with a test mail, and waits for the turn.
fn prove_with(writer: &Writer, tool: &Integration, agent: &str) -> Result<Finding> {
    let bad = |why: &str| {
        let advice = "start the tool again, and run this again; agenthub doctor checks its hooks";
        Finding::bad(CHECK, format!("{}: {agent} was not woken: {why}", tool.name), advice)
    };
    let (mail, begun) = match begin(writer, agent)? {
        (mail, Ok(begun)) => (mail, begun),
        (_, Err(obstacle)) => return Ok(bad(&obstacle.to_string())),
    };
    if let Err(error) = begun.start(writer.path(), CommandWait::UntilItEnds) {
        writer.fail_wake(begun.number(), error.message(), now_ms())?;
        return Ok(bad(error.message()));
    }
    let deadline = Instant::now() + TIMEOUT;
    #[expect(clippy::disallowed_methods, reason = "this command has nothing else to do meanwhile")]
    loop {
        let wake = writer.wake_for(&mail, agent)?;
        let is_handed_over = !writer.receipts(&mail.message_id)?.is_empty();
        match wake.as_ref().map(|wake| (wake.state.as_str(), wake.at, wake.ended_at)) {
            Some(("woken", at, Some(end))) if is_handed_over => {
                let message = format!(
                    "{}: works; {agent} began a turn with the mail after {} ms",
                    tool.name,
                    (end - at).max(0)
                );
                return Ok(Finding::ok(CHECK, message));
            }
            Some(("failed", ..)) => return Ok(bad(wake.as_ref().map_or("", |wake| &wake.reason))),
            _ if Instant::now() < deadline => thread::sleep(INTERVAL),
            Some(("woken", ..)) => return Ok(bad("a turn has begun, but without the mail")),
            _ => wake::fail_overdue(writer, now_ms())?,
        }
    }
}

/// Sends the test mail and begins the wake at once: a running hub would wake the agent for it.
fn begin(writer: &Writer, agent: &str) -> Result<(InboxMessageRow, std::result::Result<BegunWake, Obstacle>)> {
    writer.atomically(|| {
        let now = now_ms();
        let mail = NewInboxMessage {
            title: Some(TEST_MAIL.to_owned()),
            priority: Some("action".to_owned()),
            expires_at: Some(now + EXPIRY),
            author: Author::Person,
            ..NewInboxMessage::new(HUMAN.to_owned(), agent.to_owned(), TEST_MAIL.to_owned())
        };
        let mail = writer.send(&mail)?.into_row();
        Ok(match wake::begin(writer, agent, Request::Person, now)? {
            Ok(begun) => (mail, Ok(begun)),
            Err(Decision::Later(obstacle) | Decision::No(obstacle)) => (mail, Err(obstacle)),
            Err(Decision::Wake(_)) => return Err(Error::new(Code::Internal, "a decision was not carried out")),
        })
    })
}
