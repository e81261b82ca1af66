//! Inbox messages (mail): sending, listing, claiming, acknowledging, and delivering them to a model.

pub(super) mod addressing;
pub(super) mod claims;
pub(super) mod deliveries;
pub(super) mod list;
pub(super) mod lookup;
pub(super) mod messages;
pub(super) mod receipts;
