//! The tests from outside: the real binary, a real file, real writers in other processes.
//! A file per subject; `support` has the hub, the clients and the writers.

#[cfg(test)]
#[expect(dead_code, unused_imports, reason = "other subjects use the rest")]
mod support;

#[cfg(test)]
mod init;
#[cfg(test)]
mod vendors;
