//! The tests from outside: the real binary, a real file, real writers in other processes.
//! A file per subject; `support` has the hub, the clients and the writers.

#[cfg(test)]
mod support;

#[cfg(test)]
mod claims;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod snippets;
#[cfg(test)]
mod states;
