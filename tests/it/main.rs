//! Integration tests: the real binary, a real database file, writers in other processes.
//! One module per subject; `support` has the hub, the clients and the writers.

#[cfg(test)]
mod support;

#[cfg(test)]
mod agent_recordings;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod backpressure;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod contention;
#[cfg(test)]
mod crash_loop;
#[cfg(test)]
mod dashboard_live;
#[cfg(test)]
mod dashboard_suite;
#[cfg(test)]
mod database_file;
#[cfg(test)]
mod db_damage;
#[cfg(test)]
mod db_misuse;
#[cfg(test)]
mod db_replaced;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deployment_edge_cases;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod fences;
#[cfg(test)]
mod hook_delivery;
#[cfg(test)]
mod hook_spool;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod http;
#[cfg(test)]
mod http_access_control;
#[cfg(test)]
mod http_agents;
#[cfg(test)]
mod http_pagination;
#[cfg(test)]
mod http_state_changes;
#[cfg(test)]
mod http_waking;
#[cfg(test)]
mod hub_log;
#[cfg(test)]
mod init;
#[cfg(test)]
mod library;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod load;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod names;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod reading_commands;
#[cfg(test)]
mod rendered;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod route_matrix;
#[cfg(test)]
mod run_and_ingest;
#[cfg(test)]
mod schema_migration;
// The processes of other systems are not known.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod sessions;
#[cfg(test)]
mod snippets;
#[cfg(test)]
mod speaker;
#[cfg(test)]
mod system_calls;
#[cfg(test)]
mod tail;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod third_party_clients;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod unauthenticated_flood;
#[cfg(test)]
mod unread_responses;
#[cfg(test)]
mod wake_hook;
#[cfg(test)]
mod waking;
#[cfg(test)]
mod watcher;
#[cfg(test)]
mod ws_compat;
#[cfg(test)]
mod ws_malformed_input;
#[cfg(test)]
mod ws_streams;
#[cfg(test)]
mod xss;
