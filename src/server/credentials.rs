//! The secrets that a server accepts, and which caller each of them stands for.
//!
//! | secret | caller |
//! |---|---|
//! | the token (`hub.db.token`) | a program, which acts under the names it gives |
//! | the person's secret (`hub.db.person`), a page's key | the person |
//! | none, with `--no-auth` | a program |

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::auth::{AuthMode, AuthRequirement, missing_token};
use crate::error::{Code, Error, Result};
use crate::store::{PageCode, PageSession, Secret};

/// Time in milliseconds after which a further use of a page's key is recorded.
const USE_RESOLUTION_MS: i64 = 3_600_000;

/// The secret with which a request was authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Credential {
    /// None: the route needs none, or the hub runs with `--no-auth`.
    None,
    /// The token.
    Token,
    /// The person's secret.
    Person,
    /// The key of the page's session with this id.
    Page(String),
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A program: its rows carry the names that it gives.
    Program,
    /// The person.
    Person,
}

impl Credential {
    pub(super) fn caller(&self) -> Caller {
        match self {
            Self::None | Self::Token => Caller::Program,
            Self::Person | Self::Page(_) => Caller::Person,
        }
    }
}

/// The secrets that a server accepts.
#[derive(Debug)]
pub(super) struct Credentials {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: AuthMode,
    person: Secret,
    sessions: Vec<PageSession>,
    /// Sessions whose last use is not stored yet.
    used: Vec<String>,
    /// Nonces of codes that were redeemed, with the end of their validity in Unix milliseconds.
    redeemed: HashMap<String, i64>,
    /// Cancelled when a credential is revoked: ends the WebSocket connections that it has opened.
    connections: HashMap<Credential, CancellationToken>,
}

impl Credentials {
    pub(super) fn new(mode: AuthMode, person: Secret, sessions: Vec<PageSession>) -> Self {
        Self {
            state: Mutex::new(State {
                mode,
                person,
                sessions,
                used: Vec::new(),
                redeemed: HashMap::new(),
                connections: HashMap::new(),
            }),
        }
    }

    /// Returns the credential of a request that carries the secrets `given`, to a hub at `port`.
    ///
    /// # Errors
    /// [`Code::Unauthorized`] if none of them is valid and the route requires one; [`Code::Forbidden`] if
    /// the route requires the person's.
    pub(super) fn authorize(
        &self,
        requirement: AuthRequirement,
        given: &[String],
        port: u16,
        now: i64,
    ) -> Result<Credential> {
        if matches!(requirement, AuthRequirement::Open | AuthRequirement::Code) {
            return Ok(Credential::None);
        }
        let mut state = self.lock();
        let found = given.iter().find_map(|secret| state.identify(secret, port, now));
        let found = match (&state.mode, found) {
            (_, Some(found)) => found,
            (AuthMode::Disabled, None) => Credential::None,
            (AuthMode::Token(_), None) => {
                return Err(missing_token());
            }
        };
        if requirement == AuthRequirement::Person && found.caller() != Caller::Person {
            return Err(Error::new(
                Code::Forbidden,
                "only the person may do this; open the page with agenthub open",
            ));
        }
        Ok(found)
    }

    /// Returns whether requests need no token (`--no-auth`).
    pub(super) fn needs_no_token(&self) -> bool {
        matches!(self.lock().mode, AuthMode::Disabled)
    }

    /// Accepts a one-time code of the run `run`, once. Returns the person's secret.
    ///
    /// # Errors
    /// [`Code::Unauthorized`] if the code is wrong, has expired or was redeemed before.
    pub(super) fn redeem(&self, given: &[String], run: &str, now: i64) -> Result<Secret> {
        let mut state = self.lock();
        state.redeemed.retain(|_, expires_at| *expires_at > now);
        let valid = given
            .iter()
            .find_map(|code| PageCode::verify(&state.person, run, code, now))
            .map(|(nonce, expires_at)| (nonce.to_owned(), expires_at));
        let (nonce, expires_at) = valid.ok_or_else(invalid_code)?;
        match state.redeemed.insert(nonce, expires_at) {
            None => Ok(state.person.clone()),
            Some(_) => Err(invalid_code()),
        }
    }

    /// Returns whether `given` contains a one-time code of the run `run` that is valid and not redeemed.
    pub(super) fn has_valid_code(&self, given: &[String], run: &str, now: i64) -> bool {
        let state = self.lock();
        given.iter().any(|code| {
            PageCode::verify(&state.person, run, code, now)
                .is_some_and(|(nonce, _)| !state.redeemed.contains_key(nonce))
        })
    }

    /// Returns the session of the page with this id.
    pub(super) fn session(&self, id: &str) -> Option<PageSession> {
        self.lock().sessions.iter().find(|session| session.id == id).cloned()
    }

    /// Replaces the required token (AILANG's `SetToken`). Open connections stay open.
    pub(super) fn set_token(&self, token: Secret) {
        self.lock().mode = AuthMode::Token(token);
    }

    /// Requires `new` instead of `old` and ends the connections that `old` has opened. Returns whether
    /// `old` was the required token; if not, nothing changes.
    pub(super) fn rotate_token(&self, old: &Secret, new: &Secret) -> bool {
        let mut state = self.lock();
        if !matches!(&state.mode, AuthMode::Token(token) if token == old) {
            return false;
        }
        state.mode = AuthMode::Token(new.clone());
        state.end_connections(|credential| *credential == Credential::Token);
        true
    }

    /// Replaces the person's secret and the page's sessions, and ends the connections of those that are
    /// no longer valid. Returns whether the person's secret is another one.
    pub(super) fn set_person(&self, person: Secret, sessions: Vec<PageSession>) -> bool {
        let mut state = self.lock();
        let is_other = state.person != person;
        if is_other {
            state.person = person;
            state.end_connections(|credential| *credential == Credential::Person);
        }
        state.set_sessions(sessions);
        is_other
    }

    /// Replaces the page's sessions and ends the connections of those that were revoked.
    pub(super) fn set_sessions(&self, sessions: Vec<PageSession>) {
        self.lock().set_sessions(sessions);
    }

    /// Adds a session that was stored.
    pub(super) fn add_session(&self, session: PageSession) {
        self.lock().sessions.push(session);
    }

    /// Returns the ids of the sessions that were used since the last call, with the time of their last
    /// use.
    pub(super) fn take_used(&self) -> Vec<(String, i64)> {
        let mut state = self.lock();
        let used = std::mem::take(&mut state.used);
        let sessions = state.sessions.iter().filter(|session| used.contains(&session.id));
        sessions
            .map(|session| (session.id.clone(), session.last_used_at))
            .collect()
    }

    /// Returns the token that is cancelled when this credential is revoked.
    pub(super) fn cancellation(&self, credential: &Credential) -> CancellationToken {
        self.lock().connections.entry(credential.clone()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error for a code that is wrong, has expired or was redeemed before.
pub(super) fn invalid_code() -> Error {
    Error::new(
        Code::Unauthorized,
        "this link was used before or has expired; open the page again with agenthub open",
    )
}

impl State {
    fn identify(&mut self, secret: &str, port: u16, now: i64) -> Option<Credential> {
        if matches!(&self.mode, AuthMode::Token(token) if token.matches(secret)) {
            return Some(Credential::Token);
        }
        if self.person.matches(secret) {
            return Some(Credential::Person);
        }
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.accepts(secret, port, now))?;
        if now - session.last_used_at > USE_RESOLUTION_MS {
            session.last_used_at = now;
            self.used.push(session.id.clone());
        }
        Some(Credential::Page(session.id.clone()))
    }

    fn set_sessions(&mut self, sessions: Vec<PageSession>) {
        self.end_connections(|credential| match credential {
            Credential::Page(id) => sessions.iter().all(|session| session.id != *id),
            _ => false,
        });
        self.sessions = sessions;
    }

    fn end_connections(&mut self, is_revoked: impl Fn(&Credential) -> bool) {
        self.connections.retain(|credential, connections| {
            let is_revoked = is_revoked(credential);
            if is_revoked {
                connections.cancel();
            }
            !is_revoked
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(mode: AuthMode) -> (Credentials, PageSession, Secret) {
        let person = Secret::new("person");
        let (session, key) = PageSession::new(&person, 4820, "browser", 0).unwrap();
        let credentials = Credentials::new(mode, person, vec![session.clone()]);
        (credentials, session, key)
    }

    fn authorize(credentials: &Credentials, requirement: AuthRequirement, given: &str) -> Result<Credential> {
        credentials.authorize(requirement, &[given.to_owned()], 4820, 0)
    }

    #[test]
    fn each_secret_has_its_caller() {
        let (credentials, session, key) = credentials(AuthMode::Token(Secret::new("token")));
        let page = Credential::Page(session.id);
        for (given, expected) in [
            ("token", Credential::Token),
            ("person", Credential::Person),
            (key.text(), page),
        ] {
            let found = authorize(&credentials, AuthRequirement::Token, given).unwrap();
            assert_eq!(found, expected);
            let by_person = authorize(&credentials, AuthRequirement::Person, given);
            match found.caller() {
                Caller::Person => assert_eq!(by_person.unwrap(), expected),
                Caller::Program => assert_eq!(by_person.unwrap_err().code(), Code::Forbidden),
            }
        }
        for given in ["", "tokens", "Token"] {
            let refused = authorize(&credentials, AuthRequirement::Token, given).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthorized);
        }
        let elsewhere = credentials.authorize(AuthRequirement::Token, &[key.text().to_owned()], 4821, 0);
        assert_eq!(elsewhere.unwrap_err().code(), Code::Unauthorized);
    }

    #[test]
    fn without_authentication_everyone_is_a_program() {
        let (credentials, _, key) = credentials(AuthMode::Disabled);
        let anyone = authorize(&credentials, AuthRequirement::Token, "").unwrap();
        assert_eq!(anyone.caller(), Caller::Program);
        let refused = authorize(&credentials, AuthRequirement::Person, "").unwrap_err();
        assert_eq!(refused.code(), Code::Forbidden);
        let person = authorize(&credentials, AuthRequirement::Person, key.text()).unwrap();
        assert_eq!(person.caller(), Caller::Person);
    }

    #[test]
    fn a_code_is_redeemed_once() {
        let (credentials, _, _) = credentials(AuthMode::Disabled);
        let code = [PageCode::make(&Secret::new("person"), "run", 10).unwrap()];
        assert!(credentials.has_valid_code(&code, "run", 0));
        assert!(!credentials.has_valid_code(&code, "another run", 0));
        assert_eq!(
            credentials.redeem(&code, "run", 10).unwrap_err().code(),
            Code::Unauthorized
        );
        credentials.redeem(&code, "run", 0).unwrap();
        assert_eq!(
            credentials.redeem(&code, "run", 0).unwrap_err().code(),
            Code::Unauthorized
        );
        assert!(!credentials.has_valid_code(&code, "run", 0));
    }

    #[test]
    fn revoking_a_credential_ends_its_connections_only() {
        let (credentials, session, _) = credentials(AuthMode::Token(Secret::new("token")));
        let all = [
            Credential::Token,
            Credential::Person,
            Credential::Page(session.id.clone()),
        ];
        let [token, person, page] = all.map(|credential| credentials.cancellation(&credential));
        let open = || [&token, &person, &page].map(|connections| !connections.is_cancelled());
        credentials.set_person(Secret::new("person"), vec![session]);
        assert_eq!(open(), [true, true, true]);
        credentials.set_person(Secret::new("person"), Vec::new());
        assert_eq!(open(), [true, true, false]);
        credentials.set_person(Secret::new("other"), Vec::new());
        assert_eq!(open(), [true, false, false]);
        assert!(!credentials.rotate_token(&Secret::new("wrong"), &Secret::new("new")));
        assert!(credentials.rotate_token(&Secret::new("token"), &Secret::new("new")));
        assert_eq!(open(), [false, false, false]);
    }
}
