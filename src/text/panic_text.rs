//! The message of a panic that was caught.

use std::any::Any;

/// Returns the message of the payload that `catch_unwind` returned.
pub fn of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
