//! HTTP requests to the running hub, for `serve`, `status`, `open` and `doctor`. Commands read and
//! write rows in the database file, not through the hub.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::store::{Record, Token};

/// Maximum time for one request, including the connection.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the record of the hub that serves the database at `db`, if that hub answers.
pub(super) async fn running(db: &Path) -> Option<Record> {
    let record = Record::read(db)?;
    let health = get(&record.url, "/healthz", None).await?;
    // After a crash the record is stale, and another program or another run may have the port.
    (health.get("run")?.as_str()? == record.run).then_some(record)
}

/// Returns the hub's `/api/status`; `None` if it does not accept the token.
pub(super) async fn status(record: &Record, token: &Token) -> Option<Value> {
    get(&record.url, "/api/status", Some(token)).await
}

async fn get(url: &str, path: &str, token: Option<&Token>) -> Option<Value> {
    tokio::time::timeout(TIMEOUT, async {
        let host = url.strip_prefix("http://")?;
        let stream = TcpStream::connect(host).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let mut request = Request::get(path).header("host", host);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let body = async {
            let response = sender.send_request(request).await.ok()?;
            if response.status() != StatusCode::OK {
                return None;
            }
            serde_json::from_slice(&response.into_body().collect().await.ok()?.to_bytes()).ok()
        };
        // hyper sends the request only while the connection is polled.
        tokio::select! {
            body = body => body,
            _ = connection => None,
        }
    })
    .await
    .ok()
    .flatten()
}

/// Returns a single-threaded runtime for one command.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Returns the page's URL. The token is in the fragment, which browsers do not send to servers.
pub(super) fn dashboard_url(url: &str, token: Option<&Token>) -> String {
    match token {
        Some(token) => format!("{url}/#token={}", token.secret()),
        None => format!("{url}/"),
    }
}
