//! The tests from outside: the real binary, a real file, real writers in other processes.
//! A file per subject; `support` has the hub, the clients and the writers.

#[cfg(test)]
mod support;

#[cfg(test)]
mod claims;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod dashboard_live;
#[cfg(test)]
mod dashboard_suite;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod file;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod http;
#[cfg(test)]
mod init;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod library;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod misuse;
#[cfg(test)]
mod odd;
#[cfg(test)]
mod offers;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod replaced;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod siege;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod snippets;
#[cfg(test)]
mod states;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod system_calls;
#[cfg(test)]
mod tail;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod watching;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod xss;
