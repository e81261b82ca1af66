//! Cursor runs the hooks in Claude Code's settings too. agenthub's hooks do nothing there.

use crate::integrations::spec::ForeignHooks;

pub(super) const FOREIGN: ForeignHooks = ForeignHooks {
    input_field: "cursor_version",
    variable: "CURSOR_VERSION",
};
