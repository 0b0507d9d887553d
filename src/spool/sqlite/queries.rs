//! What the verbs of the spool mean in SQL. Each function is one request: it runs inside a transaction that its
//! caller commits.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{self, SUBMISSION, SUBMISSION_COLUMNS};
use crate::mail::{Message, MessageId, Outcome, Recipient, Submission, Timestamp};
use crate::spool::{
    Backlog, BelievedLimit, Filter, LEASE, Next, Noted, Order, Past, Queued, Record, Settlement, State, TroubleNote,
    Which,
};

type Result<T> = rusqlite::Result<T>;

/// What a claim found.
pub enum Claimed {
    Message(Box<Message>, i64),
    NothingUntil(Option<Timestamp>),
}

fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
    db.prepare_cached(sql)?.execute(values)
}

/// What a daemon finds that was not stopped in order: leases of nobody, and content that was never accepted.
pub fn recover(db: &Connection, now: Timestamp) -> Result<()> {
    run(db, "UPDATE message SET leased = 0, due = ?1 WHERE due IS NOT NULL AND leased = 1", [now.as_millisecond()])?;
    run(db, "DELETE FROM content WHERE message NOT IN (SELECT id FROM message)", [])?;
    Ok(())
}

/// Stores a piece of content.
pub fn add_piece(db: &Connection, id: MessageId, index: u32, piece: &[u8]) -> Result<()> {
    run(db, "INSERT INTO content (message, piece, bytes) VALUES (?1, ?2, ?3)", params![id.number(), index, piece])?;
    Ok(())
}

/// Whether content is there in all its pieces: a daemon that starts meanwhile removes those of other processes.
pub fn is_whole(db: &Connection, id: MessageId, pieces: u32) -> Result<bool> {
    db.prepare_cached("SELECT count(*) = ?2 FROM content WHERE message = ?1")?
        .query_row(params![id.number(), pieces], |row| row.get(0))
}

/// Removes content that was never accepted. Whoever gives an upload up may be mistaken about that.
pub fn abandon(db: &Connection, id: MessageId) -> Result<()> {
    run(
        db,
        "DELETE FROM content WHERE message = ?1 AND NOT EXISTS (SELECT 1 FROM message WHERE id = ?1)",
        [id.number()],
    )?;
    Ok(())
}

/// Removes all content of a message.
fn forget_content(db: &Connection, id: MessageId) -> Result<()> {
    run(db, "DELETE FROM content WHERE message = ?1", [id.number()])?;
    Ok(())
}

/// Stores a message, due at once or leased at once.
pub fn add_message(
    db: &Connection,
    id: MessageId,
    submission: &Submission,
    size: u64,
    lease_until: Option<Timestamp>,
) -> Result<()> {
    let Submission { envelope, client, protocol, account, received } = submission;
    run(
        db,
        "INSERT INTO message (id, account, received, size, reverse_path, smtputf8, protocol, helo, ip, due, leased,
             generation, patience_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11,
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
            lease_until.unwrap_or(*received).as_millisecond(),
            lease_until.is_some(),
        ],
    )?;
    for (place, recipient) in envelope.recipients.iter().enumerate() {
        run(
            db,
            "INSERT INTO recipient (message, place, address, original, owed) VALUES (?1, ?2, ?3, ?4, 1)",
            params![
                id.number(),
                i64::try_from(place).unwrap_or(i64::MAX),
                recipient.address.to_string(),
                recipient.original.as_ref().map(ToString::to_string),
            ],
        )?;
    }
    Ok(())
}

/// Leases the message that has been due for longest.
pub fn claim(db: &Connection, account: &str, now: Timestamp) -> Result<Claimed> {
    let first = db
        .prepare_cached(
            "SELECT id, due FROM message WHERE account = ?1 AND due IS NOT NULL AND held = 0 ORDER BY due LIMIT 1",
        )?
        .query_row([account], |row| Ok((rows::id(row, 0)?, rows::time(row, 1)?)))
        .optional()?;
    let id = match first {
        Some((id, due)) if due <= now => id,
        other => return Ok(Claimed::NothingUntil(other.map(|(_, due)| due))),
    };
    let until = (now + LEASE).as_millisecond();
    run(
        db,
        "UPDATE message SET due = ?2, leased = 1, generation = generation + 1 WHERE id = ?1",
        params![id.number(), until],
    )?;
    let (message, generation) = leased_message(db, id)?;
    Ok(Claimed::Message(Box::new(message), generation))
}

fn leased_message(db: &Connection, id: MessageId) -> Result<(Message, i64)> {
    let (mut message, generation) = db
        .prepare_cached(&format!(
            "SELECT {SUBMISSION}, size, attempts, generation,
                 coalesce((SELECT patience_ms FROM account WHERE name = message.account), 0) - message.patience_ms
             FROM message WHERE id = ?1"
        ))?
        .query_row([id.number()], |row| {
            let message = Message {
                id,
                submission: rows::submission(row)?,
                size: rows::count(row, SUBMISSION_COLUMNS)?,
                owed: Vec::new(),
                attempts: row.get(SUBMISSION_COLUMNS + 1)?,
                patience_ms: rows::count(row, SUBMISSION_COLUMNS + 3)?,
                content: None,
            };
            Ok((message, row.get(SUBMISSION_COLUMNS + 2)?))
        })?;
    for (place, recipient, owed) in recipients(db, id)? {
        if owed {
            message.owed.push((place, recipient.clone()));
        }
        message.submission.envelope.recipients.push(recipient);
    }
    Ok((message, generation))
}

fn recipients(db: &Connection, id: MessageId) -> Result<Vec<(u32, Recipient, bool)>> {
    db.prepare_cached("SELECT address, original, place, owed FROM recipient WHERE message = ?1 ORDER BY place")?
        .query_map([id.number()], |row| Ok((row.get(2)?, rows::recipient(row, 0)?, row.get(3)?)))?
        .collect()
}

/// Gives a lease back, unless it is no longer the newest.
pub fn release(db: &Connection, id: MessageId, generation: i64, due: Timestamp) -> Result<()> {
    run(
        db,
        "UPDATE message SET leased = 0, due = ?3 WHERE id = ?1 AND generation = ?2 AND leased = 1",
        params![id.number(), generation, due.as_millisecond()],
    )?;
    Ok(())
}

/// Piece `index` of a message's content.
pub fn piece(db: &Connection, id: MessageId, index: u32) -> Result<Option<Bytes>> {
    db.prepare_cached("SELECT bytes FROM content WHERE message = ?1 AND piece = ?2")?
        .query_row(params![id.number(), index], |row| row.get::<_, Vec<u8>>(0))
        .optional()
        .map(|bytes| bytes.map(Bytes::from))
}

/// Records an attempt. `false`: the lease is no longer the newest, and nothing was changed.
pub fn settle(
    db: &Connection,
    id: MessageId,
    generation: i64,
    settlement: &Settlement,
    notice: Option<MessageId>,
) -> Result<bool> {
    let due = match settlement.next {
        Next::RetryAt(time) => Some(time.as_millisecond()),
        Next::Done => None,
    };
    let last_reply = settlement.outcomes.last().map(|(_, outcome)| outcome.reason());
    let changed = run(
        db,
        "UPDATE message SET leased = 0, due = ?3, attempts = attempts + ?4, last_reply = coalesce(?5, last_reply)
         WHERE id = ?1 AND generation = ?2 AND leased = 1",
        params![id.number(), generation, due, settlement.counted, last_reply],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    for (place, outcome) in &settlement.outcomes {
        // While an account is in trouble every probe would say the same; once is enough for the history.
        if settlement.counted || outcome.is_final() || !is_known(db, id, *place, outcome)? {
            settle_recipient(db, id, *place, outcome, settlement.at)?;
        }
    }
    if settlement.next == Next::Done {
        finish(db, id, settlement.at)?;
    }
    if let (Some(notice), Some((submission, content))) = (notice, &settlement.notice) {
        add_message(db, notice, submission, content.len() as u64, None)?;
        add_piece(db, notice, 0, content)?;
    }
    Ok(true)
}

/// Removes the content, if really nobody is owed it; where a delivery was mistaken about that, it is due again.
fn finish(db: &Connection, id: MessageId, now: Timestamp) -> Result<()> {
    let still_owed = run(
        db,
        "UPDATE message SET due = ?2
         WHERE id = ?1 AND EXISTS (SELECT 1 FROM recipient WHERE message = ?1 AND owed = 1)",
        params![id.number(), now.as_millisecond()],
    )?;
    if still_owed > 0 { Ok(()) } else { forget_content(db, id) }
}

fn is_known(db: &Connection, id: MessageId, place: u32, outcome: &Outcome) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM past WHERE message = ?1 AND place = ?2 AND reply = ?3)")?
        .query_row(params![id.number(), place, outcome.reason()], |row| row.get(0))
}

fn settle_recipient(db: &Connection, id: MessageId, place: u32, outcome: &Outcome, at: Timestamp) -> Result<()> {
    if outcome.is_final() {
        run(db, "UPDATE recipient SET owed = 0 WHERE message = ?1 AND place = ?2", params![id.number(), place])?;
    }
    add_past(db, id, place, outcome.word(), &outcome.reason(), at)
}

fn add_past(db: &Connection, id: MessageId, place: u32, outcome: &str, reply: &str, at: Timestamp) -> Result<()> {
    run(
        db,
        "INSERT INTO past (message, place, at, outcome, reply, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, (SELECT attempts FROM message WHERE id = ?1))",
        params![id.number(), place, at.as_millisecond(), outcome, reply],
    )?;
    Ok(())
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

fn trouble(db: &Connection, account: &str) -> Result<Option<TroubleNote>> {
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

fn ask_retry(db: &Connection, now: Timestamp) -> Result<()> {
    run(
        db,
        "INSERT INTO account (name, patience_ms, asked)
         SELECT DISTINCT account, 0, ?1 FROM message WHERE due = ?1
         ON CONFLICT (name) DO UPDATE SET asked = excluded.asked",
        [now.as_millisecond()],
    )?;
    Ok(())
}

/// Gives mail of unknown accounts to `heir`, whose clock it follows from then on without having aged.
pub fn adopt(db: &Connection, accounts: &[String], heir: &str) -> Result<u64> {
    let names = serde_json::to_string(accounts).unwrap_or_default();
    let changed = run(
        db,
        "UPDATE message SET account = ?2,
             patience_ms = coalesce((SELECT patience_ms FROM account WHERE name = ?2), 0)
         WHERE due IS NOT NULL AND account NOT IN (SELECT value FROM json_each(?1))",
        [names.as_str(), heir],
    )?;
    Ok(changed as u64)
}

/// The ids meant, as JSON for `json_each`; all that wait where none are named.
fn wanted(which: &Which) -> Option<String> {
    match which {
        Which::All => None,
        Which::Ids(ids) => Some(format!("{:?}", ids.iter().map(|id| id.number()).collect::<Vec<_>>())),
    }
}

const WANTED: &str = "due IS NOT NULL AND (?1 IS NULL OR id IN (SELECT value FROM json_each(?1)))";

/// What waits, oldest first.
pub fn list(db: &Connection, which: &Which) -> Result<Vec<Queued>> {
    db.prepare_cached(&format!(
        "SELECT {SUBMISSION}, id, size, attempts, due, held, leased, last_reply FROM message WHERE {WANTED} ORDER BY id"
    ))?
    .query_map([wanted(which)], |row| queued(db, row))?
    .collect()
}

fn queued(db: &Connection, row: &Row<'_>) -> Result<Queued> {
    let column = SUBMISSION_COLUMNS;
    let (submission, id) = (rows::submission(row)?, rows::id(row, column)?);
    let owed = recipients(db, id)?.into_iter().filter(|(_, _, owed)| *owed);
    let state = match (row.get(column + 5)?, row.get(column + 4)?) {
        (true, _) => State::Sending,
        (false, true) => State::Held,
        (false, false) => State::Waiting,
    };
    Ok(Queued {
        id,
        received: submission.received,
        size: rows::count(row, column + 1)?,
        account: submission.account,
        from: submission.envelope.reverse_path,
        to: owed.map(|(_, recipient, _)| recipient).collect(),
        attempts: row.get(column + 2)?,
        // While it is leased the column holds the end of the lease, which means nothing to an operator.
        next_try: (state != State::Sending).then(|| rows::time(row, column + 3)).transpose()?,
        state,
        last_reply: row.get(column + 6)?,
        client: submission.client,
    })
}

/// Everything about one message.
pub fn show(db: &Connection, id: MessageId) -> Result<Option<Record>> {
    let found = db
        .prepare_cached(&format!("SELECT {SUBMISSION}, size FROM message WHERE id = ?1"))?
        .query_row([id.number()], |row| Ok((rows::submission(row)?, rows::count(row, SUBMISSION_COLUMNS)?)))
        .optional()?;
    let Some((mut submission, size)) = found else { return Ok(None) };
    submission.envelope.recipients = recipients(db, id)?.into_iter().map(|(_, recipient, _)| recipient).collect();
    let queued = list(db, &Which::Ids(vec![id]))?.pop();
    let past = db
        .prepare_cached(&format!("{PAST} WHERE past.message = ?1 ORDER BY past.number"))?
        .query_map([id.number()], |row| past(row).map(|(_, past)| past))?
        .collect::<Result<_>>()?;
    Ok(Some(Record { submission, size, queued, past }))
}

/// Carries out an order on what waits.
pub fn order(db: &Connection, which: &Which, order: Order, now: Timestamp) -> Result<Vec<MessageId>> {
    // A lease that has ended protects nothing; it is taken away, so that a late settlement of it changes nothing.
    let change = match order {
        Order::Retry => "SET due = ?2, leased = 0 WHERE held = 0 AND (leased = 0 OR due <= ?2)",
        Order::Hold => "SET held = 1 WHERE ?2 = ?2 AND held = 0",
        // Time in hold is no time in which it was tried.
        Order::Release => {
            "SET held = 0, patience_ms = coalesce((SELECT patience_ms FROM account WHERE name = message.account), 0)
             WHERE ?2 = ?2 AND held = 1"
        }
        Order::Delete => "SET due = NULL, leased = 0 WHERE (leased = 0 OR due <= ?2)",
    };
    let changed: Vec<MessageId> = db
        .prepare_cached(&format!("UPDATE message {change} AND {WANTED} RETURNING id"))?
        .query_map(params![wanted(which), now.as_millisecond()], |row| rows::id(row, 0))?
        .collect::<Result<_>>()?;
    match order {
        Order::Retry => ask_retry(db, now)?,
        Order::Delete => changed.iter().try_for_each(|id| write_off(db, *id, now))?,
        Order::Hold | Order::Release => {}
    }
    Ok(changed)
}

fn write_off(db: &Connection, id: MessageId, now: Timestamp) -> Result<()> {
    for (place, _, owed) in recipients(db, id)? {
        if owed {
            add_past(db, id, place, "deleted", "deleted by the operator", now)?;
        }
    }
    run(db, "UPDATE recipient SET owed = 0 WHERE message = ?1", [id.number()])?;
    forget_content(db, id)
}

const PAST: &str = "SELECT message.account, message.received, message.reverse_path, message.smtputf8, message.protocol,
         message.helo, message.ip, recipient.address, recipient.original, past.number, past.message, past.at,
         past.outcome, past.reply, past.attempts
     FROM past JOIN message ON message.id = past.message
         JOIN recipient ON recipient.message = past.message AND recipient.place = past.place";

fn past(row: &Row<'_>) -> Result<(i64, Past)> {
    let submission = rows::submission(row)?;
    let at = rows::time(row, 11)?;
    let past = Past {
        id: rows::id(row, 10)?,
        at,
        outcome: row.get(12)?,
        account: submission.account,
        from: submission.envelope.reverse_path,
        to: rows::recipient(row, 7)?,
        reply: row.get(13)?,
        client: submission.client,
        attempts: row.get(14)?,
        delay_ms: at.as_millisecond() - submission.received.as_millisecond(),
    };
    Ok((row.get(9)?, past))
}

/// The past, newest first.
pub fn history(db: &Connection, filter: &Filter) -> Result<Vec<(i64, Past)>> {
    db.prepare_cached(&format!(
        "{PAST} WHERE past.number > ?1 AND past.at >= ?2
             AND (?3 IS NULL OR instr(lower(recipient.address), ?3) OR instr(lower(recipient.original), ?3))
             AND (?4 IS NULL OR instr(lower(message.reverse_path), ?4))
             AND (?5 IS NULL OR instr(lower(message.helo), ?5) OR instr(message.ip, ?5))
             AND (?6 = 0 OR past.outcome NOT IN ('deferred', 'uncertain'))
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
        ],
        past,
    )?
    .collect()
}

/// Settled messages that are forgotten in one transaction: acceptance waits meanwhile.
const PRUNED_AT_ONCE: u32 = 500;

/// Forgets settled messages of which all history is older than a time; some of them, where there are many.
pub fn prune(db: &Connection, before: Timestamp) -> Result<u64> {
    let old: Vec<MessageId> = db
        .prepare_cached(
            "SELECT DISTINCT message FROM past WHERE at < ?1
                 AND EXISTS (SELECT 1 FROM message WHERE message.id = past.message AND due IS NULL)
                 AND NOT EXISTS (SELECT 1 FROM past AS later WHERE later.message = past.message AND later.at >= ?1)
             LIMIT ?2",
        )?
        .query_map(params![before.as_millisecond(), PRUNED_AT_ONCE], |row| rows::id(row, 0))?
        .collect::<Result<_>>()?;
    for id in &old {
        run(db, "DELETE FROM past WHERE message = ?1", [id.number()])?;
        run(db, "DELETE FROM recipient WHERE message = ?1", [id.number()])?;
        run(db, "DELETE FROM message WHERE id = ?1", [id.number()])?;
    }
    db.prepare_cached("PRAGMA incremental_vacuum(1024)")?.query_map([], |_| Ok(()))?.try_for_each(|row| row)?;
    Ok(old.len() as u64)
}

/// Recipients that were delivered since a time, by the minute.
pub fn sent_since(db: &Connection, account: &str, since: Timestamp) -> Result<Vec<(Timestamp, u32)>> {
    db.prepare_cached(
        "SELECT min(past.at), count(*) FROM past JOIN message ON message.id = past.message
         WHERE past.at >= ?2 AND past.outcome = 'delivered' AND message.account = ?1
         GROUP BY past.at / 60000 ORDER BY 1",
    )?
    .query_map(params![account, since.as_millisecond()], |row| Ok((rows::time(row, 0)?, row.get(1)?)))?
    .collect()
}

/// How each account's queue stands.
pub fn backlog(db: &Connection, now: Timestamp) -> Result<Vec<Backlog>> {
    let since = now.as_millisecond() - 24 * 60 * 60 * 1000;
    db.prepare_cached(
        "SELECT account, sum(due IS NOT NULL AND held = 0), sum(due IS NOT NULL AND held = 1),
             min(CASE WHEN due IS NOT NULL AND held = 0 THEN received END),
             (SELECT count(*) FROM past JOIN message AS sent ON sent.id = past.message
              WHERE past.at >= ?1 AND past.outcome = 'delivered' AND sent.account = message.account)
         FROM message GROUP BY account ORDER BY account",
    )?
    .query_map([since], |row| {
        let oldest: Option<i64> = row.get(3)?;
        Ok(Backlog {
            account: row.get(0)?,
            waiting: rows::count(row, 1)?,
            held: rows::count(row, 2)?,
            oldest: oldest.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()),
            sent_24h: rows::count(row, 4)?,
            trouble: trouble(db, &row.get::<_, String>(0)?)?,
        })
    })?
    .collect()
}
