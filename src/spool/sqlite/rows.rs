//! Between rows and values.

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use crate::mail::{
    Address, Client, Envelope, Message, MessageId, Protocol, Recipient, ReversePath, Submission, Timestamp,
};

/// Columns that [`submission`] reads, in this order and first in a row.
pub const SUBMISSION: &str = "message.account, message.received, message.reverse_path, message.smtputf8, \
                              message.protocol, message.helo, message.ip, message.login";

/// How many columns those are.
pub const SUBMISSION_COLUMNS: usize = 8;

/// Reads a submission, still without recipients.
pub fn submission(row: &Row<'_>) -> rusqlite::Result<Submission> {
    let ip: Option<String> = row.get(6)?;
    Ok(Submission {
        account: row.get(0)?,
        received: time(row, 1)?,
        envelope: Envelope { reverse_path: reverse_path(row, 2)?, recipients: Vec::new(), smtputf8: row.get(3)? },
        protocol: Protocol::from_word(&row.get::<_, String>(4)?),
        client: Client { helo: row.get(5)?, ip: ip.and_then(|text| text.parse().ok()), login: row.get(7)? },
    })
}

/// A message that has just been accepted, as a delivery gets it.
pub fn fresh_message(id: MessageId, submission: Submission, size: u64, content: Option<Bytes>) -> Message {
    let owed = (0..).zip(submission.envelope.recipients.iter().cloned()).collect();
    Message { id, submission, size, owed, attempts: 0, patience_ms: 0, uncertain: false, content }
}

/// The recipients of a message with their places, and whether they are still owed it.
pub fn recipients(db: &Connection, id: MessageId) -> rusqlite::Result<Vec<(u32, Recipient, bool)>> {
    db.prepare_cached("SELECT address, original, place, owed FROM recipient WHERE message = ?1 ORDER BY place")?
        .query_map([id.number()], |row| Ok((row.get(2)?, recipient(row, 0)?, row.get(3)?)))?
        .collect()
}

/// Reads a recipient from two neighbouring columns.
pub fn recipient(row: &Row<'_>, column: usize) -> rusqlite::Result<Recipient> {
    let lines: Option<String> = row.get(column + 1)?;
    let originals = lines.iter().flat_map(|lines| lines.lines()).map(|text| parse(column + 1, text));
    let originals = originals.collect::<rusqlite::Result<_>>()?;
    Ok(Recipient { address: parse(column, &row.get::<_, String>(column)?)?, originals })
}

/// Whom the client asked for, one a line; no address holds a line end. Null: the address itself.
pub fn originals(recipient: &Recipient) -> Option<String> {
    let lines: Vec<String> = recipient.originals.iter().map(Address::to_string).collect();
    Some(lines.join("\n")).filter(|lines| !lines.is_empty())
}

/// Reads a reverse-path; empty is the null path.
pub fn reverse_path(row: &Row<'_>, column: usize) -> rusqlite::Result<ReversePath> {
    match row.get::<_, String>(column)?.as_str() {
        "" => Ok(ReversePath::Null),
        text => parse(column, text).map(ReversePath::Mailbox),
    }
}

fn parse(column: usize, text: &str) -> rusqlite::Result<Address> {
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::<_>::from(error)))
}

/// Reads a time.
pub fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let milliseconds: i64 = row.get(column)?;
    Timestamp::from_millisecond(milliseconds)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

/// Reads an id.
pub fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<MessageId> {
    row.get(column).map(MessageId::from_number)
}

/// Reads a count or a size.
pub fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}
