//! `agenthub wake`: shows and sets which mail wakes idle agents, and wakes one.

use anyhow::Result;
use serde::Serialize;

use crate::cli::args::{self, DatabaseArgs};
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::integrations::identity;
use crate::integrations::wake::{self, CommandWait, Decision, Request};
use crate::protocol::now_ms;
use crate::store::{Reader, WakeMode, Writer};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "An idle session of an agent gets a prompt when mail comes, and with it the mail. A session is \
    woken at most 6 times an hour, 3 times in a chain of replies, with 30 seconds between; never while it works, and \
    never twice for the same mail. Each wake is a turn of the model.\n\n\
    Only the person changes it, at a terminal; everyone may turn waking off for all agents.\n\n\
    --json prints {default, agents: [{agent, mode, can_be_woken, reason, tool, woken_in_last_hour}]}"
)]
pub(super) struct Args {
    /// all: each mail; important: priority action or urgent, and answers to the agent's questions; off; now: wake AGENT
    /// for the mail that waits. Without a mode, show the setting and the agents
    #[arg(value_enum, value_name = "MODE")]
    mode: Option<ModeArg>,
    /// Only this agent [default: all agents without a mode]. With off and no agent, none is woken
    #[arg(value_name = "AGENT", value_parser = args::agent, requires = "mode")]
    agent: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ModeArg {
    All,
    Important,
    Off,
    Now,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let mode = match args.mode {
        None => return show(&database.reader()?, args.json),
        Some(ModeArg::Now) => return wake_now(database, args),
        Some(ModeArg::All) => WakeMode::All,
        Some(ModeArg::Important) => WakeMode::Important,
        Some(ModeArg::Off) => WakeMode::Off,
    };
    let writer = database.writer()?;
    let agent = args.agent.as_deref().map(|agent| writer.recipient(agent)).transpose()?;
    set(&writer, mode, agent.as_deref())?;
    show(&writer, args.json)
}

/// Sets the mode of an agent, or the default.
fn set(writer: &Writer, mode: WakeMode, agent: Option<&str>) -> Result<()> {
    if mode == WakeMode::Off && agent.is_none() {
        return Ok(writer.turn_waking_off()?);
    }
    identity::person_present().map_err(|reason| {
        let message = format!("only the person decides which mail wakes agents: {reason}");
        Error::new(Code::Forbidden, message)
    })?;
    writer.atomically(|| {
        let mut rules = writer.wake_rules()?;
        match agent {
            None => rules.default = mode,
            Some(_) if rules.default == WakeMode::Off => {
                let message = "waking is off for all agents; turn it on first: agenthub wake important";
                return Err(Error::new(Code::Conflict, message));
            }
            Some(agent) => drop(rules.agents.insert(agent.to_owned(), mode)),
        }
        writer.set_wake_rules(&rules)
    })?;
    Ok(())
}

/// Wakes one agent for the person.
fn wake_now(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let agent = args
        .agent
        .as_deref()
        .ok_or_else(|| Error::new(Code::Usage, "name the agent: agenthub wake now AGENT"))?;
    identity::person_present().map_err(|reason| Error::new(Code::Forbidden, reason))?;
    let writer = database.writer()?;
    let agent = writer.recipient(agent)?;
    wake::fail_overdue(&writer, now_ms())?;
    let begun = match wake::begin(&writer, &agent, Request::Person, now_ms())? {
        Ok(begun) => begun,
        Err(Decision::Later(obstacle) | Decision::No(obstacle)) => {
            let message = format!("{} is not woken: {obstacle}", terminal::name(&agent));
            return Err(Error::new(Code::Conflict, message).into());
        }
        Err(Decision::Wake(_)) => return Err(Error::new(Code::Internal, "a decision was not carried out").into()),
    };
    if let Err(error) = begun.start(writer.path(), CommandWait::UntilItEnds) {
        writer.fail_wake(begun.number(), error.message(), now_ms())?;
        return Err(error.into());
    }
    if args.json {
        return terminal::json(&serde_json::json!({"agent": agent, "state": "begun"}));
    }
    terminal::line(&format!("waking {}", terminal::name(&agent)))
}

/// One agent with an open session.
#[derive(Debug, Serialize)]
struct AgentState {
    agent: String,
    mode: &'static str,
    can_be_woken: bool,
    /// Why it is not woken now; empty if it would be.
    reason: String,
    tool: &'static str,
    woken_in_last_hour: usize,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct State {
    default: &'static str,
    agents: Vec<AgentState>,
}

fn show(reader: &Reader, json: bool) -> Result<()> {
    let rules = reader.wake_rules()?;
    let mut agents = Vec::new();
    for agent in reader.agents_with_open_session()? {
        let Some(state) = wake::describe(reader, &agent, now_ms())? else {
            continue;
        };
        agents.push(AgentState {
            mode: rules.mode(&agent).as_str(),
            can_be_woken: state.can_be_woken,
            reason: state.obstacle.map_or_else(String::new, |obstacle| obstacle.to_string()),
            tool: state.tool.name,
            woken_in_last_hour: state.woken_in_last_hour,
            agent,
        });
    }
    if json {
        return terminal::json(&State {
            default: rules.default.as_str(),
            agents,
        });
    }
    terminal::line(match rules.default {
        WakeMode::Off => "Waking is off: mail waits for the next turn. To turn it on: agenthub wake important",
        WakeMode::Important => "Mail with priority action or urgent, and answers to their questions, wake idle agents.",
        WakeMode::All => "Each mail wakes idle agents.",
    })?;
    if agents.is_empty() {
        return terminal::line("No agent has an open session.");
    }
    let rows: Vec<_> = agents
        .iter()
        .map(|state| {
            [
                terminal::short(&state.agent, 40),
                state.tool.to_owned(),
                state.mode.to_owned(),
                state.woken_in_last_hour.to_string(),
                if state.can_be_woken { "yes" } else { "no" }.to_owned(),
                terminal::short(&state.reason, 90),
            ]
        })
        .collect();
    terminal::table(["AGENT", "TOOL", "MODE", "LAST HOUR", "CAN BE WOKEN", "NOW"], &rows)
}
