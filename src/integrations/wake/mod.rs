//! Wakes idle sessions when mail comes.
//!
//! 1. `rules` decides, from the rows of a database, whether an agent is woken now, later or not, and why.
//! 2. `waker` looks at the agents with new mail, records a wake and starts it. The hub runs it on a thread; a command
//!    that sends mail runs it once, if no hub runs.
//! 3. The tool gets a constant prompt ([`WAKE_PROMPT`](super::spec::WAKE_PROMPT)) by its own mechanism
//!    ([`WakeMethod`](super::spec::WakeMethod)); `wake_file` is the file that tools watch. The hook of the turn delivers
//!    the mail, as in any other turn.

mod rules;
mod wake_file;
mod waker;

pub use rules::{
    Decision, MAX_AN_HOUR, MAX_IN_CHAIN, MIN_PAUSE, Obstacle, Request, WakeState, decide, describe, is_unattended,
    is_working,
};
pub use wake_file::{FILE_NAME, create, remove};
pub use waker::{BegunWake, CommandWait, PassEnd, Waker, after_sending, begin, fail_overdue, is_overdue};
