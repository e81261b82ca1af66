//! Rendered texts as JSON, by the hash of their source.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use super::tree::PlainReason;
use super::{MAX_BYTES, Source, render};

/// Maximum size of all cached texts together, in bytes of JSON.
const MAX_CACHED: usize = 16 << 20;
/// Maximum size of one cached text: one that is larger would displace too many others.
const MAX_ENTRY: usize = 1 << 20;

type Key = [u8; 32];

/// The texts rendered last.
#[derive(Debug)]
pub struct Cache(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    texts: LruCache<Key, Arc<RawValue>>,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            texts: LruCache::unbounded(),
            bytes: 0,
        }))
    }
}

impl Cache {
    /// Returns the tree of a text as JSON. Renders the text if the cache does not have it. Blocks: call it on a
    /// blocking thread.
    pub fn render(&self, source: Source<'_>) -> Arc<RawValue> {
        let key = key(source);
        if let Some(found) = self.entries(|entries| entries.texts.get(&key).cloned()) {
            return found;
        }
        let rendered = render(source);
        let json: Arc<RawValue> = to_raw_value(&rendered).unwrap_or_default().into();
        // The next attempt may be faster.
        let may_change = rendered.plain == Some(PlainReason::TooSlow);
        if !may_change && json.get().len() <= MAX_ENTRY {
            self.entries(|entries| entries.insert(key, Arc::clone(&json)));
        }
        json
    }

    fn entries<T>(&self, f: impl FnOnce(&mut Entries) -> T) -> T {
        // No code panics while it holds the lock.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    fn insert(&mut self, key: Key, json: Arc<RawValue>) {
        self.bytes += json.get().len();
        if let Some(replaced) = self.texts.put(key, json) {
            self.bytes -= replaced.get().len();
        }
        while self.bytes > MAX_CACHED
            && let Some((_, oldest)) = self.texts.pop_lru()
        {
            self.bytes -= oldest.get().len();
        }
    }
}

/// Returns the hash of a source. A text that is too long is not hashed to its end: the result is the same for all.
fn key(source: Source<'_>) -> Key {
    let (kind, parts) = match source {
        Source::Message(text) => (b'm', [text, "", ""]),
        Source::ToolInput { tool, input } => (b'i', [tool, input, ""]),
        Source::ToolOutput { tool, input, output } => (b'o', [tool, input, output]),
        Source::Terminal(text) => (b't', [text, "", ""]),
    };
    let mut hash = Sha256::new();
    hash.update([kind]);
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(&part.as_bytes()[..part.len().min(MAX_BYTES)]);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_texts_used_last_within_its_size() {
        let cache = Cache::default();
        let text = |n: usize| format!("{n} {}", "x".repeat(200_000));
        let first = cache.render(Source::Message(&text(0)));
        for n in 1..200 {
            cache.render(Source::Message(&text(n)));
            assert!(
                Arc::ptr_eq(&first, &cache.render(Source::Message(&text(0)))),
                "text {n} displaced one that is in use"
            );
        }
        let (count, bytes) = cache.entries(|entries| (entries.texts.len(), entries.bytes));
        let real: usize = cache.entries(|entries| entries.texts.iter().map(|(_, json)| json.get().len()).sum());
        assert_eq!(bytes, real);
        assert!(
            bytes <= MAX_CACHED && count > 10 && count < 200,
            "{count} texts, {bytes} bytes"
        );
    }

    #[test]
    fn tells_sources_with_the_same_text_apart() {
        let cache = Cache::default();
        let text = "{\"command\":\"ls\"}";
        let sources = [
            Source::Message(text),
            Source::ToolInput {
                tool: "Bash",
                input: text,
            },
            Source::Terminal(text),
        ];
        let trees = sources.map(|source| cache.render(source).get().to_owned());
        assert!(
            trees[0].contains("json") && trees[1].contains("code") && trees[2].contains("terminal"),
            "{trees:?}"
        );
    }
}
