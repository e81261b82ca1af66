//! A week of finished tasks and their costs, written once before the story begins.

use super::random::Random;
use super::script::{Agent, Story};
use super::stage::Row;
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{NewTaskEvent, NewTelemetry};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Number of days before today.
const DAYS: i64 = 7;

/// The tasks of the past week.
const PROMPTS: &[&str] = &[
    "Replace the deprecated payment client",
    "Add an index for the list of orders, and measure it",
    "Write the migration guide from 2.12 to 2.13",
    "Find out why the nightly build takes twice as long",
    "Translate the checkout into French",
    "Fix the rounding of shipping to Switzerland",
    "Update the base image and rebuild all services",
    "Review the change of the session cookies",
    "Remove the feature flag of the old search",
    "Add a load test for the basket",
    "Answer the open questions of issue 398",
    "Rotate the keys of the staging database",
];

/// Returns the rows in the order of their times. The newest is older than `now` (Unix milliseconds).
pub(super) fn week(story: &Story, seed: u64, now: i64) -> Vec<Row> {
    let mut random = Random::new(seed);
    let mut rows = Vec::new();
    for days_ago in 0..=DAYS {
        for agent in story.agents {
            for _ in 0..random.between(1, 2) {
                // On the present day, the tasks have ended within the last two hours.
                let end = match days_ago {
                    0 => now - minutes(&mut random, 15, 120),
                    _ => now - days_ago * DAY - minutes(&mut random, 0, 600),
                };
                // An agent whose last task has failed needs the person; the story begins without that.
                let has_failed = days_ago > 0 && random.between(1, 9) == 1;
                task(agent, end, has_failed, &mut random, &mut rows);
            }
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn minutes(random: &mut Random, low: u32, high: u32) -> i64 {
    i64::from(random.between(low, high)) * MINUTE
}

/// Adds the rows of one task that has ended at `end`, each with its time.
fn task(agent: &Agent, end: i64, has_failed: bool, random: &mut Random, rows: &mut Vec<(i64, Row)>) {
    let id = format!("{}-{}", agent.tool.id, random.hex());
    let turns = i64::from(random.between(6, 30));
    let duration = minutes(random, 8, 45);
    let prompt = PROMPTS[random.between(0, u32::try_from(PROMPTS.len()).unwrap_or(1) - 1) as usize];
    let tokens_in = turns * i64::from(random.between(14_000, 42_000));
    let tokens_cached = tokens_in * i64::from(random.between(78, 93)) / 100;
    let tokens_out = turns * i64::from(random.between(250, 900));
    let cost = agent.price.of(tokens_in - tokens_cached, tokens_cached, tokens_out);
    let (status, telemetry_status) = match has_failed {
        true => ("failed", "error"),
        false => ("completed", "completed"),
    };
    let step = |stream_type, at| NewTaskEvent {
        task_id: id.clone(),
        stream_type,
        agent_id: agent.name.to_owned(),
        source_type: agent.tool.id.to_owned(),
        model: agent.model.to_owned(),
        workspace: agent.workspace.to_owned(),
        created_at: Some(at),
        ..NewTaskEvent::default()
    };
    let mut add_step = |at, step| rows.push((at, Row::Step(Box::new(step))));
    let begin = end - duration;
    add_step(
        begin,
        NewTaskEvent {
            status: "running".to_owned(),
            directive: prompt.to_owned(),
            directive_full: prompt.to_owned(),
            ..step(Kind::STATUS, begin)
        },
    );
    add_step(
        end,
        NewTaskEvent {
            turn_num: turns,
            tokens_in,
            tokens_out,
            cost,
            ..step(Kind::TURN_END, end)
        },
    );
    add_step(
        end,
        NewTaskEvent {
            status: status.to_owned(),
            ..step(Kind::STATUS, end)
        },
    );
    // Totals in the middle and at the end, so that the hours of a task share its costs.
    for (part, at, status) in [(2, begin + duration / 2, "running"), (1, end, telemetry_status)] {
        let totals = NewTelemetry {
            instance_id: id.clone(),
            turns: Some(turns / part),
            tokens_in: Some(tokens_in / part),
            tokens_cached: Some(tokens_cached / part),
            tokens_out: Some(tokens_out / part),
            cost: Some(if part == 1 { cost } else { cost / 2.0 }),
            cost_source: Some("reported".to_owned()),
            status: Some(status.to_owned()),
            duration_sec: Some((at - begin) / 1000),
            agent_id: Some(agent.name.to_owned()),
            model: Some(agent.model.to_owned()),
            created_at: Some(at),
            ..NewTelemetry::default()
        };
        rows.push((at, Row::Usage(Box::new(totals))));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::story::STORY;
    use super::*;

    #[test]
    fn every_agent_has_costs_on_each_day_of_the_week_and_none_in_the_future() {
        let now = 1_800_000_000_000;
        let mut found = BTreeSet::new();
        let mut last = 0;
        for row in week(&STORY, 7, now) {
            let (agent, at, cost) = match row {
                Row::Usage(totals) => (totals.agent_id.unwrap(), totals.created_at.unwrap(), totals.cost),
                Row::Step(step) => (step.agent_id, step.created_at.unwrap(), None),
                other => panic!("{other:?}"),
            };
            assert!(at >= last && at < now, "{at} after {last}");
            last = at;
            if cost.is_some_and(|cost| cost > 0.0) {
                found.insert((agent, (now - at) / DAY));
            }
        }
        for agent in STORY.agents {
            for day in 0..DAYS {
                assert!(
                    found.contains(&(agent.name.to_owned(), day)),
                    "{} {day} days ago",
                    agent.name
                );
            }
        }
    }
}
