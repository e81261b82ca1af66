//! The tests that look from outside: the real binary, a real file, real clients.

fn main() {}
