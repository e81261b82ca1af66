//! The handlers of the HTTP API, one file per resource. `router.rs` lists their paths.

pub(super) mod agents;
pub(super) mod assets;
pub(super) mod inbox;
pub(super) mod metrics;
pub(super) mod rendered;
pub(super) mod search;
pub(super) mod sessions;
pub(super) mod snippets;
pub(super) mod status;
pub(super) mod tasks;
pub(super) mod telemetry;
pub(super) mod threads;
pub(super) mod wake;
