//! What has been: the history, which is read from its newest end and forgotten from its oldest, and so needs no
//! index. Each function runs inside a transaction that its caller commits.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::accept::forget_content;
use super::files::Files;
use super::rows;
use super::sql::run;
use crate::mail::{MessageId, Timestamp};
use crate::spool::{Filter, Past};

type Result<T> = rusqlite::Result<T>;

/// What is new in a line of the history.
pub struct Entry<'a> {
    pub at: Timestamp,
    pub outcome: &'a str,
    pub reply: &'a str,
    /// The account that it went through, where that is not the message's own.
    pub through: Option<&'a str>,
}

/// Adds one line to the history.
pub fn add_past(db: &Connection, id: MessageId, place: u32, entry: &Entry<'_>) -> Result<()> {
    let Entry { at, outcome, reply, through } = entry;
    run(
        db,
        "INSERT INTO past (message, place, at, outcome, reply, attempts, account)
         VALUES (?1, ?2, ?3, ?4, ?5, (SELECT attempts FROM message WHERE id = ?1), ?6)",
        params![id.number(), place, at.as_millisecond(), outcome, reply, through],
    )?;
    Ok(())
}

const PAST: &str = "SELECT coalesce(past.account, message.account), message.received, message.reverse_path, message.smtputf8, message.protocol,
         message.helo, message.ip, message.login, recipient.address, recipient.original, past.number, past.message, past.at,
         past.outcome, past.reply, past.attempts
     FROM past JOIN message ON message.id = past.message
         JOIN recipient ON recipient.message = past.message AND recipient.place = past.place";

fn past(row: &Row<'_>) -> Result<(i64, Past)> {
    let submission = rows::submission(row)?;
    let at = rows::time(row, 12)?;
    let past = Past {
        id: rows::id(row, 11)?,
        at,
        outcome: row.get(13)?,
        account: submission.account,
        from: submission.envelope.reverse_path,
        to: rows::recipient(row, 8)?,
        reply: row.get(14)?,
        client: submission.client,
        attempts: row.get(15)?,
        delay_ms: at.as_millisecond() - submission.received.as_millisecond(),
    };
    Ok((row.get(10)?, past))
}

/// The past, newest first.
pub fn history(db: &Connection, filter: &Filter) -> Result<Vec<(i64, Past)>> {
    db.prepare_cached(&format!(
        "{PAST} WHERE past.number > ?1 AND past.at >= ?2
             AND (?3 IS NULL OR instr(lower(recipient.address), ?3) OR instr(lower(recipient.original), ?3))
             AND (?4 IS NULL OR instr(lower(message.reverse_path), ?4))
             AND (?5 IS NULL OR instr(lower(message.helo), ?5) OR instr(message.ip, ?5)
                 OR instr(lower(message.login), ?5))
             AND (?6 = 0 OR past.outcome NOT IN ('deferred', 'uncertain'))
             AND (?8 IS NULL OR coalesce(past.account, message.account) = ?8)
         ORDER BY past.number DESC LIMIT ?7"
    ))?
    .query_map(
        params![
            filter.after.unwrap_or(0),
            filter.since.map_or(i64::MIN, Timestamp::as_millisecond),
            filter.to.as_deref().map(str::to_lowercase),
            filter.from.as_deref().map(str::to_lowercase),
            filter.client.as_deref().map(str::to_lowercase),
            filter.only_final,
            i64::try_from(filter.limit).unwrap_or(i64::MAX),
            filter.account,
        ],
        past,
    )?
    .collect()
}

/// The past of one message, oldest first.
pub fn of_message(db: &Connection, id: MessageId) -> Result<Vec<Past>> {
    db.prepare_cached(&format!("{PAST} WHERE past.message = ?1 ORDER BY past.number"))?
        .query_map([id.number()], |row| past(row).map(|(_, past)| past))?
        .collect()
}

/// The last entry before a time; 0 where there is none. Entries are numbered as time goes.
fn last_before(db: &Connection, time: Timestamp) -> Result<i64> {
    db.prepare_cached("SELECT number FROM past WHERE at < ?1 ORDER BY number DESC LIMIT 1")?
        .query_row([time.as_millisecond()], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Recipients that were delivered since a time, by the minute.
pub fn sent_since(db: &Connection, account: &str, since: Timestamp) -> Result<Vec<(Timestamp, u32)>> {
    db.prepare_cached(
        "SELECT min(past.at), count(*) FROM past JOIN message ON message.id = past.message
         WHERE past.number > ?3 AND past.at >= ?2 AND past.outcome = 'delivered'
             AND coalesce(past.account, message.account) = ?1
         GROUP BY past.at / 60000 ORDER BY 1",
    )?
    .query_map(params![account, since.as_millisecond(), last_before(db, since)?], |row| {
        Ok((rows::time(row, 0)?, row.get(1)?))
    })?
    .collect()
}

/// How many outcomes of a kind an account had since a time.
pub fn count_since(db: &Connection, account: &str, outcome: &str, since: Timestamp) -> Result<u64> {
    db.prepare_cached(
        "SELECT count(*) FROM past JOIN message ON message.id = past.message
         WHERE past.number > ?4 AND past.at >= ?3 AND past.outcome = ?2
             AND coalesce(past.account, message.account) = ?1",
    )?
    .query_row(params![account, outcome, since.as_millisecond(), last_before(db, since)?], |row| rows::count(row, 0))
}

/// Entries that are looked at in one transaction: acceptance waits meanwhile.
const PRUNED_AT_ONCE: i64 = 500;
/// Pages given back to the file system in one transaction.
const PAGES_AT_ONCE: u32 = 1024;

/// Forgets the oldest entries, as far as they are older than the history is to be, with messages that have none left;
/// content that is kept no longer; and gives free pages back. Tells whether there may be more of it.
pub fn prune(db: &Connection, files: &Files, now: Timestamp, history: Duration) -> Result<bool> {
    let forgotten = prune_history(db, now, history)?;
    let emptied = prune_content(db, files, now)?;
    let freed = give_pages_back(db)?;
    Ok(forgotten || emptied || freed)
}

fn prune_history(db: &Connection, now: Timestamp, history: Duration) -> Result<bool> {
    // A time further ahead than the history is long was given by a clock that was wrong.
    let (before, after) = ((now - history).as_millisecond(), (now + history).as_millisecond());
    let old: Vec<(i64, MessageId)> = db
        .prepare_cached(
            "SELECT number, message FROM (SELECT * FROM past ORDER BY number LIMIT ?3) AS oldest
             WHERE (at < ?1 OR at > ?2)
                 AND EXISTS (SELECT 1 FROM message WHERE id = oldest.message AND due IS NULL)",
        )?
        .query_map(params![before, after, PRUNED_AT_ONCE], |row| Ok((row.get(0)?, rows::id(row, 1)?)))?
        .collect::<Result<_>>()?;
    for (number, id) in &old {
        run(db, "DELETE FROM past WHERE number = ?1", [number])?;
        let settled_as_long_ago = "SELECT EXISTS (SELECT 1 FROM message WHERE id = ?1 AND due IS NULL
             AND (settled IS NULL OR settled < ?2 OR settled > ?3))";
        if db.prepare_cached(settled_as_long_ago)?.query_row(params![id.number(), before, after], |row| row.get(0))? {
            forget_message(db, *id)?;
        }
    }
    Ok(!old.is_empty())
}

fn forget_message(db: &Connection, id: MessageId) -> Result<()> {
    run(db, "DELETE FROM recipient WHERE message = ?1", [id.number()])?;
    run(db, "DELETE FROM message WHERE id = ?1", [id.number()])?;
    forget_content(db, id)
}

fn prune_content(db: &Connection, files: &Files, now: Timestamp) -> Result<bool> {
    let old: Vec<MessageId> = db
        .prepare_cached("SELECT id FROM message WHERE content_until < ?1 ORDER BY content_until LIMIT ?2")?
        .query_map(params![now.as_millisecond(), PRUNED_AT_ONCE], |row| rows::id(row, 0))?
        .collect::<Result<_>>()?;
    for id in &old {
        forget_content(db, *id)?;
        run(db, "UPDATE message SET content_until = NULL WHERE id = ?1", [id.number()])?;
        // Should this transaction fail, it is gone early. Nobody was owed it.
        files.remove_unneeded(db, *id)?;
    }
    Ok(!old.is_empty())
}

fn give_pages_back(db: &Connection) -> Result<bool> {
    let free: u32 = db.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
    // Each row of this is a page that went.
    let vacuum = format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})");
    db.prepare_cached(&vacuum)?.query_map([], |_| Ok(()))?.try_for_each(|row| row)?;
    Ok(free > PAGES_AT_ONCE)
}
