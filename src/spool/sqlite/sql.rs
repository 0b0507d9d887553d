//! How statements are run: each is prepared once.

use rusqlite::Connection;

/// More than there are different statements, so that none is ever prepared again.
pub const STATEMENTS_KEPT: usize = 96;

/// Runs a statement; returns how many rows it changed.
pub fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<usize> {
    db.prepare_cached(sql)?.execute(values)
}
