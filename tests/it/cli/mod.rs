//! The command line: what commands do (`behaviour`), print (`output`), and refuse (`errors`).

mod behaviour;
mod errors;
mod output;
