//! The tests from outside: the real binary, a real file, real writers in other processes.
//! A file per subject; `support` has the hub, the clients and the writers.

#[cfg(test)]
mod support;

#[cfg(test)]
mod misuse;
#[cfg(test)]
mod siege;
#[cfg(test)]
mod upkeep;
