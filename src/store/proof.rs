//! Proofs that the person wrote a row.
//!
//! Any program can write a row in the name of `human`. A row that the person wrote, on the page or at a
//! terminal, has a proof in its column `proof`: `1.ANSWERS.MAC`. MAC is an HMAC with the person's secret
//! over the row's number, time and content, and ANSWERS; ANSWERS is the SHA-256 of the question that the row answers, as
//! the person saw it, or empty. So neither the proof nor the answer can be moved to another row, and an
//! answer is not valid for another question with the same correlation id. The database assigns each number once,
//! so a row that was pruned cannot be written again with its proof.
//!
//! Readers check proofs with the secret in `hub.db.person`. After that secret was replaced, earlier rows
//! are no longer verified.

use std::cell::RefCell;
use std::path::PathBuf;

use super::secrets::{Secret, SecretFile, Stamp, digest};
use crate::error::Result;

/// Version of the format.
const VERSION: &str = "1";

/// Who writes a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Author {
    /// A program, under the name in the row. The name proves nothing.
    #[default]
    Program,
    /// The person. The row gets a proof.
    Person,
}

/// The kind of a proven row: one kind's proof is not valid for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    InboxMessage,
    ThreadMessage,
    /// The setting of which mail wakes agents.
    WakeRules,
}

impl RowKind {
    fn purpose(self) -> &'static str {
        match self {
            Self::InboxMessage => "agenthub inbox message 1",
            Self::ThreadMessage => "agenthub thread message 1",
            Self::WakeRules => "agenthub wake rules 1",
        }
    }
}

/// Returns the SHA-256 of a question's fields, for the proof of its answer.
pub(super) fn question_digest(fields: &[&str]) -> String {
    digest(fields)
}

/// Returns the digest of the question that a proven row answers; empty if it answers none.
pub(super) fn answered_question(proof: &str) -> &str {
    parts(proof).map_or("", |(answers, _)| answers)
}

/// Returns the first proven fields of a row: its number and its time, Unix milliseconds.
pub(super) fn place(n: i64, created_at: i64) -> [String; 2] {
    [n.to_string(), created_at.to_string()]
}

/// Splits a proof into ANSWERS and MAC.
fn parts(proof: &str) -> Option<(&str, &str)> {
    proof.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')
}

/// Makes and checks the proofs of one database. Loads the person's secret when it is first needed, and
/// again after its file was written.
#[derive(Debug)]
pub(super) struct Proofs {
    db: PathBuf,
    loaded: RefCell<Option<(Stamp, Option<Secret>)>>,
}

impl Proofs {
    pub(super) fn new(db: PathBuf) -> Self {
        Self {
            db,
            loaded: RefCell::default(),
        }
    }

    /// Returns the proof for a row with these fields, which answers the question with the digest
    /// `answers`, or none.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`](crate::error::Code::StoreUnavailable) if the person's secret can be
    /// neither read nor created.
    pub(super) fn make(&self, kind: RowKind, fields: &[&str], answers: &str) -> Result<String> {
        let secret = SecretFile::Person.load_or_create(&self.db)?;
        let mac = secret.mac(kind.purpose(), &[&[answers], fields].concat());
        Ok(format!("{VERSION}.{answers}.{mac}"))
    }

    /// Returns whether `proof` is valid for a row with these fields.
    pub(super) fn verify(&self, kind: RowKind, fields: &[&str], proof: &str) -> bool {
        let Some((answers, mac)) = parts(proof) else {
            return false;
        };
        self.secret()
            .is_some_and(|secret| secret.verify_mac(kind.purpose(), &[&[answers], fields].concat(), mac))
    }

    /// Returns the person's secret, if there is one that this user may read.
    fn secret(&self) -> Option<Secret> {
        let stamp = SecretFile::Person.stamp(&self.db);
        let mut loaded = self.loaded.borrow_mut();
        if let (Some((known, secret)), Some(stamp)) = (&*loaded, stamp)
            && *known == stamp
        {
            return secret.clone();
        }
        let secret = SecretFile::Person.load(&self.db).ok().flatten();
        *loaded = stamp.map(|stamp| (stamp, secret.clone()));
        secret
    }
}
