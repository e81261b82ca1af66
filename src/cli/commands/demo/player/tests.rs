//! The player with a clock and a stage of the tests, and the story itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::script::{Choice, Price, Script, Tool, ask, call, delegate, done, prompt, read, say, send};
use super::super::story::STORY;
use super::*;

/// A stage that keeps the rows with their times, and on which the person answers.
#[derive(Default)]
struct TestStage {
    now: Duration,
    rows: Vec<(Duration, Row)>,
    /// The answers by the key of the question, with the time at which they come.
    answers: BTreeMap<&'static str, (Duration, &'static str)>,
}

impl TestStage {
    fn with_answer(key: &'static str, at: f64, answer: &'static str) -> Self {
        Self {
            answers: [(key, (seconds(at), answer))].into(),
            ..Self::default()
        }
    }

    /// Plays `player` from the time of the stage until `end`, at exactly the times that it asks for.
    fn play(&mut self, player: &mut Player, end: f64) {
        while self.now <= seconds(end) {
            let now = self.now;
            let next = player.play(now, self).unwrap();
            assert!(next > now, "the player asks for the present");
            self.now = next;
        }
    }

    fn mail(&self) -> impl Iterator<Item = (Duration, &NewInboxMessage)> {
        self.rows.iter().filter_map(|(at, row)| match row {
            Row::Mail(mail) => Some((*at, &**mail)),
            _ => None,
        })
    }

    fn steps(&self) -> impl Iterator<Item = (Duration, &NewTaskEvent)> {
        self.rows.iter().filter_map(|(at, row)| match row {
            Row::Step(step) => Some((*at, &**step)),
            _ => None,
        })
    }

    fn texts(&self) -> Vec<&str> {
        let texts = self.steps().map(|(_, step)| step.text.as_str());
        texts.filter(|text| !text.is_empty()).collect()
    }
}

impl Stage for TestStage {
    fn write(&mut self, row: Row) -> Result<()> {
        self.rows.push((self.now, row));
        Ok(())
    }

    fn answer(&mut self, question: &str) -> Result<Option<String>> {
        let key = question.splitn(3, '-').nth(2).unwrap();
        let answer = self.answers.get(key).filter(|(at, _)| *at <= self.now);
        Ok(answer.map(|(_, answer)| (*answer).to_owned()))
    }
}

const TOOL: Tool = Tool {
    id: "tool",
    mcp_prefix: "mcp__agenthub__",
};

const fn agent(name: &'static str) -> Agent {
    let price = Price {
        input: 1.0,
        cached: 0.1,
        output: 5.0,
    };
    Agent {
        name,
        tool: &TOOL,
        model: "m",
        workspace: "/w",
        price,
    }
}

const fn mail(key: &'static str, to: &'static str) -> Mail {
    Mail {
        key,
        to,
        kind: "request",
        priority: "info",
        title: "{word}",
        text: "text",
    }
}

/// `late` gets mail before it reads it, `early` waits for mail. `asker` asks the person.
const SMALL: Story = Story {
    agents: &[agent("early"), agent("late"), agent("asker")],
    threads: &[],
    scripts: &[
        Script {
            agent: "early",
            steps: &[
                send(mail("first", "late")),
                read("second"),
                prompt("{word}"),
                say("one\n\ntwo\n\n```\na\n\nb\n```"),
                delegate("Task", "{}", "found", &[call("Read", 1.0, "{}", "inner")]),
                done(),
            ],
        },
        Script {
            agent: "late",
            steps: &[
                prompt("wait").after(20.0),
                read("first"),
                call("Bash", 8.0, "{}", "output"),
                send(mail("second", "early")).after(30.0),
                done(),
            ],
        },
        Script {
            agent: "asker",
            steps: &[
                prompt("ask"),
                ask(Question {
                    key: "deploy",
                    title: "Deploy?",
                    text: "Deploy now?",
                    permission: Some("bash"),
                    wait: 20.0,
                    choices: &[
                        Choice {
                            words: &["yes"],
                            steps: &[say("deploying")],
                        },
                        Choice {
                            words: &[],
                            steps: &[say("not sure about {answer}")],
                        },
                    ],
                    silence: &[say("went on")],
                }),
                say("end"),
                done(),
            ],
        },
    ],
    variations: &[&[("word", "apple")], &[("word", "pear")]],
};

#[test]
fn nothing_is_written_before_it_is_due() {
    let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::default());
    let next = player.play(Duration::ZERO, &mut stage).unwrap();
    assert!(stage.steps().next().is_none() && stage.mail().next().is_none());
    let count = stage.rows.len();
    let before = next - Duration::from_millis(1);
    assert_eq!(player.play(before, &mut stage).unwrap(), next);
    assert_eq!(stage.rows.len(), count);
    player.play(next, &mut stage).unwrap();
    assert!(stage.rows.len() > count);
}

#[test]
fn pauses_vary_by_a_quarter() {
    let mut times = BTreeSet::new();
    for seed in 0..20 {
        let (mut player, mut stage) = (Player::new(&SMALL, seed), TestStage::default());
        stage.play(&mut player, 60.0);
        let call = stage.steps().find(|(_, step)| step.tool_name == "Bash").unwrap().0;
        let result = stage.steps().find(|(_, step)| step.tool_output == "output").unwrap().0;
        let duration = (result - call).as_secs_f64();
        assert!((6.0..=10.0).contains(&duration), "{duration}");
        times.insert(result - call);
    }
    assert!(times.len() > 5, "{times:?}");
}

#[test]
fn mail_is_read_after_it_was_sent_whether_or_not_its_reader_waits() {
    let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::default());
    stage.play(&mut player, 100.0);
    for (key, reader) in [("first", "late"), ("second", "early")] {
        let id = format!("demo-1-{key}");
        let is_sent = |row: &Row| matches!(row, Row::Mail(mail) if mail.message_id.as_ref() == Some(&id));
        let is_read = |row: &Row| {
            *row == Row::Read {
                mail: id.clone(),
                reader,
            }
        };
        let sent = stage.rows.iter().position(|(_, row)| is_sent(row)).unwrap();
        let read = stage.rows.iter().position(|(_, row)| is_read(row)).unwrap();
        assert!(sent < read, "{key}");
    }
    // An agent with a task waits in a call, which ends with the mail.
    let calls: Vec<_> = stage
        .steps()
        .filter(|(_, step)| step.tool_name == "mcp__agenthub__check_inbox")
        .collect();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].1.tool_output.contains("demo-1-first"));
}

#[test]
fn texts_stream_in_by_paragraph_and_code_stays_together() {
    let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::default());
    stage.play(&mut player, 100.0);
    let steps = stage
        .steps()
        .filter(|(_, step)| step.agent_id == "early" && !step.text.is_empty());
    let (times, texts): (Vec<_>, Vec<_>) = steps.map(|(at, step)| (at, step.text.as_str())).unzip();
    assert_eq!(texts, ["one", "two", "```\na\n\nb\n```"]);
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn calls_of_a_subagent_name_their_parent_and_come_before_its_result() {
    let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::default());
    stage.play(&mut player, 100.0);
    let position = |name: &str, kind: Kind| {
        let mut steps = stage.steps().enumerate();
        let found = steps.find(|(_, (_, step))| step.tool_name == name && step.stream_type == kind);
        found.map(|(i, (_, step))| (i, step)).unwrap()
    };
    let (outer_call, task) = position("Task", Kind::TOOL_USE);
    let (inner_call, inner) = position("Read", Kind::TOOL_USE);
    let (inner_result, result) = position("Read", Kind::TOOL_RESULT);
    let (outer_result, _) = position("Task", Kind::TOOL_RESULT);
    assert!(outer_call < inner_call && inner_call < inner_result && inner_result < outer_result);
    assert_eq!(
        (&inner.parent_call_id, &result.parent_call_id),
        (&task.call_id, &task.call_id)
    );
}

#[test]
fn agents_react_to_the_answer_of_the_person() {
    for (answer, reaction) in [
        ("Yes, please", "deploying"),
        ("rather\nnot", "not sure about rather not"),
    ] {
        let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::with_answer("deploy", 12.0, answer));
        stage.play(&mut player, 60.0);
        let texts = stage.texts();
        assert!(texts.contains(&reaction), "{texts:?}");
        assert!(!texts.contains(&"went on"), "{texts:?}");
        assert!(texts.contains(&"end"), "{texts:?}");
        let reacted = stage
            .steps()
            .find(|(_, step)| step.tool_output.contains("answered"))
            .unwrap()
            .0;
        assert!((12.0..=13.0).contains(&reacted.as_secs_f64()), "{reacted:?}");
    }
}

#[test]
fn without_an_answer_the_agent_goes_on_and_thanks_for_a_late_one() {
    let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::with_answer("deploy", 50.0, "yes"));
    stage.play(&mut player, 45.0);
    let texts = stage.texts();
    assert!(
        texts.contains(&"went on") && texts.contains(&"end") && !texts.contains(&"deploying"),
        "{texts:?}"
    );
    let states: Vec<&str> = stage
        .steps()
        .filter(|(_, step)| step.agent_id == "asker" && !step.status.is_empty())
        .map(|(_, step)| step.status.as_str())
        .collect();
    assert_eq!(states, ["running", "waiting", "running", "completed"]);
    let thanks = |stage: &TestStage| {
        stage
            .mail()
            .filter(|(_, mail)| mail.payload.starts_with("Thank you"))
            .count()
    };
    assert_eq!(thanks(&stage), 0);
    stage.play(&mut player, 55.0);
    assert_eq!(thanks(&stage), 1);
}

#[test]
fn rounds_follow_each_other_with_other_words() {
    let (mut player, mut stage) = (Player::new(&SMALL, 1), TestStage::default());
    stage.play(&mut player, 600.0);
    let titles: Vec<_> = stage
        .mail()
        .filter(|(_, mail)| mail.from_agent == "early")
        .map(|(_, mail)| (mail.message_id.as_deref().unwrap(), mail.title.as_deref().unwrap()))
        .take(3)
        .collect();
    let words: Vec<_> = titles.iter().map(|(_, word)| *word).collect();
    assert_eq!(words[0], words[2], "{titles:?}");
    assert_ne!(words[0], words[1], "{titles:?}");
    assert_eq!(
        titles.iter().collect::<BTreeSet<_>>().len(),
        3,
        "ids are used once: {titles:?}"
    );
}

/// The rows of the first round of the story, and their times.
fn first_round(seed: u64, stage: TestStage) -> TestStage {
    let (mut player, mut stage) = (Player::new(&STORY, seed), stage);
    while player.round < 2 {
        let end = stage.now.as_secs_f64();
        stage.play(&mut player, end);
    }
    let is_second = |row: &Row| matches!(row, Row::Thread(_));
    let end = stage.rows.iter().rposition(|(_, row)| is_second(row)).unwrap() + 1 - STORY.threads.len();
    stage.rows.truncate(end);
    stage
}

#[test]
fn same_seed_writes_the_same_rows() {
    let rows = |seed| first_round(seed, TestStage::default()).rows;
    assert_eq!(rows(5), rows(5));
    assert_ne!(rows(5), rows(11));
}

#[test]
fn a_late_call_writes_the_same_rows() {
    let (mut on_time, mut late) = (TestStage::default(), TestStage::default());
    on_time.play(&mut Player::new(&STORY, 5), 100.0);
    late.now = seconds(100.0);
    Player::new(&STORY, 5).play(seconds(100.0), &mut late).unwrap();
    let rows = |stage: TestStage| stage.rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    assert_eq!(rows(on_time), rows(late));
}

#[test]
fn every_answer_leads_to_the_end_of_the_story() {
    let answers: [&[&str]; 2] = [&["yes", "no, thanks", ""], &["1", "flag", "Monday", "ask Ben", ""]];
    for disk in answers[0] {
        for release in answers[1] {
            let mut stage = TestStage::default();
            for (key, answer) in [("disk-permission", disk), ("release", release)] {
                if !answer.is_empty() {
                    stage.answers.insert(key, (Duration::ZERO, answer));
                }
            }
            let stage = first_round(7, stage);
            // The last act of every script: the person has a report, and each task has ended.
            assert!(
                stage
                    .mail()
                    .any(|(_, mail)| mail.message_id.as_deref() == Some("demo-1-report"))
            );
            let read = stage.rows.iter().filter_map(|(_, row)| match row {
                Row::Read { mail, .. } => Some(mail),
                _ => None,
            });
            let read: BTreeSet<_> = read.collect();
            for (_, mail) in stage.mail().filter(|(_, mail)| mail.to_inbox != HUMAN) {
                let id = mail.message_id.as_ref().unwrap();
                assert!(read.contains(id), "{id} is not read");
            }
            let mut states = BTreeMap::new();
            for (_, step) in stage.steps().filter(|(_, step)| !step.status.is_empty()) {
                states.insert(&step.task_id, step.status.as_str());
            }
            assert_eq!(
                states.values().filter(|state| **state == "failed").count(),
                1,
                "{states:?}"
            );
            assert!(
                states.values().all(|state| ["completed", "failed"].contains(state)),
                "{states:?}"
            );
        }
    }
}

#[test]
fn the_story_lasts_about_five_minutes_at_the_pace_of_real_agents() {
    let stage = first_round(7, TestStage::default());
    let end = stage.rows.last().unwrap().0.as_secs_f64();
    assert!((240.0..=360.0).contains(&end), "{end}");
    let mut last = BTreeMap::new();
    for (at, step) in stage.steps().filter(|(_, step)| step.stream_type == Kind::TOOL_USE) {
        if let Some(before) = last.insert(step.agent_id.as_str(), at) {
            assert!(
                at - before >= seconds(1.5),
                "{} calls {} too soon",
                step.agent_id,
                step.tool_name
            );
        }
    }
    // Something is always happening.
    let times: Vec<_> = stage.rows.iter().map(|(at, _)| *at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < seconds(15.0), "{longest:?}");
}

#[test]
fn the_story_shows_what_agenthub_is_for() {
    let stage = first_round(7, TestStage::default());
    let distinct = |values: &mut dyn Iterator<Item = &'static str>| values.collect::<BTreeSet<_>>().len();
    assert!(distinct(&mut STORY.agents.iter().map(|agent| agent.tool.id)) >= 4);
    assert_eq!(distinct(&mut STORY.agents.iter().map(|agent| agent.workspace)), 3);
    let has_mail = |wanted: &dyn Fn(&NewInboxMessage) -> bool| stage.mail().any(|(_, mail)| wanted(mail));
    assert!(has_mail(&|mail| mail.priority.as_deref() == Some("urgent")));
    assert!(has_mail(&|mail| mail.to_inbox == "all"));
    assert!(has_mail(
        &|mail| mail.to_inbox == HUMAN && mail.message_type.as_deref() == Some("request")
    ));
    assert!(has_mail(
        &|mail| mail.to_inbox == HUMAN && mail.message_type.as_deref() == Some("approval_request")
    ));
    assert!(has_mail(&|mail| ["|---|", "- [x] ", "```", "](https://"]
        .iter()
        .all(|part| mail.payload.contains(part))));
    let has_step = |wanted: &dyn Fn(&NewTaskEvent) -> bool| stage.steps().any(|(_, step)| wanted(step));
    assert!(has_step(&|step| step.tool_input.contains("\"old_string\"")));
    assert!(has_step(&|step| step.error_msg.starts_with("exit code ")));
    assert!(has_step(&|step| step.tool_output.contains("\x1b[31m")));
    assert!(has_step(&|step| step.tool_name.to_lowercase().contains("fetch")));
    assert!(has_step(&|step| step.tool_name.starts_with("mcp__github__")));
    assert!(has_step(&|step| !step.parent_call_id.is_empty()));
    let mut participants: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (_, row) in &stage.rows {
        if let Row::Post(post) = row {
            participants.entry(&post.thread_id).or_default().insert(&post.from_id);
        }
    }
    assert!(
        participants.values().any(|agents| agents.len() >= 4),
        "{participants:?}"
    );
}

#[test]
fn the_texts_of_every_round_are_complete() {
    let (mut player, mut stage) = (Player::new(&STORY, 7), TestStage::default());
    while player.round <= STORY.variations.len() {
        let end = stage.now.as_secs_f64();
        stage.play(&mut player, end);
    }
    let rows = format!("{:?}", stage.rows);
    for (name, _) in STORY.variations.iter().copied().flatten().chain(&[("answer", "")]) {
        assert!(!rows.contains(&format!("{{{name}}}")), "{{{name}}} is not replaced");
    }
    for (_, step) in stage.steps().filter(|(_, step)| step.stream_type == Kind::TOOL_USE) {
        let input: Result<Value, _> = serde_json::from_str(&step.tool_input);
        assert!(input.is_ok_and(|input| input.is_object()), "{}", step.tool_input);
    }
    for question in questions(STORY.scripts.iter().flat_map(|script| script.steps)) {
        assert!(
            question.choices.last().is_some_and(|choice| choice.words.is_empty()),
            "{}",
            question.key
        );
    }
}

fn questions(steps: impl Iterator<Item = &'static Step>) -> Vec<&'static Question> {
    let question = |step: &'static Step| match &step.act {
        Act::Ask(question) => Some(question),
        _ => None,
    };
    steps.filter_map(question).collect()
}
