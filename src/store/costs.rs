//! Costs for `GET /api/costs`: the sum of the differences between cumulative totals in `telemetry`.
//!
//! 1. Each instance's rows are read in order of their ids. A row adds its difference to the
//!    previous one. A total below the previous one was reset and counts from 0.
//! 2. NULL means that the total is not reported: the next value is compared with the last reported one.
//! 3. Tokens are unpriced until a later row of their instance has a cost, which covers everything
//!    up to that row. Tokens that never get a price are reported as unpriced; the cost is then a
//!    lower bound.
//!
//! Tokens in `task_stream` are the same tokens and are not added.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::connection::Reader;
use super::row_reader::RowReader;
use crate::error::Result;

/// How costs are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostsBy {
    /// The agent the instance belongs to.
    Agent,
    /// The model.
    Model,
    /// The agent's working directory.
    Workspace,
    /// The day, in this machine's time zone.
    Day,
    /// The hour, in this machine's time zone.
    Hour,
}

impl CostsBy {
    /// Returns the SQL expression for a row's group.
    fn group_expression(self) -> &'static str {
        match self {
            Self::Agent => "t.agent_id",
            Self::Model => "t.model",
            Self::Workspace => "(SELECT a.workspace FROM agents a WHERE a.id = t.agent_id)",
            Self::Day => "date(t.created_at / 1000, 'unixepoch', 'localtime')",
            Self::Hour => "strftime('%Y-%m-%d %H:00', t.created_at / 1000, 'unixepoch', 'localtime')",
        }
    }
}

/// Usage and costs of a group, or of all groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Costs {
    /// The agent, model, workspace, day (`2026-01-31`) or hour (`2026-01-31 14:00`); empty if unknown.
    pub key: String,
    /// Number of instances with rows in the period.
    pub instances: i64,
    /// Turns of the model.
    pub turns: i64,
    /// Tokens in, cached ones included.
    pub tokens_in: i64,
    /// The cached part of `tokens_in`.
    pub tokens_cached: i64,
    /// Tokens out.
    pub tokens_out: i64,
    /// US dollars; a lower bound if there are unpriced tokens.
    pub cost: f64,
    /// Tokens in and out without a known price.
    pub unpriced_tokens: i64,
    /// Unpriced tokens as a share of all tokens, from 0 to 1.
    pub unpriced_share: f64,
}

impl Costs {
    fn add(&mut self, other: &Self) {
        self.turns = self.turns.saturating_add(other.turns);
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_cached = self.tokens_cached.saturating_add(other.tokens_cached);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.cost += other.cost;
        self.unpriced_tokens = self.unpriced_tokens.saturating_add(other.unpriced_tokens);
    }

    fn set_unpriced_share(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let share = self.unpriced_tokens as f64 / self.tokens_in.saturating_add(self.tokens_out).max(1) as f64;
        self.unpriced_share = share.clamp(0.0, 1.0);
    }
}

/// The last reported totals of an instance.
#[derive(Debug, Clone, Copy, Default)]
struct LastTotals {
    turns: i64,
    tokens_in: i64,
    tokens_cached: i64,
    tokens_out: i64,
    cost: f64,
}

/// State of one instance while its rows are read.
#[derive(Default)]
struct InstanceState {
    last: LastTotals,
    /// Unpriced tokens by group; cleared when a row has a cost.
    unpriced: HashMap<String, i64>,
    /// Groups that count this instance.
    groups: Vec<String>,
}

/// Replaces the last total by `now` and returns the difference; 0 for `None`. A lower total was
/// reset and counts from 0.
fn difference<T>(last: &mut T, now: Option<T>) -> T
where
    T: Copy + Default + PartialOrd + std::ops::Sub<Output = T>,
{
    let Some(now) = now else { return T::default() };
    let before = std::mem::replace(last, now);
    if now < before { now } else { now - before }
}

impl Reader {
    /// Returns usage and costs since `since` (Unix milliseconds): each group, most expensive first
    /// (days and hours in order of time), and the total of all groups.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn costs(&self, by: CostsBy, since: i64) -> Result<(Vec<Costs>, Costs)> {
        self.snapshot(|| {
            let first = self
                .conn
                .prepare_cached("SELECT id FROM telemetry WHERE created_at >= ?1 ORDER BY id LIMIT 1")?
                .query_row([since], |row| row.get(0))
                .optional()?;
            match first {
                None => Ok((Vec::new(), Costs::default())),
                Some(first) => self.costs_from(by, since, first),
            }
        })
    }

    /// [`Reader::costs`] of the rows from `first` on. Of earlier rows only the last totals of the
    /// instances that continue are read.
    fn costs_from(&self, by: CostsBy, since: i64, first: i64) -> Result<(Vec<Costs>, Costs)> {
        let sql = format!(
            "SELECT t.instance_id, {}, t.created_at, t.turns, t.tokens_in, t.tokens_cached, t.tokens_out, t.cost, \
             t.cost_source FROM telemetry t WHERE t.id >= ?1 ORDER BY t.id",
            by.group_expression()
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([first])?;
        let mut instances: HashMap<String, InstanceState> = HashMap::new();
        let mut groups: BTreeMap<String, Costs> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let mut values = RowReader::new(row);
            let name = values.text();
            let instance = match instances.entry(name) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let last = self.totals_before(row.get_ref(0)?, first)?;
                    entry.insert(InstanceState {
                        last,
                        ..InstanceState::default()
                    })
                }
            };
            let key = values.text();
            let in_period = values.int() >= since;
            let (used, priced) = instance.read_totals(&mut values);
            let group = groups.entry(key.clone()).or_default();
            if in_period {
                group.add(&used);
            }
            if priced {
                instance.unpriced.clear();
            } else if in_period {
                *instance.unpriced.entry(key.clone()).or_default() += used.tokens_in + used.tokens_out;
            }
            if in_period && !instance.groups.contains(&key) {
                group.instances += 1;
                instance.groups.push(key);
            }
        }
        let mut total = Costs::default();
        for instance in instances.values() {
            total.instances += i64::from(!instance.groups.is_empty());
            for (key, tokens) in &instance.unpriced {
                groups.entry(key.clone()).or_default().unpriced_tokens += tokens;
            }
        }
        let mut listed = Vec::new();
        for (key, mut costs) in groups.into_iter().filter(|(_, costs)| costs.instances > 0) {
            total.add(&costs);
            costs.set_unpriced_share();
            listed.push(Costs { key, ..costs });
        }
        total.set_unpriced_share();
        if !matches!(by, CostsBy::Day | CostsBy::Hour) {
            listed.sort_by(|a, b| b.cost.total_cmp(&a.cost).then(b.tokens_in.cmp(&a.tokens_in)));
        }
        Ok((listed, total))
    }
}

impl Reader {
    /// Returns the last totals that an instance reported before the row `first`, for each column
    /// separately.
    fn totals_before(&self, instance: ValueRef<'_>, first: i64) -> Result<LastTotals> {
        let last = |column: &str, condition: &str| {
            format!(
                "coalesce((SELECT {column} FROM telemetry WHERE instance_id IS ?1 AND id < ?2 AND {condition} \
                 ORDER BY id DESC LIMIT 1), 0)"
            )
        };
        let sql = format!(
            "SELECT {}, {}, {}, {}, {}",
            last("turns", "turns IS NOT NULL"),
            last("tokens_in", "tokens_in IS NOT NULL"),
            last("tokens_cached", "tokens_cached IS NOT NULL"),
            last("tokens_out", "tokens_out IS NOT NULL"),
            last("cost", "cost IS NOT NULL AND cost_source IS NOT 'unknown'"),
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(
            statement.query_row(params![ToSqlOutput::Borrowed(instance), first], |row| {
                let mut values = RowReader::new(row);
                Ok(LastTotals {
                    turns: values.int(),
                    tokens_in: values.int(),
                    tokens_cached: values.int(),
                    tokens_out: values.int(),
                    cost: values.maybe_real().unwrap_or(0.0),
                })
            })?,
        )
    }
}

impl InstanceState {
    /// Reads a row's totals. Returns the differences to the last ones, and whether the row has a
    /// cost.
    fn read_totals(&mut self, values: &mut RowReader<'_>) -> (Costs, bool) {
        let used = Costs {
            turns: difference(&mut self.last.turns, values.maybe_int()),
            tokens_in: difference(&mut self.last.tokens_in, values.maybe_int()),
            tokens_cached: difference(&mut self.last.tokens_cached, values.maybe_int()),
            tokens_out: difference(&mut self.last.tokens_out, values.maybe_int()),
            ..Costs::default()
        };
        let cost = values.maybe_real();
        let priced = values.text() != "unknown" && cost.is_some();
        let cost = if priced {
            difference(&mut self.last.cost, cost)
        } else {
            0.0
        };
        (Costs { cost, ..used }, priced)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::super::test_support::temp_database;
    use super::*;

    fn database_with(rows: &[&str]) -> (tempfile::TempDir, Writer) {
        let (dir, writer) = temp_database();
        for row in rows {
            let sql = format!(
                "INSERT INTO telemetry(instance_id, agent_id, model, tokens_in, tokens_out, cost, created_at) VALUES({row})"
            );
            writer.conn.execute(&sql, []).unwrap();
        }
        (dir, writer)
    }

    #[test]
    fn adds_differences_and_counts_reset_totals_from_zero() {
        let (_dir, writer) = database_with(&[
            "'i', 'a', 'm', 100, 10, 1.0, 1",
            "'j', 'b', 'm', 5, 5, 0.5, 2",
            "'i', 'a', 'm', 150, 20, 1.5, 3",
            "'i', 'a', 'n', NULL, NULL, NULL, 4",
            "'i', 'a', 'n', 40, 4, 0.25, 5",
        ]);
        let (groups, total) = writer.costs(CostsBy::Agent, 0).unwrap();
        assert_eq!(groups[0].key, "a");
        assert_eq!((groups[0].tokens_in, groups[0].tokens_out), (190, 24));
        assert!((groups[0].cost - 1.75).abs() < 1e-9);
        assert_eq!((total.instances, total.tokens_in, total.unpriced_tokens), (2, 195, 0));
        let (groups, _) = writer.costs(CostsBy::Model, 4).unwrap();
        assert_eq!(groups.len(), 1);
        assert_eq!((groups[0].key.as_str(), groups[0].tokens_in), ("n", 40));
        let (_, since) = writer.costs(CostsBy::Agent, 3).unwrap();
        assert_eq!(
            since.tokens_in,
            50 + 40,
            "rows before the period are compared with and not counted"
        );
        let (hours, _) = writer.costs(CostsBy::Hour, 0).unwrap();
        assert!(hours.iter().all(|hour| hour.key.len() == "2026-01-31 14:00".len()));
        let (days, _) = writer.costs(CostsBy::Day, 0).unwrap();
        assert_eq!(days.len(), 1);
    }

    #[test]
    fn earlier_rows_affect_only_the_first_difference() {
        let mut rows = Vec::new();
        // Totals of three instances: rising, falling, NULL, with late timestamps and without a price.
        for i in 1_i64..120 {
            let number = |n: i64| {
                if n % 5 == 0 {
                    "NULL".to_owned()
                } else {
                    (n % 37 * 3).to_string()
                }
            };
            rows.push(format!(
                "'i{}', 'a{}', 'm', {}, {}, {}, {}",
                i % 3,
                i % 2,
                number(i * 7),
                number(i * 11),
                number(i * 13),
                i + (i * 17) % 23
            ));
        }
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let (_dir, writer) = database_with(&rows);
        for since in [0, 1, 30, 60, 90, 119, 500] {
            let full_scan = writer.costs_from(CostsBy::Agent, since, 0).unwrap();
            let (groups, total) = writer.costs(CostsBy::Agent, since).unwrap();
            let keys = |groups: &[Costs]| groups.iter().map(|g| (g.key.clone(), g.tokens_in)).collect::<Vec<_>>();
            assert_eq!(keys(&groups), keys(&full_scan.0), "{since}");
            assert!((total.cost - full_scan.1.cost).abs() < 1e-9, "{since}");
            assert_eq!(
                (total.tokens_in, total.tokens_out, total.instances),
                (full_scan.1.tokens_in, full_scan.1.tokens_out, full_scan.1.instances)
            );
        }
    }

    #[test]
    fn reports_tokens_without_a_price() {
        let (_dir, writer) = database_with(&[
            "'i', 'a', 'm', 100, 0, NULL, 1",
            "'i', 'a', 'm', 200, 0, 2.0, 2",
            "'i', 'a', 'm', 250, 50, NULL, 3",
            "'j', 'b', 'm', 100, 0, NULL, 4",
        ]);
        let (groups, total) = writer.costs(CostsBy::Agent, 0).unwrap();
        assert_eq!((groups[0].unpriced_tokens, groups[1].unpriced_tokens), (100, 100));
        assert!((total.unpriced_share - 200.0 / 400.0).abs() < 1e-9);
        assert!((groups[1].unpriced_share - 1.0).abs() < 1e-9);
    }
}
