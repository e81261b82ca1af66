//! Applies changes of the secrets' files while the hub runs: `agenthub token --rotate`, `agenthub token
//! --person --rotate` and `agenthub sessions --revoke`. Stores when the page's keys were last used.
//!
//! A replaced secret may have leaked: from then on it is refused, and WebSocket connections that were
//! opened with it end. A token set with [`Server::set_token`] and `--no-auth` are not affected.

use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::Server;
use crate::protocol::now_ms;
use crate::store::{PageSession, PageSessions, Secret, SecretFile, Stamp};

/// Time between checks of the files.
const INTERVAL: Duration = Duration::from_millis(800);

/// The versions of the files, of those that have one.
type Stamps = [Option<Stamp>; 3];

/// The content of the files.
struct Loaded {
    token: Option<Secret>,
    person: Option<(Secret, Vec<PageSession>)>,
}

/// Checks the files every [`INTERVAL`] until the server shuts down.
pub(super) async fn watch(server: Weak<Server>, shutdown: CancellationToken) {
    let mut known_token = server.upgrade().and_then(|server| server.file_token.clone());
    let mut known: Stamps = [None; 3];
    let pause = || tokio::time::sleep(INTERVAL);
    while shutdown.run_until_cancelled(pause()).await.is_some() {
        // Between checks this task keeps no reference, so that the server can be dropped.
        let Some(server) = server.upgrade() else {
            return;
        };
        let db = server.hub.store().path().to_owned();
        store_uses(&server, &db).await;
        // Three `stat`s: they take no lock and read no content, so they need no blocking thread.
        let latest = stamps(&db);
        if latest.iter().all(Option::is_some) && latest == std::mem::replace(&mut known, latest) {
            continue;
        }
        let Ok(loaded) = tokio::task::spawn_blocking(move || load(&db)).await else {
            continue;
        };
        // A file that is missing, half written or refused changes nothing: the secrets known stay valid.
        if let (Some(token), Some(old)) = (&loaded.token, &known_token)
            && token != old
        {
            if server.credentials.rotate_token(old, token) {
                tracing::info!("the token was replaced; programs need the new one");
            }
            known_token = loaded.token;
        }
        if let Some((person, sessions)) = loaded.person
            && server.credentials.set_person(person, sessions)
        {
            tracing::info!("the person's secret was replaced; open the page again with agenthub open");
        }
    }
}

fn stamps(db: &Path) -> Stamps {
    [
        SecretFile::Token.stamp(db),
        SecretFile::Person.stamp(db),
        PageSessions::stamp(db),
    ]
}

fn load(db: &Path) -> Loaded {
    let person = SecretFile::Person.load(db).ok().flatten();
    Loaded {
        token: SecretFile::Token.load(db).ok().flatten(),
        person: person.and_then(|person| Some((person, PageSessions::load(db, now_ms()).ok()?.sessions))),
    }
}

/// Stores the last uses of the page's keys. If that fails, a key expires earlier.
async fn store_uses(server: &Server, db: &Path) {
    let used = server.credentials.take_used();
    if used.is_empty() {
        return;
    }
    let db: PathBuf = db.to_owned();
    let stored = tokio::task::spawn_blocking(move || {
        PageSessions::update(&db, now_ms(), |sessions| {
            for session in sessions {
                if let Some((_, at)) = used.iter().find(|(id, _)| *id == session.id) {
                    session.last_used_at = *at;
                }
            }
        })
    });
    if let Ok(Err(e)) = stored.await {
        tracing::warn!("cannot store that the page was used: {e}");
    }
}
