//! `/api/sessions` and `/api/proof`: the page's keys, and the proof that this is the hub.

use hyper::StatusCode;
use hyper::header::{HOST, USER_AGENT};
use serde_json::{Value, json};
use warp::reply::Response;

use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::server::credentials::Credential;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{PageSession, PageSessions, hub_proof};

/// Length of a client's nonce in characters.
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

/// `GET /api/proof?nonce&session`: proves that this hub holds the key of the page's session, or without
/// `session`, the key in its record. The proof is an HMAC over the nonce, the `Host` of this request and the
/// id of this run, so that a program on another port cannot pass it on. Needs no secret.
pub(crate) async fn prove(request: ApiRequest) -> Result<Response> {
    let nonce = request.query("nonce").unwrap_or_default();
    if !NONCE_LENGTH.contains(&nonce.len()) || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::new(Code::Invalid, "nonce must be 16 to 64 random hex digits"));
    }
    let host = request.header(&HOST);
    let run = request.server.run_id();
    let proof = match request.query("session") {
        Some(id) => request
            .server
            .credentials
            .session(id)
            .map(|session| session.hub_proof(nonce, host, &run)),
        None => request
            .server
            .record()
            .and_then(|record| Some(hub_proof(&record.key()?, nonce, host, &run))),
    };
    let proof = proof.ok_or_else(|| Error::new(Code::NotFound, "no such session; open the page with agenthub open"))?;
    Ok(response::ok(&json!({"run": run, "proof": proof})))
}

/// `POST /api/sessions`: exchanges a one-time code for a page's key. The key is shown only here.
pub(crate) async fn create(request: ApiRequest) -> Result<Response> {
    let (server, now) = (&request.server, now_ms());
    let person = server
        .credentials
        .redeem(&request.access.given, &server.run_id(), now)?;
    let (session, key) = PageSession::new(&person, request.access.port, request.header(&USER_AGENT), now)?;
    let (db, added) = (server.hub().store().path().to_owned(), session.clone());
    let stored = tokio::task::spawn_blocking(move || PageSessions::update(&db, now, |all| all.push(added))).await;
    stored.map_err(|e| Error::new(Code::Internal, "cannot store the session").because(e))??;
    server.credentials.add_session(session.clone());
    let mut body = describe(&session, &Credential::Page(session.id.clone()));
    body["key"] = json!(key.text());
    Ok(response::created(&body))
}

/// `GET /api/sessions`: the page's sessions, the oldest first.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let db = request.server.hub().store().path().to_owned();
    let loaded = tokio::task::spawn_blocking(move || PageSessions::load(&db, now_ms())).await;
    let all = loaded.map_err(|e| Error::new(Code::Internal, "cannot read the sessions").because(e))??;
    let items: Vec<Value> = all
        .sessions
        .iter()
        .map(|session| describe(session, &request.access.credential))
        .collect();
    Ok(response::list(&items, None::<()>))
}

/// `DELETE /api/sessions/{id}`: revokes a session at once. Its connections end.
pub(crate) async fn revoke(request: ApiRequest) -> Result<Response> {
    let (db, id) = (request.server.hub().store().path().to_owned(), request.id().to_owned());
    let (mut found, now) = (false, now_ms());
    let updated = tokio::task::spawn_blocking(move || {
        let all = PageSessions::update(&db, now, |all| {
            all.retain(|session| {
                found |= session.id == id;
                session.id != id
            });
        })?;
        Ok::<_, Error>((all, found))
    });
    let (all, found) = updated
        .await
        .map_err(|e| Error::new(Code::Internal, "cannot store the sessions").because(e))??;
    request.server.credentials.set_sessions(all.sessions);
    if !found {
        return Err(Error::new(
            Code::NotFound,
            "no such session; agenthub sessions lists them",
        ));
    }
    Ok(response::json(StatusCode::OK, &json!({"revoked": true})))
}

fn describe(session: &PageSession, caller: &Credential) -> Value {
    let mut shown = json!(session.summary());
    shown["current"] = json!(*caller == Credential::Page(session.id.clone()));
    shown
}
