//! What goes out: claims, leases and settlements. Each function runs inside a transaction that its caller commits.

use rusqlite::{Connection, OptionalExtension, params};

use super::accept::{add_content, add_message, forget_content, whole};
use super::past::{Entry, add_past};
use super::rows::{self, SUBMISSION, SUBMISSION_COLUMNS};
use super::sql::run;
use crate::mail::{Message, MessageId, Outcome, Timestamp};
use crate::spool::{CLOCK_IS_SET, Next, Settlement};

type Result<T> = rusqlite::Result<T>;

/// What a claim found.
pub enum Claimed {
    Message(Box<Message>),
    NothingUntil(Option<Timestamp>),
}

/// Leases of a daemon that has died are nobody's: what it was delivering is due.
pub fn free_leases(db: &Connection, now: Timestamp) -> Result<()> {
    run(db, "UPDATE message SET leased = 0, due = ?1 WHERE due IS NOT NULL AND leased = 1", [now.as_millisecond()])?;
    Ok(())
}

/// Leases the message that has been due for longest, under a `generation` that no other lease has.
pub fn claim(db: &Connection, account: &str, now: Timestamp, generation: i64) -> Result<Claimed> {
    let first = db
        .prepare_cached(
            "SELECT id, due FROM message
             WHERE account = ?1 AND due IS NOT NULL AND held = 0 AND leased = 0 ORDER BY due LIMIT 1",
        )?
        .query_row([account], |row| Ok((rows::id(row, 0)?, rows::time(row, 1)?)))
        .optional()?;
    let id = match first {
        Some((id, due)) if due <= now => id,
        other => return Ok(Claimed::NothingUntil(other.map(|(_, due)| due))),
    };
    // What was accepted before the clock was set is dated by now, once and for all.
    let received = "iif(received < ?3 AND ?4 >= ?3, ?4, received)";
    run(
        db,
        &format!("UPDATE message SET leased = 1, generation = ?2, received = {received} WHERE id = ?1"),
        params![id.number(), generation, CLOCK_IS_SET.as_millisecond(), now.as_millisecond()],
    )?;
    Ok(Claimed::Message(Box::new(leased_message(db, id)?)))
}

fn leased_message(db: &Connection, id: MessageId) -> Result<Message> {
    let mut message = db
        .prepare_cached(&format!(
            "SELECT {SUBMISSION}, size, attempts,
                 coalesce((SELECT patience_ms FROM account WHERE name = message.account), 0) - message.patience_ms,
                 sending
             FROM message WHERE id = ?1"
        ))?
        .query_row([id.number()], |row| {
            Ok(Message {
                id,
                submission: rows::submission(row)?,
                size: rows::count(row, SUBMISSION_COLUMNS)?,
                owed: Vec::new(),
                attempts: row.get(SUBMISSION_COLUMNS + 1)?,
                patience_ms: rows::count(row, SUBMISSION_COLUMNS + 2)?,
                uncertain: row.get(SUBMISSION_COLUMNS + 3)?,
                content: None,
            })
        })?;
    for (place, recipient, owed) in rows::recipients(db, id)? {
        if owed {
            message.owed.push((place, recipient.clone()));
        }
        message.submission.envelope.recipients.push(recipient);
    }
    message.content = whole(db, id, message.size)?;
    Ok(message)
}

/// Gives a lease back. `false`: it is no longer the newest, or was given back before.
pub fn give_back(db: &Connection, id: MessageId, generation: i64, due: Timestamp) -> Result<bool> {
    let changed = run(
        db,
        "UPDATE message SET leased = 0, due = ?3 WHERE id = ?1 AND generation = ?2 AND leased = 1",
        params![id.number(), generation, due.as_millisecond()],
    )?;
    Ok(changed > 0)
}

/// Notes that the final dot may be out. `false`: the lease is no longer the newest.
pub fn mark_sending(db: &Connection, id: MessageId, generation: i64) -> Result<bool> {
    let changed = run(
        db,
        "UPDATE message SET sending = 1 WHERE id = ?1 AND generation = ?2 AND leased = 1",
        params![id.number(), generation],
    )?;
    Ok(changed > 0)
}

/// Records an attempt. `false`: the lease is no longer the newest, and nothing was changed.
pub fn settle(
    db: &Connection,
    id: MessageId,
    generation: i64,
    settlement: &Settlement,
    notice: Option<MessageId>,
) -> Result<bool> {
    let Settlement { at, outcomes, next, counted, .. } = settlement;
    let (due, hold) = match next {
        Next::RetryAt(time) => (Some(time.as_millisecond()), false),
        Next::Hold => (Some(at.as_millisecond()), true),
        Next::Done => (None, false),
    };
    let last_reply = outcomes.last().map(|(_, outcome)| outcome.reason());
    // While an account is in trouble every probe would say the same; once is enough for the history.
    let told_before = !counted && is_last_reply(db, id, last_reply.as_deref())?;
    let changed = run(
        db,
        "UPDATE message SET leased = 0, sending = 0, due = ?3, held = held OR ?4, attempts = attempts + ?5,
             last_reply = coalesce(?6, last_reply), settled = iif(?3 IS NULL, ?7, NULL)
         WHERE id = ?1 AND generation = ?2 AND leased = 1",
        params![id.number(), generation, due, hold, counted, last_reply, at.as_millisecond()],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    for (place, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.is_final() || !told_before) {
        settle_recipient(db, id, *place, outcome, settlement)?;
    }
    if *next == Next::Done {
        finish(db, id, settlement)?;
    }
    if let (Some(notice), Some((submission, content))) = (notice, &settlement.notice) {
        add_message(db, notice, submission, content.len() as u64, None)?;
        add_content(db, notice, content)?;
    }
    Ok(true)
}

fn is_last_reply(db: &Connection, id: MessageId, reply: Option<&str>) -> Result<bool> {
    db.prepare_cached("SELECT last_reply IS ?2 FROM message WHERE id = ?1")?
        .query_row(params![id.number(), reply], |row| row.get(0))
}

fn settle_recipient(
    db: &Connection,
    id: MessageId,
    place: u32,
    outcome: &Outcome,
    settlement: &Settlement,
) -> Result<()> {
    if outcome.is_final() {
        run(db, "UPDATE recipient SET owed = 0 WHERE message = ?1 AND place = ?2", params![id.number(), place])?;
    }
    let through = settlement.through.as_deref();
    add_past(db, id, place, &Entry { at: settlement.at, outcome: outcome.word(), reply: &outcome.reason(), through })
}

/// Lets the content go, if really nobody is owed it; where a delivery was mistaken about that, it is due again.
fn finish(db: &Connection, id: MessageId, settlement: &Settlement) -> Result<()> {
    let still_owed = run(
        db,
        "UPDATE message SET due = ?2, settled = NULL
         WHERE id = ?1 AND EXISTS (SELECT 1 FROM recipient WHERE message = ?1 AND owed = 1)",
        params![id.number(), settlement.at.as_millisecond()],
    )?;
    match settlement.keep_content_until {
        _ if still_owed > 0 => Ok(()),
        None => forget_content(db, id),
        Some(until) => {
            let until = until.as_millisecond();
            run(db, "UPDATE message SET content_until = ?2 WHERE id = ?1", params![id.number(), until]).map(|_| ())
        }
    }
}
