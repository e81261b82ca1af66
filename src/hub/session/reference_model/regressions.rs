//! What random lives have taught, each with a name.
//!
//! For: the shortest life that shows a bug that was there once.

use std::time::Duration;

use super::Deed::*;
use super::{Deed, From, Number, Setup, live};
use crate::config::Limits;
use crate::hub::connect_options::Streams;
use crate::hub::encoded_change::WireFormat;
use crate::hub::session::{Action, ConnectOptions, Framing, Now, Read, Session};
use crate::store::{MessageRow, Position, ThreadOpening, ThreadPage};

const FOLLOW: Deed = follow(0);

const fn follow(thread: u8) -> Deed {
    Subscribe {
        thread,
        from: Number::Zero,
        id: None,
    }
}

const fn post(thread: u8, count: u8) -> Deed {
    Post {
        thread,
        count,
        bytes: 5,
    }
}

fn limited(limits: Limits) -> Setup {
    Setup {
        limits,
        ..Setup::default()
    }
}

/// A client of every stream, with positions.
fn streaming() -> Setup {
    let streams = Streams {
        messages: true,
        threads: true,
        ..Streams::COMPAT
    };
    Setup {
        wishes: ConnectOptions {
            streams,
            format: WireFormat::Extended,
            framing: Framing::Single,
        },
        ..Setup::default()
    }
}

/// The number was walked past in the log before the subscription was there, and was not in
/// the file yet when that was read: nobody sent it before the next one came.
#[test]
fn a_message_that_comes_while_a_subscription_is_read_is_delivered() {
    let setup = Setup {
        early: true,
        ..Setup::default()
    };
    let up_to_date = Subscribe {
        thread: 0,
        from: Number::Beyond(0),
        id: None,
    };
    live(setup, &[post(0, 1), Run, up_to_date, Steps(1), post(0, 1), Look, Turn]);
}

/// A status that changed meanwhile was told nobody.
#[test]
fn a_title_that_changes_while_a_subscription_is_read_is_told() {
    let setup = Setup {
        early: true,
        ..Setup::default()
    };
    live(setup, &[post(0, 1), Run, FOLLOW, Steps(1), Retitle(0), Look, Turn]);
}

/// With more than the limit sent before the first ack, there was room for no message: a
/// page of none was read, and the position was called lost.
#[test]
fn a_first_ack_far_behind_pauses() {
    let limits = Limits {
        max_lag_messages: 2,
        ..Limits::default()
    };
    let setup = Setup {
        page: 5,
        ..limited(limits)
    };
    live(
        setup,
        &[
            post(0, 20),
            FOLLOW,
            Turn,
            Answer,
            Turn,
            Answer,
            Turn,
            Ack(0, Number::Have(4)),
        ],
    );
}

/// It was queued for the file while it was being read, read twice, and the second page,
/// which began before what was sent meanwhile, was taken for a lost position.
#[test]
fn a_thread_that_grows_while_it_is_read_is_read_once() {
    let grow = [post(0, 1), Look, Turn];
    let deeds = [
        vec![post(0, 9), Run, LoseTail, FOLLOW, Turn, Answer, Turn],
        grow.to_vec(),
        vec![Answer, Steps(1)],
    ];
    let deeds = [deeds.concat(), grow.to_vec(), vec![Answer, Turn]].concat();
    let setup = Setup {
        page: 4,
        ..Setup::default()
    };
    live(setup, &deeds);
}

/// Each time left a place in the queue behind.
#[test]
fn subscribing_over_and_over_fills_no_queue() {
    let limits = Limits {
        max_messages_per_second: 1,
        ..Limits::default()
    };
    let again = [FOLLOW, Turn, Answer, Turn, Unsubscribe(0)];
    live(limited(limits), &[vec![post(0, 3)], again.repeat(5)].concat());
}

/// One page of each thread was read while the frames of the first waited for their turn.
#[test]
fn one_page_is_in_hand_at_a_time() {
    let limits = Limits {
        max_messages_per_second: 3,
        max_batch_size: 1,
        ..Limits::default()
    };
    let mut deeds = vec![post(0, 9), post(1, 9), post(2, 9)];
    for n in 0..3 {
        deeds.extend([follow(n), Turn, Answer]);
    }
    deeds.extend([Turn, Answer, Pass(1000)].repeat(9));
    live(limited(limits), &deeds);
}

/// What the client had acknowledged before the goodbye was thrown away.
#[test]
fn acks_are_stored_before_the_goodbye() {
    live(
        Setup::default(),
        &[post(0, 3), Run, FOLLOW, Run, Ack(0, Number::Have(0)), Restart],
    );
}

/// Whoever came back heard the first of the states it may have missed at once, though it
/// knew a newer one.
#[test]
fn what_is_told_again_is_not_older_than_what_is_known() {
    let held_back = Report { instance: 0, count: 2 };
    let deeds = [
        held_back,
        post(0, 1),
        Run,
        Pass(100),
        Retitle(0),
        Run,
        Connect(From::Since),
    ];
    live(streaming(), &deeds);
}

/// Of two states that fell due, the first had no form, and the second was forgotten until
/// something else happened; meanwhile the wait was for a time that was past.
#[test]
fn a_thread_that_cannot_be_read_keeps_nobody_waiting() {
    let deeds = [
        post(0, 1),
        post(1, 1),
        Run,
        Spoil(0),
        post(0, 1),
        post(1, 1),
        Run,
        Pass(1000),
        Turn,
    ];
    live(streaming(), &deeds);
}

/// The next read of a thread failed after its subscriber had gone, and it was told.
#[test]
fn a_failure_is_no_news_to_whoever_has_left() {
    live(
        Setup::default(),
        &[
            post(0, 3),
            Run,
            LoseTail,
            FOLLOW,
            Turn,
            Answer,
            Turn,
            Unsubscribe(0),
            Fail,
        ],
    );
}

/// Binary frames were answered without end, whatever their rate.
#[test]
fn binary_frames_count_as_events() {
    let limits = Limits {
        max_events_per_second: 3,
        ..Limits::default()
    };
    live(limited(limits), &[Binary, Turn].repeat(9));
}

/// Somebody may prune from the middle of a thread. Only the first message of a page was
/// looked at, and the hole was passed over.
#[test]
fn a_hole_in_a_page_is_a_lost_position() {
    let now = Now {
        at: Duration::ZERO,
        wall_ms: 0,
    };
    let mut session = Session::new(ConnectOptions::COMPAT, Limits::default(), "e".into(), Position::START);
    session.feed(Vec::new());
    session.receive(now, br#"{"type":"subscribe","data":{"thread_id":"t"}}"#);
    assert!(matches!(session.step(now), Action::Read(Read::Open { .. })));
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
    let sends = |step: Action, what: &str| match step {
        Action::Send(frame) => assert!(String::from_utf8_lossy(frame.bytes()).contains(what)),
        other => panic!("{other:?}, not {what}"),
    };
    assert!(matches!(session.step(now), Action::Read(Read::Page { after: 0, .. })));
    session.read(now, page(&[1, 2, 4, 5]));
    sends(session.step(now), r#""has_more":true"#);
    assert!(matches!(session.step(now), Action::Read(Read::Page { after: 2, .. })));
    session.read(now, page(&[4, 5]));
    sends(session.step(now), "POSITION_LOST");
    assert_eq!(session.step(now), Action::Wait(None));
}

/// Not a bug that was: a thread that is paused while it waits for its turn to be read, and
/// goes on afterwards.
#[test]
fn a_thread_may_be_paused_while_it_waits_for_its_turn() {
    let limits = Limits {
        max_messages_per_second: 3,
        max_lag_messages: 2,
        ..Limits::default()
    };
    let setup = Setup {
        page: 1,
        ..limited(limits)
    };
    let some = [Turn, Answer].repeat(3);
    let rest = [
        Turn,
        Ack(0, Number::Have(1)),
        Pass(1000),
        Turn,
        Ack(0, Number::Have(0)),
        Turn,
    ];
    live(
        setup,
        &[vec![post(0, 9), FOLLOW, Turn, Answer], some, rest.to_vec()].concat(),
    );
}
