//! Text from and for other programs: display without hidden characters, shell quoting, JSON with
//! broken surrogate pairs, and the messages of panics. Counts and sizes for people.

pub mod lenient_json;
pub mod panic_text;
pub mod quantity;
pub mod safe_text;
pub mod shell;
