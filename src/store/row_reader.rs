//! Reads columns, whose values may have been written by any program.
//!
//! Reading never fails: an invalid value is converted, and the reason is recorded. The caller then
//! decides: messages and inbox messages are delivered and marked `degraded`, rows of other tables are
//! rejected with the reason ([`UnreadableRow`]).

use rusqlite::types::ValueRef;

/// A row with invalid values, which is not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Name of the table.
    pub table: &'static str,
    /// The row's integer primary key.
    pub row: i64,
    /// Name of the first invalid column, and the reason why its value is invalid.
    pub reason: String,
}

/// Reads the values of one row from left to right.
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

    /// Starts at the column `offset`, for a row that joins several tables.
    pub(super) fn starting_at(row: &'r rusqlite::Row<'r>, offset: usize) -> Self {
        Self {
            row,
            next: offset,
            problem: None,
        }
    }

    /// Returns the first problem with the values read so far.
    pub(super) fn problem(self) -> Option<String> {
        self.problem
    }

    /// Returns `value` if all values read so far are valid.
    pub(super) fn accept<T>(self, table: &'static str, row: i64, value: T) -> Result<T, UnreadableRow> {
        match self.problem {
            None => Ok(value),
            Some(reason) => Err(UnreadableRow { table, row, reason }),
        }
    }

    /// Returns the next value as text; NULL as an empty string.
    pub(super) fn text(&mut self) -> String {
        match self.next_value() {
            ValueRef::Null => String::new(),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => {
                    self.record_problem("is not valid UTF-8");
                    String::from_utf8_lossy(bytes).into_owned()
                }
            },
            ValueRef::Blob(bytes) => {
                self.record_problem("is a blob, not text");
                String::from_utf8_lossy(bytes).into_owned()
            }
            ValueRef::Integer(n) => {
                self.record_problem("is a number, not text");
                n.to_string()
            }
            ValueRef::Real(x) => {
                self.record_problem("is a number, not text");
                x.to_string()
            }
        }
    }

    /// Returns the next value as a name that identifies rows. Different names that are not valid
    /// UTF-8 can be equal after the conversion, so a hash of their bytes (FNV-1a) is appended.
    pub(super) fn name(&mut self) -> String {
        let bytes = match self.row.get_ref(self.next) {
            Ok(ValueRef::Text(bytes)) if std::str::from_utf8(bytes).is_err() => bytes,
            _ => return self.text(),
        };
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{} ({hash:016x})", self.text())
    }

    /// Returns the next value as an integer; NULL as 0.
    pub(super) fn int(&mut self) -> i64 {
        self.maybe_int().unwrap_or(0)
    }

    /// Returns the next value as an integer, or `None` for NULL.
    pub(super) fn maybe_int(&mut self) -> Option<i64> {
        match self.next_value() {
            ValueRef::Null => None,
            ValueRef::Integer(n) => Some(n),
            ValueRef::Real(x) => {
                self.record_problem("is not a whole number");
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "`as` saturates, which is right for a converted value"
                )]
                Some(x as i64)
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                self.record_problem("is not a number");
                Some(
                    std::str::from_utf8(bytes)
                        .ok()
                        .and_then(|t| t.trim().parse().ok())
                        .unwrap_or(0),
                )
            }
        }
    }

    /// Returns the next value as a finite number, or `None` for NULL.
    pub(super) fn maybe_real(&mut self) -> Option<f64> {
        match self.next_value() {
            ValueRef::Null => None,
            #[expect(
                clippy::cast_precision_loss,
                reason = "a whole cost beyond 2^53 dollars may be rounded"
            )]
            ValueRef::Integer(n) => Some(n as f64),
            ValueRef::Real(x) if x.is_finite() => Some(x),
            ValueRef::Real(_) => {
                self.record_problem("is not a finite number");
                Some(0.0)
            }
            ValueRef::Text(_) | ValueRef::Blob(_) => {
                self.record_problem("is not a number");
                Some(0.0)
            }
        }
    }

    fn next_value(&mut self) -> ValueRef<'r> {
        let index = self.next;
        self.next += 1;
        // Callers read no more columns than their statement selects.
        self.row.get_ref(index).unwrap_or(ValueRef::Null)
    }

    fn record_problem(&mut self, what: &str) {
        if self.problem.is_none() {
            let column = self.row.as_ref().column_name(self.next - 1).unwrap_or("?");
            self.problem = Some(format!("{column} {what}"));
        }
    }
}
