//! The table of routes, and the lookup of requests in it.
//!
//! [`find`] runs once per request, on its method and path. Its result decides whether the request needs
//! the token, which handler runs, and which error an unknown path or method gets. The tests of access
//! control and of the documentation iterate over the same table ([`routes`]).

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::auth::{AuthRequirement, WEBSOCKET_PATH};
use super::request::{Access, ApiRequest};
use super::response;
use super::response_budget::LargeResponse;
use super::routes::assets::{self, Asset};
use super::routes::{
    agents, inbox, metrics, rendered, search, sessions, snippets, status, tasks, telemetry, threads, wake,
};
use super::state::Server;
use super::websocket;
use crate::error::{Code, Error, Result};

type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

/// One row of the table.
pub(super) struct Route {
    method: Method,
    /// `{…}` matches one segment that is not empty.
    path: &'static str,
    auth: AuthRequirement,
    handler: fn(ApiRequest) -> ResponseFuture,
}

impl Route {
    fn accepts(&self, method: &Method) -> bool {
        self.method == method || (method == Method::HEAD && self.method == Method::GET)
    }

    /// Returns the kind of the responses if they can be large. All others are made at once: a write waits for its
    /// commit, and what shows the state of the hub must not wait for lists.
    fn large_response(&self) -> Option<LargeResponse> {
        const SMALL: [&str; 7] = [
            WEBSOCKET_PATH,
            "/readyz",
            "/metrics",
            "/api/status",
            "/api/totals",
            "/api/commands",
            "/api/sessions",
        ];
        if self.method != Method::GET || self.auth == AuthRequirement::Open || SMALL.contains(&self.path) {
            return None;
        }
        Some(match self.path {
            "/api/search" => LargeResponse::Search,
            _ => LargeResponse::List,
        })
    }

    /// Returns the segments of `path` that match the route's `{…}`, still percent-encoded, if `path`
    /// matches.
    fn params(&self, path: &str) -> Option<Vec<String>> {
        let (mut pattern, mut segments) = (self.path.split('/'), path.split('/'));
        let mut params = Vec::new();
        loop {
            match (pattern.next(), segments.next()) {
                (None, None) => return Some(params),
                (Some(part), Some(segment)) if part.starts_with('{') && !segment.is_empty() => {
                    params.push(segment.to_owned());
                }
                (Some(part), Some(segment)) if part == segment => {}
                _ => return None,
            }
        }
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $auth:ident => $handler:path,)*) => {
        /// Every route except the files of the dashboard.
        const ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            auth: AuthRequirement::$auth,
            handler: |request| Box::pin($handler(request)),
        },)*];
    };
}

routes! {
    GET "/healthz" Open => status::healthz,
    GET "/readyz" Token => status::readyz,
    GET "/metrics" Token => metrics::metrics,
    GET "/ws" Token => websocket::upgrade,
    GET "/api/status" Token => status::status,
    GET "/api/threads" Token => threads::list,
    POST "/api/threads" Token => threads::create,
    GET "/api/threads/{id}" Token => threads::get,
    PATCH "/api/threads/{id}" Token => threads::update,
    GET "/api/threads/{id}/messages" Token => threads::list_messages,
    POST "/api/threads/{id}/messages" Token => threads::post_message,
    GET "/api/inboxes" Token => inbox::list_mailboxes,
    GET "/api/inbox" Token => inbox::list,
    POST "/api/inbox" Token => inbox::send,
    GET "/api/inbox/{id}" Token => inbox::get,
    PATCH "/api/inbox/{id}" Token => inbox::update,
    POST "/api/inbox/{id}/claim" Token => inbox::claim,
    GET "/api/agents" Token => agents::list,
    GET "/api/agents/{id}" Token => agents::get,
    POST "/api/agents/{id}/wake" Person => wake::wake,
    GET "/api/repositories" Token => agents::list_repositories,
    GET "/api/wake" Token => wake::state,
    GET "/api/telemetry" Token => telemetry::list,
    POST "/api/telemetry" Token => telemetry::report,
    GET "/api/tasks" Token => tasks::list,
    GET "/api/tasks/{id}" Token => tasks::get,
    GET "/api/tasks/{id}/events" Token => tasks::list_events,
    GET "/api/tasks/{id}/files" Token => tasks::list_files,
    POST "/api/tasks/{id}/events" Token => tasks::add_event,
    GET "/api/totals" Token => status::totals,
    GET "/api/commands" Token => snippets::list,
    GET "/api/rendered" Token => rendered::list,
    GET "/api/search" Token => search::search,
    GET "/api/costs" Token => telemetry::costs,
    GET "/api/proof" Open => sessions::prove,
    GET "/api/sessions" Person => sessions::list,
    POST "/api/sessions" Code => sessions::create,
    DELETE "/api/sessions/{id}" Person => sessions::revoke,
}

/// Returns the method and path of every route, the dashboard's files included.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let files = assets::paths().map(|path| ("GET", path));
    files.chain(ROUTES.iter().map(|route| (route.method.as_str(), route.path)))
}

/// The result of looking up a request's method and path.
#[derive(Clone)]
pub(super) enum RouteMatch {
    /// A file of the dashboard.
    Asset {
        asset: &'static Asset,
        /// The path is `/`, not the file's own.
        at_root: bool,
    },
    Route {
        route: &'static Route,
        /// The values of the path's `{…}`, still percent-encoded.
        params: Vec<String>,
        auth: AuthRequirement,
    },
    /// The path exists, with these methods.
    MethodNotAllowed(Vec<&'static str>),
    NotFound,
}

impl RouteMatch {
    /// Returns whether the request needs the token. Every path does that is not explicitly open, so
    /// that a request without the token cannot find out which paths and methods exist.
    pub(super) fn auth_requirement(&self) -> AuthRequirement {
        match self {
            Self::Asset { .. } => AuthRequirement::Open,
            Self::Route { auth, .. } => *auth,
            Self::MethodNotAllowed(_) | Self::NotFound => AuthRequirement::Token,
        }
    }
}

/// Looks up a request. Segments are compared as sent, not percent-decoded.
pub(super) fn find(method: &Method, path: &str) -> RouteMatch {
    if matches!(*method, Method::GET | Method::HEAD)
        && let Some(asset) = assets::find(path)
    {
        let at_root = path == "/";
        return RouteMatch::Asset { asset, at_root };
    }
    // One trailing slash is accepted, but the request then needs the token, even on an open path. A path that
    // needs more still does.
    let (path, is_exact) = path.strip_suffix('/').map_or((path, true), |path| (path, false));
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(params) = route.params(path) else {
            continue;
        };
        if route.accepts(method) {
            let auth = match route.auth {
                AuthRequirement::Open if !is_exact => AuthRequirement::Token,
                required => required,
            };
            return RouteMatch::Route { route, params, auth };
        }
        allowed.push(route.method.as_str());
    }
    if allowed.is_empty() || !is_exact {
        return RouteMatch::NotFound;
    }
    RouteMatch::MethodNotAllowed(allowed)
}

/// Returns the filter that handles every request. The listener must have put the [`RouteMatch`] into
/// the request's extensions.
pub(super) fn filter(server: &Arc<Server>) -> BoxedFilter<(Response,)> {
    warp::ext::get::<RouteMatch>()
        .and(api_request(server))
        .then(|found, request| async move {
            dispatch(found, request)
                .await
                .unwrap_or_else(|error| response::error(&error))
        })
        .boxed()
}

/// Returns the filter for `GET /ws` alone. It rejects every other request.
pub(super) fn websocket_filter(server: &Arc<Server>) -> BoxedFilter<(Response,)> {
    let is_read = warp::method()
        .and_then(|method: Method| async move {
            if matches!(method, Method::GET | Method::HEAD) {
                Ok(())
            } else {
                Err(warp::reject::not_found())
            }
        })
        .untuple_one();
    warp::path(WEBSOCKET_PATH.trim_start_matches('/'))
        .and(warp::path::end())
        .and(is_read)
        .and(api_request(server))
        .then(|request| async move {
            websocket::upgrade(request)
                .await
                .unwrap_or_else(|error| response::error(&error))
        })
        .boxed()
}

/// Extracts the parts of a request that handlers use. The path's values are added by [`dispatch`].
fn api_request(server: &Arc<Server>) -> impl Filter<Extract = (ApiRequest,), Error = Rejection> + Clone + use<> {
    let server = Arc::clone(server);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::optional::<Arc<OwnedSemaphorePermit>>())
        .and(warp::ext::optional::<Access>())
        .map(
            move |method, query: String, headers: HeaderMap, body: Bytes, upgrade, permit, access: Option<Access>| {
                ApiRequest {
                    server: Arc::clone(&server),
                    method,
                    params: Vec::new(),
                    query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
                    headers,
                    body,
                    upgrade,
                    permit,
                    access: access.unwrap_or_default(),
                }
            },
        )
}

async fn dispatch(found: RouteMatch, mut request: ApiRequest) -> Result<Response> {
    match found {
        RouteMatch::Asset { asset, at_root } => Ok(assets::serve(&request, asset, at_root).await),
        RouteMatch::Route { route, params, .. } => {
            request.params = decode(&params)?;
            let Some(kind) = route.large_response() else {
                return (route.handler)(request).await;
            };
            let server = Arc::clone(&request.server);
            server
                .response_budget
                .run(kind, &server.tasks, (route.handler)(request))
                .await
        }
        RouteMatch::MethodNotAllowed(allowed) => Err(Error::new(
            Code::MethodNotAllowed,
            format!("this path does not accept the method; send {}", allowed.join(" or ")),
        )),
        RouteMatch::NotFound => Err(Error::new(
            Code::NotFound,
            "no such path; agenthub schema --wire lists all paths",
        )),
    }
}

/// Percent-decodes the path's values. A value that is not UTF-8 is refused: with replacement
/// characters, different names would become equal.
fn decode(params: &[String]) -> Result<Vec<String>> {
    let decode = |param: &String| {
        percent_decode_str(param)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
    };
    params
        .iter()
        .map(decode)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| {
            Error::new(
                Code::Invalid,
                "the path is not UTF-8; send names as percent-encoded UTF-8",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(method: &Method, path: &str) -> AuthRequirement {
        find(method, path).auth_requirement()
    }

    #[test]
    fn the_state_of_the_hub_and_writes_do_not_wait_for_lists() {
        let kind = |method: &Method, path: &str| match find(method, path) {
            RouteMatch::Route { route, .. } => route.large_response(),
            _ => panic!("no route {path}"),
        };
        for path in ["/readyz", "/metrics", "/api/status", "/api/totals", "/ws", "/healthz"] {
            assert_eq!(kind(&Method::GET, path), None, "{path}");
        }
        assert_eq!(kind(&Method::POST, "/api/threads/t/messages"), None);
        assert_eq!(kind(&Method::GET, "/api/search"), Some(LargeResponse::Search));
        for path in ["/api/threads/t/messages", "/api/tasks", "/api/inbox"] {
            assert_eq!(kind(&Method::GET, path), Some(LargeResponse::List), "{path}");
        }
    }

    #[test]
    fn only_the_dashboard_and_healthz_are_open() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.auth == AuthRequirement::Open)
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/healthz", "/api/proof"]);
        for path in ["/", "/index.html", "/healthz", "/api/proof"] {
            assert_eq!(auth(&Method::GET, path), AuthRequirement::Open, "{path}");
            assert_eq!(auth(&Method::HEAD, path), AuthRequirement::Open, "{path}");
            assert_eq!(auth(&Method::POST, path), AuthRequirement::Token, "{path}");
        }
        for path in [
            "/api/status",
            "/nowhere",
            "/healthz/",
            "/index.html/",
            "/%68ealthz",
            "//healthz",
            "*",
        ] {
            assert_eq!(auth(&Method::GET, path), AuthRequirement::Token, "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_needs_at_least_what_the_path_needs() {
        for route in ROUTES {
            let with_slash = auth(&route.method, &format!("{}/", route.path));
            let expected = match route.auth {
                AuthRequirement::Open => AuthRequirement::Token,
                required => required,
            };
            assert_eq!(with_slash, expected, "{}", route.path);
        }
    }

    /// Returns the matched pattern and its values, or the methods allowed, or nothing.
    fn found(method: &Method, path: &str) -> String {
        match find(method, path) {
            RouteMatch::Asset { .. } => "asset".to_owned(),
            RouteMatch::Route { route, params, .. } => format!("{} {}", route.path, params.join(",")),
            RouteMatch::MethodNotAllowed(allowed) => allowed.join(" or "),
            RouteMatch::NotFound => String::new(),
        }
    }

    #[test]
    fn matches_paths_segment_by_segment() {
        let messages = "/api/threads/{id}/messages";
        assert_eq!(
            found(&Method::GET, "/api/threads/a%2Fb/messages"),
            format!("{messages} a%2Fb")
        );
        assert_eq!(found(&Method::GET, "/api/threads/a/messages/"), format!("{messages} a"));
        assert_eq!(found(&Method::HEAD, "/api/threads/"), "/api/threads ");
        for path in [
            "/api/threads//messages",
            "/api/threads/a/b/messages",
            "/api/threads/a/messages//",
            "/api/threads//",
            "//api/threads",
            "/api",
            "*",
        ] {
            assert_eq!(found(&Method::GET, path), "", "{path}");
        }
    }

    #[test]
    fn names_the_methods_of_a_path_that_exists() {
        assert_eq!(found(&Method::DELETE, "/api/threads/a"), "GET or PATCH");
        assert_eq!(found(&Method::HEAD, "/api/inbox/a/claim"), "POST");
        for path in ["/", "/index.html", "/api/threads/", "/nowhere"] {
            assert_eq!(found(&Method::DELETE, path), "", "{path}");
        }
    }

    #[test]
    fn decodes_names_and_refuses_other_encodings() {
        let params = |text: &str| decode(&[text.to_owned()]);
        assert_eq!(params("a%20b%2Fc").unwrap(), ["a b/c"]);
        for text in ["%FF", "a%C3", "%ED%A0%80"] {
            assert_eq!(params(text).unwrap_err().code(), Code::Invalid, "{text}");
        }
    }
}
