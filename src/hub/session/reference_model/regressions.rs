//! The smallest cases of bugs the model has found. The comment of a test describes the bug.

use std::time::Duration;

use super::Operation::*;
use super::{Operation, SeqChoice, Setup, StreamStart, run_case};
use crate::config::Limits;
use crate::hub::connect_options::Streams;
use crate::hub::encoded_change::WireFormat;
use crate::hub::session::{Action, ConnectOptions, Framing, Now, Read, Session};
use crate::store::{MessageRow, Position, ThreadOpening, ThreadPage};

const fn subscribe(thread: u8) -> Operation {
    Subscribe {
        thread,
        from_seq: SeqChoice::Zero,
        from_id: None,
    }
}

const fn post(thread: u8, count: u8) -> Operation {
    PostMessages {
        thread,
        count,
        bytes: 5,
    }
}

fn with_limits(limits: Limits) -> Setup {
    Setup {
        limits,
        ..Setup::default()
    }
}

/// A client that gets all streams, in the extended form.
fn all_streams() -> Setup {
    let streams = Streams {
        messages: true,
        threads: true,
        ..Streams::COMPAT
    };
    Setup {
        options: ConnectOptions {
            streams,
            format: WireFormat::Extended,
            framing: Framing::Single,
        },
        ..Setup::default()
    }
}

/// The session processed the message's change before the subscription existed, and the read of the
/// start did not have the message yet. It was sent only after the next message.
#[test]
fn delivers_a_message_written_while_a_subscription_opens() {
    let setup = Setup {
        reads_on_request: true,
        ..Setup::default()
    };
    let subscribe_at_end = Subscribe {
        thread: 0,
        from_seq: SeqChoice::AboveLast(0),
        from_id: None,
    };
    run_case(
        setup,
        &[
            post(0, 1),
            RunUntilIdle,
            subscribe_at_end,
            TakeSteps(1),
            post(0, 1),
            RunChangeReader,
            StepUntilWait,
        ],
    );
}

/// A thread state that changed while the start of the subscription was read was not sent.
#[test]
fn sends_a_title_changed_while_a_subscription_opens() {
    let setup = Setup {
        reads_on_request: true,
        ..Setup::default()
    };
    run_case(
        setup,
        &[
            post(0, 1),
            RunUntilIdle,
            subscribe(0),
            TakeSteps(1),
            ChangeTitle(0),
            RunChangeReader,
            StepUntilWait,
        ],
    );
}

/// More messages than the limit were sent before the first acknowledgement. The session then read a
/// page of zero messages, and reported the position as lost.
#[test]
fn pauses_if_the_first_ack_leaves_too_many_unacknowledged() {
    let limits = Limits {
        max_lag_messages: 2,
        ..Limits::default()
    };
    let setup = Setup {
        page_rows: 5,
        ..with_limits(limits)
    };
    run_case(
        setup,
        &[
            post(0, 20),
            subscribe(0),
            StepUntilWait,
            CompleteRead,
            StepUntilWait,
            CompleteRead,
            StepUntilWait,
            Ack(0, SeqChoice::BelowReceived(4)),
        ],
    );
}

/// The thread was queued again while it was being read, and was read twice. The second page started
/// before messages sent meanwhile, and the session reported the position as lost.
#[test]
fn reads_a_thread_once_if_it_grows_during_the_read() {
    let grow = [post(0, 1), RunChangeReader, StepUntilWait];
    let operations = [
        vec![
            post(0, 9),
            RunUntilIdle,
            ClearRecentChanges,
            subscribe(0),
            StepUntilWait,
            CompleteRead,
            StepUntilWait,
        ],
        grow.to_vec(),
        vec![CompleteRead, TakeSteps(1)],
    ];
    let operations = [operations.concat(), grow.to_vec(), vec![CompleteRead, StepUntilWait]].concat();
    let setup = Setup {
        page_rows: 4,
        ..Setup::default()
    };
    run_case(setup, &operations);
}

/// Each unsubscribe left an entry in the queue of threads.
#[test]
fn repeated_subscribing_does_not_fill_the_queues() {
    let limits = Limits {
        max_messages_per_second: 1,
        ..Limits::default()
    };
    let again = [subscribe(0), StepUntilWait, CompleteRead, StepUntilWait, Unsubscribe(0)];
    run_case(with_limits(limits), &[vec![post(0, 3)], again.repeat(5)].concat());
}

/// The session read a page of each thread while the first page waited for the outbound rate.
#[test]
fn keeps_at_most_one_page_in_memory() {
    let limits = Limits {
        max_messages_per_second: 3,
        max_batch_size: 1,
        ..Limits::default()
    };
    let mut operations = vec![post(0, 9), post(1, 9), post(2, 9)];
    for n in 0..3 {
        operations.extend([subscribe(n), StepUntilWait, CompleteRead]);
    }
    operations.extend([StepUntilWait, CompleteRead, AdvanceClock(1000)].repeat(9));
    run_case(with_limits(limits), &operations);
}

/// Acknowledgements from before the close were dropped.
#[test]
fn stores_acks_before_closing() {
    run_case(
        Setup::default(),
        &[
            post(0, 3),
            RunUntilIdle,
            subscribe(0),
            RunUntilIdle,
            Ack(0, SeqChoice::BelowReceived(0)),
            Restart,
        ],
    );
}

/// After a reconnect, the first of the states to send again was sent immediately, although the
/// client had a newer one.
#[test]
fn sends_no_older_state_after_a_reconnect() {
    let two_states = AddTelemetry { instance: 0, count: 2 };
    let operations = [
        two_states,
        post(0, 1),
        RunUntilIdle,
        AdvanceClock(100),
        ChangeTitle(0),
        RunUntilIdle,
        Connect(StreamStart::ResumePosition),
    ];
    run_case(all_streams(), &operations);
}

/// Of two held-back states that were due, the first could not be encoded. The second was not sent
/// until the next event, and the session waited for a time in the past.
#[test]
fn sends_held_back_states_after_one_that_cannot_be_read() {
    let operations = [
        post(0, 1),
        post(1, 1),
        RunUntilIdle,
        MakeThreadUnreadable(0),
        post(0, 1),
        post(1, 1),
        RunUntilIdle,
        AdvanceClock(1000),
        StepUntilWait,
    ];
    run_case(all_streams(), &operations);
}

/// A page read failed after the client had unsubscribed, and the client got an error.
#[test]
fn reports_no_failed_read_after_an_unsubscribe() {
    run_case(
        Setup::default(),
        &[
            post(0, 3),
            RunUntilIdle,
            ClearRecentChanges,
            subscribe(0),
            StepUntilWait,
            CompleteRead,
            StepUntilWait,
            Unsubscribe(0),
            FailRead,
        ],
    );
}

/// The inbound rate did not apply to binary frames: each got a reply.
#[test]
fn counts_binary_frames_toward_the_inbound_rate() {
    let limits = Limits {
        max_events_per_second: 3,
        ..Limits::default()
    };
    run_case(with_limits(limits), &[SendBinaryFrame, StepUntilWait].repeat(9));
}

/// Messages can be deleted from the middle of a thread. The session checked only the number of a
/// page's first message, and skipped the gap.
#[test]
fn reports_a_gap_in_a_page_as_a_lost_position() {
    let now = Now {
        at: Duration::ZERO,
        wall_ms: 0,
    };
    let mut session = Session::new(ConnectOptions::COMPAT, Limits::default(), "e".into(), Position::START);
    session.feed(Vec::new());
    session.receive(now, br#"{"type":"subscribe","data":{"thread_id":"t"}}"#);
    assert!(matches!(session.next_action(now), Action::Read(Read::Open { .. })));
    session.opened(
        now,
        &ThreadOpening {
            first_seq: 1,
            last_seq: 5,
            ..ThreadOpening::default()
        },
    );
    let page = |seqs: &[i64]| ThreadPage {
        messages: seqs
            .iter()
            .map(|seq| MessageRow {
                message_seq: *seq,
                ..MessageRow::default()
            })
            .collect(),
        has_more: false,
    };
    let assert_sends = |action: Action, expected: &str| match action {
        Action::Send(frame) => assert!(String::from_utf8_lossy(frame.bytes()).contains(expected)),
        other => panic!("{other:?} does not send {expected}"),
    };
    assert!(matches!(
        session.next_action(now),
        Action::Read(Read::Page { after: 0, .. })
    ));
    session.read(now, page(&[1, 2, 4, 5]));
    assert_sends(session.next_action(now), r#""has_more":true"#);
    assert!(matches!(
        session.next_action(now),
        Action::Read(Read::Page { after: 2, .. })
    ));
    session.read(now, page(&[4, 5]));
    assert_sends(session.next_action(now), "POSITION_LOST");
    assert_eq!(session.next_action(now), Action::Wait(None));
}

/// Not a former bug: a thread is paused while it is queued for a read, and continues afterwards.
#[test]
fn continues_a_thread_paused_while_queued_for_a_read() {
    let limits = Limits {
        max_messages_per_second: 3,
        max_lag_messages: 2,
        ..Limits::default()
    };
    let setup = Setup {
        page_rows: 1,
        ..with_limits(limits)
    };
    let some = [StepUntilWait, CompleteRead].repeat(3);
    let rest = [
        StepUntilWait,
        Ack(0, SeqChoice::BelowReceived(1)),
        AdvanceClock(1000),
        StepUntilWait,
        Ack(0, SeqChoice::BelowReceived(0)),
        StepUntilWait,
    ];
    run_case(
        setup,
        &[
            vec![post(0, 9), subscribe(0), StepUntilWait, CompleteRead],
            some,
            rest.to_vec(),
        ]
        .concat(),
    );
}

/// Rows pruned while a stream with `since=0` was being sent were missing without notice.
#[test]
fn reports_rows_pruned_during_a_stream_from_the_oldest_row() {
    let setup = Setup {
        recent_rows: 0,
        feed_rows: 1,
        ..all_streams()
    };
    let operations = [
        post(0, 3),
        RunChangeReader,
        Connect(StreamStart::Oldest),
        StepUntilWait,
        CompleteLogRead,
        StepUntilWait,
        CompleteLogRead,
        StepUntilWait,
        PruneRows { thread: 0, keep: 1 },
        RunUntilIdle,
    ];
    run_case(setup, &operations);
}

/// A stream with `since=0` was closed when its position was pruned from the change log.
#[test]
fn continues_a_stream_from_the_oldest_row_after_its_position_was_pruned() {
    let setup = Setup {
        recent_rows: 0,
        feed_rows: 1,
        ..all_streams()
    };
    let operations = [
        post(0, 6),
        RunChangeReader,
        Connect(StreamStart::Oldest),
        StepUntilWait,
        CompleteLogRead,
        StepUntilWait,
        CompleteLogRead,
        StepUntilWait,
        PruneChangeLog(2),
        RunUntilIdle,
    ];
    run_case(setup, &operations);
}

/// A client that resumed at the position before the first change was not told that changes after it
/// were pruned from the log.
#[test]
fn reports_a_pruned_log_to_a_client_that_resumes_before_the_first_change() {
    let setup = Setup {
        recent_rows: 0,
        ..all_streams()
    };
    let operations = [
        StepUntilWait,
        post(0, 4),
        RunChangeReader,
        PruneChangeLog(1),
        Connect(StreamStart::ResumePosition),
    ];
    run_case(setup, &operations);
}
