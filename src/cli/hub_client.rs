//! HTTP requests to the running hub, for `serve`, `status`, `open` and `doctor`. Commands read and
//! write rows in the database file, not through the hub.
//!
//! 1. The record beside the database names the hub's address, and has a key that only the hub and this
//!    user can read.
//! 2. The hub proves over the connection that it holds the key. After a crash, a program of another user
//!    may listen on the same port: it cannot.
//! 3. Secrets are sent over the same connection only.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::error::Result;
use crate::protocol::now_ms;
use crate::store::{PageCode, Record, Secret, SecretFile, hub_proof, random_hex};

/// Maximum time for one request, including the connection.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum bytes of a response. Before it has proved itself, the hub may be a program of another user.
const MAX_RESPONSE: usize = 1 << 20;

/// A connection to the hub that serves a database, after that hub has proved itself.
pub(super) struct HubConnection {
    pub(super) record: Record,
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    /// Sends and receives while it is polled.
    connection: Connection<TokioIo<TcpStream>, Empty<Bytes>>,
}

impl HubConnection {
    /// Connects to the hub that serves the database at `db`. Returns `None` if there is none, or if the
    /// process at its address does not prove that it is this hub.
    pub(super) async fn open(db: &Path) -> Option<Self> {
        let record = Record::read(db)?;
        let key = record.key()?;
        let nonce = random_hex::<16>().ok()?;
        let host = record.url.strip_prefix("http://")?.to_owned();
        let connect = async {
            let stream = TcpStream::connect(&host).await.ok()?;
            handshake(TokioIo::new(stream)).await.ok()
        };
        let (sender, connection) = tokio::time::timeout(TIMEOUT, connect).await.ok()??;
        let mut hub = Self {
            record,
            host,
            sender,
            connection,
        };
        let answer = hub.get(&format!("/api/proof?nonce={nonce}"), None).await?;
        let proof = answer.get("proof")?.as_str()?;
        let expected = Secret::new(hub_proof(&key, &nonce, &hub.host, &hub.record.run));
        expected.matches(proof).then_some(hub)
    }

    /// Returns the hub's `/api/status`; `None` if it does not accept the token of the database at `db`.
    pub(super) async fn status(&mut self, db: &Path) -> Option<Value> {
        let token = SecretFile::Token.load(db).ok()??;
        self.get("/api/status", Some(&token)).await
    }

    async fn get(&mut self, path: &str, token: Option<&Secret>) -> Option<Value> {
        let mut request = Request::get(path).header("host", &self.host);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.text()));
        }
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        if self.sender.is_closed() {
            return None;
        }
        let (sender, connection) = (&mut self.sender, &mut self.connection);
        let answer = async {
            let response = sender.send_request(request).await.ok()?;
            if response.status() != StatusCode::OK {
                return None;
            }
            let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        let answer = async {
            tokio::select! {
                answer = answer => answer,
                _ = connection => None,
            }
        };
        tokio::time::timeout(TIMEOUT, answer).await.ok().flatten()
    }
}

/// Returns the record of the hub that serves the database at `db`, if that hub proves itself.
pub(super) async fn running(db: &Path) -> Option<Record> {
    HubConnection::open(db).await.map(|hub| hub.record)
}

/// Returns why a hub may serve the database at `db` although none has proved itself, a sentence for the user.
pub(super) fn obstacle(db: &Path) -> Option<String> {
    match Record::load(db) {
        Ok(Some(record)) if record.key().is_none() && record.is_of_a_running_process() => Some(format!(
            "an older version of agenthub (process {}) serves {}; end that process and try again",
            record.pid,
            db.display()
        )),
        Ok(_) => None,
        Err(e) => Some(e.message().to_owned()),
    }
}

/// Returns a single-threaded runtime for one command.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Returns the page's URL.
pub(super) fn page_url(record: &Record) -> String {
    format!("{}/", record.url)
}

/// Returns the page's URL with a one-time code for the database at `db`, valid for `lifetime`. The code
/// is in the fragment, which browsers do not send to servers.
///
/// # Errors
/// [`Code::StoreUnavailable`](crate::error::Code::StoreUnavailable) if the person's secret cannot be
/// read.
pub(super) fn page_url_with_code(db: &Path, record: &Record, lifetime: Duration) -> Result<String> {
    let person = SecretFile::Person.load_or_create(db)?;
    let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    let code = PageCode::make(&person, &record.run, now_ms().saturating_add(lifetime))?;
    Ok(format!("{}#code={code}", page_url(record)))
}
