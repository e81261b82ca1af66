//! Looks at the agents with new mail, and wakes those that the rules allow.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::rules::{Decision, Request, Target, decide, input_file};
use super::wake_file;
use crate::error::{Code, Error, Result};
use crate::integrations::program;
use crate::integrations::spec::WakeMethod;
use crate::protocol::now_ms;
use crate::store::{ALL_INBOXES, NewWake, Reader, Record, WakeMode, WakeRow, WakeRules, Writer};

/// Milliseconds in which a session must begin a turn.
const TURN_TIMEOUT: i64 = 30_000;
/// Milliseconds after which an agent is looked at again whose obstacle depends on other rows.
const REPEAT: i64 = 2_000;
/// Maximum time for a tool's command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two checks whether a tool's command has ended.
const COMMAND_INTERVAL: Duration = Duration::from_millis(20);

/// What a pass found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PassEnd {
    /// The agents to wake.
    pub agents: Vec<String>,
    /// Whether wakes have failed because no turn began: see [`fail_overdue`].
    pub has_overdue: bool,
    /// When the next pass is due without new rows, Unix milliseconds.
    pub next: Option<i64>,
}

/// The agents that are looked at.
#[derive(Debug, Default)]
pub struct Waker {
    /// All inboxes with mail up to this number were looked at with these rules; `None` before the first pass.
    looked_at: Option<(i64, WakeRules)>,
    /// The agents to look at again, with the times in Unix milliseconds.
    waiting: BTreeMap<String, i64>,
    /// When watched files were last changed again, Unix milliseconds.
    repeated_at: i64,
}

impl Waker {
    /// Looks at the agents with mail that has come since the last pass, and at those that are due.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn pass(&mut self, reader: &Reader, now: i64) -> Result<PassEnd> {
        let (newest, rules) = (reader.newest_mail()?, reader.wake_rules()?);
        let inboxes = match &self.looked_at {
            Some((after, known)) if *known == rules => match *after < newest {
                true => reader.inboxes_with_mail((*after, newest))?,
                false => Vec::new(),
            },
            // Mail that came before this process, or before the person changed the rules, may still wake agents.
            _ => {
                wake_file::remove_stale(reader)?;
                vec![ALL_INBOXES.to_owned()]
            }
        };
        for inbox in inboxes {
            match inbox.as_str() {
                ALL_INBOXES => self
                    .waiting
                    .extend(reader.agents_with_open_session()?.into_iter().map(|agent| (agent, now))),
                _ => drop(self.waiting.insert(inbox, now)),
            }
        }
        self.looked_at = Some((newest, rules));
        let due: Vec<String> = self
            .waiting
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(agent, _)| agent.clone())
            .collect();
        let mut agents = Vec::new();
        for agent in due {
            match decide(reader, &agent, Request::Mail, now)? {
                Decision::Wake(_) => {
                    self.waiting.insert(agent.clone(), now + REPEAT);
                    agents.push(agent);
                }
                Decision::Later(obstacle) => {
                    self.waiting.insert(agent, obstacle.ends_at().unwrap_or(now + REPEAT));
                }
                Decision::No(_) => drop(self.waiting.remove(&agent)),
            }
        }
        if self.repeated_at <= now - REPEAT {
            self.repeated_at = now;
            change_files_again(reader)?;
        }
        let overdue = reader.wakes_open_since_before(now - TURN_TIMEOUT)?;
        Ok(PassEnd {
            agents,
            has_overdue: !overdue.is_empty(),
            next: self.waiting.values().min().copied(),
        })
    }
}

/// Changes the watched files of the wakes that no tool has fetched: a session that has just begun may not have watched its
/// file yet, and the process that began the wake may have ended before it changed the file. A tool fetches a wake once,
/// however often its file changes. A tool's command is not repeated, because it may have given the prompt.
fn change_files_again(reader: &Reader) -> Result<()> {
    let is_begun = |wake: &WakeRow| wake.state == "begun" && wake_file::exists(reader.path(), &wake.session);
    for wake in reader
        .wakes_open_since_before(i64::MAX)?
        .iter()
        .filter(|wake| is_begun(wake))
    {
        // If this fails, the wake fails later because no turn begins.
        drop(wake_file::touch(reader.path(), &wake.session));
    }
    Ok(())
}

/// Whether the process waits for a tool's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandWait {
    /// It waits, and knows whether the command has failed.
    UntilItEnds,
    /// It has more to do.
    No,
}

/// A wake that has begun, and is not started yet.
#[derive(Debug)]
#[must_use = "a wake that is not started fails after a while"]
pub struct BegunWake {
    n: i64,
    target: Target,
}

/// Begins a wake of `agent`, if it still is to be woken.
///
/// # Errors
/// A `Store…` code.
pub fn begin(
    writer: &Writer,
    agent: &str,
    request: Request,
    now: i64,
) -> Result<std::result::Result<BegunWake, Decision>> {
    writer.atomically(|| {
        let target = match decide(writer, agent, request, now)? {
            Decision::Wake(target) => *target,
            other => return Ok(Err(other)),
        };
        let n = writer.begin_wake(&NewWake {
            session: &target.session.id,
            agent,
            mail: target.mail,
            chain: target.chain,
            via: target.method.name(),
            is_asked_for: request == Request::Person,
            at: now,
        })?;
        Ok(Ok(BegunWake { n, target }))
    })
}

/// Returns whether a session should have begun a turn because of this wake.
pub fn is_overdue(wake: &WakeRow, now: i64) -> bool {
    wake.at < now - TURN_TIMEOUT
}

/// Records that wakes have failed whose sessions did not begin a turn in time.
///
/// # Errors
/// A `Store…` code.
pub fn fail_overdue(writer: &Writer, now: i64) -> Result<()> {
    for wake in writer.wakes_open_since_before(now - TURN_TIMEOUT)? {
        let reason = match wake.state.as_str() {
            "given" => "the session got the prompt and began no turn within 30 seconds",
            _ => "the tool did not react within 30 seconds",
        };
        writer.fail_wake(wake.n, reason, now)?;
    }
    Ok(())
}

impl BegunWake {
    /// Returns the number of the wake.
    pub fn number(&self) -> i64 {
        self.n
    }

    /// Gives the session the prompt, or makes its tool ask for it.
    ///
    /// # Errors
    /// Why that failed, for the wake's row.
    pub fn start(&self, db: &Path, wait: CommandWait) -> Result<()> {
        match self.target.method {
            WakeMethod::WatchedFile(_) => {
                wake_file::touch(db, &self.target.session.id).map_err(|e| failed("cannot change the watched file", &e))
            }
            WakeMethod::InputFile { file, line } => {
                let path = input_file(file, &self.target.session);
                let path = path
                    .ok_or_else(|| Error::new(Code::NotFound, "the session reads no prompts from a file any more"))?;
                append(&path, line).map_err(|e| failed("cannot write the session's file of prompts", &e))
            }
            WakeMethod::Command { .. } => {
                let mut command = self.command()?;
                let child = command
                    .spawn()
                    .map_err(|e| failed("cannot start the tool's command", &e))?;
                match wait {
                    CommandWait::UntilItEnds => wait_for(child, &command),
                    CommandWait::No => Ok(()),
                }
            }
        }
    }

    /// Returns the tool's command that gives the prompt.
    fn command(&self) -> Result<Command> {
        let WakeMethod::Command { program, arguments } = self.target.method else {
            return Err(Error::new(Code::Internal, "the tool is woken without a command"));
        };
        let path = program::find(program)
            .ok_or_else(|| Error::new(Code::NotFound, format!("{program} is not on the hub's PATH")))?;
        let session = &self.target.session.id;
        let id = session
            .strip_prefix(self.target.tool.id)
            .and_then(|rest| rest.strip_prefix('-'));
        let mut command = Command::new(path);
        command
            .args(arguments(id.unwrap_or(session)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command)
    }
}

/// Appends a line to an existing file.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn wait_for(mut child: Child, command: &Command) -> Result<()> {
    let name = command.get_program().display();
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(Error::new(Code::Conflict, format!("{name} ended with {status}"))),
            #[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do meanwhile")]
            Ok(None) if Instant::now() < deadline => std::thread::sleep(COMMAND_INTERVAL),
            Ok(None) => {
                drop(child.kill());
                drop(child.wait());
                return Err(Error::new(
                    Code::Timeout,
                    format!("{name} did not end within 20 seconds"),
                ));
            }
            Err(e) => return Err(failed("cannot wait for the tool's command", &e)),
        }
    }
}

fn failed(what: &str, error: &std::io::Error) -> Error {
    Error::new(Code::Conflict, format!("{what}: {error}"))
}

/// Wakes the recipient of mail that this process has just written, if no hub runs, which does so otherwise. What fails is
/// in the wake's row; the mail is delivered with the session's next turn.
pub fn after_sending(writer: &Writer, inbox: &str) {
    let is_off = || writer.wake_rules().map_or(true, |rules| rules.default == WakeMode::Off);
    let hub_runs = || Record::read(writer.path()).is_some_and(|record| record.is_of_a_running_process());
    if is_off() || hub_runs() {
        return;
    }
    let agents = match inbox {
        ALL_INBOXES => writer.agents_with_open_session().unwrap_or_default(),
        _ => vec![inbox.to_owned()],
    };
    let now = now_ms();
    drop(fail_overdue(writer, now));
    for agent in agents {
        if let Ok(Ok(begun)) = begin(writer, &agent, Request::Mail, now)
            && let Err(error) = begun.start(writer.path(), CommandWait::No)
        {
            drop(writer.fail_wake(begun.n, error.message(), now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::wake::create;
    use crate::store::{NetworkFs, NewInboxMessage, SessionEvent};

    fn database() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Allow).unwrap();
        let rules = WakeRules {
            default: WakeMode::All,
            ..WakeRules::default()
        };
        writer.set_wake_rules(&rules).unwrap();
        (folder, writer)
    }

    fn begin_session(writer: &Writer, agent: &str) {
        writer.register_agent(agent).unwrap();
        let event = SessionEvent {
            id: agent,
            agent,
            process: None,
            terminal: None,
            permission_mode: Some("default"),
            at: 1,
        };
        writer.open_session(&event).unwrap();
    }

    fn send(writer: &Writer, to: &str) {
        writer.send(&NewInboxMessage::new("tester", to, "text")).unwrap();
    }

    #[test]
    fn looks_at_each_agent_with_new_mail() {
        let (_folder, writer) = database();
        begin_session(&writer, "codex-1");
        begin_session(&writer, "codex-2");
        send(&writer, "codex-1");
        let mut waker = Waker::default();
        let mut agents = |now| waker.pass(&writer, now).unwrap().agents;
        // Mail from before the process.
        assert_eq!(agents(1000), ["codex-1"]);
        // The wake was begun elsewhere, and the agent is looked at again later.
        assert_eq!(agents(1000), [""; 0]);
        send(&writer, "codex-2");
        send(&writer, "nobody");
        assert_eq!(agents(1001), ["codex-2"]);
        assert_eq!(agents(1000 + REPEAT), ["codex-1"]);
    }

    #[test]
    fn mail_that_waits_wakes_when_the_person_turns_waking_on() {
        let (_folder, writer) = database();
        let rules = writer.wake_rules().unwrap();
        writer.turn_waking_off().unwrap();
        begin_session(&writer, "codex-1");
        send(&writer, "codex-1");
        let mut waker = Waker::default();
        assert_eq!(waker.pass(&writer, 1000).unwrap(), PassEnd::default());
        writer.set_wake_rules(&rules).unwrap();
        assert_eq!(waker.pass(&writer, 1001).unwrap().agents, ["codex-1"]);
    }

    #[test]
    fn waits_for_the_end_of_the_pause() {
        let (_folder, writer) = database();
        begin_session(&writer, "codex-1");
        let mut waker = Waker::default();
        send(&writer, "codex-1");
        drop(begin(&writer, "codex-1", Request::Mail, 1000).unwrap().unwrap());
        writer.confirm_wake("codex-1", 1001).unwrap();
        send(&writer, "codex-1");
        let end = waker.pass(&writer, 2000).unwrap();
        assert_eq!(
            (end.agents.len(), end.next),
            (0, Some(1000 + crate::integrations::wake::MIN_PAUSE))
        );
        assert_eq!(waker.pass(&writer, end.next.unwrap()).unwrap().agents, ["codex-1"]);
    }

    #[test]
    fn an_agent_without_waiting_mail_is_not_looked_at_again() {
        let (_folder, writer) = database();
        begin_session(&writer, "codex-1");
        let mut waker = Waker::default();
        assert_eq!(waker.pass(&writer, 1000).unwrap(), PassEnd::default());
        assert!(waker.waiting.is_empty());
    }

    #[test]
    fn line_is_appended_to_the_file_of_prompts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts");
        std::fs::write(&path, "one\n").unwrap();
        append(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert!(append(&folder.path().join("missing"), "x").is_err());
    }

    #[test]
    fn watched_file_changes_and_a_missing_one_is_an_error() {
        let (_folder, writer) = database();
        let agent = "claude-1";
        begin_session(&writer, agent);
        let file = create(writer.path(), agent).unwrap();
        send(&writer, agent);
        let begun = begin(&writer, agent, Request::Mail, 1000).unwrap().unwrap();
        begun.start(writer.path(), CommandWait::No).unwrap();
        assert!(!std::fs::read(&file).unwrap().is_empty());
        std::fs::remove_file(&file).unwrap();
        let error = begun.start(writer.path(), CommandWait::No).unwrap_err();
        assert!(error.message().contains("watched file"), "{error}");
        assert_eq!(create(writer.path(), "../x"), None);
        assert_eq!(create(writer.path(), ".."), None);
    }

    #[test]
    fn failing_command_is_an_error_that_names_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let error = wait_for(command.spawn().unwrap(), &command).unwrap_err();
        assert!(error.message().contains("sh ended with exit status: 3"), "{error}");
        let mut command = Command::new("true");
        wait_for(command.spawn().unwrap(), &command).unwrap();
    }
}
