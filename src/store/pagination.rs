//! Pages of a list, bounded in rows and in bytes.
//!
//! Each row may be as large as the database allows. Rows are read from SQLite one by one, so that a
//! page costs only the rows on it.

use rusqlite::{Row, Rows};

use crate::error::Result;

/// Default maximum size of a page in bytes, roughly. A single larger row is a page by itself.
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items in the order of the list.
    pub items: Vec<T>,
    /// Whether the list has more items after these.
    pub has_more: bool,
}

impl<T> Page<T> {
    pub(super) fn new() -> Self {
        Self {
            items: Vec::new(),
            has_more: false,
        }
    }

    /// Reads at most `limit` rows of about `bytes` bytes. Skips the rows for which `read` returns
    /// `None`. `weigh` returns the bytes of an item.
    pub(super) fn draw(
        mut rows: Rows<'_>,
        limit: usize,
        bytes: usize,
        read: impl Fn(&Row<'_>) -> Option<T>,
        weigh: impl Fn(&T) -> usize,
    ) -> Result<Self> {
        let (mut page, mut weight) = (Self::new(), 0);
        while let Some(row) = rows.next()? {
            let Some(item) = read(row) else { continue };
            weight += weigh(&item);
            if page.items.len() == limit || (weight > bytes && !page.items.is_empty()) {
                page.has_more = true;
                break;
            }
            page.items.push(item);
        }
        Ok(page)
    }

    /// Returns the cursor of the next page, which `cursor` makes from the last item, or `None` on
    /// the last page.
    pub fn next<C>(&self, cursor: impl Fn(&T) -> C) -> Option<C> {
        self.items.last().filter(|_| self.has_more).map(cursor)
    }
}
