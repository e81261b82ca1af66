//! What it cost: the differences between running totals, added up.
//!
//! For: `GET /api/costs`.
//! Not for: the totals themselves (`telemetry`), and never `task_stream`'s numbers: they
//! are the same tokens seen from elsewhere.
//!
//! 1. Each instance's rows are read in the order they came. A row adds what it has more
//!    than the one before; a total that fell began anew and counts from nothing.
//! 2. A column that is NULL says nothing: the next number is compared with the last one.
//! 3. Tokens are unpriced until a row of their instance says what everything up to it
//!    cost. What never gets a price is told as such: the sum is then a lower bound.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::connection::Reader;
use super::row_reader::RowReader;
use crate::error::Result;

/// What costs are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostsBy {
    /// The agent behind the instance.
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
    /// The group a row belongs to, in SQL.
    fn group(self) -> &'static str {
        match self {
            Self::Agent => "t.agent_id",
            Self::Model => "t.model",
            Self::Workspace => "(SELECT a.workspace FROM agents a WHERE a.id = t.agent_id)",
            Self::Day => "date(t.created_at / 1000, 'unixepoch', 'localtime')",
            Self::Hour => "strftime('%Y-%m-%d %H:00', t.created_at / 1000, 'unixepoch', 'localtime')",
        }
    }
}

/// One group's costs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Costs {
    /// The agent, model, workspace, day (`2026-01-31`) or hour (`2026-01-31 14:00`); empty if unknown.
    pub key: String,
    /// Instances that used something.
    pub instances: i64,
    /// Turns of the model.
    pub turns: i64,
    /// Tokens in, cached ones included.
    pub tokens_in: i64,
    /// The cached part of them.
    pub tokens_cached: i64,
    /// Tokens out.
    pub tokens_out: i64,
    /// US dollars, as far as known.
    pub cost: f64,
    /// Tokens in and out whose price is not known.
    pub unpriced_tokens: i64,
    /// Their part of all tokens, 0 to 1.
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

    fn finish(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let share = self.unpriced_tokens as f64 / self.tokens_in.saturating_add(self.tokens_out).max(1) as f64;
        self.unpriced_share = share.clamp(0.0, 1.0);
    }
}

/// An instance's last totals.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    turns: i64,
    tokens_in: i64,
    tokens_cached: i64,
    tokens_out: i64,
    cost: f64,
}

/// One instance so far.
#[derive(Default)]
struct Instance {
    last: Totals,
    /// Unpriced tokens by group, until a price comes.
    pending: HashMap<String, i64>,
    /// Groups it is counted in.
    groups: Vec<String>,
}

/// How much more `now` is than the last total, which it replaces; `None` says nothing.
fn more<T>(last: &mut T, now: Option<T>) -> T
where
    T: Copy + Default + PartialOrd + std::ops::Sub<Output = T>,
{
    let Some(now) = now else { return T::default() };
    let before = std::mem::replace(last, now);
    if now < before { now } else { now - before }
}

impl Reader {
    /// What was used since `since` (Unix milliseconds), by `by`: the groups, dearest first
    /// (days and hours in order), and all of them together.
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

    /// As [`Reader::costs`], where no row before the row `first` counts: of those only the last
    /// totals of the instances that go on are looked up.
    fn costs_from(&self, by: CostsBy, since: i64, first: i64) -> Result<(Vec<Costs>, Costs)> {
        let sql = format!(
            "SELECT t.instance_id, {}, t.created_at, t.turns, t.tokens_in, t.tokens_cached, t.tokens_out, t.cost, \
             t.cost_source FROM telemetry t WHERE t.id >= ?1 ORDER BY t.id",
            by.group()
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([first])?;
        let mut instances: HashMap<String, Instance> = HashMap::new();
        let mut groups: BTreeMap<String, Costs> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let mut cells = RowReader::new(row);
            let name = cells.text();
            let instance = match instances.entry(name) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let last = self.totals_before(row.get_ref(0)?, first)?;
                    new.insert(Instance {
                        last,
                        ..Instance::default()
                    })
                }
            };
            let key = cells.text();
            let counts = cells.int() >= since;
            let (used, priced) = instance.take(&mut cells);
            let group = groups.entry(key.clone()).or_default();
            if counts {
                group.add(&used);
            }
            if priced {
                instance.pending.clear();
            } else if counts {
                *instance.pending.entry(key.clone()).or_default() += used.tokens_in + used.tokens_out;
            }
            if counts && !instance.groups.contains(&key) {
                group.instances += 1;
                instance.groups.push(key);
            }
        }
        let mut total = Costs::default();
        for instance in instances.values() {
            total.instances += i64::from(!instance.groups.is_empty());
            for (key, tokens) in &instance.pending {
                groups.entry(key.clone()).or_default().unpriced_tokens += tokens;
            }
        }
        let mut listed = Vec::new();
        for (key, mut costs) in groups.into_iter().filter(|(_, costs)| costs.instances > 0) {
            total.add(&costs);
            costs.finish();
            listed.push(Costs { key, ..costs });
        }
        total.finish();
        if !matches!(by, CostsBy::Day | CostsBy::Hour) {
            listed.sort_by(|a, b| b.cost.total_cmp(&a.cost).then(b.tokens_in.cmp(&a.tokens_in)));
        }
        Ok((listed, total))
    }
}

impl Reader {
    /// What an instance's rows before the row `first` said last, each column by itself.
    fn totals_before(&self, instance: ValueRef<'_>, first: i64) -> Result<Totals> {
        let last = |column: &str, said: &str| {
            format!(
                "coalesce((SELECT {column} FROM telemetry WHERE instance_id IS ?1 AND id < ?2 AND {said} \
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
                let mut cells = RowReader::new(row);
                Ok(Totals {
                    turns: cells.int(),
                    tokens_in: cells.int(),
                    tokens_cached: cells.int(),
                    tokens_out: cells.int(),
                    cost: cells.maybe_real().unwrap_or(0.0),
                })
            })?,
        )
    }
}

impl Instance {
    /// Takes a row's totals: what they are more than the last, and whether they say what
    /// everything so far cost.
    fn take(&mut self, cells: &mut RowReader<'_>) -> (Costs, bool) {
        let used = Costs {
            turns: more(&mut self.last.turns, cells.maybe_int()),
            tokens_in: more(&mut self.last.tokens_in, cells.maybe_int()),
            tokens_cached: more(&mut self.last.tokens_cached, cells.maybe_int()),
            tokens_out: more(&mut self.last.tokens_out, cells.maybe_int()),
            ..Costs::default()
        };
        let cost = cells.maybe_real();
        let priced = cells.text() != "unknown" && cost.is_some();
        let cost = if priced { more(&mut self.last.cost, cost) } else { 0.0 };
        (Costs { cost, ..used }, priced)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NetworkFs, Writer};
    use super::*;

    fn file(rows: &[&str]) -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        for row in rows {
            let sql = format!(
                "INSERT INTO telemetry(instance_id, agent_id, model, tokens_in, tokens_out, cost, created_at) VALUES({row})"
            );
            writer.conn.execute(&sql, []).unwrap();
        }
        (folder, writer)
    }

    #[test]
    fn differences_are_added_and_totals_that_fall_begin_anew() {
        let (_folder, writer) = file(&[
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
            "what came before is compared with, not counted"
        );
        let (hours, _) = writer.costs(CostsBy::Hour, 0).unwrap();
        assert!(hours.iter().all(|hour| hour.key.len() == "2026-01-31 14:00".len()));
        let (days, _) = writer.costs(CostsBy::Day, 0).unwrap();
        assert_eq!(days.len(), 1);
    }

    #[test]
    fn what_came_before_changes_nothing_but_the_first_difference() {
        let mut rows = Vec::new();
        // Totals that rise, fall, are missing, come late and have no price, of three instances.
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
        let (_folder, writer) = file(&rows);
        for since in [0, 1, 30, 60, 90, 119, 500] {
            let whole = writer.costs_from(CostsBy::Agent, since, 0).unwrap();
            let (groups, total) = writer.costs(CostsBy::Agent, since).unwrap();
            let keys = |groups: &[Costs]| groups.iter().map(|g| (g.key.clone(), g.tokens_in)).collect::<Vec<_>>();
            assert_eq!(keys(&groups), keys(&whole.0), "{since}");
            assert!((total.cost - whole.1.cost).abs() < 1e-9, "{since}");
            assert_eq!(
                (total.tokens_in, total.tokens_out, total.instances),
                (whole.1.tokens_in, whole.1.tokens_out, whole.1.instances)
            );
        }
    }

    #[test]
    fn tokens_without_a_price_are_told() {
        let (_folder, writer) = file(&[
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
