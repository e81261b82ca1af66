//! The page's files, inside the binary.
//!
//! For: serving the dashboard with nothing to install and nothing to fetch; while editing
//! it, from a folder instead (`serve --assets DIR`).
//! Not for: what the page shows: it gets that over HTTP and the WebSocket like anybody.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use hyper::{Method, StatusCode};
use warp::reply::Response;

use super::tight::tight;
use super::{Server, api};

/// What the page may do: load its own files, talk to its own hub, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// One file of the page.
struct Asset {
    path: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal,)*) => {
        &[$(Asset { path: concat!("/", $path), bytes: include_bytes!(concat!("../../assets/dashboard/", $path)) },)*]
    };
}

const ASSETS: &[Asset] = assets![
    "index.html",
    "app.css",
    "favicon.svg",
    "main.js",
    "answer.js",
    "api.js",
    "dom.js",
    "format.js",
    "log.js",
    "palette.js",
    "parts.js",
    "socket.js",
    "store.js",
    "sync.js",
    "words.js",
    "views/costs.js",
    "views/inbox.js",
    "views/lock.js",
    "views/now.js",
    "views/setup.js",
    "views/tasks.js",
    "views/threads.js",
];

/// Each file as it travels, in the order of the table.
static SERVED: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let served = |asset: &Asset| match std::str::from_utf8(asset.bytes) {
        Ok(text) => tight(asset.path, text).into(),
        Err(_) => Bytes::from_static(asset.bytes),
    };
    ASSETS.iter().map(served).collect()
});

/// A tag that changes with the content of any file.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    // FNV-1a: good enough to tell two builds apart.
    let hash = SERVED.iter().flatten().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    HeaderValue::from_str(&format!("\"{hash:016x}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
});

/// Whether there is a file of the page at `path`.
pub(super) fn has(path: &str) -> bool {
    find(path).is_some()
}

/// Every path of the page.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    std::iter::once("/").chain(ASSETS.iter().map(|asset| asset.path))
}

/// The file at `path`, and its place in the table.
fn find(path: &str) -> Option<(usize, &'static Asset)> {
    let path = if path == "/" { "/index.html" } else { path };
    ASSETS.iter().enumerate().find(|(_, asset)| asset.path == path)
}

/// The file at `path`, if the page has one.
pub(super) fn serve(server: &Server, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let (place, asset) = find(path)?;
    if path == "/"
        && server.at_home.load(Ordering::Relaxed)
        && let Some(elsewhere) = one_origin(headers)
    {
        return Some(elsewhere);
    }
    let edited = server
        .settings
        .assets
        .as_deref()
        .and_then(|folder| read(folder, asset.path));
    let tag = edited.is_none().then(|| TAG.clone());
    if tag.is_some() && headers.get(IF_NONE_MATCH) == tag.as_ref() {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    let mut response = Response::new(edited.unwrap_or_else(|| SERVED[place].clone()).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(asset.path)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    if let Some(tag) = tag {
        headers.insert(ETAG, tag);
    }
    api::harden(headers);
    Some(response)
}

/// The page keeps its token by origin: whoever comes by another name of this machine is
/// sent to 127.0.0.1.
fn one_origin(headers: &HeaderMap) -> Option<Response> {
    let host = headers.get(HOST)?.to_str().ok()?.to_ascii_lowercase();
    let port = host.strip_prefix("localhost").or_else(|| host.strip_prefix("[::1]"))?;
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(
        LOCATION,
        HeaderValue::from_str(&format!("http://127.0.0.1{port}/")).ok()?,
    );
    api::harden(response.headers_mut());
    Some(response)
}

/// The file as it is in the folder now. Only paths of the table are ever asked for.
fn read(folder: &Path, path: &str) -> Option<Bytes> {
    let file = folder.join(path.trim_start_matches('/'));
    match std::fs::read(&file) {
        Ok(bytes) => Some(bytes.into()),
        Err(e) => {
            tracing::warn!("cannot read {}: {e}; serving the file in the binary", file.display());
            None
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
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
    fn every_file_of_the_page_is_in_the_binary() {
        fn walk(folder: &Path, under: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, under, found);
                } else {
                    found.push(format!("/{}", path.strip_prefix(under).unwrap().display()));
                }
            }
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/dashboard");
        let mut found = Vec::new();
        walk(&folder, &folder, &mut found);
        found.sort();
        let mut listed: Vec<_> = ASSETS.iter().map(|a| a.path.to_owned()).collect();
        listed.sort();
        assert_eq!(listed, found);
    }
}
