//! Asking a hub that is running: is it alive, and how is it?
//!
//! For: `serve` (is this file served already?), `status` and `open`.
//! Not for: reading or writing rows: commands use the file.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::store::{Record, Token};

/// Time a hub on this machine has to answer.
const WAIT: Duration = Duration::from_secs(2);

/// The hub that serves the database at `db`, if one does: its record, checked by asking it.
pub(super) async fn running(db: &Path) -> Option<Record> {
    let record = Record::read(db)?;
    let health = get(&record.url, "/healthz", None).await?;
    // Another program on the port, or another run, is not the hub of the record.
    (health.get("run")?.as_str()? == record.run).then_some(record)
}

/// What the hub says about itself.
pub(super) async fn status(record: &Record, token: &Token) -> Option<Value> {
    get(&record.url, "/api/status", Some(token)).await
}

async fn get(url: &str, path: &str, token: Option<&Token>) -> Option<Value> {
    tokio::time::timeout(WAIT, async {
        let host = url.strip_prefix("http://")?;
        let stream = TcpStream::connect(host).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let mut request = Request::get(path).header("host", host);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let answer = async {
            let response = sender.send_request(request).await.ok()?;
            if response.status() != StatusCode::OK {
                return None;
            }
            serde_json::from_slice(&response.into_body().collect().await.ok()?.to_bytes()).ok()
        };
        // The connection has to be driven while the answer is awaited.
        tokio::select! {
            answer = answer => answer,
            _ = connection => None,
        }
    })
    .await
    .ok()
    .flatten()
}

/// A runtime for one command.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The address the browser opens: the token travels behind the `#`, which no server sees.
pub(super) fn dashboard_url(url: &str, token: Option<&Token>) -> String {
    match token {
        Some(token) => format!("{url}/#token={}", token.secret()),
        None => format!("{url}/"),
    }
}
