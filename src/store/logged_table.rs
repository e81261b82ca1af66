//! The tables whose changes are logged, and the last insert logged for each.

/// The tables whose changes are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `threads`
    Threads,
    /// `messages`
    Messages,
    /// `inbox_messages`
    Inbox,
    /// `telemetry`
    Telemetry,
    /// `task_stream`
    Tasks,
    /// `agents`
    Agents,
}

impl Table {
    /// Number of tables.
    pub const COUNT: usize = 6;
    /// All tables.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Threads,
        Self::Messages,
        Self::Inbox,
        Self::Telemetry,
        Self::Tasks,
        Self::Agents,
    ];

    /// Returns the name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Messages => "messages",
            Self::Inbox => "inbox_messages",
            Self::Telemetry => "telemetry",
            Self::Tasks => "task_stream",
            Self::Agents => "agents",
        }
    }

    /// Returns the name of the integer primary key.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Telemetry | Self::Tasks => "id",
            Self::Threads | Self::Messages | Self::Inbox | Self::Agents => "n",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// The row of the last valid insert entry of each table, up to a position.
#[derive(Debug, Clone, Default)]
pub(super) struct LastInserts {
    /// Number and tag of the position.
    at: (i64, i64),
    rows: [Option<i64>; Table::COUNT],
}

impl LastInserts {
    /// Returns these rows if they are those before `after`; otherwise none is known.
    pub(super) fn before(self, after: (i64, i64)) -> Self {
        if self.at == after {
            return self;
        }
        Self {
            at: after,
            rows: Default::default(),
        }
    }

    /// Moves on to the position after the next entry.
    pub(super) fn advance(&mut self, pos: (i64, i64)) {
        self.at = pos;
    }

    /// Returns the row of one table.
    pub(super) fn row_mut(&mut self, table: Table) -> &mut Option<i64> {
        &mut self.rows[table as usize]
    }
}
