//! What operators see and order. Each function runs inside a transaction that its caller commits.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::accept::forget_content;
use super::accounts;
use super::past::{self, Entry, add_past};
use super::rows::{self, SUBMISSION, SUBMISSION_COLUMNS};
use super::sql::run;
use crate::mail::{MessageId, Timestamp};
use crate::spool::{Backlog, Order, Queued, Record, State, Which};

type Result<T> = rusqlite::Result<T>;

/// The ids meant, as JSON for `json_each`; all that wait where none are named.
fn wanted(which: &Which) -> Option<String> {
    match which {
        Which::All => None,
        Which::Ids(ids) => Some(format!("{:?}", ids.iter().map(|id| id.number()).collect::<Vec<_>>())),
    }
}

const WANTED: &str = "due IS NOT NULL AND (?1 IS NULL OR id IN (SELECT value FROM json_each(?1)))";

/// What waits, oldest first. Leases count only where a daemon `delivers`: those of a dead one are nobody's.
pub fn list(db: &Connection, which: &Which, delivers: bool) -> Result<Vec<Queued>> {
    db.prepare_cached(&format!(
        "SELECT {SUBMISSION}, id, size, attempts, due, held, leased, last_reply FROM message WHERE {WANTED} ORDER BY id"
    ))?
    .query_map([wanted(which)], |row| queued(db, row, delivers))?
    .collect()
}

fn queued(db: &Connection, row: &Row<'_>, delivers: bool) -> Result<Queued> {
    let column = SUBMISSION_COLUMNS;
    let (submission, id) = (rows::submission(row)?, rows::id(row, column)?);
    let owed = rows::recipients(db, id)?.into_iter().filter(|(_, _, owed)| *owed);
    let leased: bool = row.get(column + 5)?;
    let state = match (leased && delivers, row.get(column + 4)?) {
        (true, _) => State::Sending,
        (false, true) => State::Held,
        (false, false) => State::Waiting,
    };
    Ok(Queued {
        id,
        received: submission.received,
        size: rows::count(row, column + 1)?,
        account: submission.account,
        protocol: submission.protocol,
        from: submission.envelope.reverse_path,
        smtputf8: submission.envelope.smtputf8,
        to: owed.map(|(_, recipient, _)| recipient).collect(),
        attempts: row.get(column + 2)?,
        next_try: (state != State::Sending).then(|| rows::time(row, column + 3)).transpose()?,
        state,
        last_reply: row.get(column + 6)?,
        client: submission.client,
    })
}

/// Everything about one message.
pub fn show(db: &Connection, id: MessageId, delivers: bool) -> Result<Option<Record>> {
    let found = db
        .prepare_cached(&format!("SELECT {SUBMISSION}, size FROM message WHERE id = ?1"))?
        .query_row([id.number()], |row| Ok((rows::submission(row)?, rows::count(row, SUBMISSION_COLUMNS)?)))
        .optional()?;
    let Some((mut submission, size)) = found else { return Ok(None) };
    submission.envelope.recipients = rows::recipients(db, id)?.into_iter().map(|(_, recipient, _)| recipient).collect();
    let queued = list(db, &Which::Ids(vec![id]), delivers)?.pop();
    Ok(Some(Record { submission, size, queued, past: past::of_message(db, id)? }))
}

/// Carries out an order on what waits. Leases count only where a daemon `delivers`.
pub fn order(db: &Connection, which: &Which, order: Order, now: Timestamp, delivers: bool) -> Result<Vec<MessageId>> {
    let change = match order {
        Order::Retry => "SET due = ?2, leased = 0 WHERE held = 0 AND (leased = 0 OR ?3 = 0)",
        Order::Hold => "SET held = 1 WHERE ?2 = ?2 AND ?3 = ?3 AND held = 0",
        // Time in hold is no time in which it was tried.
        Order::Release => {
            "SET held = 0, patience_ms = coalesce((SELECT patience_ms FROM account WHERE name = message.account), 0)
             WHERE ?2 = ?2 AND ?3 = ?3 AND held = 1"
        }
        Order::Delete | Order::Export => "SET due = NULL, leased = 0, settled = ?2 WHERE (leased = 0 OR ?3 = 0)",
    };
    let changed: Vec<MessageId> = db
        .prepare_cached(&format!("UPDATE message {change} AND {WANTED} RETURNING id"))?
        .query_map(params![wanted(which), now.as_millisecond(), delivers], |row| rows::id(row, 0))?
        .collect::<Result<_>>()?;
    let write_off_all = |outcome, words| changed.iter().try_for_each(|id| write_off(db, *id, outcome, words, now));
    match order {
        Order::Retry => accounts::ask_retry(db, now)?,
        Order::Delete => write_off_all("deleted", "deleted by the operator")?,
        Order::Export => write_off_all("exported", "taken out of the queue into a file")?,
        Order::Hold | Order::Release => {}
    }
    Ok(changed)
}

fn write_off(db: &Connection, id: MessageId, outcome: &str, words: &str, now: Timestamp) -> Result<()> {
    for (place, _, owed) in rows::recipients(db, id)? {
        if owed {
            add_past(db, id, place, &Entry { at: now, outcome, reply: words, through: None })?;
        }
    }
    run(db, "UPDATE recipient SET owed = 0 WHERE message = ?1", [id.number()])?;
    forget_content(db, id)
}

/// How each account's queue stands.
pub fn backlog(db: &Connection, since: Timestamp) -> Result<Vec<Backlog>> {
    db.prepare_cached(
        "SELECT account, sum(due IS NOT NULL AND held = 0), sum(due IS NOT NULL AND held = 1),
             min(CASE WHEN due IS NOT NULL AND held = 0 THEN received END)
         FROM message GROUP BY account ORDER BY account",
    )?
    .query_map([], |row| {
        let (account, oldest): (String, Option<i64>) = (row.get(0)?, row.get(3)?);
        Ok(Backlog {
            waiting: rows::count(row, 1)?,
            held: rows::count(row, 2)?,
            oldest: oldest.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()),
            sent_24h: past::count_since(db, &account, "delivered", since)?,
            uncertain_24h: past::count_since(db, &account, "uncertain", since)?,
            trouble: accounts::trouble(db, &account)?,
            account,
        })
    })?
    .collect()
}
