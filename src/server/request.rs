//! A request as a route's handler receives it: after the access checks, with its body.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName};
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::credentials::{Caller, Credential};
use super::state::Server;
use crate::config::{HUMAN, composed};
use crate::error::{Code, Error, Result};
use crate::store::Author;

/// Default number of items in a list.
const DEFAULT_LIMIT: usize = 100;
/// Maximum number of items in a list.
const MAX_LIMIT: usize = 1000;

/// A request for one route.
pub(super) struct ApiRequest {
    pub(super) server: Arc<Server>,
    pub(super) method: Method,
    /// The values of the path's `{…}`, percent-decoded.
    pub(super) params: Vec<String>,
    /// The query's names and values, percent-decoded, in their order.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) upgrade: Option<OnUpgrade>,
    /// The connection's share of the connection limit.
    pub(super) permit: Option<Arc<OwnedSemaphorePermit>>,
    pub(super) access: Access,
}

/// The result of the access checks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) credential: Credential,
    /// The secrets that the request carries.
    pub(super) given: Vec<String>,
    /// The port at which the hub listens.
    pub(super) port: u16,
}

impl Default for Access {
    /// The access of a request that an embedding server has checked.
    fn default() -> Self {
        Self {
            credential: Credential::None,
            given: Vec::new(),
            port: 0,
        }
    }
}

impl ApiRequest {
    /// Returns the value of the path's first `{…}`.
    pub(super) fn id(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    /// Returns the first query value with this name.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// As [`ApiRequest::query`], without empty values.
    pub(super) fn filter(&self, name: &str) -> Option<String> {
        self.query(name).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Returns a query value that must be a whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>> {
        self.query(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Error::new(Code::Invalid, format!("{name} must be a whole number")))
            })
            .transpose()
    }

    /// Returns the number of items to list: `limit`, at most 1000; 100 if it is not given.
    pub(super) fn limit(&self) -> Result<usize> {
        self.limit_or(DEFAULT_LIMIT)
    }

    /// As [`ApiRequest::limit`], but 1000 if it is not given: for lists that are usually short.
    pub(super) fn limit_of_short_list(&self) -> Result<usize> {
        self.limit_or(MAX_LIMIT)
    }

    fn limit_or(&self, default: usize) -> Result<usize> {
        match self.number("limit")? {
            None => Ok(default),
            Some(limit) => match usize::try_from(limit) {
                Ok(limit) if limit > 0 => Ok(limit.min(MAX_LIMIT)),
                _ => Err(Error::new(
                    Code::Invalid,
                    format!("limit must be a number from 1 to {MAX_LIMIT}"),
                )),
            },
        }
    }

    /// Returns a cursor that a list returned as `next`; `parse` returns `None` for any other text.
    pub(super) fn cursor<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.query(name)
            .map(|text| parse(text).ok_or_else(|| invalid_cursor(name)))
            .transpose()
    }

    /// Returns a cursor made of two numbers: `A.B`.
    pub(super) fn pair_cursor(&self, name: &str) -> Result<Option<(i64, i64)>> {
        self.cursor(name, |text| {
            let (a, b) = text.split_once('.')?;
            Some((a.parse().ok()?, b.parse().ok()?))
        })
    }

    /// Returns the value of a header; empty if it is missing or not ASCII text.
    pub(super) fn header(&self, name: &HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Returns who sends the request.
    pub(super) fn caller(&self) -> Caller {
        self.access.credential.caller()
    }

    /// Returns who writes a row whose sender is `name`, which `field` of the body names. Composes the name;
    /// without a name, sets it to the person's.
    ///
    /// # Errors
    /// [`Code::Invalid`] if there is no name and the person has not sent the request.
    pub(super) fn author(&self, field: &str, name: &mut String) -> Result<Author> {
        *name = composed(name);
        match self.caller() {
            Caller::Person if name.is_empty() || name == HUMAN => {
                HUMAN.clone_into(name);
                Ok(Author::Person)
            }
            Caller::Program if name.is_empty() => Err(Error::new(
                Code::Invalid,
                format!("{field} is missing; send the agent's name. Only the page may leave it out"),
            )),
            _ => Ok(Author::Program),
        }
    }

    /// Parses the body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| Error::new(Code::Invalid, format!("invalid body: {e}")))
    }
}

/// Returns the error for a query value that is not a cursor of the list.
pub(super) fn invalid_cursor(name: &str) -> Error {
    Error::new(
        Code::Invalid,
        format!("{name} is not a cursor of this list; send the previous page's next"),
    )
}
