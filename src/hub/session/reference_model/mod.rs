//! The session against a naive model: random lives of one client, and what must hold in
//! each of them.
//!
//! For: finding the gap, the repetition or the stall that nobody thought of. Agents write,
//! the client says sensible and senseless things, the driver is slow, answers come late or
//! not at all, the hub restarts, the file is pruned, put back or replaced; and in between
//! and at the end the client's frames are held against plain lists.
//! Not for: sockets, SQL or threads; those are tested from outside.
//!
//! 1. [`Deed`]s come at random; [`World`] does them, as the hub and its driver would.
//! 2. `judge` knows what may come at any moment, `follow` what of the threads subscribed
//!    to, `file` what is true.
//! 3. At the end everything is answered and time passes: then nothing may be missing.
//!
//! A life that fails is made as small as it can be, printed and kept under
//! `proptest-regressions`; what it taught belongs into `lessons`, with a name.
//! With `AGENTHUB_SOAK` there are more of them, with `AGENTHUB_TEST_LIVES` as many as it says.

mod checker;
mod client_messages;
mod file;
mod rate;
mod regressions;
mod simulator;
mod subscription_tracker;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{ConnectOptions, Framing};
use crate::config::Limits;
use crate::hub::connect_options::Streams;
use crate::hub::encoded_change::WireFormat;
use simulator::World;

/// Lives lived by an ordinary test run, and by a long one.
const LIVES: u32 = 800;
const SOAK_LIVES: u32 = 20_000;

/// The circumstances of one life.
#[derive(Debug, Clone)]
struct Setup {
    wishes: ConnectOptions,
    limits: Limits,
    /// Changes the hub remembers, hands over at a time, and messages of one page.
    tail: usize,
    feed: usize,
    page: usize,
    /// What is read for the session is read when it asks, not when it gets it.
    early: bool,
    /// Rows are shown as they are when they are read.
    as_read: bool,
}

impl Default for Setup {
    /// A client of the seed with the usual limits.
    fn default() -> Self {
        Self {
            wishes: ConnectOptions::COMPAT,
            limits: Limits::default(),
            tail: 1000,
            feed: 256,
            page: 256,
            early: false,
            as_read: false,
        }
    }
}

/// Where a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Since,
    Now,
    Start,
}

/// What an ack or a subscription names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    /// So many less than the last one the client has.
    Have(u8),
    /// So many beyond the thread's last.
    Beyond(u8),
    Zero,
    /// -1.
    LastAck,
    /// Less than that.
    Nonsense,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    // Agents.
    Post {
        thread: u8,
        count: u8,
        bytes: usize,
    },
    TouchMessage(u8),
    Retitle(u8),
    SendMail,
    TouchMail(usize),
    Report {
        instance: u8,
        count: u8,
    },
    Work,
    Agent,
    Rejected,
    // The owner.
    Prune {
        thread: u8,
        keep: usize,
    },
    PruneLog(usize),
    Spoil(u8),
    Save,
    PutBack,
    Replace,
    // The hub and the driver.
    Look,
    LoseTail,
    Restart,
    Crash,
    Warn,
    Pass(u64),
    Steps(u8),
    /// Steps until there is nothing to do, without answering what is asked.
    Turn,
    /// Looks, answers and steps until there is nothing to do.
    Run,
    Answer,
    Fail,
    AnswerLog,
    FailLog,
    // The client.
    Connect(From),
    Subscribe {
        thread: u8,
        from: Number,
        id: Option<bool>,
    },
    Unsubscribe(u8),
    Ack(u8, Number),
    Ping,
    Binary,
    Garbage(usize),
}

fn setups() -> impl Strategy<Value = Setup> {
    let wishes = (any::<[bool; 5]>(), 0..4u8, any::<bool>()).prop_map(|(streams, kind, array)| {
        let [messages, inbox, telemetry, tasks, threads] = streams;
        let chosen = Streams {
            messages,
            inbox,
            telemetry,
            tasks,
            threads,
        };
        match kind {
            0 => ConnectOptions::COMPAT,
            kind => ConnectOptions {
                streams: if kind == 1 { Streams::COMPAT } else { chosen },
                format: WireFormat::Extended,
                framing: if array { Framing::Array } else { Framing::Single },
            },
        }
    });
    let limits = (
        select(vec![1, 2, 3, 50]),
        select(vec![0, 1, 3, 20, 100]),
        select(vec![1, 2, 5, 9, 1000]),
        select(vec![1, 4, 100]),
        select(vec![2, 10]),
        select(vec![2, 20]),
        select(vec![3, 100, 100_000]),
    );
    let limits = limits.prop_map(|(batch, messages, lag, telemetry, states, arrays, inbound)| Limits {
        max_batch_size: batch,
        max_messages_per_second: messages,
        max_lag_messages: lag,
        telemetry_per_second: telemetry,
        thread_states_per_second: states,
        array_frames_per_second: arrays,
        max_events_per_second: inbound,
        ..Limits::default()
    });
    let sizes = (select(vec![0, 1, 3, 10, 1000]), 1..9usize, select(vec![1, 2, 7, 256]));
    let kinds = (any::<bool>(), any::<bool>());
    (wishes, limits, sizes, kinds).prop_map(|(wishes, limits, (tail, feed, page), (early, as_read))| Setup {
        wishes,
        limits,
        tail,
        feed,
        page,
        early,
        as_read,
    })
}

fn numbers() -> impl Strategy<Value = Number> {
    prop_oneof![
        5 => (0..6u8).prop_map(Number::Have),
        1 => (1..3u8).prop_map(Number::Beyond),
        3 => Just(Number::Zero),
        2 => Just(Number::LastAck),
        1 => Just(Number::Nonsense),
    ]
}

/// Three threads, so that things meet.
fn threads() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0u8), 3 => Just(1u8), 1 => Just(2u8)]
}

fn deeds() -> impl Strategy<Value = Deed> {
    let agents = prop_oneof![
        30 => (threads(), 1..7u8).prop_map(|(thread, count)| Deed::Post { thread, count, bytes: 5 }),
        1 => threads().prop_map(|thread| Deed::Post { thread, count: 4, bytes: 100_000 }),
        2 => threads().prop_map(Deed::TouchMessage),
        5 => threads().prop_map(Deed::Retitle),
        5 => Just(Deed::SendMail),
        5 => (0..9usize).prop_map(Deed::TouchMail),
        10 => (0..3u8, 1..4u8).prop_map(|(instance, count)| Deed::Report { instance, count }),
        4 => Just(Deed::Work),
        2 => Just(Deed::Agent),
        1 => Just(Deed::Rejected),
    ];
    let owner = prop_oneof![
        3 => (threads(), 0..6usize).prop_map(|(thread, keep)| Deed::Prune { thread, keep }),
        3 => (1..30usize).prop_map(Deed::PruneLog),
        1 => threads().prop_map(Deed::Spoil),
        2 => Just(Deed::Save),
        1 => Just(Deed::PutBack),
        1 => Just(Deed::Replace),
    ];
    let driver = prop_oneof![
        10 => Just(Deed::Look),
        2 => Just(Deed::LoseTail),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Crash),
        1 => Just(Deed::Warn),
        12 => select(vec![1, 10, 50, 100, 250, 1000, 5000]).prop_map(Deed::Pass),
        15 => (1..8u8).prop_map(Deed::Steps),
        12 => Just(Deed::Turn),
        15 => Just(Deed::Run),
        12 => Just(Deed::Answer),
        1 => Just(Deed::Fail),
        10 => Just(Deed::AnswerLog),
        1 => Just(Deed::FailLog),
    ];
    let client = prop_oneof![
        8 => select(vec![From::Since, From::Since, From::Since, From::Now, From::Start]).prop_map(Deed::Connect),
        20 => (threads(), numbers(), proptest::option::weighted(0.2, any::<bool>()))
            .prop_map(|(thread, from, id)| Deed::Subscribe { thread, from, id }),
        6 => threads().prop_map(Deed::Unsubscribe),
        20 => (threads(), numbers()).prop_map(|(thread, number)| Deed::Ack(thread, number)),
        2 => Just(Deed::Ping),
        1 => Just(Deed::Binary),
        2 => (0..client_messages::GARBAGE.len()).prop_map(Deed::Garbage),
    ];
    prop_oneof![10 => agents, 1 => owner, 12 => driver, 6 => client]
}

/// Lives a life. Panics if the session does what it must not.
fn live(setup: Setup, deeds: &[Deed]) {
    let mut world = World::new(setup);
    for deed in deeds {
        world.does(deed);
    }
    world.ends();
}

#[test]
fn a_client_of_any_kind_gets_what_is_its_due() {
    let asked = std::env::var("AGENTHUB_TEST_LIVES").ok().and_then(|n| n.parse().ok());
    let usual = if std::env::var_os("AGENTHUB_SOAK").is_some() {
        SOAK_LIVES
    } else {
        LIVES
    };
    let config = ProptestConfig {
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(asked.unwrap_or(usual))
    };
    proptest!(config, |(setup in setups(), deeds in vec(deeds(), 1..150))| live(setup, &deeds));
}
