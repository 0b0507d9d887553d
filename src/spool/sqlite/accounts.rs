//! What is kept of each account: its clock, and what is known about it. Each function runs inside a transaction that
//! its caller commits.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, SUBMISSION, SUBMISSION_COLUMNS};
use super::sql::run;
use crate::mail::{MessageId, Submission, Timestamp};
use crate::spool::{BelievedLimit, Heir, Noted, TroubleNote};

type Result<T> = rusqlite::Result<T>;

/// Keeps what is known about an account.
pub fn note_account(db: &Connection, account: &str, noted: &Noted) -> Result<()> {
    let (trouble, believed) = (noted.trouble.as_ref(), noted.believed_limit);
    run(
        db,
        "INSERT INTO account (name, patience_ms, state, reason, cure, since, believed_limit, believed_since)
         VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (name) DO UPDATE SET state = ?2, reason = ?3, cure = ?4, since = ?5,
             believed_limit = ?6, believed_since = ?7",
        params![
            account,
            trouble.map(|trouble| &trouble.state),
            trouble.map(|trouble| &trouble.reason),
            trouble.map(|trouble| &trouble.cure),
            trouble.map(|trouble| trouble.since.as_millisecond()),
            believed.map(|believed| believed.recipients),
            believed.map(|believed| believed.since.as_millisecond()),
        ],
    )?;
    Ok(())
}

/// What is known about an account.
pub fn noted(db: &Connection, account: &str) -> Result<Noted> {
    let believed_limit = db
        .prepare_cached(
            "SELECT believed_limit, believed_since FROM account WHERE name = ?1 AND believed_limit IS NOT NULL",
        )?
        .query_row([account], |row| Ok(BelievedLimit { recipients: row.get(0)?, since: rows::time(row, 1)? }))
        .optional()?;
    Ok(Noted { trouble: trouble(db, account)?, believed_limit })
}

/// What is wrong with an account.
pub fn trouble(db: &Connection, account: &str) -> Result<Option<TroubleNote>> {
    db.prepare_cached("SELECT state, reason, cure, since FROM account WHERE name = ?1 AND state IS NOT NULL")?
        .query_row([account], |row| {
            let (state, reason, cure) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(TroubleNote { state, reason, cure, since: rows::time(row, 3)? })
        })
        .optional()
}

/// When a retry was last ordered.
pub fn retry_asked(db: &Connection, account: &str) -> Result<Option<Timestamp>> {
    let asked: Option<Option<i64>> = db
        .prepare_cached("SELECT asked FROM account WHERE name = ?1")?
        .query_row([account], |row| row.get(0))
        .optional()?;
    Ok(asked.flatten().and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()))
}

/// Remembers that mail of these accounts was just ordered to be tried.
pub fn ask_retry(db: &Connection, now: Timestamp) -> Result<()> {
    run(
        db,
        "INSERT INTO account (name, patience_ms, asked)
         SELECT DISTINCT account, 0, ?1 FROM message WHERE due = ?1
         ON CONFLICT (name) DO UPDATE SET asked = excluded.asked",
        [now.as_millisecond()],
    )?;
    Ok(())
}

/// Messages that are given away in one transaction: acceptance waits meanwhile.
const ADOPTED_AT_ONCE: u32 = 1000;

/// Gives mail of unknown accounts away. What was sent of it already counts for whom it went through.
pub fn adopt(db: &Connection, accounts: &[String], heir: &Heir) -> Result<u64> {
    let names = serde_json::to_string(accounts).unwrap_or_default();
    let strays: Vec<(MessageId, Submission)> = db
        .prepare_cached(&format!(
            "SELECT {SUBMISSION}, id FROM message
             WHERE due IS NOT NULL AND account NOT IN (SELECT value FROM json_each(?1)) LIMIT {ADOPTED_AT_ONCE}"
        ))?
        .query_map([names], |row| Ok((rows::id(row, SUBMISSION_COLUMNS)?, rows::submission(row)?)))?
        .collect::<Result<_>>()?;
    if !strays.is_empty() {
        let ids: Vec<i64> = strays.iter().map(|(id, _)| id.number()).collect();
        run(
            db,
            "UPDATE past SET account = (SELECT account FROM message WHERE id = past.message)
             WHERE account IS NULL AND message IN (SELECT value FROM json_each(?1))",
            [format!("{ids:?}")],
        )?;
    }
    for (id, Submission { envelope, client, .. }) in &strays {
        run(
            db,
            "UPDATE message SET account = ?2,
                 patience_ms = coalesce((SELECT patience_ms FROM account WHERE name = ?2), 0)
             WHERE id = ?1",
            params![id.number(), heir(&envelope.reverse_path, client)],
        )?;
    }
    Ok(strays.len() as u64)
}

/// Lets an account's clock go on.
pub fn grow_older(db: &Connection, account: &str, by: Duration) -> Result<()> {
    run(
        db,
        "INSERT INTO account (name, patience_ms)
         SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM message WHERE account = ?1 AND due IS NOT NULL AND held = 0)
         ON CONFLICT (name) DO UPDATE SET patience_ms = patience_ms + ?2",
        params![account, i64::try_from(by.as_millis()).unwrap_or(0)],
    )?;
    Ok(())
}
