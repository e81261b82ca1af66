//! The types of the story: agents, and what each of them does in which order.
//!
//! All values are constants. Texts may contain placeholders such as `{feature}`, which the variation of a round
//! replaces, and `{answer}`, the words of the person.

/// The agents and their scripts.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) agents: &'static [Agent],
    /// The threads, as (id, title).
    pub(super) threads: &'static [(&'static str, &'static str)],
    /// What the agents do in one round. All begin at the same time.
    pub(super) scripts: &'static [Script],
    /// The placeholders and their values in one round, as (name, value). Every variation has the same names.
    pub(super) variations: &'static [&'static [(&'static str, &'static str)]],
}

/// A program that runs agents.
#[derive(Debug)]
pub(super) struct Tool {
    /// Its short name, as in `source_type`.
    pub(super) id: &'static str,
    /// What it puts before the names of agenthub's MCP tools.
    pub(super) mcp_prefix: &'static str,
}

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: &'static str,
    pub(super) tool: &'static Tool,
    pub(super) model: &'static str,
    /// The working directory: a clone of the agent's repository.
    pub(super) workspace: &'static str,
    pub(super) price: Price,
}

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    pub(super) input: f64,
    pub(super) cached: f64,
    pub(super) output: f64,
}

impl Price {
    /// Returns the US dollars for tokens that are not cached, that are cached, and of the output.
    #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
    pub(super) fn of(&self, input: i64, cached: i64, output: i64) -> f64 {
        (input as f64 * self.input + cached as f64 * self.cached + output as f64 * self.output) / 1e6
    }
}

/// What one agent does in a round. An agent has at most one script.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) agent: &'static str,
    pub(super) steps: &'static [Step],
}

/// One act, after a pause.
#[derive(Debug)]
pub(super) struct Step {
    /// Seconds after the previous step, or after the start of the round. The player varies it by a quarter.
    pub(super) pause: f64,
    pub(super) act: Act,
}

/// What an agent does.
#[derive(Debug)]
pub(super) enum Act {
    /// Begins a task with this prompt.
    Prompt(&'static str),
    /// Begins a turn with this text, which comes paragraph by paragraph.
    Say(&'static str),
    /// Calls a tool.
    Call(Call),
    /// Starts a subagent: a call whose result comes after these steps, which are calls made by it.
    Delegate(Call, &'static [Step]),
    /// Posts to a thread.
    Post {
        thread: &'static str,
        kind: &'static str,
        text: &'static str,
    },
    /// Sends mail.
    Send(Mail),
    /// Waits for the mail with this key and reads it.
    Read(&'static str),
    /// Waits until the agent that fails with this key has failed.
    AwaitFailure(&'static str),
    /// Asks the person, waits for the answer, and reacts to it.
    Ask(Question),
    /// Ends the task with an error.
    Fail { key: &'static str, error: &'static str },
    /// Ends the task.
    Done,
}

/// A tool call and its result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) tool: &'static str,
    /// JSON, as the tool records it.
    pub(super) input: &'static str,
    pub(super) output: &'static str,
    /// Empty if the call succeeds.
    pub(super) error: &'static str,
    /// Seconds until the result.
    pub(super) duration: f64,
}

/// Mail to an agent, to `human` or to `all`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mail {
    /// Names the mail in [`Act::Read`]; different for all mail of a story.
    pub(super) key: &'static str,
    pub(super) to: &'static str,
    pub(super) kind: &'static str,
    pub(super) priority: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
}

/// A question to the person.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    /// The tool that the agent asks permission for; `None` for other questions.
    pub(super) permission: Option<&'static str>,
    /// Seconds that the agent waits for the answer.
    pub(super) wait: f64,
    /// The first choice that matches the answer counts.
    pub(super) choices: &'static [Choice],
    /// What follows if the answer has not come.
    pub(super) silence: &'static [Step],
}

/// What follows an answer.
#[derive(Debug)]
pub(super) struct Choice {
    /// The choice matches an answer that contains one of these words; without words, any answer.
    pub(super) words: &'static [&'static str],
    pub(super) steps: &'static [Step],
}

impl Choice {
    pub(super) fn matches(&self, answer: &str) -> bool {
        let answer = answer.to_lowercase();
        let mut words = answer.split(|c: char| !c.is_alphanumeric());
        self.words.is_empty() || words.any(|word| self.words.contains(&word))
    }
}

impl Step {
    /// Returns the step after a pause of this many seconds.
    pub(super) const fn after(mut self, pause: f64) -> Self {
        self.pause = pause;
        self
    }
}

pub(super) const fn prompt(text: &'static str) -> Step {
    Step {
        pause: 2.0,
        act: Act::Prompt(text),
    }
}

pub(super) const fn say(text: &'static str) -> Step {
    Step {
        pause: 3.0,
        act: Act::Say(text),
    }
}

/// A call that succeeds.
pub(super) const fn call(tool: &'static str, duration: f64, input: &'static str, output: &'static str) -> Step {
    let call = Call {
        tool,
        input,
        output,
        error: "",
        duration,
    };
    Step {
        pause: 2.0,
        act: Act::Call(call),
    }
}

/// A call that ends with an error.
pub(super) const fn failing_call(
    tool: &'static str,
    duration: f64,
    input: &'static str,
    output: &'static str,
    error: &'static str,
) -> Step {
    let call = Call {
        tool,
        input,
        output,
        error,
        duration,
    };
    Step {
        pause: 2.0,
        act: Act::Call(call),
    }
}

/// A call that starts a subagent. Its duration is that of the steps.
pub(super) const fn delegate(
    tool: &'static str,
    input: &'static str,
    output: &'static str,
    steps: &'static [Step],
) -> Step {
    let call = Call {
        tool,
        input,
        output,
        error: "",
        duration: 2.0,
    };
    Step {
        pause: 2.0,
        act: Act::Delegate(call, steps),
    }
}

pub(super) const fn post(thread: &'static str, kind: &'static str, text: &'static str) -> Step {
    Step {
        pause: 2.0,
        act: Act::Post { thread, kind, text },
    }
}

pub(super) const fn send(mail: Mail) -> Step {
    Step {
        pause: 2.0,
        act: Act::Send(mail),
    }
}

pub(super) const fn read(key: &'static str) -> Step {
    Step {
        pause: 1.0,
        act: Act::Read(key),
    }
}

pub(super) const fn await_failure(key: &'static str) -> Step {
    Step {
        pause: 1.0,
        act: Act::AwaitFailure(key),
    }
}

pub(super) const fn ask(question: Question) -> Step {
    Step {
        pause: 3.0,
        act: Act::Ask(question),
    }
}

pub(super) const fn fail(key: &'static str, error: &'static str) -> Step {
    Step {
        pause: 4.0,
        act: Act::Fail { key, error },
    }
}

pub(super) const fn done() -> Step {
    Step {
        pause: 1.5,
        act: Act::Done,
    }
}
