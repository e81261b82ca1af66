//! Who may run at the same time.
//!
//! For: tests that take the whole machine (a storm of rows), so that they do not stretch the
//! times of others. Ordinary tests share the gate through their hubs; a storm has it alone.
//! A thread that is in may come in again, so a test may have several hubs.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    shared: usize,
    alone: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    shared: 0,
    alone: false,
});
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// How often this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// The right to run. Dropped on the thread that took it.
pub(crate) struct Pass {
    alone: bool,
}

/// Runs beside others, but not beside a storm.
pub(crate) fn shared() -> Pass {
    if DEPTH.get() == 0 {
        let mut state = wait(|state| state.alone);
        state.shared += 1;
    }
    DEPTH.set(DEPTH.get() + 1);
    Pass { alone: false }
}

/// Runs alone. To be taken before the first hub.
pub(crate) fn alone() -> Pass {
    assert_eq!(DEPTH.get(), 0, "take the gate alone before the first hub");
    let mut state = wait(|state| state.alone || state.shared > 0);
    state.alone = true;
    DEPTH.set(1);
    Pass { alone: true }
}

fn wait(closed: impl Fn(&State) -> bool) -> MutexGuard<'static, State> {
    let state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    CHANGED
        .wait_while(state, |state| closed(state))
        .unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pass {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if self.alone {
            state.alone = false;
        } else if DEPTH.get() == 0 {
            state.shared -= 1;
        }
        CHANGED.notify_all();
    }
}
