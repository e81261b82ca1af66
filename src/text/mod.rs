//! Text from and for other programs: display without hidden characters, shell quoting, and
//! JSON with broken surrogate pairs.

pub mod lenient_json;
pub mod safe_text;
pub mod shell;
