//! Which mail wakes which agents: the person's setting, as JSON in the table `hub`.
//!
//! Only the person turns waking on. The setting has a proof, as a row that the person wrote (`proof`): without a
//! valid one, nothing wakes. Everyone may turn it off. An agent that has kept a copy of an earlier setting could write it
//! back; names in it say no more than that.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::connection::{Reader, Writer};
use super::proof::RowKind;
use crate::error::{Code, Error, Result};

/// The key of the setting.
const KEY: &str = "wake_rules";

/// Which mail wakes an idle agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WakeMode {
    /// None.
    #[default]
    Off,
    /// Mail with priority `action` or `urgent`, and answers to the agent's questions.
    Important,
    /// Each mail to the agent.
    All,
}

impl WakeMode {
    /// Returns the word in commands and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Important => "important",
            Self::All => "all",
        }
    }
}

/// The setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WakeRules {
    /// For agents without a mode. [`WakeMode::Off`] stops all agents.
    pub default: WakeMode,
    /// The modes of single agents.
    pub agents: BTreeMap<String, WakeMode>,
}

impl WakeRules {
    /// Returns the mode of an agent.
    pub fn mode(&self, agent: &str) -> WakeMode {
        match self.default {
            WakeMode::Off => WakeMode::Off,
            default => self.agents.get(agent).copied().unwrap_or(default),
        }
    }
}

/// The value in the database.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    /// [`WakeRules`] as JSON, as the person has proved it.
    rules: String,
    proof: String,
    /// Whether waking was turned off since.
    #[serde(default)]
    is_off: bool,
}

impl Reader {
    /// Returns the setting; the default, which wakes no agent, if there is none with a valid proof.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wake_rules(&self) -> Result<WakeRules> {
        Ok(self.stored_wake_rules()?.unwrap_or_default())
    }

    /// Returns whether the person has decided about waking.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn has_wake_rules(&self) -> Result<bool> {
        Ok(self.stored_wake_rules()?.is_some())
    }

    fn stored_wake_rules(&self) -> Result<Option<WakeRules>> {
        let Some(stored) = self.stored()? else {
            return Ok(None);
        };
        // Without a proof, only that it is off counts: any program may turn it off.
        let is_proved = self.proofs.verify(RowKind::WakeRules, &[&stored.rules], &stored.proof);
        let rules = serde_json::from_str::<WakeRules>(&stored.rules)
            .ok()
            .filter(|_| is_proved);
        Ok(match stored.is_off {
            true => Some(WakeRules {
                default: WakeMode::Off,
                ..rules.unwrap_or_default()
            }),
            false => rules,
        })
    }

    fn stored(&self) -> Result<Option<Stored>> {
        let value: Option<Option<Vec<u8>>> = self
            .conn
            .prepare_cached("SELECT CAST(value AS BLOB) FROM hub WHERE key = ?1")?
            .query_row([KEY], |row| row.get(0))
            .optional()?;
        Ok(value.flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

impl Writer {
    /// Stores the setting, which the person has made.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn set_wake_rules(&self, rules: &WakeRules) -> Result<()> {
        let rules = json(rules)?;
        let proof = self.proofs.make(RowKind::WakeRules, &[&rules], "")?;
        self.store_wake_rules(&Stored {
            rules,
            proof,
            is_off: false,
        })
    }

    /// Turns waking off. That needs no proof.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn turn_waking_off(&self) -> Result<()> {
        self.atomically(|| {
            let stored = self.stored()?.unwrap_or_default();
            self.store_wake_rules(&Stored { is_off: true, ..stored })
        })
    }

    fn store_wake_rules(&self, stored: &Stored) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?
            .execute([KEY, &json(stored)?])?;
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(Code::Internal, "cannot encode the setting").because(e))
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::*;

    #[test]
    fn only_a_proved_setting_wakes() {
        let (_dir, writer) = temp_database();
        assert_eq!(writer.wake_rules().unwrap(), WakeRules::default());
        assert!(!writer.has_wake_rules().unwrap());
        let rules = WakeRules {
            default: WakeMode::Important,
            agents: [("a".to_owned(), WakeMode::All), ("b".to_owned(), WakeMode::Off)].into(),
        };
        writer.set_wake_rules(&rules).unwrap();
        assert_eq!(writer.wake_rules().unwrap(), rules);
        let modes = ["a", "b", "c"].map(|agent| rules.mode(agent));
        assert_eq!(modes, [WakeMode::All, WakeMode::Off, WakeMode::Important]);
        let change = |from: &str, to: &str| {
            let sql = "UPDATE hub SET value = replace(value, ?1, ?2) WHERE key = 'wake_rules'";
            writer.conn.execute(sql, [from, to]).unwrap();
        };
        // A program changes the row.
        change("important", "all");
        assert_eq!(writer.wake_rules().unwrap(), WakeRules::default());
        change("all", "important");
        change("1..", "2..");
        assert_eq!(writer.wake_rules().unwrap(), WakeRules::default());
        writer
            .conn
            .execute("UPDATE hub SET value = x'ff' WHERE key = 'wake_rules'", [])
            .unwrap();
        assert!(!writer.has_wake_rules().unwrap());
    }

    #[test]
    fn everyone_can_turn_it_off() {
        let (_dir, writer) = temp_database();
        writer.turn_waking_off().unwrap();
        assert!(writer.has_wake_rules().unwrap());
        // What a program has written beside it does not count when the person turns it on.
        let planted = r#"{"rules":"{\"default\":\"all\",\"agents\":{\"a\":\"all\"}}","proof":"","is_off":true}"#;
        let sql = "UPDATE hub SET value = ?1 WHERE key = 'wake_rules'";
        writer.conn.execute(sql, [planted]).unwrap();
        assert_eq!(writer.wake_rules().unwrap(), WakeRules::default());
        let rules = WakeRules {
            default: WakeMode::All,
            agents: [("a".to_owned(), WakeMode::Important)].into(),
        };
        writer.set_wake_rules(&rules).unwrap();
        writer.turn_waking_off().unwrap();
        let off = writer.wake_rules().unwrap();
        assert_eq!(off.mode("a"), WakeMode::Off);
        // The modes of single agents are kept for when it is turned on again.
        assert_eq!(off.agents, rules.agents);
    }
}
