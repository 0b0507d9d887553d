//! `smarthost queue`: the mail that waits. Works whether or not the relay runs.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Global, export, print_json, table};
use crate::clock::now;
use crate::config::Config;
use crate::daemon;
use crate::delivery::outgoing::Repaired;
use crate::mail::{Message, MessageId};
use crate::spool::sqlite::SqliteSpool;
use crate::spool::{Order, Past, Queued, Record, Spool, State, Which};
use crate::upstream::Outgoing as _;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what waits, oldest first.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// Only mail of this account.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
    /// Show one message: envelope, every attempt and reply, header.
    Show {
        id: MessageId,
        /// The bytes as they were received.
        #[arg(long, conflicts_with_all = ["sent", "json"])]
        raw: bool,
        /// The bytes as they go to Gmail.
        #[arg(long, conflicts_with = "json")]
        sent: bool,
        #[arg(long)]
        json: bool,
    },
    /// Try again at once.
    Retry(Selection),
    /// Do not try until released.
    Hold(Selection),
    /// Let go what was held.
    Release(Selection),
    /// Remove; nobody gets the message any more, and nobody is told. The history keeps a line.
    Delete(Selection),
    /// Move mail out of the queue into a folder, one file a message, which any mail server can read (batch SMTP).
    Export {
        folder: PathBuf,
        /// Write copies, and leave the queue as it is: for what can still be read of a spool that is damaged. Whoever
        /// imports them sends them too.
        #[arg(long)]
        copy: bool,
        /// Only these; otherwise all that wait.
        #[arg(value_name = "ID")]
        ids: Vec<MessageId>,
    },
    /// Move mail from such a folder into the queue.
    Import { folder: PathBuf },
}

#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Messages, as `smarthost queue list` names them.
    #[arg(required_unless_present = "all", value_name = "ID")]
    ids: Vec<MessageId>,
    /// All that wait.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

pub async fn run(global: &Global, command: &Command) -> Result<(), Failure> {
    let spool = || global.spool().map(Arc::new);
    match command {
        Command::List { json, account } => list(&*spool()?, *json, account.as_deref()).await,
        Command::Show { id, raw: true, .. } => show_raw(&*spool()?, *id).await,
        Command::Show { id, sent: true, .. } => show_sent(&spool()?, &global.config()?, *id).await,
        Command::Show { id, json, .. } => show(&*spool()?, *id, *json).await,
        Command::Retry(selection) => order(&*spool()?, selection, Order::Retry).await,
        Command::Hold(selection) => order(&*spool()?, selection, Order::Hold).await,
        Command::Release(selection) => order(&*spool()?, selection, Order::Release).await,
        Command::Delete(selection) => order(&*spool()?, selection, Order::Delete).await,
        Command::Export { folder, ids, copy } => {
            let which = if ids.is_empty() { Which::All } else { Which::Ids(ids.clone()) };
            let spool = spool()?;
            if *copy {
                export::copy(&spool, folder, &which).await
            } else {
                export::export(&spool, folder, &which).await
            }
        }
        Command::Import { folder } => export::import(global, folder).await,
    }
}

async fn list(spool: &SqliteSpool, json: bool, account: Option<&str>) -> Result<(), Failure> {
    let mut queued = spool.list(&Which::All).await?;
    queued.retain(|message| account.is_none_or(|account| message.account == account));
    if json {
        return queued.iter().try_for_each(|message| print_json(&queued_json(message)));
    }
    if queued.is_empty() {
        return Ok(writeln!(io::stdout(), "Nothing waits.")?);
    }
    let now = now();
    let troubled: HashMap<String, String> = spool
        .backlog(now)
        .await?
        .into_iter()
        .filter_map(|backlog| Some((backlog.account, backlog.trouble?.state)))
        .collect();
    // Where there is only one it would say the same in every line.
    let several = queued.iter().any(|message| message.account != queued[0].account);
    let rows: Vec<_> = queued
        .iter()
        .map(|message| {
            let next_try = match message.next_try.map(|time| table::seconds(now, time)) {
                Some(seconds) if message.state == State::Waiting && seconds > 0 => {
                    format!("in {}", table::duration(seconds))
                }
                // What keeps it is told by `smarthost status`.
                Some(_) if message.state == State::Waiting => match troubled.get(&message.account) {
                    Some(state) => format!("account {state}"),
                    None => "now".to_owned(),
                },
                _ => message.state.word().to_owned(),
            };
            let mut row = vec![
                message.id.to_string(),
                table::duration(table::seconds(message.received, now)),
                table::size(message.size),
                message.attempts.to_string(),
                next_try,
                table::sender(&message.from),
                addresses(message).join(", "),
                message.last_reply.clone().unwrap_or_default(),
            ];
            if several {
                row.insert(ACCOUNT_COLUMN, message.account.clone());
            }
            row
        })
        .collect();
    let mut heading = vec!["ID", "AGE", "SIZE", "TRIES", "NEXT TRY", "FROM", "TO", "LAST REPLY"];
    if several {
        heading.insert(ACCOUNT_COLUMN, "ACCOUNT");
    }
    Ok(table::print(&heading, &rows)?)
}

/// Where it is put, if it is.
const ACCOUNT_COLUMN: usize = 5;

fn addresses(message: &Queued) -> Vec<String> {
    message.to.iter().map(|recipient| recipient.address.to_string()).collect()
}

fn queued_json(message: &Queued) -> serde_json::Value {
    json!({
        "id": message.id.to_string(),
        "received": message.received.to_string(),
        "size": message.size,
        "account": message.account,
        "from": message.from.to_string(),
        "to": addresses(message),
        "attempts": message.attempts,
        "next_try": message.next_try.map(|time| time.to_string()),
        "state": message.state.word(),
        "last_reply": message.last_reply,
        "client": message.client.to_string(),
    })
}

async fn record(spool: &SqliteSpool, id: MessageId) -> Result<Record, Failure> {
    let record = spool.show(id).await?;
    record.ok_or_else(|| Failure::NotFound(format!("there is no message {id} in the spool, nor in its history")))
}

async fn show(spool: &SqliteSpool, id: MessageId, json: bool) -> Result<(), Failure> {
    let record = record(spool, id).await?;
    if json {
        return print_json(&record_json(id, &record));
    }
    let submission = &record.submission;
    let mut out = io::stdout().lock();
    writeln!(out, "Message   {id}")?;
    writeln!(out, "Received  {} from {}", table::time(submission.received), table::client(&submission.client))?;
    writeln!(out, "Size      {}", table::size(record.size))?;
    writeln!(out, "Account   {}", submission.account)?;
    writeln!(out, "From      {}", table::sender(&submission.envelope.reverse_path))?;
    for recipient in &submission.envelope.recipients {
        let owed = record.queued.as_ref().is_some_and(|queued| queued.to.contains(recipient));
        let asked = match recipient.asked_for().as_str() {
            "" => String::new(),
            originals => format!(", asked for as {originals}"),
        };
        writeln!(out, "To        {}{asked}{}", recipient.address, if owed { "" } else { " (settled)" })?;
    }
    match &record.queued {
        Some(Queued { state: State::Waiting, next_try: Some(time), .. }) => {
            writeln!(out, "State     waiting, next try {}", table::time(*time))?;
        }
        Some(queued) => writeln!(out, "State     {}", queued.state.word())?,
        None => writeln!(out, "State     settled; nobody is owed it any more")?,
    }
    for past in &record.past {
        writeln!(out, "{}  {} {}: {}", table::time(past.at), past.outcome, past.to.address, past.reply)?;
    }
    if let Some(first) = spool.piece(id, 0).await? {
        writeln!(out, "\n{}", printable(crate::mail::header::split(&first).0))?;
    }
    Ok(())
}

/// What a device put into a header may be meant for a terminal; nothing of that kind gets there.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.trim_end().chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn record_json(id: MessageId, record: &Record) -> serde_json::Value {
    let submission = &record.submission;
    let recipients: Vec<_> = submission.envelope.recipients.iter().map(|to| to.address.to_string()).collect();
    json!({
        "id": id.to_string(),
        "received": submission.received.to_string(),
        "size": record.size,
        "account": submission.account,
        "from": submission.envelope.reverse_path.to_string(),
        "to": recipients,
        "owed": record.queued.as_ref().map(addresses).unwrap_or_default(),
        "attempts": record.queued.as_ref().map(|queued| queued.attempts),
        "next_try": record.queued.as_ref().and_then(|queued| queued.next_try).map(|time| time.to_string()),
        "state": record.queued.as_ref().map_or("settled", |queued| queued.state.word()),
        "client": submission.client.to_string(),
        "login": submission.client.login,
        "history": record.past.iter().map(past_json).collect::<Vec<_>>(),
    })
}

/// One entry of the history; the shape is shared by `history --json`.
pub fn past_json(past: &Past) -> serde_json::Value {
    json!({
        "at": past.at.to_string(),
        "id": past.id.to_string(),
        "outcome": past.outcome,
        "account": past.account,
        "from": past.from.to_string(),
        "to": past.to.address.to_string(),
        "original": Some(past.to.asked_for()).filter(|originals| !originals.is_empty()),
        "reply": past.reply,
        "client": past.client.to_string(),
        "login": past.client.login,
        "attempts": past.attempts,
        "delay_ms": past.delay_ms,
    })
}

async fn show_raw(spool: &SqliteSpool, id: MessageId) -> Result<(), Failure> {
    record(spool, id).await?;
    let mut index = 0;
    while let Some(piece) = spool.piece(id, index).await? {
        io::stdout().write_all(&piece)?;
        index += 1;
    }
    if index == 0 { Err(content_gone(id)) } else { Ok(()) }
}

fn content_gone(id: MessageId) -> Failure {
    Failure::NotFound(format!("the content of {id} is gone: it is kept only for as long as somebody is owed it"))
}

async fn show_sent(spool: &Arc<SqliteSpool>, config: &Config, id: MessageId) -> Result<(), Failure> {
    let record = record(spool, id).await?;
    if record.queued.is_none() {
        return Err(content_gone(id));
    }
    let owed = (0..).zip(record.submission.envelope.recipients.iter().cloned()).collect();
    let message = Message {
        id,
        submission: record.submission,
        size: record.size,
        owed,
        attempts: 0,
        patience_ms: 0,
        uncertain: false,
        content: None,
    };
    let spool: Arc<dyn Spool> = Arc::clone(spool) as Arc<dyn Spool>;
    let account = config.account(&message.submission.account);
    let account = account.ok_or_else(|| Failure::Unavailable("there is no account to send it with".to_owned()))?;
    let sent = Repaired::survey(spool, &message, &daemon::repair_settings(config, account)).await;
    let mut sent = sent.map_err(Failure::Unavailable)?;
    while let Some(piece) = sent.next().await.map_err(Failure::Unavailable)? {
        io::stdout().write_all(&piece)?;
    }
    Ok(())
}

async fn order(spool: &SqliteSpool, selection: &Selection, order: Order) -> Result<(), Failure> {
    let which = if selection.all { Which::All } else { Which::Ids(selection.ids.clone()) };
    let changed = spool.order(&which, order, now()).await?;
    let done = match order {
        Order::Retry => "to be tried at once",
        Order::Hold => "held",
        Order::Release => "released",
        Order::Delete => "deleted",
        Order::Export => "exported",
    };
    for id in &changed {
        writeln!(io::stdout(), "{id} {done}")?;
    }
    let changed: HashSet<_> = changed.into_iter().collect();
    let mut untouched = Vec::new();
    for id in selection.ids.iter().filter(|id| !changed.contains(id)) {
        untouched.push(format!("{id} {}", why_untouched(spool, *id, order).await?));
    }
    match (untouched.is_empty(), selection.all && changed.is_empty()) {
        (false, _) => Err(Failure::NotFound(untouched.join("\nsmarthost: "))),
        (true, true) => Ok(writeln!(io::stdout(), "There was nothing to do.")?),
        (true, false) => Ok(()),
    }
}

async fn why_untouched(spool: &SqliteSpool, id: MessageId, order: Order) -> Result<&'static str, Failure> {
    Ok(match spool.show(id).await?.map(|record| record.queued) {
        None => "is not in the spool",
        Some(None) => "is settled already; nobody is owed it any more",
        Some(Some(queued)) => match order {
            Order::Retry if queued.state == State::Held => "is held; release it first",
            Order::Hold => "is held already",
            Order::Release => "is not held",
            Order::Retry | Order::Delete | Order::Export => {
                "is being sent at this moment; try again when that has ended"
            }
        },
    })
}
