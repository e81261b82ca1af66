//! ReadContext columns that any program may have written.
//!
//! For: turning a row's cells into Rust values without ever failing: what is odd is made
//! readable and remembered. Messages and mail are delivered all the same, marked
//! degraded; rows of other tables are rejected with the reason.
//! Not for: deciding which of the two.

use rusqlite::types::ValueRef;

/// Why a row cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The table.
    pub table: &'static str,
    /// The row's integer primary key.
    pub row: i64,
    /// The column and what is wrong with it.
    pub reason: String,
}

/// One row's cells, read from left to right.
pub(super) struct RowReader<'r> {
    row: &'r rusqlite::Row<'r>,
    next: usize,
    problem: Option<String>,
}

impl<'r> RowReader<'r> {
    pub(super) fn new(row: &'r rusqlite::Row<'r>) -> Self {
        Self {
            row,
            next: 0,
            problem: None,
        }
    }

    /// From the column at `offset` on, in a row that joins several tables.
    pub(super) fn starting_at(row: &'r rusqlite::Row<'r>, offset: usize) -> Self {
        Self {
            row,
            next: offset,
            problem: None,
        }
    }

    /// What was odd about the cells read so far.
    pub(super) fn problem(self) -> Option<String> {
        self.problem
    }

    /// `value`, unless something about the cells it was made of was odd.
    pub(super) fn accept<T>(self, table: &'static str, row: i64, value: T) -> Result<T, UnreadableRow> {
        match self.problem {
            None => Ok(value),
            Some(reason) => Err(UnreadableRow { table, row, reason }),
        }
    }

    /// The next cell as text; NULL is empty.
    pub(super) fn text(&mut self) -> String {
        match self.take() {
            ValueRef::Null => String::new(),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => {
                    self.odd("is not valid UTF-8");
                    String::from_utf8_lossy(bytes).into_owned()
                }
            },
            ValueRef::Blob(bytes) => {
                self.odd("is a blob, not text");
                String::from_utf8_lossy(bytes).into_owned()
            }
            ValueRef::Integer(n) => {
                self.odd("is a number, not text");
                n.to_string()
            }
            ValueRef::Real(x) => {
                self.odd("is a number, not text");
                x.to_string()
            }
        }
    }

    /// The next cell as a name by which rows are told apart. Names that are not UTF-8 would
    /// look the same once they are mended: a number of their bytes (FNV-1a) keeps them apart.
    pub(super) fn name(&mut self) -> String {
        let bytes = match self.row.get_ref(self.next) {
            Ok(ValueRef::Text(bytes)) if std::str::from_utf8(bytes).is_err() => bytes,
            _ => return self.text(),
        };
        let number = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{} ({number:016x})", self.text())
    }

    /// The next cell as an integer; NULL is 0.
    pub(super) fn int(&mut self) -> i64 {
        self.maybe_int().unwrap_or(0)
    }

    /// The next cell as an integer, or `None` for NULL.
    pub(super) fn maybe_int(&mut self) -> Option<i64> {
        match self.take() {
            ValueRef::Null => None,
            ValueRef::Integer(n) => Some(n),
            ValueRef::Real(x) => {
                self.odd("is not a whole number");
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "`as` saturates, which is what a coerced value should do"
                )]
                Some(x as i64)
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                self.odd("is not a number");
                Some(
                    std::str::from_utf8(bytes)
                        .ok()
                        .and_then(|t| t.trim().parse().ok())
                        .unwrap_or(0),
                )
            }
        }
    }

    /// The next cell as a finite number, or `None` for NULL.
    pub(super) fn maybe_real(&mut self) -> Option<f64> {
        match self.take() {
            ValueRef::Null => None,
            #[expect(
                clippy::cast_precision_loss,
                reason = "a whole cost beyond 2^53 dollars may be rounded"
            )]
            ValueRef::Integer(n) => Some(n as f64),
            ValueRef::Real(x) if x.is_finite() => Some(x),
            ValueRef::Real(_) => {
                self.odd("is not a finite number");
                Some(0.0)
            }
            ValueRef::Text(_) | ValueRef::Blob(_) => {
                self.odd("is not a number");
                Some(0.0)
            }
        }
    }

    fn take(&mut self) -> ValueRef<'r> {
        let index = self.next;
        self.next += 1;
        // The index is that of a column in the statement's own list.
        self.row.get_ref(index).unwrap_or(ValueRef::Null)
    }

    fn odd(&mut self, what: &str) {
        if self.problem.is_none() {
            let column = self.row.as_ref().column_name(self.next - 1).unwrap_or("?");
            self.problem = Some(format!("{column} {what}"));
        }
    }
}
