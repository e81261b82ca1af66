//! The token in force is the one in its file.
//!
//! For: `agenthub token --rotate` under a running hub: the old token has leaked, and lets
//! nobody in any more, nor keeps anybody in.
//! Not for: a token the program around the library has set by itself, or `--no-auth`.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Guard, Server, lock};
use crate::store::Token;

/// Time between looks at the file.
const INTERVAL: Duration = Duration::from_millis(800);

/// Looks at the token's file now and then, until the server stops.
pub(super) async fn follow(server: Weak<Server>, stop: CancellationToken) {
    let known = server.upgrade().and_then(|server| server.file_token.clone());
    let Some(mut known) = known else {
        return;
    };
    let mut stamp = None;
    let pause = || tokio::time::sleep(INTERVAL);
    while stop.run_until_cancelled(pause()).await.is_some() {
        // Whoever has let go of the server is not kept waiting for this.
        let Some(server) = server.upgrade() else {
            return;
        };
        let db = server.hub.store().path().to_owned();
        // Not worth another thread: it waits for no lock and reads nothing.
        let latest = Token::stamp(&db);
        if latest.is_some() && latest == std::mem::replace(&mut stamp, latest) {
            continue;
        }
        let found = tokio::task::spawn_blocking(move || Token::at(&db)).await;
        match found {
            Ok(Some(found)) if found != known => {
                renew(&server, &known, &found);
                known = found;
            }
            Ok(Some(_)) => {}
            // A file that is missing or half written is none yet: the old token stays.
            _ => stamp = None,
        }
    }
}

fn renew(server: &Server, old: &Token, new: &Token) {
    let mut guard = lock(&server.guard);
    if !matches!(&*guard, Guard::Token(token) if token == old) {
        return;
    }
    *guard = Guard::Token(new.clone());
    drop(guard);
    // Whoever came in with the old one comes again with the new one, or not at all.
    std::mem::take(&mut *lock(&server.sessions)).cancel();
    tracing::info!("the token is another one now; agenthub open opens the page with it");
}

/// Runs a client's session until it ends, or the token it came in with is no longer good.
pub(super) async fn while_valid(session: impl Future<Output = ()>, sessions: CancellationToken) {
    sessions.run_until_cancelled(session).await;
}
