//! Plays a story: decides which row is written at which time. It has no clock and no database; the caller passes
//! both.
//!
//! 1. Each script has a queue of acts, and the time at which the first of them is due. The earliest act of all
//!    scripts is played first, and its times follow from its own due time, not from the time of the call. So the
//!    same seed writes the same rows in the same order, unless the person answers.
//! 2. A script that waits for mail has no due time until the mail is sent.
//! 3. A round ends when every script has ended. The next one follows after a pause, with another variation.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::random::Random;
use super::script::{Act, Agent, Call, Mail, Question, Step, Story};
use super::stage::{Row, Stage};
use crate::config::HUMAN;
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{AgentState, NewInboxMessage, NewMessage, NewTaskEvent, NewTelemetry, NewThread};

/// Seconds between two rounds.
const ROUND_PAUSE: f64 = 12.0;
/// Seconds between two looks for an answer of the person.
const ANSWER_INTERVAL: f64 = 0.5;
/// Seconds between the sending of mail and its recipient's reaction.
const DELIVERY: f64 = 1.5;
/// Characters a second of a text that streams in.
const CHARS_PER_SECOND: f64 = 70.0;
/// Maximum number of questions whose late answer is still looked for.
const MAX_LATE: usize = 8;

/// Maximum number of characters of an answer that an agent repeats.
const MAX_QUOTE: usize = 200;
/// Maximum number of characters of a prompt's short form.
const MAX_TITLE: usize = 200;

/// A story while it is played. All times are since its start.
pub(super) struct Player {
    story: &'static Story,
    random: Random,
    /// Rounds that have begun.
    round: usize,
    /// The variation of the first round.
    first_variation: usize,
    /// The keys of mail that was sent and of agents that have failed, in this round.
    happened: HashSet<&'static str>,
    tracks: Vec<Track>,
    /// The time of the last act.
    last: Duration,
    /// Questions that the agents no longer wait for.
    late: VecDeque<LateQuestion>,
    /// The next look for late answers.
    late_due: Duration,
}

/// A script while it is played.
struct Track {
    agent: &'static Agent,
    /// When the first item of the queue is due; `None` while it waits for mail, and at the end.
    due: Option<Duration>,
    queue: VecDeque<Item>,
    task: Option<Task>,
    /// The person's last answer to the agent.
    answer: String,
}

/// An act, or the rest of one.
struct Item {
    /// Seconds after the item before.
    pause: f64,
    work: Work,
}

enum Work {
    Act {
        act: &'static Act,
        /// The call of the subagent that acts.
        parent: String,
    },
    Paragraph(String),
    Result {
        call: OpenCall,
        output: String,
        error: &'static str,
    },
    Waiting(Waiting),
    Asking(Asking),
}

/// Waits for mail or a failure.
struct Waiting {
    key: &'static str,
    is_mail: bool,
    /// The open call that waits, if the agent has a task.
    call: Option<OpenCall>,
}

/// Waits for the answer of the person until the deadline.
struct Asking {
    question: &'static Question,
    message_id: String,
    call: OpenCall,
    deadline: Duration,
}

/// A call without a result.
#[derive(Clone)]
struct OpenCall {
    id: String,
    parent: String,
    tool: String,
}

/// A task that an agent works on.
struct Task {
    id: String,
    turns: i64,
    is_turn_open: bool,
    calls: u32,
    tokens_in: i64,
    tokens_cached: i64,
    tokens_out: i64,
    cost: f64,
    /// Characters that the model has written in this turn.
    written: usize,
    began: Duration,
}

struct LateQuestion {
    agent: &'static str,
    message_id: String,
    title: String,
}

impl Player {
    pub(super) fn new(story: &'static Story, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let last_variation = u32::try_from(story.variations.len().saturating_sub(1)).unwrap_or(0);
        Self {
            story,
            round: 0,
            first_variation: random.between(0, last_variation) as usize,
            random,
            happened: HashSet::new(),
            tracks: Vec::new(),
            last: Duration::ZERO,
            late: VecDeque::new(),
            late_due: Duration::ZERO,
        }
    }

    /// Plays everything that is due at `now`. Returns the time of the next act.
    ///
    /// # Errors
    /// Those of the stage.
    pub(super) fn play(&mut self, now: Duration, stage: &mut impl Stage) -> Result<Duration> {
        self.thank_for_late_answers(now, stage)?;
        loop {
            let tracks = self.tracks.iter().enumerate();
            let next = tracks.filter_map(|(i, track)| track.due.map(|due| (due, i))).min();
            let due = match next {
                Some((due, _)) => due,
                None if self.round == 0 => Duration::ZERO,
                None => self.last + seconds(ROUND_PAUSE),
            };
            if due > now {
                return Ok(if self.late.is_empty() {
                    due
                } else {
                    due.min(self.late_due)
                });
            }
            self.last = due;
            match next {
                Some((_, i)) => self.play_next_of(i, due, stage)?,
                None => self.begin_round(due, stage)?,
            }
        }
    }

    fn begin_round(&mut self, now: Duration, stage: &mut impl Stage) -> Result<()> {
        self.round += 1;
        self.happened.clear();
        self.tracks.clear();
        for (id, title) in self.story.threads {
            stage.write(Row::Thread(NewThread {
                id: self.text(id),
                title: Some(self.text(title)),
                ..NewThread::default()
            }))?;
        }
        for agent in self.story.agents {
            let state = AgentState {
                status: Some("idle".to_owned()),
                workspace: Some(agent.workspace.to_owned()),
                ..AgentState::default()
            };
            stage.write(Row::Agent(agent.name, state))?;
        }
        for script in self.story.scripts {
            let Some(agent) = self.story.agents.iter().find(|agent| agent.name == script.agent) else {
                anyhow::bail!("the story has no agent {}", script.agent);
            };
            let mut track = Track {
                agent,
                due: None,
                queue: items(script.steps, "").collect(),
                task: None,
                answer: String::new(),
            };
            track.schedule(now, &mut self.random);
            self.tracks.push(track);
        }
        Ok(())
    }

    /// Plays the first item of a script, and schedules the next one.
    fn play_next_of(&mut self, i: usize, now: Duration, stage: &mut impl Stage) -> Result<()> {
        let Some(item) = self.tracks[i].queue.pop_front() else {
            self.tracks[i].due = None;
            return Ok(());
        };
        // An act that waits is put back without a due time.
        let is_waiting = match item.work {
            Work::Act { act, parent } => {
                self.act(i, act, &parent, now, stage)?;
                false
            }
            Work::Paragraph(text) => {
                self.write_text(i, text, stage)?;
                false
            }
            Work::Result { call, output, error } => {
                self.write_result(i, &call, output, error, stage)?;
                false
            }
            Work::Waiting(waiting) => self.wait_for(i, waiting, stage)?,
            Work::Asking(asking) => {
                self.look_for_answer(i, asking, now, stage)?;
                false
            }
        };
        if is_waiting {
            self.tracks[i].due = None;
        } else {
            self.tracks[i].schedule(now, &mut self.random);
        }
        Ok(())
    }

    fn act(&mut self, i: usize, act: &'static Act, parent: &str, now: Duration, stage: &mut impl Stage) -> Result<()> {
        match act {
            Act::Prompt(text) => self.begin_task(i, text, now, stage),
            Act::Say(text) => {
                self.begin_turn(i, now, stage)?;
                let text = self.text_of(i, text);
                let paragraphs = paragraphs(&text).into_iter().enumerate().map(|(n, paragraph)| Item {
                    pause: match n {
                        0 => 0.0,
                        _ => (paragraph_length(&paragraph) / CHARS_PER_SECOND).clamp(0.5, 4.0),
                    },
                    work: Work::Paragraph(paragraph),
                });
                self.tracks[i].push_front(paragraphs.collect());
                Ok(())
            }
            Act::Call(call) => {
                let open = self.write_call(i, call.tool.to_owned(), self.text(call.input), parent, stage)?;
                let result = self.result_of(call, open);
                self.tracks[i].push_front(vec![result]);
                Ok(())
            }
            Act::Delegate(call, steps) => {
                let open = self.write_call(i, call.tool.to_owned(), self.text(call.input), parent, stage)?;
                let mut rest: Vec<Item> = items(steps, &open.id).collect();
                rest.push(self.result_of(call, open));
                self.tracks[i].push_front(rest);
                Ok(())
            }
            Act::Post { thread, kind, text } => {
                let post = NewMessage {
                    kind: Some((*kind).to_owned()),
                    ..NewMessage::new(self.text(thread), self.tracks[i].agent.name, self.text_of(i, text))
                };
                stage.write(Row::Post(post))
            }
            Act::Send(mail) => {
                self.send(i, mail, stage)?;
                self.happen(mail.key, now);
                Ok(())
            }
            Act::Read(key) => self.begin_wait(i, key, true, stage),
            Act::AwaitFailure(key) => self.begin_wait(i, key, false, stage),
            Act::Ask(question) => self.ask(i, question, now, stage),
            Act::Fail { key, error } => {
                let error_msg = self.text(error);
                let step = NewTaskEvent {
                    error_msg,
                    ..self.step(i, Kind::ERROR)
                };
                stage.write(Row::Step(Box::new(step)))?;
                self.end_task(i, "failed", "error", now, stage)?;
                self.happen(key, now);
                Ok(())
            }
            Act::Done => self.end_task(i, "completed", "idle", now, stage),
        }
    }

    // ---- tasks and turns ----

    fn begin_task(&mut self, i: usize, prompt: &str, now: Duration, stage: &mut impl Stage) -> Result<()> {
        let prompt = self.text(prompt);
        let agent = self.tracks[i].agent;
        self.tracks[i].task = Some(Task {
            id: format!("{}-{}", agent.tool.id, self.random.hex()),
            turns: 0,
            is_turn_open: false,
            calls: 0,
            tokens_in: 0,
            tokens_cached: 0,
            tokens_out: 0,
            cost: 0.0,
            written: 0,
            began: now,
        });
        self.write_agent(i, "running", stage)?;
        let step = NewTaskEvent {
            status: "running".to_owned(),
            directive: prompt.chars().take(MAX_TITLE).collect(),
            directive_full: prompt,
            ..self.step(i, Kind::STATUS)
        };
        stage.write(Row::Step(Box::new(step)))?;
        self.write_usage(i, "running", now, stage)
    }

    fn begin_turn(&mut self, i: usize, now: Duration, stage: &mut impl Stage) -> Result<()> {
        self.end_turn(i, now, stage)?;
        let Some(task) = &mut self.tracks[i].task else {
            return Ok(());
        };
        task.turns += 1;
        task.is_turn_open = true;
        task.written = 0;
        stage.write(Row::Step(Box::new(self.step(i, Kind::TURN_START))))
    }

    /// Ends the turn with its usage: the model reads everything so far again, most of it from its cache.
    fn end_turn(&mut self, i: usize, now: Duration, stage: &mut impl Stage) -> Result<()> {
        let price = self.tracks[i].agent.price;
        let Some(task) = self.tracks[i].task.as_mut().filter(|task| task.is_turn_open) else {
            return Ok(());
        };
        task.is_turn_open = false;
        let new = i64::from(self.random.between(1800, 5200));
        let cached = match task.turns {
            1 => 11_000,
            turns => 14_000 + turns * 3_300,
        };
        let written = i64::try_from(task.written / 4).unwrap_or(0);
        let out = written + i64::from(self.random.between(90, 420));
        let cost = price.of(new, cached, out);
        task.tokens_in += new + cached;
        task.tokens_cached += cached;
        task.tokens_out += out;
        task.cost += cost;
        let step = NewTaskEvent {
            tokens_in: new + cached,
            tokens_out: out,
            cost,
            ..self.step(i, Kind::TURN_END)
        };
        stage.write(Row::Step(Box::new(step)))?;
        self.write_usage(i, "running", now, stage)
    }

    fn end_task(&mut self, i: usize, status: &str, agent: &str, now: Duration, stage: &mut impl Stage) -> Result<()> {
        self.end_turn(i, now, stage)?;
        let step = NewTaskEvent {
            status: status.to_owned(),
            ..self.step(i, Kind::STATUS)
        };
        stage.write(Row::Step(Box::new(step)))?;
        self.write_usage(i, if status == "failed" { "error" } else { status }, now, stage)?;
        self.tracks[i].task = None;
        self.write_agent(i, agent, stage)
    }

    fn write_usage(&self, i: usize, status: &str, now: Duration, stage: &mut impl Stage) -> Result<()> {
        let Track {
            agent,
            task: Some(task),
            ..
        } = &self.tracks[i]
        else {
            return Ok(());
        };
        stage.write(Row::Usage(Box::new(NewTelemetry {
            instance_id: task.id.clone(),
            turns: Some(task.turns),
            tokens_in: Some(task.tokens_in),
            tokens_out: Some(task.tokens_out),
            tokens_cached: Some(task.tokens_cached),
            cost: Some(task.cost),
            cost_source: Some("reported".to_owned()),
            status: Some(status.to_owned()),
            duration_sec: i64::try_from((now.saturating_sub(task.began)).as_secs()).ok(),
            agent_id: Some(agent.name.to_owned()),
            model: Some(agent.model.to_owned()),
            ..NewTelemetry::default()
        })))
    }

    fn write_agent(&self, i: usize, status: &str, stage: &mut impl Stage) -> Result<()> {
        let state = AgentState {
            status: Some(status.to_owned()),
            ..AgentState::default()
        };
        stage.write(Row::Agent(self.tracks[i].agent.name, state))
    }

    fn write_status(&self, i: usize, status: &str, remark: String, stage: &mut impl Stage) -> Result<()> {
        let step = NewTaskEvent {
            status: status.to_owned(),
            text: remark,
            ..self.step(i, Kind::STATUS)
        };
        stage.write(Row::Step(Box::new(step)))
    }

    fn write_text(&mut self, i: usize, text: String, stage: &mut impl Stage) -> Result<()> {
        if let Some(task) = &mut self.tracks[i].task {
            task.written += text.len();
        }
        let step = NewTaskEvent {
            text,
            ..self.step(i, Kind::TEXT)
        };
        stage.write(Row::Step(Box::new(step)))
    }

    /// Returns a row of the agent's task.
    fn step(&self, i: usize, stream_type: Kind) -> NewTaskEvent {
        let Track { agent, task, .. } = &self.tracks[i];
        NewTaskEvent {
            task_id: task
                .as_ref()
                .map_or_else(|| agent.name.to_owned(), |task| task.id.clone()),
            stream_type,
            turn_num: task.as_ref().map_or(0, |task| task.turns),
            agent_id: agent.name.to_owned(),
            source_type: agent.tool.id.to_owned(),
            model: agent.model.to_owned(),
            workspace: agent.workspace.to_owned(),
            ..NewTaskEvent::default()
        }
    }

    // ---- calls ----

    fn write_call(
        &mut self,
        i: usize,
        tool: String,
        tool_input: String,
        parent: &str,
        stage: &mut impl Stage,
    ) -> Result<OpenCall> {
        let mut id = String::new();
        if let Some(task) = &mut self.tracks[i].task {
            task.calls += 1;
            task.written += tool_input.len();
            id = format!("{}-{}", task.id, task.calls);
        }
        let call = OpenCall {
            id,
            parent: parent.to_owned(),
            tool,
        };
        let step = NewTaskEvent {
            tool_name: call.tool.clone(),
            tool_input,
            call_id: call.id.clone(),
            parent_call_id: call.parent.clone(),
            ..self.step(i, Kind::TOOL_USE)
        };
        stage.write(Row::Step(Box::new(step)))?;
        Ok(call)
    }

    fn result_of(&self, call: &Call, open: OpenCall) -> Item {
        let output = self.text(call.output);
        Item {
            pause: call.duration,
            work: Work::Result {
                call: open,
                output,
                error: call.error,
            },
        }
    }

    fn write_result(
        &self,
        i: usize,
        call: &OpenCall,
        tool_output: String,
        error: &str,
        stage: &mut impl Stage,
    ) -> Result<()> {
        let step = NewTaskEvent {
            tool_name: call.tool.clone(),
            tool_output,
            error_msg: error.to_owned(),
            call_id: call.id.clone(),
            parent_call_id: call.parent.clone(),
            ..self.step(i, Kind::TOOL_RESULT)
        };
        stage.write(Row::Step(Box::new(step)))
    }

    // ---- mail ----

    fn message_id(&self, key: &str) -> String {
        format!("demo-{}-{key}", self.round)
    }

    fn send(&self, i: usize, mail: &Mail, stage: &mut impl Stage) -> Result<()> {
        stage.write(Row::Mail(Box::new(NewInboxMessage {
            message_id: Some(self.message_id(mail.key)),
            message_type: Some(mail.kind.to_owned()),
            title: Some(self.text(mail.title)),
            priority: Some(mail.priority.to_owned()),
            ..NewInboxMessage::new(self.tracks[i].agent.name, mail.to, self.text_of(i, mail.text))
        })))
    }

    /// Records an event, and wakes the scripts that wait for it.
    fn happen(&mut self, key: &'static str, now: Duration) {
        self.happened.insert(key);
        for track in &mut self.tracks {
            if let Some(Item {
                work: Work::Waiting(waiting),
                ..
            }) = track.queue.front()
                && waiting.key == key
            {
                track.due = Some(now + seconds(DELIVERY));
            }
        }
    }

    /// Begins to wait for mail, or for a failure. An agent with a task waits in a call of agenthub's MCP tool.
    fn begin_wait(&mut self, i: usize, key: &'static str, is_mail: bool, stage: &mut impl Stage) -> Result<()> {
        let call = match self.tracks[i].task {
            Some(_) => {
                let tool = format!("{}check_inbox", self.tracks[i].agent.tool.mcp_prefix);
                let input = json!({"wait_seconds": 60}).to_string();
                Some(self.write_call(i, tool, input, "", stage)?)
            }
            None => None,
        };
        let pause = if self.happened.contains(key) { 1.0 } else { 0.0 };
        self.tracks[i].push_front(vec![Item {
            pause,
            work: Work::Waiting(Waiting { key, is_mail, call }),
        }]);
        Ok(())
    }

    /// Reads the mail with this key. Returns whether it has not come yet.
    fn wait_for(&mut self, i: usize, waiting: Waiting, stage: &mut impl Stage) -> Result<bool> {
        if !self.happened.contains(waiting.key) {
            self.tracks[i].push_front(vec![Item {
                pause: 0.0,
                work: Work::Waiting(waiting),
            }]);
            return Ok(true);
        }
        let Waiting { key, is_mail, call } = waiting;
        let mail = self.message_id(key);
        if let Some(call) = call {
            let received = if is_mail {
                vec![json!({"message_id": &mail})]
            } else {
                Vec::new()
            };
            self.write_result(i, &call, json!({"mail": received}).to_string(), "", stage)?;
        }
        if is_mail {
            stage.write(Row::Read {
                mail,
                reader: self.tracks[i].agent.name,
            })?;
        }
        Ok(false)
    }

    // ---- the person ----

    fn ask(&mut self, i: usize, question: &'static Question, now: Duration, stage: &mut impl Stage) -> Result<()> {
        let agent = self.tracks[i].agent;
        let (message_id, text) = (self.message_id(question.key), self.text(question.text));
        let tool = format!("{}ask_human", agent.tool.mcp_prefix);
        let input = json!({"question": &text, "wait_seconds": question.wait}).to_string();
        let call = self.write_call(i, tool, input, "", stage)?;
        let kind = match question.permission {
            Some(tool) => {
                self.write_status(i, "waiting", format!("asks for permission: {tool}"), stage)?;
                "approval_request"
            }
            None => "request",
        };
        stage.write(Row::Mail(Box::new(NewInboxMessage {
            message_id: Some(message_id.clone()),
            correlation_id: Some(message_id.clone()),
            message_type: Some(kind.to_owned()),
            title: Some(self.text(question.title)),
            priority: Some("action".to_owned()),
            ..NewInboxMessage::new(agent.name, HUMAN, text)
        })))?;
        let deadline = now + seconds(question.wait);
        let asking = Asking {
            question,
            message_id,
            call,
            deadline,
        };
        self.tracks[i].push_front(vec![Item {
            pause: ANSWER_INTERVAL,
            work: Work::Asking(asking),
        }]);
        Ok(())
    }

    fn look_for_answer(&mut self, i: usize, asking: Asking, now: Duration, stage: &mut impl Stage) -> Result<()> {
        let answer = stage.answer(&asking.message_id)?;
        if answer.is_none() && now < asking.deadline {
            self.tracks[i].push_front(vec![Item {
                pause: ANSWER_INTERVAL,
                work: Work::Asking(asking),
            }]);
            return Ok(());
        }
        let Asking {
            question,
            message_id,
            call,
            ..
        } = asking;
        let output = match &answer {
            Some(answer) => json!({"answered": true, "answer": answer}),
            None => json!({"answered": false, "id": &message_id}),
        };
        self.write_result(i, &call, output.to_string(), "", stage)?;
        if question.permission.is_some() {
            self.write_status(i, "running", String::new(), stage)?;
        }
        let steps = match answer {
            Some(answer) => {
                let choice = question.choices.iter().find(|choice| choice.matches(&answer));
                self.tracks[i].answer = answer;
                choice.map_or(question.silence, |choice| choice.steps)
            }
            None => {
                self.late.truncate(MAX_LATE - 1);
                self.late.push_front(LateQuestion {
                    agent: self.tracks[i].agent.name,
                    message_id,
                    title: self.text(question.title),
                });
                self.late_due = now + seconds(ANSWER_INTERVAL);
                question.silence
            }
        };
        self.tracks[i].push_front(items(steps, "").collect());
        Ok(())
    }

    /// Replies to answers that came after the agent had gone on.
    fn thank_for_late_answers(&mut self, now: Duration, stage: &mut impl Stage) -> Result<()> {
        if self.late.is_empty() || now < self.late_due {
            return Ok(());
        }
        self.late_due = now + seconds(ANSWER_INTERVAL);
        for _ in 0..self.late.len() {
            let Some(question) = self.late.pop_front() else { break };
            let Some(answer) = stage.answer(&question.message_id)? else {
                self.late.push_back(question);
                continue;
            };
            let text = format!(
                "Thank you for “{}”. I had gone on without an answer; next time I take it into account.",
                quoted(&answer)
            );
            stage.write(Row::Mail(Box::new(NewInboxMessage {
                title: Some(format!("Re: {}", question.title)),
                ..NewInboxMessage::new(question.agent, HUMAN, text)
            })))?;
        }
        Ok(())
    }

    /// Returns `text` with the values of this round and the person's answer to this agent.
    fn text_of(&self, i: usize, text: &str) -> String {
        self.text(text).replace("{answer}", &quoted(&self.tracks[i].answer))
    }

    /// Returns `text` with the values of this round.
    fn text(&self, text: &str) -> String {
        let variation = self.story.variations[(self.first_variation + self.round - 1) % self.story.variations.len()];
        let mut text = text.to_owned();
        for (name, value) in variation {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }
}

impl Track {
    fn push_front(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.queue.push_front(item);
        }
    }

    /// Sets the time of the first item, after the one that was played at `now`.
    fn schedule(&mut self, now: Duration, random: &mut Random) {
        self.due = self.queue.front().map(|item| {
            // Half a second is the interval of a timer, not the pace of an agent.
            let percent = if item.pause <= ANSWER_INTERVAL {
                100
            } else {
                random.between(75, 125)
            };
            now + seconds(item.pause * f64::from(percent) / 100.0)
        });
    }
}

fn items(steps: &'static [Step], parent: &str) -> impl Iterator<Item = Item> {
    steps.iter().map(move |step| Item {
        pause: step.pause,
        work: Work::Act {
            act: &step.act,
            parent: parent.to_owned(),
        },
    })
}

/// Splits a Markdown text at empty lines, but not within a block of code.
fn paragraphs(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_code = false;
    for part in text.split("\n\n") {
        match found.last_mut().filter(|_| in_code) {
            Some(open) => {
                open.push_str("\n\n");
                open.push_str(part);
            }
            None => found.push(part.to_owned()),
        }
        in_code ^= part.matches("```").count() % 2 == 1;
    }
    found
}

/// Returns the first words of an answer, on one line.
fn quoted(answer: &str) -> String {
    let line = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn paragraph_length(text: &str) -> f64 {
    f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX))
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests;
