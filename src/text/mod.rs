//! Text from and for other programs: display without hidden characters, shell quoting, JSON with
//! broken surrogate pairs, and the messages of panics.

pub mod lenient_json;
pub mod panic_text;
pub mod safe_text;
pub mod shell;
