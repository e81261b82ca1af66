//! Property-based test of the session state machine, against a naive model of the database.
//!
//! A case is one random [`Setup`] and a list of random [`Operation`]s for one client:
//!
//! 1. [`Simulator`] carries the operations out, in one thread and with a simulated clock: rows are
//!    written, read late or not at all, pruned and restored, the hub restarts, and the client sends
//!    valid and invalid events. It drives the session as `server::websocket::connection` does.
//! 2. [`database`] holds all rows and the change log as plain lists, without bounds.
//! 3. [`checker`] compares every frame with these lists: the row must be the next one due, at an
//!    allowed rate and with a correct position. [`subscription_tracker`] does so for subscriptions.
//! 4. At the end all reads complete and the clock advances: then the client must have every row that is
//!    due.
//!
//! The test prints a failing case in its smallest form and stores its seed in
//! `proptest-regressions/hub/session/reference_model/mod.txt`. Stored seeds run first in each later
//! run, as long as the strategies below draw the same values in the same order. To keep a case
//! permanently, copy the printed operations to a named test in [`regressions`]. `AGENTHUB_SOAK` runs
//! more cases, `AGENTHUB_TEST_CASES` sets their number. Sockets, SQL and threads are tested in
//! `tests/it`.

mod checker;
mod client_messages;
mod database;
mod rate_checker;
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
use simulator::Simulator;

/// Number of cases of a normal test run.
const CASES: u32 = 800;
/// Number of cases of a soak run.
const SOAK_CASES: u32 = 20_000;

/// The fixed parameters of one case.
#[derive(Debug, Clone)]
struct Setup {
    options: ConnectOptions,
    limits: Limits,
    /// Number of changes the hub keeps in memory.
    recent_rows: usize,
    /// Maximum number of changes passed to the session at a time.
    feed_rows: usize,
    /// Maximum number of messages of one page.
    page_rows: usize,
    /// A read returns the rows as of when the session requests it, not as of when it completes.
    reads_on_request: bool,
    /// See [`Database::returns_current_rows`](database::Database::returns_current_rows).
    returns_current_rows: bool,
}

impl Default for Setup {
    /// A client in the compatible form, with the default limits.
    fn default() -> Self {
        Self {
            options: ConnectOptions::COMPAT,
            limits: Limits::default(),
            recent_rows: 1000,
            feed_rows: 256,
            page_rows: 256,
            reads_on_request: false,
            returns_current_rows: false,
        }
    }
}

/// The start of a new connection's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamStart {
    /// After the client's resume position; at the head if it has none.
    ResumePosition,
    Head,
    /// With the oldest change kept. A client in the compatible form starts at the head.
    Oldest,
}

/// The `message_seq` in an `ack` or a `subscribe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeqChoice {
    /// This many below the last one the client received, but at least 0.
    BelowReceived(u8),
    /// This many above the last one of the thread.
    AboveLast(u8),
    Zero,
    /// -1: the last acknowledgement.
    LastAck,
    /// -2.
    Invalid,
}

/// One step of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    // Rows written by agents.
    PostMessages {
        thread: u8,
        count: u8,
        bytes: usize,
    },
    UpdateMessage(u8),
    ChangeTitle(u8),
    AddInboxMessage,
    UpdateInboxMessage(usize),
    AddTelemetry {
        instance: u8,
        count: u8,
    },
    AddTaskEvent,
    AddAgent,
    AddUnreadableRow,
    // Maintenance of the database.
    PruneRows {
        thread: u8,
        keep: usize,
    },
    PruneChangeLog(usize),
    MakeThreadUnreadable(u8),
    BackUp,
    RestoreBackup,
    ReplaceDatabase,
    // The hub and the driver of the session.
    RunChangeReader,
    ClearRecentChanges,
    Restart,
    Crash,
    Warn,
    /// Milliseconds.
    AdvanceClock(u64),
    TakeSteps(u8),
    /// Steps until the session waits. Reads do not complete.
    StepUntilWait,
    /// Runs the change reader, completes reads and steps until nothing is left to do.
    RunUntilIdle,
    CompleteRead,
    FailRead,
    CompleteLogRead,
    FailLogRead,
    // The client.
    Connect(StreamStart),
    Subscribe {
        thread: u8,
        from_seq: SeqChoice,
        /// Whether the `from_id` is the right one; `None` for no `from_id`.
        from_id: Option<bool>,
    },
    Unsubscribe(u8),
    Ack(u8, SeqChoice),
    Ping,
    SendBinaryFrame,
    /// Index in [`client_messages::INVALID_FRAMES`].
    SendInvalidFrame(usize),
}

fn setups() -> impl Strategy<Value = Setup> {
    let options = (any::<[bool; 5]>(), 0..4u8, any::<bool>()).prop_map(|(streams, kind, array)| {
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
    let read_modes = (any::<bool>(), any::<bool>());
    (options, limits, sizes, read_modes).prop_map(|(options, limits, sizes, read_modes)| {
        let (recent_rows, feed_rows, page_rows) = sizes;
        let (reads_on_request, returns_current_rows) = read_modes;
        Setup {
            options,
            limits,
            recent_rows,
            feed_rows,
            page_rows,
            reads_on_request,
            returns_current_rows,
        }
    })
}

fn seq_choices() -> impl Strategy<Value = SeqChoice> {
    prop_oneof![
        5 => (0..6u8).prop_map(SeqChoice::BelowReceived),
        1 => (1..3u8).prop_map(SeqChoice::AboveLast),
        3 => Just(SeqChoice::Zero),
        2 => Just(SeqChoice::LastAck),
        1 => Just(SeqChoice::Invalid),
    ]
}

/// Only three threads, so that operations often concern the same one.
fn threads() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0u8), 3 => Just(1u8), 1 => Just(2u8)]
}

fn operations() -> impl Strategy<Value = Operation> {
    let agents = prop_oneof![
        30 => (threads(), 1..7u8).prop_map(|(thread, count)| Operation::PostMessages { thread, count, bytes: 5 }),
        1 => threads().prop_map(|thread| Operation::PostMessages { thread, count: 4, bytes: 100_000 }),
        2 => threads().prop_map(Operation::UpdateMessage),
        5 => threads().prop_map(Operation::ChangeTitle),
        5 => Just(Operation::AddInboxMessage),
        5 => (0..9usize).prop_map(Operation::UpdateInboxMessage),
        10 => (0..3u8, 1..4u8).prop_map(|(instance, count)| Operation::AddTelemetry { instance, count }),
        4 => Just(Operation::AddTaskEvent),
        2 => Just(Operation::AddAgent),
        1 => Just(Operation::AddUnreadableRow),
    ];
    let maintenance = prop_oneof![
        3 => (threads(), 0..6usize).prop_map(|(thread, keep)| Operation::PruneRows { thread, keep }),
        3 => (1..30usize).prop_map(Operation::PruneChangeLog),
        1 => threads().prop_map(Operation::MakeThreadUnreadable),
        2 => Just(Operation::BackUp),
        1 => Just(Operation::RestoreBackup),
        1 => Just(Operation::ReplaceDatabase),
    ];
    let hub = prop_oneof![
        10 => Just(Operation::RunChangeReader),
        2 => Just(Operation::ClearRecentChanges),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Crash),
        1 => Just(Operation::Warn),
        12 => select(vec![1, 10, 50, 100, 250, 1000, 5000]).prop_map(Operation::AdvanceClock),
        15 => (1..8u8).prop_map(Operation::TakeSteps),
        12 => Just(Operation::StepUntilWait),
        15 => Just(Operation::RunUntilIdle),
        12 => Just(Operation::CompleteRead),
        1 => Just(Operation::FailRead),
        10 => Just(Operation::CompleteLogRead),
        1 => Just(Operation::FailLogRead),
    ];
    let starts = vec![
        StreamStart::ResumePosition,
        StreamStart::ResumePosition,
        StreamStart::ResumePosition,
        StreamStart::Head,
        StreamStart::Oldest,
    ];
    let client = prop_oneof![
        8 => select(starts).prop_map(Operation::Connect),
        20 => (threads(), seq_choices(), proptest::option::weighted(0.2, any::<bool>()))
            .prop_map(|(thread, from_seq, from_id)| Operation::Subscribe { thread, from_seq, from_id }),
        6 => threads().prop_map(Operation::Unsubscribe),
        20 => (threads(), seq_choices()).prop_map(|(thread, seq)| Operation::Ack(thread, seq)),
        2 => Just(Operation::Ping),
        1 => Just(Operation::SendBinaryFrame),
        2 => (0..client_messages::INVALID_FRAMES.len()).prop_map(Operation::SendInvalidFrame),
    ];
    prop_oneof![10 => agents, 1 => maintenance, 12 => hub, 6 => client]
}

/// Runs one case. Panics if the session violates a property.
fn run_case(setup: Setup, operations: &[Operation]) {
    let mut simulator = Simulator::new(setup);
    for operation in operations {
        simulator.apply(operation);
    }
    simulator.finish();
}

#[test]
fn delivers_every_due_row_once_under_random_operations() {
    let requested = std::env::var("AGENTHUB_TEST_CASES").ok().and_then(|n| n.parse().ok());
    let default = if std::env::var_os("AGENTHUB_SOAK").is_some() {
        SOAK_CASES
    } else {
        CASES
    };
    let config = ProptestConfig {
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(requested.unwrap_or(default))
    };
    proptest!(config, |(setup in setups(), operations in vec(operations(), 1..150))| run_case(setup, &operations));
}
