//! Pages of a list: bounded in rows and in bytes.
//!
//! For: lists whose rows may each be as large as the file allows. Rows are drawn one by one,
//! so that a page costs what is on it and no more.
//! Not for: what is listed, or what a cursor looks like.

use rusqlite::{Row, Rows};

use crate::error::Result;

/// Bytes of one page, about; one larger row comes alone.
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// There are more after these.
    pub has_more: bool,
}

impl<T> Page<T> {
    pub(super) fn new() -> Self {
        Self {
            items: Vec::new(),
            has_more: false,
        }
    }

    /// At most `limit` rows of about `bytes` bytes. What `read` makes nothing of is left out.
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

    /// What `cursor` makes of the last item, if there is more after it.
    pub fn next<C>(&self, cursor: impl Fn(&T) -> C) -> Option<C> {
        self.items.last().filter(|_| self.has_more).map(cursor)
    }
}
