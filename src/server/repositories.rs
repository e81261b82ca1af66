//! The Git repositories of agents' working directories.
//!
//! A working directory may be on a network file system that does not answer. So directories are read on threads of
//! their own, not on tokio's, and a request waits for them for [`LIMIT`] at most. A directory that is being read is not
//! read by a second thread, so that one that hangs occupies one of [`MAX_THREADS`].

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::fs::private_file::Owner;
use crate::fs::repository::Repository;

/// Maximum time a request waits for directories to be read.
const LIMIT: Duration = Duration::from_millis(500);
/// How long a result is used.
const MAX_AGE: Duration = Duration::from_secs(3);
/// Maximum number of threads that read directories.
const MAX_THREADS: usize = 4;
/// Maximum length of a directory's path in bytes: a longer one does not exist.
const MAX_PATH: usize = 4096;
/// Maximum number of directories that are kept.
const MAX_ENTRIES: usize = 1000;

type Find = fn(&Path, Owner) -> Option<Repository>;

/// What is known about a directory.
#[derive(Debug, Default)]
struct Entry {
    /// When the result was read; `None` while the first read runs.
    read_at: Option<Instant>,
    is_being_read: bool,
    repository: Option<Repository>,
}

impl Entry {
    fn is_outdated(&self) -> bool {
        !self.is_being_read && self.read_at.is_none_or(|at| at.elapsed() >= MAX_AGE)
    }

    /// Notes that the directory is being read, unless its result is current or being read.
    fn begin(&mut self) -> bool {
        let is_outdated = self.is_outdated();
        self.is_being_read |= is_outdated;
        is_outdated
    }
}

/// Finds repositories, and keeps them for a few seconds.
#[derive(Debug)]
pub(super) struct Repositories {
    owner: Owner,
    find: Find,
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    threads: Arc<Semaphore>,
}

impl Repositories {
    /// Returns repositories whose files belong to `owner`.
    pub(super) fn new(owner: Owner) -> Self {
        Self::with(owner, Repository::find)
    }

    fn with(owner: Owner, find: Find) -> Self {
        Self {
            owner,
            find,
            entries: Arc::default(),
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
        }
    }

    /// Returns the repositories of the directories that have one. A directory that is not read within [`LIMIT`] has
    /// its last known repository.
    pub(super) async fn of(&self, directories: &[String]) -> HashMap<String, Repository> {
        // Without the result, the last known one is used.
        timeout(LIMIT, self.refresh(directories)).await.ok();
        let entries = lock(&self.entries);
        let repository = |directory: &String| Some((directory.clone(), entries.get(directory)?.repository.clone()?));
        directories.iter().filter_map(repository).collect()
    }

    /// Reads the directories whose results are too old.
    async fn refresh(&self, directories: &[String]) {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.threads).acquire_owned().await else {
            return;
        };
        let outdated = self.outdated(directories);
        if outdated.is_empty() {
            return;
        }
        let (done, is_done) = oneshot::channel();
        let (owner, find, entries) = (self.owner, self.find, Arc::clone(&self.entries));
        let started = std::thread::Builder::new()
            .name("repositories".to_owned())
            .spawn(move || {
                for directory in outdated {
                    // Another request may have begun to read it.
                    if !lock(&entries).entry(directory.clone()).or_default().begin() {
                        continue;
                    }
                    let repository = find(Path::new(&directory), owner);
                    let entry = Entry {
                        read_at: Some(Instant::now()),
                        is_being_read: false,
                        repository,
                    };
                    lock(&entries).insert(directory, entry);
                }
                // Only now, even if the request was cancelled before.
                drop(permit);
                done.send(()).ok();
            });
        if started.is_ok() {
            is_done.await.ok();
        }
    }

    /// Returns the directories to read. Makes room for them.
    fn outdated(&self, directories: &[String]) -> HashSet<String> {
        let mut entries = lock(&self.entries);
        if entries.len() + directories.len() > MAX_ENTRIES {
            entries.retain(|_, entry| entry.is_being_read);
        }
        let is_outdated =
            |directory: &&String| directory.len() <= MAX_PATH && entries.get(*directory).is_none_or(Entry::is_outdated);
        directories.iter().filter(is_outdated).cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> Repository {
        Repository {
            name: path.to_string_lossy().into_owned(),
            ..Repository::default()
        }
    }

    /// Blocks for `/hang`, as a network file system that does not answer.
    fn find(path: &Path, _: Owner) -> Option<Repository> {
        if path == Path::new("/hang") {
            std::thread::park_timeout(Duration::from_secs(60));
        }
        (path != Path::new("/none")).then(|| found(path))
    }

    fn repositories() -> Repositories {
        Repositories::with(Owner::of(Path::new("/")), find)
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[tokio::test]
    async fn returns_the_directories_that_have_a_repository() {
        let repositories = repositories();
        let found = repositories.of(&texts(&["/a", "/none", "/b", "/a"])).await;
        let mut names: Vec<&str> = found.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["/a", "/b"]);
        assert_eq!(found["/a"].name, "/a");
    }

    #[tokio::test]
    async fn a_directory_that_hangs_does_not_delay_others() {
        let repositories = repositories();
        for n in 0..2 * MAX_THREADS {
            let other = format!("/{n}");
            repositories.of(&texts(&["/hang", &other])).await;
            let found = repositories.of(&texts(&["/hang", &other])).await;
            assert_eq!(found.keys().collect::<Vec<_>>(), [&other]);
        }
        assert_eq!(repositories.threads.available_permits(), MAX_THREADS - 1);
    }

    #[tokio::test]
    async fn keeps_a_limited_number_of_directories() {
        let repositories = repositories();
        for n in 0..2 * MAX_ENTRIES / 100 {
            let directories: Vec<String> = (0..100).map(|m| format!("/{n}/{m}")).collect();
            assert_eq!(repositories.of(&directories).await.len(), 100);
        }
        assert!(lock(&repositories.entries).len() <= MAX_ENTRIES);
    }
}
