//! Applies a token that `agenthub token --rotate` wrote while the hub runs.
//!
//! The old token may have leaked: from then on it is refused, and WebSocket sessions that were
//! opened with it end. A token set with [`Server::set_token`] and `--no-auth` are not affected.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::Server;
use crate::store::Token;

/// Time between checks of the token file.
const INTERVAL: Duration = Duration::from_millis(800);

/// Checks the token file every [`INTERVAL`] until the server shuts down.
pub(super) async fn watch(server: Weak<Server>, shutdown: CancellationToken) {
    let known = server.upgrade().and_then(|server| server.file_token.clone());
    let Some(mut known) = known else {
        return;
    };
    let mut stamp = None;
    let pause = || tokio::time::sleep(INTERVAL);
    while shutdown.run_until_cancelled(pause()).await.is_some() {
        // Between checks this task keeps no reference, so that the server can be dropped.
        let Some(server) = server.upgrade() else {
            return;
        };
        let db = server.hub.store().path().to_owned();
        // One `stat`: it takes no lock and reads no content, so it needs no blocking thread.
        let latest = Token::stamp(&db);
        if latest.is_some() && latest == std::mem::replace(&mut stamp, latest) {
            continue;
        }
        let found = tokio::task::spawn_blocking(move || Token::at(&db)).await;
        match found {
            Ok(Some(found)) if found != known => {
                if server.rotate_token(&known, &found) {
                    tracing::info!("the token was rotated; open the page again with agenthub open");
                }
                known = found;
            }
            Ok(Some(_)) => {}
            // The file is missing or half written: the old token stays valid, and the file is read
            // again at the next check.
            _ => stamp = None,
        }
    }
}
