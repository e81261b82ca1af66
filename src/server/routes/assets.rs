//! Serves the dashboard's files, which are compiled into the binary.
//!
//! With `serve --assets DIR`, a file that exists in that directory replaces the compiled one and is
//! read on every request, for editing the page. The page gets its data over HTTP and the WebSocket like
//! any client.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use warp::reply::Response;

use crate::server::request::ApiRequest;
use crate::server::response;

/// Allows the page to load its own files and to connect to its own hub, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// One file of the page.
pub(crate) struct Asset {
    path: &'static str,
    content: &'static [u8],
}

macro_rules! assets {
    ($($path:literal,)*) => {
        &[$(Asset { path: concat!("/", $path), content: include_bytes!(concat!("../../../assets/dashboard/", $path)) },)*]
    };
}

const ASSETS: &[Asset] = assets![
    "index.html",
    "app.css",
    "favicon.svg",
    "main.js",
    "agent_marks.js",
    "api.js",
    "authors.js",
    "commands.js",
    "dom.js",
    "format.js",
    "hub_proof.js",
    "keyboard.js",
    "palette.js",
    "router.js",
    "routes.js",
    "safe_text.js",
    "session.js",
    "shortcuts.js",
    "socket.js",
    "status_bar.js",
    "steps.js",
    "storage.js",
    "store.js",
    "sync.js",
    "components/card_list.js",
    "components/commands.js",
    "components/forms.js",
    "components/labels.js",
    "components/list_view.js",
    "components/lists.js",
    "components/message_form.js",
    "components/order_hold.js",
    "components/place.js",
    "components/rendered_blocks.js",
    "components/rendered_text.js",
    "components/reply_form.js",
    "components/session_list.js",
    "components/timeline_view.js",
    "components/wake_note.js",
    "store/activity.js",
    "store/agents.js",
    "store/attention.js",
    "store/events.js",
    "store/eviction.js",
    "store/feed.js",
    "store/mail.js",
    "store/questions.js",
    "store/read_marks.js",
    "store/refresh.js",
    "store/schedule.js",
    "store/tasks.js",
    "store/threads.js",
    "store/timeline.js",
    "store/timelines.js",
    "store/waits.js",
    "sync/lists.js",
    "sync/mail.js",
    "sync/person.js",
    "sync/refresh.js",
    "sync/rendered.js",
    "sync/requests.js",
    "sync/rows.js",
    "sync/snapshot.js",
    "sync/threads.js",
    "sync/timelines.js",
    "views/agents.js",
    "views/agents/data.js",
    "views/agents/mail_history.js",
    "views/agents/message_form.js",
    "views/agents/page.js",
    "views/costs.js",
    "views/costs/charts.js",
    "views/costs/table.js",
    "views/inbox.js",
    "views/inbox/mail_details.js",
    "views/inbox/mail_view.js",
    "views/inbox/new_mail_form.js",
    "views/lock.js",
    "views/now.js",
    "views/now/agents.js",
    "views/now/attention.js",
    "views/now/feed.js",
    "views/now/first_row.js",
    "views/now/requests.js",
    "views/setup.js",
    "views/tasks.js",
    "views/tasks/call_summary.js",
    "views/tasks/detail.js",
    "views/tasks/export.js",
    "views/tasks/filter.js",
    "views/tasks/outline.js",
    "views/tasks/step.js",
    "views/tasks/step_search.js",
    "views/tasks/table.js",
    "views/threads.js",
    "views/threads/compose_form.js",
    "views/threads/message_row.js",
    "styles/base.css",
    "styles/components/banner.css",
    "styles/components/chart.css",
    "styles/components/chips.css",
    "styles/components/command.css",
    "styles/components/controls.css",
    "styles/components/dialog.css",
    "styles/components/list.css",
    "styles/components/mark.css",
    "styles/components/place.css",
    "styles/components/rendered.css",
    "styles/components/reply_form.css",
    "styles/components/shell.css",
    "styles/components/table.css",
    "styles/components/tag.css",
    "styles/components/timeline.css",
    "styles/components/view.css",
    "styles/components/wake.css",
    "styles/print.css",
    "styles/reset.css",
    "styles/states.css",
    "styles/tokens.css",
    "styles/views/agents.css",
    "styles/views/costs.css",
    "styles/views/inbox.css",
    "styles/views/lock.css",
    "styles/views/now.css",
    "styles/views/setup.css",
    "styles/views/tasks.css",
    "styles/views/threads.css",
];

/// One entity tag for all compiled files. It changes when the content of any of them changes.
static ENTITY_TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    // FNV-1a, 64 bits: enough to distinguish two builds.
    let hash = ASSETS
        .iter()
        .flat_map(|asset| asset.content)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    HeaderValue::from_str(&format!("\"{hash:016x}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
});

/// Returns the URL path of every file of the page.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    std::iter::once("/").chain(ASSETS.iter().map(|asset| asset.path))
}

/// Returns the page's file at `path`.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    let path = if path == "/" { "/index.html" } else { path };
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Handles a GET or HEAD request for `asset`. A request `at_root`, for `/`, is redirected to
/// 127.0.0.1 if the hub can be reached there.
pub(crate) async fn serve(request: &ApiRequest, asset: &'static Asset, at_root: bool) -> Response {
    let (server, headers) = (&request.server, &request.headers);
    if at_root
        && server.reachable_at_loopback.load(Ordering::Relaxed)
        && let Some(redirect) = redirect_to_loopback_address(headers)
    {
        return redirect;
    }
    let edited = match server.settings.assets.clone() {
        // A file system may block: read on a blocking thread.
        Some(dir) => tokio::task::spawn_blocking(move || read(&dir, asset.path))
            .await
            .unwrap_or_default(),
        None => None,
    };
    let entity_tag = edited.is_none().then(|| ENTITY_TAG.clone());
    let mut response = if entity_tag.is_some() && headers.get(IF_NONE_MATCH) == entity_tag.as_ref() {
        let mut not_modified = Response::new(Bytes::new().into());
        *not_modified.status_mut() = StatusCode::NOT_MODIFIED;
        not_modified
    } else {
        Response::new(edited.unwrap_or_else(|| Bytes::from_static(asset.content)).into())
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(asset.path)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    if let Some(entity_tag) = entity_tag {
        headers.insert(ETAG, entity_tag);
    }
    response::add_safety_headers(headers);
    response
}

/// Redirects requests for `localhost` or `[::1]` to 127.0.0.1: the browser stores the token per
/// origin, so the page uses one origin only.
fn redirect_to_loopback_address(headers: &HeaderMap) -> Option<Response> {
    let host = headers.get(HOST)?.to_str().ok()?.to_ascii_lowercase();
    let port = host.strip_prefix("localhost").or_else(|| host.strip_prefix("[::1]"))?;
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(
        LOCATION,
        HeaderValue::from_str(&format!("http://127.0.0.1{port}/")).ok()?,
    );
    response::add_safety_headers(response.headers_mut());
    Some(response)
}

/// Reads the file at `path` in the `--assets` directory. Callers pass only paths of `ASSETS`.
fn read(dir: &Path, path: &str) -> Option<Bytes> {
    let file = dir.join(path.trim_start_matches('/'));
    match std::fs::read(&file) {
        Ok(content) => Some(content.into()),
        Err(e) => {
            tracing::warn!("cannot read {}: {e}; serving the file in the binary", file.display());
            None
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files for those who work on the page: the browser does not load them.
    fn is_embedded(path: &str) -> bool {
        !path.ends_with(".md") && !path.ends_with(".d.ts")
    }

    #[test]
    fn lists_every_file_of_the_page() {
        fn walk(dir: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(format!("/{}", path.strip_prefix(root).unwrap().display()));
                }
            }
        }
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/dashboard");
        let mut found = Vec::new();
        walk(&dir, &dir, &mut found);
        found.retain(|path| is_embedded(path));
        found.sort();
        let mut listed: Vec<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        listed.sort();
        assert_eq!(listed, found);
    }
}
