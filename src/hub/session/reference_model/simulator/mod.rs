//! The hub, its driver and the network around one session, in one thread and with a clock
//! of their own.
//!
//! For: doing what agents, the client, the hub and the network do, in any order and as
//! badly as they may. The session's own driver is `driver`.
//! Not for: judging what comes of it (`judge`).

mod driver;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::checker::Judge;
use super::client_messages::{GARBAGE, Request, Said};
use super::file::{File, LogPage, What};
use super::{Deed, From, Number, Setup};
use crate::error::Code;
use crate::hub::recent_changes::RecentChanges;
use crate::hub::session::{Now, Session};
use crate::protocol::AckEvent;
use crate::store::Position;
use driver::PendingRead;

pub(super) struct World {
    setup: Setup,
    file: File,
    saved: Option<File>,
    tail: RecentChanges,
    now: Duration,
    session: Option<Session>,
    /// Over what the session was closed by the hub, if it was.
    closed: Option<Code>,
    reading: Option<PendingRead>,
    /// What is being read of the log: after which position, and what it gave if it was read
    /// at once.
    log: Option<(Position, Option<LogPage>)>,
    log_retry: Duration,
    /// Before this a page may not be read again.
    read_retry: Duration,
    /// What the client is about to say.
    said: VecDeque<Deed>,
    /// Acks not yet in the file.
    acks: Vec<AckEvent>,
    judge: Judge,
}

fn thread(n: u8) -> String {
    format!("t{n}")
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut world = Self {
            file: File::new(1, setup.as_read),
            saved: None,
            tail: RecentChanges::new(Position::START, setup.tail),
            now: Duration::ZERO,
            session: None,
            closed: None,
            reading: None,
            log: None,
            log_retry: Duration::ZERO,
            read_retry: Duration::ZERO,
            said: VecDeque::new(),
            acks: Vec::new(),
            judge: Judge::new(setup.wishes.clone(), setup.limits.clone()),
            setup,
        };
        world.connect(From::Now);
        world
    }

    fn clock(&self) -> Now {
        Now {
            at: self.now,
            wall_ms: 0,
        }
    }

    pub(super) fn does(&mut self, deed: &Deed) {
        match *deed {
            Deed::Post {
                thread: n,
                count,
                bytes,
            } => (0..count).for_each(|_| self.file.post(&thread(n), bytes)),
            Deed::TouchMessage(n) => self.file.touch_message(&thread(n)),
            Deed::Retitle(n) => self.file.retitle(&thread(n)),
            Deed::SendMail => self.file.send_mail(),
            Deed::TouchMail(n) => self.file.touch_mail(n),
            Deed::Report { instance, count } => {
                (0..count).for_each(|_| self.file.report(&format!("p{instance}")));
            }
            Deed::Work => self.file.work(),
            Deed::Agent => self.file.note(What::Agent),
            Deed::Rejected => self.file.note(What::Rejected),
            Deed::Prune { thread: n, keep } => self.file.prune(&thread(n), keep),
            Deed::PruneLog(keep) => self.prune_log(keep),
            Deed::Spoil(n) => {
                if let Some(thread) = self.file.threads.get_mut(&thread(n)) {
                    thread.spoiled = true;
                }
            }
            Deed::Save => self.saved = Some(self.file.clone()),
            Deed::PutBack => self.put_back(),
            Deed::Replace => self.take_file(File::new(self.file.serial, self.setup.as_read)),
            Deed::Look => self.look(),
            Deed::LoseTail => self.tail = RecentChanges::new(self.tail.head(), self.setup.tail),
            Deed::Restart => self.restart(true),
            Deed::Crash => self.restart(false),
            Deed::Warn => self.warn(),
            Deed::Pass(ms) => self.now += Duration::from_millis(ms),
            Deed::Steps(count) => drop(self.steps(count.into())),
            Deed::Turn => drop(self.steps(usize::MAX)),
            Deed::Run => drop(self.run()),
            Deed::Answer => self.answer(),
            Deed::Fail => self.fail(),
            Deed::AnswerLog => self.answer_log(),
            Deed::FailLog => {
                if self.log.take().is_some() {
                    self.log_retry = self.now + Duration::from_secs(1);
                }
            }
            Deed::Connect(from) => self.connect(from),
            said => self.says(said),
        }
        self.listen();
        self.check_memory();
    }

    // ---- the client ---------------------------------------------------------------------

    fn connect(&mut self, from: From) {
        self.leave();
        let head = self.tail.head();
        let (pos, resumed, kept) = match (from, self.judge.position()) {
            (From::Since, Some(since)) => {
                let known = since.epoch == *self.file.epoch && self.file.has(since.pos);
                if !known {
                    return self.refuse();
                }
                self.judge.resumes(self.now);
                let floor = since
                    .floor
                    .map(|floor| self.file.line(floor - 1).map_or(Position::START, |line| line.pos));
                (floor.unwrap_or(since.pos), since.pos, since.pos)
            }
            (From::Start, _) if self.setup.wishes != super::ConnectOptions::COMPAT => {
                self.judge.begins(Position::START, head, self.now);
                (Position::START, Position::START, head)
            }
            _ => {
                self.judge.begins(head, head, self.now);
                (head, head, head)
            }
        };
        let mut session = self.session_at(pos);
        session.resume(resumed, kept);
        if self.setup.wishes != super::ConnectOptions::COMPAT {
            session.greet(self.clock(), "0", "me");
        }
        self.session = Some(session);
    }

    fn session_at(&self, pos: Position) -> Session {
        let Setup { wishes, limits, .. } = self.setup.clone();
        Session::new(wishes, limits, Arc::clone(&self.file.epoch), pos)
    }

    /// The client's position is not in the file: it is told so, and comes again without.
    fn refuse(&mut self) {
        let mut session = self.session_at(self.tail.head());
        session.greet(self.clock(), "0", "me");
        session.close(self.clock(), Code::PositionLost, "lost");
        self.closed = Some(Code::PositionLost);
        self.session = Some(session);
        self.judge.is_lost(self.now);
        self.steps(usize::MAX);
        assert!(self.session.is_none());
        self.connect(From::Now);
    }

    /// The connection is gone, with all that was under way.
    fn leave(&mut self) {
        self.session = None;
        self.closed = None;
        self.reading = None;
        self.log = None;
        self.read_retry = Duration::ZERO;
        self.said.clear();
    }

    fn number(&self, id: &str, number: Number) -> i64 {
        let last = self.file.threads.get(id).map_or(0, super::file::Thread::last);
        match number {
            Number::Have(less) => (self.judge.has(id) - i64::from(less)).max(0),
            Number::Beyond(more) => last + i64::from(more),
            Number::Zero => 0,
            Number::LastAck => -1,
            Number::Nonsense => -2,
        }
    }

    fn says(&mut self, deed: Deed) {
        if self.session.is_some() {
            self.said.push_back(deed);
        }
    }

    /// A deed of the client's, in its words.
    fn words(&self, deed: &Deed) -> Said {
        match *deed {
            Deed::Subscribe { thread: n, from, id } => {
                let (thread_id, from_seq) = (thread(n), self.number(&thread(n), from));
                let right = || self.file.id_at(&thread_id, from_seq).unwrap_or_default();
                let from_id = id.map(|is_right| if is_right { right() } else { "wrong".into() });
                Said::Subscribe(Request {
                    thread_id,
                    from_seq,
                    from_id,
                })
            }
            Deed::Unsubscribe(n) => Said::Unsubscribe(thread(n)),
            Deed::Ack(n, number) => Said::Ack(thread(n), self.number(&thread(n), number)),
            Deed::Binary => Said::Binary,
            Deed::Garbage(n) => Said::Garbage(GARBAGE[n].0, GARBAGE[n].1),
            _ => Said::Ping,
        }
    }

    /// The session takes what the client says, as long as it listens.
    fn listen(&mut self) {
        let now = self.clock();
        self.judge.following().at_head(self.file.head().seq);
        while self.session.as_ref().is_some_and(Session::listens) {
            let Some(deed) = self.said.pop_front() else { return };
            let said = self.words(&deed);
            let text = said.text();
            let Some(session) = &mut self.session else { return };
            match text {
                Some(text) => session.receive(now, text.as_bytes()),
                None => session.receive_binary(now),
            }
            self.judge.said(&said, now.at, &self.file, session);
            self.judge.learns_pauses(session);
        }
    }

    // ---- the hub ------------------------------------------------------------------------

    /// The looker draws what is new.
    fn look(&mut self) {
        self.flush_acks();
        let news = self.file.log_after(self.tail.head(), usize::MAX);
        let Some(news) = news else {
            // The looker's own position was pruned: it starts over.
            return self.start_over();
        };
        news.into_iter().for_each(|entry| self.tail.push(entry));
        if let Some(session) = &mut self.session {
            session.wake();
        }
    }

    fn flush_acks(&mut self) {
        for ack in self.acks.drain(..) {
            let stored = self.file.acks.entry(ack.thread_id).or_default();
            *stored = ack.ack_seq.max(*stored);
        }
    }

    /// The log is another one: positions are lost.
    fn start_over(&mut self) {
        self.tail = RecentChanges::new(self.file.head(), self.setup.tail);
        self.acks.clear();
        let now = self.clock();
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_closing()) {
            session.close(now, Code::PositionLost, "replaced");
            self.closed = Some(Code::PositionLost);
            self.judge.will_hear("POSITION_LOST", "");
        }
    }

    fn prune_log(&mut self, keep: usize) {
        let seed = self.setup.wishes == super::ConnectOptions::COMPAT;
        if seed
            || self
                .session
                .as_ref()
                .is_some_and(|session| session.pos == Position::START)
        {
            // Who is at the very start has no position that could be lost. Nobody stays
            // there for the days after which a log is pruned.
            self.settles();
        }
        self.file.prune_log(keep);
    }

    fn put_back(&mut self) {
        self.look();
        if let Some(mut saved) = self.saved.clone() {
            saved.comes_after(&self.file);
            self.take_file(saved);
        }
    }

    fn take_file(&mut self, file: File) {
        self.look();
        self.file = file;
        self.judge.forgets(&self.file);
        if !self.file.has(self.tail.head()) || self.tail.head() == Position::START {
            self.start_over();
        }
        self.tells_client_to_finish();
    }

    /// Whoever is told that the file is another one reads that and the close, and comes
    /// again: its frames before that belong to the file as it was.
    fn tells_client_to_finish(&mut self) {
        if self.session.as_ref().is_some_and(Session::is_closing) {
            self.steps(usize::MAX);
            assert!(self.session.is_none());
            self.connect(From::Since);
        }
    }

    fn restart(&mut self, graceful: bool) {
        let now = self.clock();
        if let Some(session) = self.session.as_mut().filter(|_| graceful) {
            if !session.is_closing() {
                session.close(now, Code::ShuttingDown, "going down");
                self.closed = Some(Code::ShuttingDown);
                self.judge.will_hear("SHUTTING_DOWN", "");
            }
            self.steps(usize::MAX);
            assert!(self.session.is_none());
            self.judge.has_stored_acks();
            self.flush_acks();
        }
        self.acks.clear();
        self.tail = RecentChanges::new(self.file.head(), self.setup.tail);
        self.connect(From::Since);
    }

    fn warn(&mut self) {
        let now = self.clock();
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_closing()) {
            session.warn(now, Code::StoreFull, "the disk is full");
            self.judge.will_hear("STORE_UNAVAILABLE", "");
        }
    }
}
