//! Decides whether mail wakes an agent.
//!
//! A session is woken only while it waits for a prompt, and never twice for the same mail. The limits keep agents that
//! answer each other from going on without end: each wake is a turn of a model, at the person's cost. The person's own
//! request is outside the limits.

use std::fmt;

use crate::config::is_human;
use crate::error::Result;
use crate::integrations::registry;
use crate::integrations::spec::{Integration, WakeMethod, WakeSpec, WatchForm};
use crate::process::{Process, ProcessId};
use crate::store::{InboxMessageRow, Reader, SessionRow, WakeMode, WakeRow};

use super::wake_file;

/// Maximum wakes of a session in an hour.
pub const MAX_AN_HOUR: usize = 6;
/// Maximum wakes of a session in one chain of replies.
pub const MAX_IN_CHAIN: usize = 3;
/// Minimum milliseconds between two wakes of a session.
pub const MIN_PAUSE: i64 = 30_000;
const HOUR: i64 = 3_600_000;
/// Maximum mail that is looked at, the newest.
const MAX_MAIL: usize = 20;

/// What asks whether an agent is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Mail has come: the rules and limits apply.
    Mail,
    /// The person wants it.
    Person,
}

/// Whether an agent is woken.
#[derive(Debug)]
pub enum Decision {
    /// Now.
    Wake(Box<Target>),
    /// Not now. It may be when the obstacle is gone.
    Later(Obstacle),
    /// Not for the mail that waits.
    No(Obstacle),
}

/// The session to wake.
#[derive(Debug)]
pub struct Target {
    /// The session.
    pub session: SessionRow,
    /// Its tool.
    pub tool: &'static Integration,
    /// How it is woken.
    pub method: WakeMethod,
    /// The newest mail.
    pub mail: i64,
    /// The mail with which the chain of replies began.
    pub chain: i64,
}

/// Why an agent is not woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The person has not turned waking on, or has turned it off.
    Off,
    /// The person has turned it off for this agent.
    OffForAgent,
    /// No session of the agent is open.
    NoSession,
    /// Its tool cannot be woken.
    Tool(&'static str),
    /// The session has begun without what its tool needs.
    NotPrepared(&'static str),
    /// The session works.
    Working,
    /// A wake has begun.
    Begun,
    /// The last wake was a moment ago; Unix milliseconds of the end of the pause.
    TooSoon(i64),
    /// The limit of an hour is reached; Unix milliseconds of the end of that hour.
    HourLimit(i64),
    /// The limit of a chain of replies is reached.
    ChainLimit,
    /// The tool asks the person nothing in this mode, or the mode is not known: then the text is empty.
    Unattended(String),
    /// Mail waits that does not wake agents.
    NotImportant,
    /// No mail waits that the agent was not woken for.
    NoMail,
}

impl Obstacle {
    /// Returns when the obstacle is gone, Unix milliseconds; `None` if that depends on other rows.
    pub fn ends_at(&self) -> Option<i64> {
        match self {
            Self::TooSoon(at) | Self::HourLimit(at) => Some(*at),
            _ => None,
        }
    }

    /// Returns the word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Off | Self::OffForAgent => "off",
            Self::NoSession => "no_session",
            Self::Tool(_) => "tool",
            Self::NotPrepared(_) => "not_prepared",
            Self::Working => "working",
            Self::Begun => "begun",
            Self::TooSoon(_) => "too_soon",
            Self::HourLimit(_) => "hour_limit",
            Self::ChainLimit => "chain_limit",
            Self::Unattended(_) => "unattended",
            Self::NotImportant => "not_important",
            Self::NoMail => "no_mail",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("waking is off; agenthub wake important turns it on"),
            Self::OffForAgent => f.write_str("waking is off for this agent"),
            Self::NoSession => f.write_str("no session of it is open"),
            Self::Tool(reason) | Self::NotPrepared(reason) => f.write_str(reason),
            Self::Working => f.write_str("its session works and gets the mail with its next step"),
            Self::Begun => f.write_str("a wake has begun"),
            Self::TooSoon(_) => write!(f, "it was woken less than {} seconds ago", MIN_PAUSE / 1000),
            Self::HourLimit(_) => write!(f, "it was woken {MAX_AN_HOUR} times in the last hour"),
            Self::ChainLimit => write!(f, "it was woken {MAX_IN_CHAIN} times in this chain of replies"),
            Self::Unattended(mode) if mode.is_empty() => f.write_str(
                "its permission mode is not known before its first prompt: only mail from the person wakes it",
            ),
            Self::Unattended(mode) => {
                write!(
                    f,
                    "its session asks before no command ({mode}): only mail from the person wakes it"
                )
            }
            Self::NotImportant => {
                f.write_str("only mail with priority action or urgent and answers to its questions wake it")
            }
            Self::NoMail => f.write_str("no new mail waits for it"),
        }
    }
}

/// Decides whether `agent` is woken at `now`, Unix milliseconds. `reader` is one of the database at its path.
///
/// # Errors
/// A `Store…` code.
pub fn decide(reader: &Reader, agent: &str, request: Request, now: i64) -> Result<Decision> {
    let mode = match request {
        Request::Person => WakeMode::All,
        Request::Mail => {
            let rules = reader.wake_rules()?;
            match rules.mode(agent) {
                WakeMode::Off if rules.default == WakeMode::Off => return Ok(Decision::No(Obstacle::Off)),
                WakeMode::Off => return Ok(Decision::No(Obstacle::OffForAgent)),
                mode => mode,
            }
        }
    };
    let Some((session, tool)) = open_session(reader, agent)? else {
        return Ok(Decision::No(Obstacle::NoSession));
    };
    let spec = match &tool.wake {
        Ok(spec) => spec,
        Err(reason) => return Ok(Decision::No(Obstacle::Tool(reason))),
    };
    if let Some(reason) = missing_preparation(reader, spec, &session) {
        return Ok(Decision::No(Obstacle::NotPrepared(reason)));
    }
    if is_working(reader, &session)? {
        return Ok(Decision::Later(Obstacle::Working));
    }
    let wakes = reader.wakes_of_session(&session.id, now - HOUR)?;
    if wakes.iter().any(WakeRow::is_open) {
        return Ok(Decision::Later(Obstacle::Begun));
    }
    let after = match request {
        Request::Person => 0,
        Request::Mail => reader.newest_woken_mail(agent)?,
    };
    let mail = reader.waking_mail(agent, (after, mode), now, MAX_MAIL)?;
    if mail.is_empty() {
        let waits = !reader.waking_mail(agent, (after, WakeMode::All), now, 1)?.is_empty();
        let obstacle = if waits {
            Obstacle::NotImportant
        } else {
            Obstacle::NoMail
        };
        return Ok(Decision::No(obstacle));
    }
    let target = |mail: i64, chain: i64| {
        Decision::Wake(Box::new(Target {
            session: session.clone(),
            tool,
            method: spec.method,
            mail,
            chain,
        }))
    };
    let newest = mail[0].n;
    if request == Request::Person {
        return Ok(target(newest, newest));
    }
    if is_unattended(spec, &session.permission_mode) && !mail.iter().any(|mail| mail.verified) {
        return Ok(Decision::No(Obstacle::Unattended(session.permission_mode.clone())));
    }
    if let Some(obstacle) = pause(&wakes, now) {
        return Ok(Decision::Later(obstacle));
    }
    for row in &mail {
        let chain = chain_of(reader, row)?;
        if reader.wakes_in_chain(&session.id, chain)? < MAX_IN_CHAIN {
            return Ok(target(newest, chain));
        }
    }
    Ok(Decision::No(Obstacle::ChainLimit))
}

/// What is known about waking an agent with an open session.
#[derive(Debug)]
pub struct WakeState {
    /// The tool of its session.
    pub tool: &'static Integration,
    /// Whether its tool and session can be woken at all.
    pub can_be_woken: bool,
    /// Why it is not woken at this moment; `None` if it is.
    pub obstacle: Option<Obstacle>,
    /// The wakes in the last hour that count for the limit.
    pub woken_in_last_hour: usize,
}

/// Describes whether an agent can be woken. Returns `None` if it has no open session of a tool.
///
/// # Errors
/// A `Store…` code.
pub fn describe(reader: &Reader, agent: &str, now: i64) -> Result<Option<WakeState>> {
    let Some((session, tool)) = open_session(reader, agent)? else {
        return Ok(None);
    };
    let can_be_woken = match &tool.wake {
        Ok(spec) => missing_preparation(reader, spec, &session).is_none(),
        Err(_) => false,
    };
    let obstacle = match decide(reader, agent, Request::Mail, now)? {
        Decision::Wake(_) => None,
        Decision::Later(obstacle) | Decision::No(obstacle) => Some(obstacle),
    };
    let wakes = reader.wakes_of_session(&session.id, now - HOUR)?;
    Ok(Some(WakeState {
        tool,
        can_be_woken,
        obstacle,
        woken_in_last_hour: counted(&wakes, now).count(),
    }))
}

/// Returns the wakes of the last hour that count for the limits: those that the person asked for do not.
fn counted(wakes: &[WakeRow], now: i64) -> impl Iterator<Item = &WakeRow> {
    wakes
        .iter()
        .filter(move |wake| wake.counts() && wake.asked_by.is_empty() && wake.at > now - HOUR)
}

/// Returns the obstacle that the last wakes of a session are, if they are one.
fn pause(wakes: &[WakeRow], now: i64) -> Option<Obstacle> {
    let counted: Vec<&WakeRow> = counted(wakes, now).collect();
    if let Some(first) = counted.get(MAX_AN_HOUR - 1) {
        return Some(Obstacle::HourLimit(first.at + HOUR));
    }
    let last = counted.first().filter(|last| last.at > now - MIN_PAUSE)?;
    Some(Obstacle::TooSoon(last.at + MIN_PAUSE))
}

/// Returns whether the tool asks the person nothing in this mode. A mode that is not known, because no hook has named it
/// yet, may be one of those.
pub fn is_unattended(spec: &WakeSpec, mode: &str) -> bool {
    spec.unattended_modes.contains(&mode) || mode.is_empty() && !spec.unattended_modes.is_empty()
}

/// Returns the number of the mail with which the chain of replies to which `mail` belongs began: `mail` itself, unless its
/// sender wrote it after a wake and before the person's next prompt.
fn chain_of(reader: &Reader, mail: &InboxMessageRow) -> Result<i64> {
    if is_human(&mail.from_agent) {
        return Ok(mail.n);
    }
    let Some(wake) = reader.last_wake_before(&mail.from_agent, mail.created_at)? else {
        return Ok(mail.n);
    };
    let prompted_at = reader.session(&wake.session)?.and_then(|session| session.prompted_at);
    let is_prompted_since = prompted_at.is_some_and(|at| (wake.at..=mail.created_at).contains(&at));
    Ok(if is_prompted_since { mail.n } else { wake.chain })
}

/// Returns the open session of an agent with the newest event, and its tool.
pub(super) fn open_session(reader: &Reader, agent: &str) -> Result<Option<(SessionRow, &'static Integration)>> {
    let sessions = reader.sessions_of_agent(agent)?.into_iter();
    let is_open =
        |session: &SessionRow| session.ended_at.is_none() && session.process.as_ref().is_none_or(ProcessId::is_alive);
    Ok(sessions.filter(is_open).find_map(|session| {
        let tool = registry::ALL.iter().copied().find(|tool| session.is_of(tool.id))?;
        Some((session, tool))
    }))
}

/// Returns what the session lacks to be woken.
fn missing_preparation(reader: &Reader, spec: &WakeSpec, session: &SessionRow) -> Option<&'static str> {
    match spec.method {
        WakeMethod::WatchedFile(form) => (!wake_file::exists(reader.path(), &session.id)).then_some(match form {
            WatchForm::OptionalExtension(missing) => missing,
            WatchForm::Hook | WatchForm::Extension => {
                "its session has begun without waking; a session that begins now can be woken"
            }
        }),
        WakeMethod::InputFile { file, .. } => input_file(file, session)
            .is_none()
            .then_some("its session reads no prompts from a file; start it with --input-file FILE"),
        WakeMethod::Command { .. } => None,
    }
}

/// Returns the file from which the process of a session reads prompts.
pub(super) fn input_file(
    file: fn(&Process) -> Option<std::path::PathBuf>,
    session: &SessionRow,
) -> Option<std::path::PathBuf> {
    let process = session.process.as_ref()?;
    file(&Process::read(process.pid)?)
}

/// Returns whether a session works, or waits for an answer of the person.
///
/// # Errors
/// A `Store…` code.
pub fn is_working(reader: &Reader, session: &SessionRow) -> Result<bool> {
    let status = reader.task_progress(session.task())?.status;
    Ok(matches!(status.as_str(), "running" | "waiting") || reader.is_turn_open(session.task())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::wake::{begin, create, fail_overdue};
    use crate::protocol::TaskStreamEventType;
    use crate::store::{
        Author, NetworkFs, NewInboxMessage, NewTaskEvent, ReadContext, SessionEvent, WakeRules, Writer,
    };

    const AGENT: &str = "claude-s1";
    const NOW: i64 = 10 * HOUR;

    struct Database {
        _folder: tempfile::TempDir,
        writer: Writer,
    }

    impl Database {
        /// Creates a database in which important mail wakes agents, with an idle session.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Allow).unwrap();
            let this = Self {
                _folder: folder,
                writer,
            };
            this.set(WakeMode::Important);
            this.begin_session(AGENT, "default");
            this
        }

        fn set(&self, default: WakeMode) {
            let rules = WakeRules {
                default,
                ..WakeRules::default()
            };
            self.writer.set_wake_rules(&rules).unwrap();
        }

        fn begin_session(&self, agent: &str, permission_mode: &str) {
            self.writer.register_agent(agent).unwrap();
            let event = SessionEvent {
                id: agent,
                agent,
                process: None,
                terminal: None,
                permission_mode: Some(permission_mode),
                at: NOW,
            };
            self.writer.open_session(&event).unwrap();
            create(self.writer.path(), agent).unwrap();
        }

        fn send(&self, from: &str, to: &str, priority: &str) -> InboxMessageRow {
            let mail = NewInboxMessage {
                priority: Some(priority.to_owned()),
                author: if from == "human" {
                    Author::Person
                } else {
                    Author::Program
                },
                ..NewInboxMessage::new(from, to, "text")
            };
            self.writer.send(&mail).unwrap().into_row()
        }

        fn decide(&self, agent: &str, request: Request, now: i64) -> std::result::Result<i64, String> {
            match decide(&self.writer, agent, request, now).unwrap() {
                Decision::Wake(target) => Ok(target.mail),
                Decision::Later(obstacle) | Decision::No(obstacle) => Err(obstacle.word().to_owned()),
            }
        }

        /// Wakes the agent, whose session begins a turn and reads its mail.
        fn wake(&self, agent: &str, now: i64) {
            drop(begin(&self.writer, agent, Request::Mail, now).unwrap().unwrap());
            assert!(self.writer.give_wake(agent).unwrap());
            assert!(self.writer.confirm_wake(agent, now + 1).unwrap());
        }

        fn status(&self, status: &str) {
            let event = NewTaskEvent {
                task_id: AGENT.to_owned(),
                stream_type: TaskStreamEventType::STATUS,
                status: status.to_owned(),
                ..NewTaskEvent::default()
            };
            self.writer.record_task_event(&event).unwrap();
        }
    }

    fn obstacle(word: &str) -> std::result::Result<i64, String> {
        Err(word.to_owned())
    }

    #[test]
    fn important_mail_wakes_an_idle_agent_once() {
        let db = Database::new();
        let decide = |now| db.decide(AGENT, Request::Mail, now);
        assert_eq!(decide(NOW), obstacle("no_mail"));
        db.send("tester", AGENT, "info");
        assert_eq!(decide(NOW), obstacle("not_important"));
        let mail = db.send("tester", AGENT, "action");
        assert_eq!(decide(NOW), Ok(mail.n));
        let begun = begin(&db.writer, AGENT, Request::Mail, NOW).unwrap();
        assert!(begun.is_ok());
        assert_eq!(decide(NOW), obstacle("begun"));
        assert!(begin(&db.writer, AGENT, Request::Mail, NOW).unwrap().is_err());
        // A hook that fires twice gets the prompt once.
        assert!(db.writer.give_wake(AGENT).unwrap() && !db.writer.give_wake(AGENT).unwrap());
        assert!(db.writer.confirm_wake(AGENT, NOW + 5).unwrap());
        assert!(!db.writer.confirm_wake(AGENT, NOW + 6).unwrap());
        let wake = db.writer.wake_for(&mail, AGENT).unwrap().unwrap();
        assert_eq!((wake.state.as_str(), wake.ended_at), ("woken", Some(NOW + 5)));
        // The mail is still unread, and wakes no more.
        assert_eq!(decide(NOW + HOUR), obstacle("no_mail"));
    }

    #[test]
    fn each_mail_or_none_wakes_as_the_person_has_set() {
        let db = Database::new();
        let mail = db.send("tester", AGENT, "info");
        db.set(WakeMode::All);
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), Ok(mail.n));
        let mut rules = db.writer.wake_rules().unwrap();
        rules.agents.insert(AGENT.to_owned(), WakeMode::Off);
        db.writer.set_wake_rules(&rules).unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("off"));
        rules.agents.insert(AGENT.to_owned(), WakeMode::All);
        db.writer.set_wake_rules(&rules).unwrap();
        db.writer.turn_waking_off().unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("off"));
        // The person's own request needs no setting.
        assert_eq!(db.decide(AGENT, Request::Person, NOW), Ok(mail.n));
    }

    #[test]
    fn answers_to_the_agents_questions_wake_it() {
        let db = Database::new();
        let question = NewInboxMessage {
            correlation_id: Some("q1".to_owned()),
            ..NewInboxMessage::new(AGENT, "human", "May I?")
        };
        let question = db.writer.send(&question).unwrap().into_row();
        let other = NewInboxMessage {
            correlation_id: Some("q2".to_owned()),
            ..NewInboxMessage::new("tester", AGENT, "not an answer")
        };
        db.writer.send(&other).unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("not_important"));
        let context = ReadContext {
            reader: "human",
            via: "cli",
            now: NOW,
        };
        let answer = NewInboxMessage::answer(&question, "human".to_owned(), "Yes.".to_owned());
        let answer = db.writer.reply(&question, &answer, context).unwrap().into_row();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), Ok(answer.n));
    }

    #[test]
    fn working_closed_and_unknown_sessions_are_not_woken() {
        let db = Database::new();
        db.send("tester", AGENT, "urgent");
        for status in ["running", "waiting"] {
            db.status(status);
            assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("working"));
            assert_eq!(db.decide(AGENT, Request::Person, NOW), obstacle("working"));
        }
        db.status("completed");
        assert!(db.decide(AGENT, Request::Mail, NOW).is_ok());
        crate::integrations::wake::remove(db.writer.path(), AGENT);
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("not_prepared"));
        db.writer.end_session(AGENT, NOW).unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("no_session"));
        assert_eq!(db.decide("tester", Request::Mail, NOW), obstacle("no_session"));
        db.begin_session("gemini-s1", "default");
        db.send("tester", "gemini-s1", "urgent");
        assert_eq!(db.decide("gemini-s1", Request::Mail, NOW), obstacle("tool"));
    }

    #[test]
    fn session_that_asks_nothing_is_woken_only_by_the_person() {
        let db = Database::new();
        db.begin_session(AGENT, "bypassPermissions");
        db.send("tester", AGENT, "urgent");
        // The name alone proves nothing.
        let forged = NewInboxMessage {
            priority: Some("urgent".to_owned()),
            ..NewInboxMessage::new("human", AGENT, "text")
        };
        db.writer.send(&forged).unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("unattended"));
        let mail = db.send("human", AGENT, "action");
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), Ok(mail.n));
    }

    #[test]
    fn of_mail_to_all_only_the_persons_wakes() {
        let db = Database::new();
        db.send("tester", "all", "urgent");
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), obstacle("no_mail"));
        let mail = db.send("human", "all", "urgent");
        assert_eq!(db.decide(AGENT, Request::Mail, NOW), Ok(mail.n));
    }

    #[test]
    fn pause_and_limit_of_an_hour_hold() {
        let db = Database::new();
        let mut now = NOW;
        for _ in 0..MAX_AN_HOUR {
            db.send("tester", AGENT, "action");
            db.wake(AGENT, now);
            db.send("tester", AGENT, "action");
            let early = decide(&db.writer, AGENT, Request::Mail, now + MIN_PAUSE - 1).unwrap();
            let Decision::Later(found) = early else {
                panic!("{early:?}")
            };
            assert!(found.ends_at() >= Some(now + MIN_PAUSE), "{found:?}");
            now += MIN_PAUSE;
        }
        let limited = decide(&db.writer, AGENT, Request::Mail, now).unwrap();
        assert!(
            matches!(limited, Decision::Later(Obstacle::HourLimit(end)) if end == NOW + HOUR),
            "{limited:?}"
        );
        assert!(db.decide(AGENT, Request::Person, now).is_ok());
        assert!(db.decide(AGENT, Request::Mail, NOW + HOUR).is_ok());
    }

    #[test]
    fn failed_wakes_count_and_are_not_repeated() {
        let db = Database::new();
        db.send("tester", AGENT, "action");
        drop(begin(&db.writer, AGENT, Request::Mail, NOW).unwrap());
        fail_overdue(&db.writer, NOW + 30_000).unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW + 30_000), obstacle("begun"));
        fail_overdue(&db.writer, NOW + 30_001).unwrap();
        assert_eq!(db.decide(AGENT, Request::Mail, NOW + 30_001), obstacle("no_mail"));
        // The turn begins late, or much too late.
        assert!(db.writer.confirm_wake(AGENT, NOW + 40_000).unwrap());
        db.send("tester", AGENT, "action");
        drop(begin(&db.writer, AGENT, Request::Mail, NOW + HOUR).unwrap().unwrap());
        fail_overdue(&db.writer, NOW + HOUR + 30_001).unwrap();
        assert!(!db.writer.confirm_wake(AGENT, NOW + 2 * HOUR).unwrap());
        // The tool may have got the prompt.
        let wakes = db.writer.wakes_of_session(AGENT, 0).unwrap();
        assert!(wakes.iter().all(WakeRow::counts), "{wakes:?}");
    }

    #[test]
    fn cancelled_wakes_do_not_count() {
        let db = Database::new();
        db.send("tester", AGENT, "action");
        drop(begin(&db.writer, AGENT, Request::Mail, NOW).unwrap().unwrap());
        let begun = db.writer.begun_wake(AGENT).unwrap().unwrap();
        db.writer
            .cancel_wake(begun.n, "the mail was read before", NOW + 1)
            .unwrap();
        let mail = db.send("tester", AGENT, "action");
        assert_eq!(db.decide(AGENT, Request::Mail, NOW + 2), Ok(mail.n));
    }

    #[test]
    fn session_whose_mode_is_not_known_is_woken_only_by_the_person() {
        let db = Database::new();
        db.begin_session("claude-s2", "");
        db.send("tester", "claude-s2", "urgent");
        assert_eq!(db.decide("claude-s2", Request::Mail, NOW), obstacle("unattended"));
        let mail = db.send("human", "claude-s2", "action");
        assert_eq!(db.decide("claude-s2", Request::Mail, NOW), Ok(mail.n));
    }

    /// The sender may be woken again before the recipient's pause is over.
    #[test]
    fn mail_belongs_to_the_chain_of_the_wake_before_it() {
        let db = Database::new();
        let other = "claude-s2";
        db.begin_session(other, "default");
        let now = crate::protocol::now_ms();
        let first = db.send("human", AGENT, "action");
        db.wake(AGENT, now - 2000);
        let reply = db.send(AGENT, other, "action");
        db.send("human", AGENT, "action");
        // As if the next wake and the person's prompt came after the mail.
        let later = reply.created_at + 2 * MIN_PAUSE;
        db.wake(AGENT, later);
        db.writer.note_prompt(AGENT, later + 5).unwrap();
        assert_eq!(chain_of(&db.writer, &reply).unwrap(), first.n);
    }

    #[test]
    fn a_chain_of_replies_wakes_each_session_three_times() {
        let db = Database::new();
        let other = "claude-s2";
        db.begin_session(other, "default");
        let now = crate::protocol::now_ms();
        db.send("human", AGENT, "action");
        let agents = [AGENT, other].into_iter().cycle();
        for (turn, agent) in agents.clone().take(2 * MAX_IN_CHAIN).enumerate() {
            let at = now - HOUR + i64::try_from(turn).unwrap() * MIN_PAUSE;
            db.wake(agent, at);
            let next = if agent == AGENT { other } else { AGENT };
            db.send(agent, next, "action");
        }
        assert_eq!(db.decide(AGENT, Request::Mail, now), obstacle("chain_limit"));
        // Mail from outside the chain wakes it, and so does the next chain: the person has sent a prompt.
        db.writer.note_prompt(other, now).unwrap();
        let mail = db.send(other, AGENT, "action");
        assert_eq!(db.decide(AGENT, Request::Mail, now), Ok(mail.n));
    }
}
