//! The sessions of the page: which browsers act for the person (`hub.db.sessions`).
//!
//! 1. A command at the person's terminal makes a one-time code ([`PageCode`]) and puts it into the page's
//!    URL. It is valid for one run of the hub, and for a few minutes.
//! 2. The page sends the code once and receives a key. The file stores only the key's SHA-256.
//! 3. A key is valid at the port where it was made, until it is revoked, until it was not used for 30
//!    days, or until the person's secret is replaced.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hub_record::hub_proof;
use super::secrets::{Secret, SecretFile, Stamp, random_hex};
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};

/// Maximum time without use before a session expires, in milliseconds.
const MAX_UNUSED_MS: i64 = 30 * 86_400_000;
/// Maximum sessions of a database. A new one replaces the one that was not used for the longest time.
const MAX_SESSIONS: usize = 64;
/// Maximum characters of a browser's name.
const MAX_BROWSER: usize = 120;
/// Purpose of the HMAC of a one-time code.
const CODE: &str = "agenthub page code 1";
/// What the user does if the file is refused.
const ADVICE: &str = "delete it and run agenthub open";

/// One-time codes: `EXPIRES.NONCE.MAC`.
#[derive(Debug, Clone, Copy)]
pub struct PageCode;

impl PageCode {
    /// Returns a code for this run of a hub that is valid until `expires_at` (Unix milliseconds).
    ///
    /// # Errors
    /// [`Code::Internal`] if the system returns no random bytes.
    pub fn make(person: &Secret, run: &str, expires_at: i64) -> Result<String> {
        let (expires, nonce) = (expires_at.to_string(), random_hex::<16>()?);
        let mac = person.mac(CODE, &[run, &expires, &nonce]);
        Ok(format!("{expires}.{nonce}.{mac}"))
    }

    /// Returns the nonce and the end of validity of a code of this run that is valid at `now` (Unix
    /// milliseconds), or `None`. The caller must accept each nonce once.
    pub fn verify<'a>(person: &Secret, run: &str, code: &'a str, now: i64) -> Option<(&'a str, i64)> {
        let (expires, rest) = code.split_once('.')?;
        let (nonce, mac) = rest.split_once('.')?;
        let is_made_here = person.verify_mac(CODE, &[run, expires, nonce], mac);
        let expires_at: i64 = expires.parse().ok()?;
        (is_made_here && now < expires_at).then_some((nonce, expires_at))
    }
}

/// Writes a private file beside the database at `db` that redirects a browser to `url`, and returns its
/// path. It replaces the file of an earlier call.
///
/// # Errors
/// [`Code::StoreUnavailable`] if the file cannot be written.
pub fn write_redirect(db: &Path, url: &str) -> Result<PathBuf> {
    let path = beside(db, ".open.html");
    let page = format!(
        "<!doctype html><meta charset=utf-8><title>agenthub</title>\
         <meta http-equiv=refresh content=\"0;url={url}\"><a href=\"{url}\">Open agenthub</a>\n"
    );
    private_file::replace(&path, page.as_bytes(), Owner::of(db))?;
    Ok(path)
}

/// A browser that acts for the person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSession {
    /// Public id.
    pub id: String,
    /// SHA-256 of the key.
    key_hash: String,
    /// SHA-256 of the person's secret when the key was made.
    person_hash: String,
    /// The port at which the key is valid.
    pub port: u16,
    /// The browser's `User-Agent`, shortened.
    pub browser: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds, to the hour.
    pub last_used_at: i64,
}

impl PageSession {
    /// Creates a session and its key.
    ///
    /// # Errors
    /// [`Code::Internal`] if the system returns no random bytes.
    pub fn new(person: &Secret, port: u16, browser: &str, now: i64) -> Result<(Self, Secret)> {
        let key = Secret::random()?;
        let session = Self {
            id: random_hex::<4>()?,
            key_hash: key.fingerprint(),
            person_hash: person.fingerprint(),
            port,
            browser: browser.chars().take(MAX_BROWSER).collect(),
            created_at: now,
            last_used_at: now,
        };
        Ok((session, key))
    }

    /// Returns whether `key` is this session's key, it may be used at `port`, and has not expired at `now`
    /// (Unix milliseconds).
    pub fn accepts(&self, key: &str, port: u16, now: i64) -> bool {
        Secret::new(self.key_hash.clone()).matches(&Secret::new(key).fingerprint())
            && self.port == port
            && !self.has_expired(now)
    }

    /// Returns the HMAC with which the hub proves to this session's page that it is the hub the page was
    /// opened at; see [`hub_proof`].
    pub fn hub_proof(&self, nonce: &str, host: &str, run: &str) -> String {
        hub_proof(&Secret::new(self.key_hash.clone()), nonce, host, run)
    }

    /// Returns what users see of the session.
    pub fn summary(&self) -> PageSessionSummary<'_> {
        PageSessionSummary {
            id: &self.id,
            port: self.port,
            browser: &self.browser,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            expires_at: self.last_used_at.saturating_add(MAX_UNUSED_MS),
        }
    }

    fn has_expired(&self, now: i64) -> bool {
        now.saturating_sub(self.last_used_at) > MAX_UNUSED_MS
    }
}

/// A session without its hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PageSessionSummary<'a> {
    /// Public id.
    pub id: &'a str,
    /// The port at which the key is valid.
    pub port: u16,
    /// The browser's `User-Agent`, shortened.
    pub browser: &'a str,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds, to the hour.
    pub last_used_at: i64,
    /// When the session expires unless it is used, Unix milliseconds.
    pub expires_at: i64,
}

/// The file with the sessions of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSessions {
    /// In the order of their creation.
    pub sessions: Vec<PageSession>,
}

impl PageSessions {
    /// Returns the sessions of the database at `db` that are valid at `now` (Unix milliseconds).
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be read, or if other users have access to it.
    pub fn load(db: &Path, now: i64) -> Result<Self> {
        let path = beside(db, ".sessions");
        let Some(text) = private_file::read(&path, Owner::of(db), ADVICE)? else {
            return Ok(Self::default());
        };
        let mut found: Self = serde_json::from_str(&text).map_err(|e| {
            Error::new(
                Code::StoreUnavailable,
                format!("cannot read {}: {e}; {ADVICE}", path.display()),
            )
        })?;
        let person = SecretFile::Person.load(db)?.map(|secret| secret.fingerprint());
        found
            .sessions
            .retain(|session| !session.has_expired(now) && Some(&session.person_hash) == person.as_ref());
        Ok(found)
    }

    /// Returns a stamp of the file; see [`SecretFile::stamp`].
    pub fn stamp(db: &Path) -> Option<Stamp> {
        Stamp::of(&beside(db, ".sessions"))
    }

    /// Changes the sessions of the database at `db` while no other process does, and returns them.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be read or written.
    pub fn update(db: &Path, now: i64, change: impl FnOnce(&mut Vec<PageSession>)) -> Result<Self> {
        // Replacing the sessions' file would release a lock on it. The person's secret stays in one file.
        let _lock = SecretFile::Person.lock(db)?;
        let mut all = Self::load(db, now)?;
        let before = all.clone();
        change(&mut all.sessions);
        while all.sessions.len() > MAX_SESSIONS {
            let oldest = all
                .sessions
                .iter()
                .enumerate()
                .min_by_key(|(_, session)| session.last_used_at);
            let Some((index, _)) = oldest else { break };
            all.sessions.remove(index);
        }
        if all != before {
            let json = serde_json::to_vec(&all)
                .map_err(|e| Error::new(Code::Internal, "cannot encode the sessions").because(e))?;
            private_file::replace(&beside(db, ".sessions"), &json, Owner::of(db))?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_valid_for_one_run_and_a_limited_time() {
        let (person, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let code = PageCode::make(&person, "run", 1_000).unwrap();
        assert_eq!(PageCode::verify(&person, "run", &code, 999).unwrap().1, 1_000);
        assert!(PageCode::verify(&person, "run", &code, 1_000).is_none());
        assert!(PageCode::verify(&person, "another run", &code, 0).is_none());
        assert!(PageCode::verify(&other, "run", &code, 0).is_none());
        let later = code.replacen("1000", "9999", 1);
        assert!(PageCode::verify(&person, "run", &later, 0).is_none());
        for text in ["", ".", "..", "1000", "x.y.z", &code[1..]] {
            assert!(PageCode::verify(&person, "run", text, 0).is_none(), "{text}");
        }
    }

    #[test]
    fn the_redirect_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let url = "http://127.0.0.1:4820/#code=1.a.b";
        let path = write_redirect(&dir.path().join("hub.db"), url).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains(&format!("url={url}\""))
        );
    }

    #[test]
    fn keys_are_stored_hashed_and_expire_without_use() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let person = SecretFile::Person.load_or_create(&db).unwrap();
        let (session, key) = PageSession::new(&person, 4820, "browser", 1_000).unwrap();
        PageSessions::update(&db, 1_000, |all| all.push(session.clone())).unwrap();
        let stored = std::fs::read_to_string(beside(&db, ".sessions")).unwrap();
        assert!(!stored.contains(key.text()) && stored.contains(&session.id));
        assert!(session.accepts(key.text(), 4820, 1_000 + MAX_UNUSED_MS));
        assert!(!session.accepts(key.text(), 4821, 1_000));
        assert!(!session.accepts(&session.key_hash, 4820, 1_000));
        assert!(!session.accepts(key.text(), 4820, 1_001 + MAX_UNUSED_MS));
        let stored = |now| PageSessions::load(&db, now).unwrap().sessions;
        assert_eq!(stored(1_000 + MAX_UNUSED_MS), [session]);
        assert_eq!(stored(1_001 + MAX_UNUSED_MS), []);
        SecretFile::Person.rotate(&db).unwrap();
        assert_eq!(stored(1_000), []);
    }

    #[test]
    fn a_new_session_replaces_the_least_recently_used_one() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let person_hash = SecretFile::Person.load_or_create(&db).unwrap().fingerprint();
        let all = PageSessions::update(&db, 0, |all| {
            all.extend((0..=MAX_SESSIONS).map(|i| PageSession {
                last_used_at: i64::try_from((i + 3) % (MAX_SESSIONS + 1)).unwrap(),
                person_hash: person_hash.clone(),
                ..PageSession::default()
            }));
        })
        .unwrap();
        assert_eq!(all.sessions.len(), MAX_SESSIONS);
        assert!(all.sessions.iter().all(|session| session.last_used_at > 0));
    }
}
