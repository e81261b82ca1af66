//! The question whether mail wakes idle agents.

use anyhow::Result;

use crate::cli::terminal;
use crate::integrations::identity;
use crate::integrations::wake::{MAX_AN_HOUR, MAX_IN_CHAIN};
use crate::store::{WakeMode, WakeRules, Writer};

/// Asks the person, unless the person has decided already. `is_agreed`: the answer is yes.
pub(super) fn ask(writer: &Writer, is_agreed: bool) -> Result<()> {
    if writer.has_wake_rules()? {
        return Ok(());
    }
    if identity::person_present().is_err() {
        return terminal::line(
            "Mail does not wake idle agents. To turn that on, in a terminal: agenthub wake important",
        );
    }
    let question = format!(
        "Wake idle agents for mail with priority action or urgent, and for answers to their questions? Each wake is a turn \
         of the model; at most {MAX_AN_HOUR} an hour and {MAX_IN_CHAIN} in a chain of replies for each session."
    );
    let default = match is_agreed || terminal::confirm_by_default(&question)? {
        true => WakeMode::Important,
        false => WakeMode::Off,
    };
    // Another command may have decided while the question was open.
    writer.atomically(|| match writer.has_wake_rules()? {
        true => Ok(()),
        false => writer.set_wake_rules(&WakeRules {
            default,
            ..WakeRules::default()
        }),
    })?;
    terminal::line(match default {
        WakeMode::Off => "Mail does not wake idle agents. To change it: agenthub wake important",
        _ => "Important mail wakes idle agents. To change it: agenthub wake all, or agenthub wake off",
    })
}
