//! The nine tools: their descriptions and their implementations.
//!
//! A description says when to use the tool and what it returns, with an example, in under 600
//! characters. `schema` describes the parameters and results.

use std::time::Duration;

use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::MetaObject;
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, tool, tool_router};
use serde_json::json;

use super::Mcp;
use super::schema::{
    AckMessage, Acked, Agent, Agents, Answer, AskHuman, CheckInbox, Found, FoundHit, Inbox, ListAgents, Mail, Message,
    PostStatus, Posted, Priority, ReadThread, Refused, Reply, Search, SendMessage, Sent, Status, Thread, ToolError,
    about_texts, name, with_unread,
};
use super::session::AgentSession;
use super::written::PendingResult;
use crate::config::{HUMAN, canonical, from_type, is_human};
use crate::error::{Code, Error, Result as StoreResult};
use crate::integrations::fence::{fenced, one_line};
use crate::integrations::{mail_text, session_check, wake};
use crate::protocol::{TaskStreamEventType, now_ms};
use crate::store::{
    AgentState, Claim, InboxFilter, InboxMessageRow, InboxOrder, NewInboxMessage, NewMessage, NewTaskEvent, Reader,
    Receipt, SearchHit, Writer, message_id,
};

/// Maximum wait of one call, in seconds: clients give up after a minute.
const MAX_WAIT_SECONDS: i64 = 50;
/// Maximum duration of a claim, in seconds.
const MAX_CLAIM_SECONDS: u64 = 86_400;
/// Maximum characters of a label, a status or a working directory.
const MAX_LABEL_CHARS: usize = 500;
/// Maximum characters of a title taken from the text.
const MAX_TITLE_CHARS: usize = 80;

#[tool_router(vis = "pub(super)")]
impl Mcp {
    #[tool(
        description = "Read your mail from other agents and from the person: at the start, between pieces of work, and \
            to wait for an answer (wait_seconds). Returns unread mail, urgent first, then oldest first, each with id, from, title, \
            text. Mail stays unread until you ack_message or reply. With id: that one in full. Several agents can share \
            an inbox: with inbox and claim_seconds you get mail which no other agent gets for that time. \
            Example: {\"wait_seconds\": 50}",
        annotations(title = "Check inbox", read_only_hint = false, destructive_hint = false, open_world_hint = false),
        meta = always_loaded()
    )]
    async fn check_inbox(
        &self,
        Parameters(args): Parameters<CheckInbox>,
        session: AgentSession,
        result: PendingResult,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Inbox>, ToolError> {
        let you = session.agent().to_owned();
        if let Some(id) = args.id {
            let (mail, labels) = session
                .call(move |_, writer| {
                    let mail = mail_by_id(writer, &id)?;
                    let labels = writer.sender_labels(std::slice::from_ref(&mail))?;
                    Ok((mail, labels))
                })
                .await?;
            let note = format!(
                "{}; ack_message or reply once you have handled it",
                about_mail(std::slice::from_ref(&mail))
            );
            let shown = vec![Mail::full(&mail, &labels)];
            mark_seen_when_written(result, session, &[mail]);
            return Ok(Json(Inbox { you, mail: shown, note }));
        }
        let timeout = wait_timeout(args.wait_seconds);
        let lease = args.claim_seconds.map(lease).transpose()?;
        let cancelled = [context.ct, self.disconnected.clone()];
        let found = session
            .clone()
            .wait_for(timeout, cancelled, move |session, reader| {
                let found = match lease {
                    Some(lease) => (claim(session, reader, &args, lease)?, 0),
                    None => list(session, reader, &args)?,
                };
                let labels = reader.sender_labels(&found.0)?;
                Ok(Some((found.0, found.1, labels)).filter(|(mail, ..)| !mail.is_empty()))
            })
            .await?;
        let (found, waiting, labels) = found.unwrap_or_default();
        let mail: Vec<_> = found.iter().map(|row| Mail::listed(row, &labels)).collect();
        mark_seen_when_written(result, session, &found);
        let about = about_mail(&found);
        let next = match (mail.is_empty(), lease.is_some()) {
            (true, _) => "no unread mail; check again later, or wait for it with wait_seconds".to_owned(),
            (false, true) => {
                format!(
                    "{about}; claimed for you until the claim expires: ack_message or reply with the id once handled"
                )
            }
            (false, false) => format!("{about}; unread until you ack_message or reply with the id"),
        };
        Ok(Json(Inbox {
            you,
            mail,
            note: match waiting {
                0 => next,
                n => format!(
                    "{}: set limit up to 50, or handle these first; {next}",
                    mail_text::more(n)
                ),
            },
        }))
    }

    #[tool(
        description = "Send mail to another agent, to the person (to: \"human\") or to all of them (to: \"all\"); or post to \
            a thread that others follow (thread_id). It is stored until they read it, even if they are not running. \
            Returns the ids. list_agents lists the names. To answer mail use reply, to get a decision use ask_human. \
            Example: {\"to\": \"reviewer\", \"text\": \"The parser is ready for review in branch parse.\"}",
        annotations(title = "Send message", read_only_hint = false, destructive_hint = false, open_world_hint = false),
        meta = always_loaded()
    )]
    async fn send_message(
        &self,
        Parameters(args): Parameters<SendMessage>,
        session: AgentSession,
    ) -> Result<Json<Sent>, ToolError> {
        match (&args.to, &args.thread_id) {
            (None, None) => Err(ToolError(
                "no recipient: set to (an agent's name, \"human\" or \"all\") or thread_id".to_owned(),
            )),
            (_, Some(_)) => post(&session, args).await,
            (Some(_), None) => send_mail(&session, args).await,
        }
    }

    #[tool(
        description = "Answer a piece of mail. The answer goes to its sender in the same conversation, and the mail \
            is marked as handled (no ack_message needed). Returns the id of your answer. \
            Example: {\"id\": \"12\", \"text\": \"Yes, merged.\"}",
        annotations(
            title = "Reply",
            read_only_hint = false,
            destructive_hint = false,
            open_world_hint = false
        )
    )]
    async fn reply(&self, Parameters(args): Parameters<Reply>, session: AgentSession) -> Result<Json<Sent>, ToolError> {
        let (sent, unread) = session
            .call(move |session, writer| {
                let question = mail_by_id(writer, &args.id)?;
                let mut answer = NewInboxMessage::answer(&question, session.agent(), args.text);
                answer.title = args.title.or(answer.title);
                let sent = writer.reply(&question, &answer, session.read_context())?.into_row();
                wake::after_sending(writer, &sent.to_inbox);
                Ok((sent, unread(session, writer)))
            })
            .await?;
        Ok(Json(Sent {
            ids: vec![sent.n.to_string()],
            to: vec![name(&sent.to_inbox)],
            note: with_unread("sent", unread),
        }))
    }

    #[tool(
        description = "Acknowledge mail that you have handled and that needs no answer: it becomes read, and the sender \
            can see that you acknowledged it. Do this after the work, not before. Returns the ids that were \
            acknowledged, and why others were not. Example: {\"ids\": [\"12\", \"13\"]}",
        annotations(
            title = "Acknowledge mail",
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn ack_message(
        &self,
        Parameters(args): Parameters<AckMessage>,
        session: AgentSession,
    ) -> Result<Json<Acked>, ToolError> {
        let outcome = session
            .call(move |session, writer| {
                let mut outcome = Acked {
                    acked: Vec::new(),
                    refused: Vec::new(),
                    note: String::new(),
                };
                for id in args.ids {
                    let acked =
                        mail_by_id(writer, &id).and_then(|mail| writer.ack_mail(&mail.id, session.read_context()));
                    match acked {
                        Ok(mail) if mail.status == "unread" && !mail.is_for_all() => outcome.refused.push(Refused {
                            id,
                            why: format!(
                                "it is in the inbox of {} and stays unread there; reply if you can answer it",
                                name(&mail.to_inbox)
                            ),
                        }),
                        Ok(mail) => outcome.acked.push(mail.n.to_string()),
                        Err(e) if e.code().is_store() => return Err(e),
                        Err(e) => outcome.refused.push(Refused {
                            id,
                            why: ToolError::from(e).0,
                        }),
                    }
                }
                outcome.note = with_unread("done", unread(session, writer));
                Ok(outcome)
            })
            .await?;
        Ok(Json(outcome))
    }

    #[tool(
        description = "Read the messages of a thread: the latest ones in order, or with before or after a page of older \
            or newer ones. Every agent can read every thread; search finds threads by their messages. \
            Example: {\"thread_id\": \"build\", \"limit\": 20}",
        annotations(title = "Read thread", read_only_hint = true, open_world_hint = false)
    )]
    async fn read_thread(
        &self,
        Parameters(args): Parameters<ReadThread>,
        session: AgentSession,
    ) -> Result<Json<Thread>, ToolError> {
        let limit = rows(args.limit, 100);
        let (thread, page, is_backward) = session
            .call(move |_, writer| {
                let thread = writer
                    .require_thread(&writer.stored_name(&args.thread_id)?)
                    .map_err(|e| match e.code() {
                        Code::NotFound => Error::new(
                            e.code(),
                            format!(
                                "no thread {:?} exists; find threads with search",
                                shortened(&args.thread_id)
                            ),
                        ),
                        _ => e,
                    })?;
                let page = match args.after {
                    Some(after) => writer.messages_after(&thread.id, after, limit)?,
                    None => writer.messages_before(&thread.id, args.before.unwrap_or(i64::MAX), limit)?,
                };
                Ok((thread, page, args.after.is_none()))
            })
            .await?;
        let last = if is_backward {
            page.messages.first()
        } else {
            page.messages.last()
        };
        Ok(Json(Thread {
            more: last.filter(|_| page.has_more).map(|message| message.message_seq),
            note: format!(
                "{}; to post to this thread: send_message with thread_id",
                about_texts(
                    page.messages
                        .iter()
                        .filter(|message| mail_text::is_person(&message.from_id, message.verified))
                        .count(),
                    page.messages.len()
                )
            ),
            messages: page.messages.iter().map(Message::from).collect(),
            thread_id: name(&thread.id),
            title: fenced(&thread.title),
            status: one_line(&thread.status, 80),
        }))
    }

    #[tool(
        description = "Report the status of your work to the person and the other agents; the dashboard shows it \
            immediately. status: running, completed or failed. Use it when you begin, at milestones and at the end, \
            not for conversation. Example: {\"status\": \"running\", \"text\": \"Porting the parser, 3 of 7 files done\"}",
        annotations(
            title = "Post status",
            read_only_hint = false,
            destructive_hint = false,
            open_world_hint = false
        )
    )]
    async fn post_status(
        &self,
        Parameters(args): Parameters<PostStatus>,
        session: AgentSession,
    ) -> Result<Json<Posted>, ToolError> {
        let (status, agent) = match args.status {
            Status::Running => ("running", "running"),
            Status::Completed => ("completed", "idle"),
            Status::Failed => ("failed", "error"),
        };
        let (task_id, unread) = session
            .call(move |session, writer| {
                let task_id = args.task_id.unwrap_or_else(|| session.task().to_owned());
                let error_msg = if status == "failed" {
                    args.text.clone()
                } else {
                    String::new()
                };
                let row = NewTaskEvent {
                    task_id: task_id.clone(),
                    stream_type: TaskStreamEventType::STATUS,
                    turn_num: writer.task_progress(&task_id)?.turn,
                    agent_id: session.agent().to_owned(),
                    status: status.to_owned(),
                    text: args.text,
                    error_msg,
                    source_type: "direct".to_owned(),
                    ..NewTaskEvent::default()
                };
                let state = AgentState {
                    status: Some(agent.to_owned()),
                    ..AgentState::default()
                };
                writer.atomically(|| {
                    writer.record_task_event(&row)?;
                    writer.set_agent(session.agent(), &state)
                })?;
                Ok((task_id, unread(session, writer)))
            })
            .await?;
        Ok(Json(Posted {
            task_id: name(&task_id),
            note: with_unread("shown to the person and the other agents", unread),
        }))
    }

    #[tool(
        description = "List all agents, most recently active first, with status, working directory, seconds since their \
            last activity, and number of unread mail. Use it to find the name of an agent before you send mail. \
            Example: {\"active_minutes\": 60}",
        annotations(title = "List agents", read_only_hint = true, open_world_hint = false)
    )]
    async fn list_agents(
        &self,
        Parameters(args): Parameters<ListAgents>,
        session: AgentSession,
    ) -> Result<Json<Agents>, ToolError> {
        let now = now_ms();
        let active_after = args.active_minutes.map_or(i64::MIN, |minutes| {
            let age = minutes.max(0).saturating_mul(60_000).saturating_add(1000);
            now.saturating_sub(age)
        });
        let limit = rows(args.limit.unwrap_or(50), 1000);
        let found = session
            .call(move |_, writer| {
                let mut found = writer.agents_with_unread(active_after, limit)?;
                writer.hide_ambiguous_labels(found.iter_mut().map(|(agent, _)| agent))?;
                session_check::apply(writer, found.iter_mut().map(|(agent, _)| agent))?;
                Ok(found)
            })
            .await?;
        let agents = found
            .into_iter()
            .map(|(agent, unread)| Agent {
                active_seconds_ago: (now - agent.last_active_at).max(0) / 1000,
                unread,
                name: name(&agent.id),
                label: one_line(&agent.label, MAX_LABEL_CHARS),
                status: one_line(&agent.status, MAX_LABEL_CHARS),
                workspace: one_line(&agent.workspace, MAX_LABEL_CHARS),
            })
            .collect();
        let you = session.agent().to_owned();
        Ok(Json(Agents { you, agents }))
    }

    #[tool(
        description = "Ask the person who runs you, and wait for the answer (up to 50 s per call): for permission, for a \
            choice, for what only they know. If answered is false, do something else, or call again with the id to \
            keep waiting; the answer also arrives in your inbox. No answer does not mean yes. \
            Example: {\"question\": \"Tests pass. May I push to main?\"}",
        annotations(
            title = "Ask the person",
            read_only_hint = false,
            destructive_hint = false,
            open_world_hint = false
        )
    )]
    async fn ask_human(
        &self,
        Parameters(args): Parameters<AskHuman>,
        session: AgentSession,
        result: PendingResult,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Answer>, ToolError> {
        let (text, known) = match (args.question, args.id) {
            (Some(text), None) => (text, None),
            (None, Some(id)) => (String::new(), Some(id)),
            _ => {
                return Err(ToolError(
                    "set either question, to ask, or id, to keep waiting for an answer".to_owned(),
                ));
            }
        };
        let question = session
            .call(move |session, writer| match known {
                // Another agent's question is refused: its answer grants this agent no permission.
                Some(id) => match writer.mail_by_number_or_id(&id)? {
                    Some(mail) if mail.from_agent == session.agent() && is_human(&mail.to_inbox) => Ok(mail),
                    _ => Err(Error::new(
                        Code::NotFound,
                        format!(
                            "you have not asked the question {:?}; set question to ask one",
                            shortened(&id)
                        ),
                    )),
                },
                None => {
                    let id = message_id()?;
                    let question = NewInboxMessage {
                        message_id: Some(id.clone()),
                        correlation_id: Some(id),
                        message_type: Some("request".to_owned()),
                        title: Some(title_of(&text)),
                        priority: Some("action".to_owned()),
                        ..NewInboxMessage::new(session.agent(), HUMAN, text)
                    };
                    Ok(writer.send(&question)?.into_row())
                }
            })
            .await?;
        let timeout = wait_timeout(args.wait_seconds);
        let cancelled = [context.ct, self.disconnected.clone()];
        let id = question.n.to_string();
        let answer = session
            .wait_for(timeout, cancelled, move |_, reader| reader.answer_to(&question))
            .await?;
        let Some(answer) = answer else {
            return Ok(Json(Answer {
                note: format!(
                    "not answered yet; call ask_human with id {id:?} to keep waiting. No answer does not mean yes"
                ),
                id,
                answered: false,
                answer: String::new(),
            }));
        };
        // The answer is proven to be the person's: it is a decision, not another agent's text.
        let text = answer.payload;
        result
            .when_written(move || session.with(|writer| writer.ack_mail(&answer.id, session.read_context()).map(drop)));
        Ok(Json(Answer {
            id,
            answered: true,
            answer: text,
            note: "from the person, as agenthub has checked; acknowledged, no answer is needed".to_owned(),
        }))
    }

    #[tool(
        description = "Search thread messages, mail and agents' work by words. Returns the best hits with id, place \
            (thread, inbox or task), from, title and a snippet. Then call read_thread, or check_inbox with the id. \
            Example: {\"query\": \"flaky test login\"}",
        annotations(title = "Search", read_only_hint = true, open_world_hint = false)
    )]
    async fn search(
        &self,
        Parameters(args): Parameters<Search>,
        session: AgentSession,
    ) -> Result<Json<Found>, ToolError> {
        let limit = rows(args.limit, 50);
        let hits = session
            .call(move |_, writer| {
                let mut hits = writer.search(&args.query, limit, now_ms())?;
                for hit in hits.iter_mut().filter(|hit| !hit.to_inbox.is_empty()) {
                    // The number that all other tools show.
                    let mail = writer.mail(&hit.id)?;
                    if let Some(mail) = mail.filter(|mail| mail.message_id == hit.id) {
                        hit.id = mail.n.to_string();
                    }
                }
                Ok(hits)
            })
            .await?;
        let note = match hits.is_empty() {
            true => "nothing found: a hit contains all words, so try fewer".to_owned(),
            false => {
                let is_persons = |hit: &&SearchHit| mail_text::is_person(&hit.from, hit.verified);
                format!(
                    "{}; the whole text: read_thread with the place as thread_id, or check_inbox with the id of mail",
                    about_texts(hits.iter().filter(is_persons).count(), hits.len())
                )
            }
        };
        Ok(Json(Found {
            hits: hits.into_iter().map(FoundHit::from).collect(),
            note,
        }))
    }
}

impl FromContextPart<ToolCallContext<'_, Mcp>> for PendingResult {
    fn from_context_part(context: &mut ToolCallContext<'_, Mcp>) -> Result<Self, ErrorData> {
        let id = context.request_context.id.clone();
        Ok(Self::new(id, context.service.jobs.clone()))
    }
}

/// Metadata for clients that load tools on demand: load this one always.
fn always_loaded() -> MetaObject {
    let mut meta = MetaObject::default();
    meta.0.insert("anthropic/alwaysLoad".to_owned(), json!(true));
    meta
}

/// Posts to a thread.
async fn post(session: &AgentSession, args: SendMessage) -> Result<Json<Sent>, ToolError> {
    let (row, unread) = session
        .call(move |session, writer| {
            let thread_id = writer.stored_name(&args.thread_id.unwrap_or_default())?;
            let new = NewMessage {
                id: args.idempotency_key.map(|key| format!("{}/{key}", session.agent())),
                to_type: args.to.as_deref().map(|name| from_type(name).to_owned()),
                to_id: args.to.as_deref().map(canonical),
                subject: args.title,
                ..NewMessage::new(thread_id, session.agent(), args.text)
            };
            let row = writer.post_message(&new).map_err(key_conflict)?.into_row();
            Ok((row, unread(session, writer)))
        })
        .await?;
    let note = format!(
        "message {} of the thread; read_thread shows what follows",
        row.message_seq
    );
    Ok(Json(Sent {
        ids: vec![row.id],
        to: vec![name(&row.thread_id)],
        note: with_unread(&note, unread),
    }))
}

/// Sends mail to an inbox.
async fn send_mail(session: &AgentSession, args: SendMessage) -> Result<Json<Sent>, ToolError> {
    let (row, unread) = session
        .call(move |session, writer| {
            let to = args.to.unwrap_or_default();
            let found = match args.new_recipient {
                true => writer.recipient_or_new(&to),
                false => writer.recipient(&to),
            };
            let inbox = match found {
                Err(e) if e.code() == Code::NotFound => {
                    let advice = match e.message().ends_with('?') {
                        true => " Call list_agents for the names, or set new_recipient to true",
                        false => "; call list_agents for the names, or set new_recipient to true",
                    };
                    return Err(Error::new(e.code(), format!("{}{advice}", e.message())));
                }
                known => known?,
            };
            let priority = match args.priority {
                Priority::Info => "info",
                Priority::Action => "action",
                Priority::Urgent => "urgent",
            };
            let new = NewInboxMessage {
                id: args
                    .idempotency_key
                    .map(|key| format!("{}/{key}/{inbox}", session.agent())),
                title: Some(args.title.unwrap_or_else(|| title_of(&args.text))),
                priority: Some(priority.to_owned()),
                ..NewInboxMessage::new(session.agent(), inbox, args.text)
            };
            let row = writer.send(&new).map_err(key_conflict)?.into_row();
            wake::after_sending(writer, &row.to_inbox);
            Ok((row, unread(session, writer)))
        })
        .await?;
    Ok(Json(Sent {
        ids: vec![row.n.to_string()],
        to: vec![name(&row.to_inbox)],
        note: with_unread("stored; an answer comes to your inbox", unread),
    }))
}

/// Returns the number of unread mail in the caller's inbox, or 0 if it cannot be counted: the call itself has
/// succeeded.
fn unread(session: &AgentSession, reader: &Reader) -> usize {
    let filter = InboxFilter {
        inbox: Some(session.agent().to_owned()),
        reader: Some(session.agent().to_owned()),
        status: Some("unread".to_owned()),
        now: now_ms(),
        ..InboxFilter::default()
    };
    reader.inbox_count(&filter).unwrap_or(0)
}

/// Returns what the model has to know about the texts of mail.
fn about_mail(mail: &[InboxMessageRow]) -> String {
    let from_person = mail
        .iter()
        .filter(|mail| mail_text::is_person(&mail.from_agent, mail.verified));
    about_texts(from_person.count(), mail.len())
}

/// Marks mail as seen once the result that contains it is written.
fn mark_seen_when_written(result: PendingResult, session: AgentSession, mail: &[InboxMessageRow]) {
    if mail.is_empty() {
        return;
    }
    let ids: Vec<String> = mail.iter().map(|mail| mail.message_id.clone()).collect();
    result.when_written(move || {
        session.with(|writer| {
            writer.atomically(|| {
                ids.iter()
                    .try_for_each(|id| writer.add_receipt(id, Receipt::Seen, session.read_context()))
            })
        })
    });
}

/// Returns the names of the inbox and of the sender whose mail is asked for.
fn names(session: &AgentSession, reader: &Reader, args: &CheckInbox) -> StoreResult<(String, Option<String>)> {
    let named = |name: &String| reader.agent_labelled(&reader.stored_name(name)?);
    let inbox = args.inbox.as_ref().map(named).transpose()?;
    let from = args.from.as_ref().map(named).transpose()?;
    Ok((inbox.unwrap_or_else(|| session.agent().to_owned()), from))
}

/// Lists mail. Returns it with the number of further unread mail.
fn list(session: &AgentSession, reader: &Reader, args: &CheckInbox) -> StoreResult<(Vec<InboxMessageRow>, usize)> {
    let (inbox, from) = names(session, reader, args)?;
    let filter = InboxFilter {
        inbox: Some(inbox),
        reader: Some(session.agent().to_owned()),
        status: args.unread_only.then(|| "unread".to_owned()),
        from,
        now: now_ms(),
        order: match args.unread_only {
            true => InboxOrder::Handover,
            false => InboxOrder::Newest,
        },
        limit: rows(args.limit, 50),
        ..InboxFilter::default()
    };
    let mail = reader.inbox(&filter)?;
    let waiting = match args.unread_only && mail.len() == filter.limit {
        true => reader.inbox_count(&filter)?.saturating_sub(mail.len()),
        false => 0,
    };
    Ok((mail, waiting))
}

/// Claims mail. Takes the write lock only if there is mail to claim.
fn claim(
    session: &AgentSession,
    reader: &Reader,
    args: &CheckInbox,
    lease: Duration,
) -> StoreResult<Vec<InboxMessageRow>> {
    let (inbox, from) = names(session, reader, args)?;
    let claim = Claim {
        inbox: &inbox,
        from: from.as_deref(),
        lease,
        limit: rows(args.limit, 50),
    };
    if !reader.has_claimable_mail(claim, now_ms())? {
        return Ok(Vec::new());
    }
    session.with(|writer| writer.claim(claim, session.read_context()))
}

/// Returns the mail with this number or id, or an error with advice for an agent.
fn mail_by_id(writer: &Writer, id: &str) -> StoreResult<InboxMessageRow> {
    writer.require_mail_by_number_or_id(id).map_err(|e| match e.code() {
        Code::NotFound => Error::new(
            e.code(),
            format!(
                "no mail has the id {:?}; list yours with check_inbox and unread_only false",
                shortened(id)
            ),
        ),
        _ => e,
    })
}

/// Explains a conflict of ids, which are made from idempotency keys.
fn key_conflict(error: Error) -> Error {
    match error.code() {
        Code::Conflict => Error::new(
            error.code(),
            "this idempotency_key was already used for another message; use a new one",
        ),
        _ => error,
    }
}

/// Returns the first characters of a text from the model, for an error message.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn title_of(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(MAX_TITLE_CHARS)
        .collect()
}

/// Returns the wait of one call, limited to [`MAX_WAIT_SECONDS`].
fn wait_timeout(seconds: i64) -> Duration {
    Duration::from_secs(seconds.clamp(0, MAX_WAIT_SECONDS).unsigned_abs())
}

/// Returns a number of rows between 1 and `max`.
fn rows(requested: i64, max: i64) -> usize {
    usize::try_from(requested.clamp(1, max)).unwrap_or(1)
}

/// Returns the duration of a claim. A value out of range is an error, not clamped: the agent would
/// work under a claim that ends sooner than it asked for.
fn lease(seconds: i64) -> Result<Duration, ToolError> {
    let valid = u64::try_from(seconds)
        .ok()
        .filter(|seconds| (1..=MAX_CLAIM_SECONDS).contains(seconds));
    valid
        .map(Duration::from_secs)
        .ok_or_else(|| ToolError(format!("claim_seconds must be from 1 to {MAX_CLAIM_SECONDS}")))
}
