//! What comes in: messages and the pieces of their content. Each function runs inside a transaction that its caller
//! commits.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use super::sql::run;
use crate::mail::{MessageId, Submission, Timestamp};
use crate::spool::{Restored, WHOLE_BYTES_MAX};

type Result<T> = rusqlite::Result<T>;

/// Stores content that is small. What is large has a file of its own.
pub fn add_content(db: &Connection, id: MessageId, bytes: &[u8]) -> Result<()> {
    run(db, "INSERT INTO content (message, bytes) VALUES (?1, ?2)", params![id.number(), bytes]).map(|_| ())
}

/// Removes all content that was never accepted.
pub fn abandon_all(db: &Connection) -> Result<()> {
    run(db, "DELETE FROM content WHERE message NOT IN (SELECT id FROM message)", [])?;
    run(db, "DELETE FROM further_content WHERE message NOT IN (SELECT id FROM message)", [])?;
    Ok(())
}

/// Removes all content of a message but its file.
pub fn forget_content(db: &Connection, id: MessageId) -> Result<()> {
    run(db, "DELETE FROM content WHERE message = ?1", [id.number()])?;
    run(db, "DELETE FROM further_content WHERE message = ?1", [id.number()])?;
    Ok(())
}

/// Piece `index` of content that has no file. It has one piece, but where an earlier version stored it.
pub fn piece(db: &Connection, id: MessageId, index: u32) -> Result<Option<Bytes>> {
    let bytes = |row: &rusqlite::Row<'_>| row.get::<_, Vec<u8>>(0).map(Bytes::from);
    match index {
        0 => db.prepare_cached("SELECT bytes FROM content WHERE message = ?1")?.query_row([id.number()], bytes),
        _ => db
            .prepare_cached("SELECT bytes FROM further_content WHERE message = ?1 AND piece = ?2")?
            .query_row(params![id.number(), index], bytes),
    }
    .optional()
}

/// The whole content of a message, if it is small enough for memory.
pub fn whole(db: &Connection, id: MessageId, size: u64) -> Result<Option<Bytes>> {
    if size > WHOLE_BYTES_MAX {
        return Ok(None);
    }
    Ok(piece(db, id, 0)?.filter(|piece| piece.len() as u64 == size))
}

/// Stores a message, due at once, or leased at once under a generation.
pub fn add_message(
    db: &Connection,
    id: MessageId,
    submission: &Submission,
    size: u64,
    leased: Option<i64>,
) -> Result<()> {
    let Submission { envelope, client, protocol, account, received } = submission;
    run(
        db,
        "INSERT INTO message (id, account, received, size, reverse_path, smtputf8, protocol, helo, ip, due, leased,
             generation, login, patience_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?3, ?10, ?11, ?12,
             coalesce((SELECT patience_ms FROM account WHERE name = ?2), 0))",
        params![
            id.number(),
            account,
            received.as_millisecond(),
            i64::try_from(size).unwrap_or(i64::MAX),
            envelope.reverse_path.to_string(),
            envelope.smtputf8,
            protocol.as_str(),
            client.helo,
            client.ip.map(|ip| ip.to_string()),
            leased.is_some(),
            leased.unwrap_or_default(),
            client.login,
        ],
    )?;
    for (place, recipient) in (0_i64..).zip(&envelope.recipients) {
        run(
            db,
            "INSERT INTO recipient (message, place, address, original, owed) VALUES (?1, ?2, ?3, ?4, 1)",
            params![id.number(), place, recipient.address.to_string(), rows::originals(recipient),],
        )?;
    }
    Ok(())
}

/// Takes a message over from another spool, due at `now`; its content is added behind this. `false`: somebody is owed
/// it here already.
pub fn restore(db: &Connection, restored: &Restored, size: u64, now: Timestamp) -> Result<bool> {
    let Restored { id, submission, attempts, held } = restored;
    let owed: Option<bool> = db
        .prepare_cached("SELECT due IS NOT NULL FROM message WHERE id = ?1")?
        .query_row([id.number()], |row| row.get(0))
        .optional()?;
    match owed {
        Some(true) => return Ok(false),
        Some(false) => owe_again(db, *id, submission)?,
        None => add_message(db, *id, submission, size, None)?,
    }
    run(
        db,
        "UPDATE message SET account = ?2, attempts = ?3, held = ?4, due = ?5, settled = NULL, content_until = NULL
         WHERE id = ?1",
        params![id.number(), submission.account, attempts, held, now.as_millisecond()],
    )?;
    Ok(true)
}

/// For a message that was let go here before and comes back: its past stays what it was.
fn owe_again(db: &Connection, id: MessageId, submission: &Submission) -> Result<()> {
    forget_content(db, id)?;
    for recipient in &submission.envelope.recipients {
        let address = recipient.address.to_string();
        let known = run(
            db,
            "UPDATE recipient SET owed = 1 WHERE message = ?1 AND address = ?2",
            params![id.number(), address],
        )?;
        if known == 0 {
            run(
                db,
                "INSERT INTO recipient (message, place, address, original, owed)
                 SELECT ?1, coalesce(max(place) + 1, 0), ?2, ?3, 1 FROM recipient WHERE message = ?1",
                params![id.number(), address, rows::originals(recipient)],
            )?;
        }
    }
    Ok(())
}
