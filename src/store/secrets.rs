//! The two secrets of a database, in files beside it.
//!
//! * `hub.db.token` is for programs: it allows to read, and to write as a named agent.
//! * `hub.db.person` is for the person: its holder decides what only the person decides. The page gets
//!   keys that are derived from it (`page_sessions`), and rows are proven with it (`proof`).
//!
//! Each is 256 random bits as 64 hex digits. Each can be replaced alone.

use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};
use crate::protocol::now_ms;

/// Minimum length of a secret in characters.
const MIN_LENGTH: usize = 32;
/// Maximum resolution of a file system's timestamps, in seconds.
const TIMESTAMP_RESOLUTION: i64 = 2;

/// A secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The file of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFile {
    /// `hub.db.token`, for programs.
    Token,
    /// `hub.db.person`, for the person.
    Person,
}

/// A version of a file: its inode and change time (seconds, nanoseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, i64, i64);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Makes a secret from a text that the user chose.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns a new secret of 256 random bits.
    ///
    /// # Errors
    /// [`Code::Internal`] if the system returns no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self(random_hex::<32>()?))
    }

    /// Returns the text, to send it or to show it to the user.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns whether `given` is this secret. Takes the same time wherever they differ.
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Returns the SHA-256 of the text as 64 hex digits. It identifies the secret without revealing it.
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(&self.0))
    }

    /// Returns the HMAC-SHA-256 (RFC 2104) of `purpose` and `fields`, each preceded by its length in 8
    /// bytes, as 64 hex digits. The key is this secret's text; `purpose` separates the uses of one key.
    pub fn mac(&self, purpose: &str, fields: &[&str]) -> String {
        hex(&self.hmac(purpose, fields).finalize().into_bytes())
    }

    /// Returns whether `given` is what [`Secret::mac`] returns.
    pub fn verify_mac(&self, purpose: &str, fields: &[&str], given: &str) -> bool {
        self.mac(purpose, fields).as_bytes().ct_eq(given.as_bytes()).into()
    }

    fn hmac(&self, purpose: &str, fields: &[&str]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.hmac_key().into());
        for field in [purpose].iter().chain(fields) {
            // The length of each field separates it from the next one.
            mac.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(field.as_bytes());
        }
        mac
    }

    /// Returns the key, padded to the block size of SHA-256 as RFC 2104 defines.
    fn hmac_key(&self) -> [u8; 64] {
        let mut key = [0; 64];
        match key.get_mut(..self.0.len()) {
            Some(start) => start.copy_from_slice(self.0.as_bytes()),
            None => key[..32].copy_from_slice(&Sha256::digest(&self.0)),
        }
        key
    }
}

impl SecretFile {
    /// Returns the path of the file for the database at `db`.
    pub fn path(self, db: &Path) -> PathBuf {
        beside(db, self.suffix())
    }

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Token => ".token",
            Self::Person => ".person",
        }
    }

    /// Returns what the user does if other users had access to the file.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Token => "run agenthub token --rotate to replace it",
            Self::Person => "run agenthub token --person --rotate to replace it",
        }
    }

    /// Returns the secret of the database at `db`. Creates it if there is none.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file can be neither read nor created, or if other users have
    /// access to it.
    pub fn load_or_create(self, db: &Path) -> Result<Secret> {
        if let Some(secret) = self.load(db)? {
            return Ok(secret);
        }
        let (path, owner, secret) = (self.path(db), Owner::of(db), Secret::random()?);
        match private_file::create(&path, format!("{}\n", secret.0).as_bytes(), owner) {
            Ok(()) => Ok(secret),
            // Another process created it first.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => self
                .load(db)?
                .ok_or_else(|| private_file::cannot("read", &path, &e, owner)),
            Err(e) => Err(private_file::cannot("write", &path, &e, owner)),
        }
    }

    /// Returns the secret of the database at `db`, or `None` if there is none.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be read, is too short for a secret, or if other
    /// users have access to it.
    pub fn load(self, db: &Path) -> Result<Option<Secret>> {
        let path = self.path(db);
        let Some(text) = private_file::read(&path, Owner::of(db), self.advice())? else {
            return Ok(None);
        };
        let secret = text.trim();
        if secret.len() < MIN_LENGTH {
            return Err(Error::new(
                Code::StoreUnavailable,
                format!("the secret in {} is too short; {}", path.display(), self.advice()),
            ));
        }
        Ok(Some(Secret(secret.to_owned())))
    }

    /// Returns a stamp that differs after the file was written again. Does not read the file. Returns
    /// `None` if there is no file, or if it changed so recently that another write could have the same
    /// timestamp.
    pub fn stamp(self, db: &Path) -> Option<Stamp> {
        Stamp::of(&self.path(db))
    }

    /// Locks the file of the database at `db` until the returned file is closed. Creates it if there is
    /// none. Waits for other processes.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be opened or locked.
    pub(super) fn lock(self, db: &Path) -> Result<std::fs::File> {
        self.load_or_create(db)?;
        let (path, owner) = (self.path(db), Owner::of(db));
        let missing = || IoError::from(ErrorKind::NotFound);
        let file = private_file::open(&path, owner, self.advice())?
            .ok_or_else(|| private_file::cannot("open", &path, &missing(), owner))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| private_file::cannot("lock", &path, &e.into(), owner))?;
        Ok(file)
    }

    /// Replaces the secret of the database at `db` with a new one.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be written.
    pub fn rotate(self, db: &Path) -> Result<Secret> {
        let (path, owner, secret) = (self.path(db), Owner::of(db), Secret::random()?);
        let text = format!("{}\n", secret.0);
        match private_file::open(&path, owner, self.advice()) {
            // Overwrites the file in place: a running hub holds its lock on this inode.
            Ok(Some(mut file)) => private_file::overwrite(&mut file, text.as_bytes())
                .map_err(|e| private_file::cannot("write", &path, &e, owner))
                .map(|()| secret),
            // Another user may have a file open that was not private: the secret goes into a new one.
            Ok(None) | Err(_) => private_file::replace(&path, text.as_bytes(), owner).map(|()| secret),
        }
    }
}

impl Stamp {
    /// Returns the stamp of the file at `path`; see [`SecretFile::stamp`].
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        let age = now_ms() / 1000 - meta.ctime();
        (age > TIMESTAMP_RESOLUTION).then(|| Self(meta.ino(), meta.ctime(), meta.ctime_nsec()))
    }
}

/// Returns `N` random bytes as hex digits.
///
/// # Errors
/// [`Code::Internal`] if the system returns no random bytes.
pub fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Code::Internal, format!("the system returned no random bytes: {e}")))?;
    Ok(hex(&bytes))
}

/// Returns the SHA-256 of `fields` as 64 hex digits. Different fields never have the same encoding.
pub(super) fn digest(fields: &[&str]) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(field.as_bytes());
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn creates_private_secrets_and_rotates_each_alone() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let token = SecretFile::Token.load_or_create(&db).unwrap();
        let person = SecretFile::Person.load_or_create(&db).unwrap();
        assert_ne!(token, person);
        assert_eq!(token.text().len(), 64);
        assert_eq!(SecretFile::Token.load_or_create(&db).unwrap(), token);
        assert_eq!(
            fs::metadata(SecretFile::Person.path(&db)).unwrap().mode() & 0o777,
            0o600
        );
        let other = SecretFile::Token.rotate(&db).unwrap();
        assert_ne!(other, token);
        assert_eq!(SecretFile::Token.load(&db).unwrap(), Some(other.clone()));
        assert_eq!(SecretFile::Person.load(&db).unwrap(), Some(person));
        assert!(!format!("{other:?}").contains(other.text()));
    }

    /// A process of another user may still have the old file open.
    #[test]
    fn rotating_a_file_that_others_can_read_creates_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let path = SecretFile::Token.path(&db);
        SecretFile::Token.load_or_create(&db).unwrap();
        let inode = || fs::metadata(&path).unwrap().ino();
        let first = inode();
        SecretFile::Token.rotate(&db).unwrap();
        assert_eq!(inode(), first);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = SecretFile::Token.load(&db).unwrap_err();
        assert!(refused.message().contains("0644") && refused.message().contains("--rotate"));
        SecretFile::Token.rotate(&db).unwrap();
        assert_ne!(inode(), first);
        SecretFile::Token.load(&db).unwrap().unwrap();
    }

    /// Test case 2 of RFC 4231, whose message is not framed, shows that the key and the hash are those of
    /// HMAC-SHA-256.
    #[test]
    fn macs_are_hmac_sha_256_of_separated_fields() {
        let mut mac = Hmac::<Sha256>::new(&Secret::new("Jefe").hmac_key().into());
        mac.update(b"what do ya want for nothing?");
        assert_eq!(
            hex(&mac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let secret = Secret::new("k".repeat(100));
        assert!(secret.verify_mac("a", &["b", "c"], &secret.mac("a", &["b", "c"])));
        assert_ne!(secret.mac("a", &["b", "c"]), secret.mac("a", &["bc", ""]));
        assert_ne!(secret.mac("a", &["b"]), secret.mac("ab", &[]));
        assert!(!secret.verify_mac("a", &["b"], ""));
    }
}
