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
    "api.js",
    "authors.js",
    "components.js",
    "dom.js",
    "format.js",
    "hub_proof.js",
    "list_view.js",
    "palette.js",
    "rendered_text.js",
    "reply_form.js",
    "routes.js",
    "safe_text.js",
    "session.js",
    "session_list.js",
    "shortcuts.js",
    "socket.js",
    "storage.js",
    "store.js",
    "styles/rendered.css",
    "sync.js",
    "timeline.js",
    "timeline_view.js",
    "wake_note.js",
    "views/costs.js",
    "views/inbox.js",
    "views/lock.js",
    "views/now.js",
    "views/setup.js",
    "views/tasks.js",
    "views/threads.js",
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

    #[test]
    fn lists_every_file_of_the_directory() {
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
        found.sort();
        let mut listed: Vec<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        listed.sort();
        assert_eq!(listed, found);
    }
}
