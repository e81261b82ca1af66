//! The table of routes, and warp's filters made from it.
//!
//! For: one list that says every method and path there is; the router, the check for a
//! token and the tests that walk all routes are made from it.
//! Not for: what a route does (`api`, `handshake`, `dashboard`).

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use super::auth::Secrecy;
use super::{Server, api, commands, dashboard, handshake, metrics, reports, search, states};
use crate::error::{Code, Error, Result};

/// One request on its way to a route's business.
pub(super) struct Call {
    pub(super) server: Arc<Server>,
    pub(super) method: Method,
    /// The values of the path's `{…}`, decoded.
    pub(super) params: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) upgrade: Option<OnUpgrade>,
    /// The connection's place among those allowed at a time.
    pub(super) permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Call {
    /// The first `{…}` of the path.
    pub(super) fn id(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    /// A value of the query.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A number of the query.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>> {
        self.get(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Error::new(Code::Invalid, format!("{name} is a whole number")))
            })
            .transpose()
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

/// One line of the table.
pub(super) struct Route {
    pub(super) method: Method,
    /// `{…}` stands for one segment.
    pub(super) path: &'static str,
    pub(super) secrecy: Secrecy,
    run: fn(Call) -> Answer,
}

macro_rules! routes {
    ($($method:ident $path:literal $secrecy:ident => $run:path,)*) => {
        /// Every route but the dashboard's own files.
        pub(super) const ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            secrecy: Secrecy::$secrecy,
            run: |call| Box::pin($run(call)),
        },)*];
    };
}

routes! {
    GET "/healthz" Open => api::healthz,
    GET "/readyz" Token => metrics::readyz,
    GET "/metrics" Token => metrics::metrics,
    GET "/ws" Token => handshake::upgrade,
    GET "/api/status" Token => api::status,
    GET "/api/threads" Token => api::threads,
    POST "/api/threads" Token => reports::create_thread,
    GET "/api/threads/{id}" Token => api::thread,
    PATCH "/api/threads/{id}" Token => states::thread,
    GET "/api/threads/{id}/messages" Token => api::messages,
    POST "/api/threads/{id}/messages" Token => api::post_message,
    GET "/api/inboxes" Token => api::mailboxes,
    GET "/api/inbox" Token => api::inbox,
    POST "/api/inbox" Token => api::send,
    GET "/api/inbox/{id}" Token => states::receipts,
    PATCH "/api/inbox/{id}" Token => states::mail,
    POST "/api/inbox/{id}/claim" Token => states::claim,
    GET "/api/agents" Token => api::agents,
    GET "/api/telemetry" Token => api::telemetry,
    POST "/api/telemetry" Token => reports::report,
    GET "/api/tasks" Token => api::tasks,
    GET "/api/tasks/{id}/events" Token => api::task_events,
    POST "/api/tasks/{id}/events" Token => reports::task_event,
    GET "/api/commands" Token => commands::commands,
    GET "/api/search" Token => search::search,
    GET "/api/costs" Token => search::costs,
}

/// Every route by method and path, for whoever wants to try all of them.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let page = dashboard::paths().map(|path| ("GET", path));
    page.chain(ROUTES.iter().map(|route| (route.method.as_str(), route.path)))
}

/// Whether a request may be answered without a token. Whatever is not in the table or
/// among the dashboard's files keeps its secret.
pub(super) fn secrecy(method: &Method, path: &str) -> Secrecy {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let open = ROUTES
        .iter()
        .any(|route| route.path == path && route.secrecy == Secrecy::Open);
    if reads && (open || dashboard::has(path)) {
        Secrecy::Open
    } else {
        Secrecy::Token
    }
}

/// All routes as one filter that always answers.
pub(super) fn all(server: &Arc<Server>) -> BoxedFilter<(Response,)> {
    let page = {
        let server = Arc::clone(server);
        warp::method()
            .and(warp::path::full())
            .and(warp::header::headers_cloned())
            .and_then(move |method: Method, path: FullPath, headers: HeaderMap| {
                let found = dashboard::serve(&server, &method, path.as_str(), &headers);
                async move { found.ok_or_else(warp::reject::not_found) }
            })
            .boxed()
    };
    let nowhere = warp::path::full()
        .map(|path: FullPath| api::refusal(&nothing_at(path.as_str())))
        .boxed();
    let routes = ROUTES.iter().fold(page, |routes, route| {
        routes.or(filter(route, Arc::clone(server))).unify().boxed()
    });
    routes.or(nowhere).unify().boxed()
}

/// The WebSocket's route alone.
pub(super) fn websocket(server: &Arc<Server>) -> BoxedFilter<(Response,)> {
    ROUTES
        .iter()
        .filter(|route| route.path == "/ws")
        .map(|route| filter(route, Arc::clone(server)))
        .reduce(|a, b| a.or(b).unify().boxed())
        // The table has it; without it nothing would match.
        .unwrap_or_else(|| {
            warp::any()
                .and_then(|| async { Err(warp::reject::not_found()) })
                .boxed()
        })
}

/// Why a path that is in no route, or not with this method, is not answered.
fn nothing_at(path: &str) -> Error {
    let methods: Vec<&str> = ROUTES
        .iter()
        .filter(|route| matches(route.path, path))
        .map(|route| route.method.as_str())
        .collect();
    if methods.is_empty() {
        return Error::new(
            Code::NotFound,
            "there is nothing at this path; agenthub schema --wire lists what there is",
        );
    }
    Error::new(
        Code::MethodNotAllowed,
        format!("this path does not take that; send {}", methods.join(" or ")),
    )
}

/// Whether a path is one of those a pattern stands for.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut segments, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (segments.next(), given.next()) {
            (None, None) => return true,
            (Some(segment), Some(given)) if segment == given || (segment.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

/// One route as a filter.
fn filter(route: &'static Route, server: Arc<Server>) -> BoxedFilter<(Response,)> {
    let mut path = warp::any().map(|| Some(Vec::new())).boxed();
    for segment in route.path.split('/').filter(|s| !s.is_empty()) {
        path = if segment.starts_with('{') {
            path.and(warp::path::param::<String>())
                .map(|params: Option<Vec<String>>, param: String| {
                    // Made readable, different names would become one.
                    let param = percent_decode_str(&param).decode_utf8().ok()?.into_owned();
                    params.map(|params| [params, vec![param]].concat())
                })
                .boxed()
        } else {
            path.and(warp::path(segment)).boxed()
        };
    }
    let method = warp::method().and_then(move |method: Method| async move {
        let fits = method == route.method || (method == Method::HEAD && route.method == Method::GET);
        if fits {
            Ok(method)
        } else {
            Err(warp::reject::not_found())
        }
    });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    path.and(warp::path::end())
        .and(method)
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::optional::<Arc<OwnedSemaphorePermit>>())
        .then(
            move |params: Option<_>, method, query: String, headers, body, upgrade, permit| {
                let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                let call = params.map(|params| Call {
                    server: Arc::clone(&server),
                    method,
                    params,
                    query,
                    headers,
                    body,
                    upgrade,
                    permit,
                });
                async move {
                    let outcome = match call {
                        Some(call) => (route.run)(call).await,
                        None => Err(Error::new(Code::Invalid, "the path is not UTF-8; encode its names so")),
                    };
                    outcome.unwrap_or_else(|error| api::refusal(&error))
                }
            },
        )
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_and_the_pulse_are_open() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|r| r.secrecy == Secrecy::Open)
            .map(|r| r.path)
            .collect();
        assert_eq!(open, ["/healthz"]);
        assert_eq!(secrecy(&Method::GET, "/"), Secrecy::Open);
        assert_eq!(secrecy(&Method::POST, "/"), Secrecy::Token);
        assert_eq!(secrecy(&Method::GET, "/api/status"), Secrecy::Token);
        assert_eq!(secrecy(&Method::GET, "/nowhere"), Secrecy::Token);
    }

    #[test]
    fn patterns_match_segment_by_segment() {
        assert!(matches("/api/threads/{id}/messages", "/api/threads/a%2Fb/messages"));
        for path in [
            "/api/threads//messages",
            "/api/threads/a/b/messages",
            "/api/threads/a",
            "/api/threads/a/messages/",
        ] {
            assert!(!matches("/api/threads/{id}/messages", path), "{path}");
        }
    }
}
