//! `smarthost queue export` and `import`: moves mail between spools, as files.
//!
//! A message is owed from one place at any time: it is held while its file is written, leaves the queue when the file is
//! synced, and the file goes when the other spool has it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::batch::{self, BatchError, ContentReader, Head};
use super::{Failure, Global};
use crate::clock::now;
use crate::mail::stuffing::Stuffing;
use crate::mail::{Envelope, MessageId, Submission};
use crate::spool::sqlite::SqliteSpool;
use crate::spool::{Content, Order, Queued, Restored, Spool, State, WHOLE_BYTES_MAX, Which};

const ENDING: &str = "bsmtp";
/// Files whose messages leave the queue in one commit.
const FILES_AT_ONCE: usize = 100;
const PIECE_BYTES: usize = 64 * 1024;
/// How long an attempt that is under way is waited for.
const AT_REST_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Writes messages out into files, and lets them go.
pub async fn export(spool: &SqliteSpool, folder: &Path, which: &Which) -> Result<(), Failure> {
    make(folder)?;
    // The relay begins none of them from now on.
    let held_by_us = spool.order(which, Order::Hold, now()).await?;
    let mut queue = list_at_rest(spool, which).await?;
    let unknown = ids_of(which).iter().filter(|id| !queue.iter().any(|queued| queued.id == **id));
    let mut left: Vec<String> = unknown.map(|id| format!("{id} is not in the queue")).collect();
    queue.retain(|queued| {
        let is_sent = queued.state == State::Sending;
        if is_sent {
            left.push(format!("{} is being sent at this moment; try again when that has ended", queued.id));
        }
        !is_sent
    });
    let mut exported = Vec::new();
    let written = write_out(spool, folder, &queue, &held_by_us, &mut exported).await;
    // Whatever was not written out is the relay's again.
    let stays = held_by_us.into_iter().filter(|id| !exported.contains(id)).collect();
    spool.order(&Which::Ids(stays), Order::Release, now()).await?;
    written?;
    tell(exported.len(), &format!("written to {}, and out of the queue", folder.display()))?;
    if left.is_empty() { Ok(()) } else { Err(Failure::NotFound(left.join("\nsmarthost: "))) }
}

/// Writes copies of messages into files, as many as can be read.
pub async fn copy(spool: &SqliteSpool, folder: &Path, which: &Which) -> Result<(), Failure> {
    make(folder)?;
    let (mut copied, mut left) = (0, Vec::new());
    for queued in spool.list(which).await? {
        match write_message(spool, folder, &queued, queued.state == State::Held).await {
            Ok(()) => copied += 1,
            Err(error) => left.push(format!("{}: {error}", queued.id)),
        }
    }
    tell(copied, &format!("copied to {}, and still in the queue", folder.display()))?;
    if left.is_empty() { Ok(()) } else { Err(Failure::Unavailable(left.join("\nsmarthost: "))) }
}

fn make(folder: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| cannot(folder, &error))
}

/// The queue, once what is being sent at this moment has come to its end; should that take long, as it is.
async fn list_at_rest(spool: &SqliteSpool, which: &Which) -> Result<Vec<Queued>, Failure> {
    let began = Instant::now();
    loop {
        let queue = spool.list(which).await?;
        if began.elapsed() > AT_REST_WITHIN || queue.iter().all(|queued| queued.state != State::Sending) {
            return Ok(queue);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn ids_of(which: &Which) -> &[MessageId] {
    match which {
        Which::All => &[],
        Which::Ids(ids) => ids,
    }
}

async fn write_out(
    spool: &SqliteSpool,
    folder: &Path,
    queue: &[Queued],
    held_by_us: &[MessageId],
    exported: &mut Vec<MessageId>,
) -> Result<(), Failure> {
    for some in queue.chunks(FILES_AT_ONCE) {
        for queued in some {
            let is_held = queued.state == State::Held && !held_by_us.contains(&queued.id);
            write_message(spool, folder, queued, is_held).await?;
        }
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| cannot(folder, &error))?;
        let ids = some.iter().map(|queued| queued.id).collect();
        for id in spool.order(&Which::Ids(ids), Order::Export, now()).await? {
            writeln!(io::stdout(), "{id} exported")?;
            exported.push(id);
        }
    }
    Ok(())
}

/// One file, under its name only when all of it is on the disk.
async fn write_message(spool: &SqliteSpool, folder: &Path, queued: &Queued, is_held: bool) -> Result<(), Failure> {
    let Queued { id, received, account, protocol, from, to, smtputf8, attempts, client, .. } = queued.clone();
    let envelope = Envelope { reverse_path: from, recipients: to, smtputf8 };
    let submission = Submission { envelope, client, protocol, account, received };
    let restored = Restored { id, submission, attempts, held: is_held };
    let head = Head { restored, size: Some(queued.size) };
    let path = folder.join(format!("{}.{ENDING}", queued.id));
    let unfinished = path.with_extension("part");
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let write = async {
        let mut out = BufWriter::new(options.open(&unfinished)?);
        batch::write_head(&mut out, "localhost", &head)?;
        let (mut stuffing, mut index, mut bytes) = (Stuffing::default(), 0, 0);
        while let Some(piece) = spool.piece(queued.id, index).await.map_err(io::Error::other)? {
            batch::write_piece(&mut out, &mut stuffing, &piece)?;
            bytes += piece.len() as u64;
            index += 1;
        }
        if bytes != queued.size {
            let words = format!("the spool holds {bytes} bytes of a message of {}", queued.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        batch::write_end(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write.await.map_err(|error| cannot(&path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn tell(count: usize, what: &str) -> Result<(), Failure> {
    let messages = if count == 1 { "message" } else { "messages" };
    Ok(writeln!(io::stdout(), "{count} {messages} {what}")?)
}

/// Takes messages over from files, and removes these.
pub async fn import(global: &Global, folder: &Path) -> Result<(), Failure> {
    let spool = global.spool_or_new()?;
    let account = global.load().map_or_else(|_| String::new(), |loaded| loaded.config.policy.routes.default);
    let (mut imported, mut left) = (0, Vec::new());
    for path in files(folder).map_err(|error| cannot(folder, &error))? {
        match read_message(&spool, &path, &account).await {
            Ok(Some(id)) => {
                fs::remove_file(&path).map_err(|error| cannot(&path, &error))?;
                writeln!(io::stdout(), "{id} imported")?;
                imported += 1;
            }
            Ok(None) => left.push(format!("{}: the message is in this queue already", path.display())),
            Err(error) => left.push(format!("{}: {error}", path.display())),
        }
    }
    tell(imported, &format!("taken over from {}", folder.display()))?;
    let file = |count| if count == 1 { "This file was left as it is" } else { "These files were left as they are" };
    match left.len() {
        0 => Ok(()),
        count => Err(Failure::BadInput(format!("{}:\nsmarthost: {}", file(count), left.join("\nsmarthost: ")))),
    }
}

/// The files of messages in a folder, oldest message first.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `None`: somebody is owed it here already.
async fn read_message(spool: &SqliteSpool, path: &Path, account: &str) -> Result<Option<MessageId>, Failure> {
    let bad = |error: BatchError| Failure::BadInput(error.to_string());
    let mut input = BufReader::new(File::open(path)?);
    let id = MessageId::new(now(), fastrand::u32(..));
    let Head { restored, size } = batch::read_head(&mut input, batch::unknown(id, account, now())).map_err(bad)?;
    let (id, content) = (restored.id, read_content(spool, input).await?);
    if let Some(expected) = size.filter(|expected| *expected != content.size()) {
        return Err(bad(BatchError::Size { expected, found: content.size() }));
    }
    let restored = spool.restore(restored, content).await;
    Ok(restored.map_err(|error| Failure::Unavailable(error.to_string()))?.then_some(id))
}

async fn read_content(spool: &SqliteSpool, input: BufReader<File>) -> Result<Content, Failure> {
    let mut reader = ContentReader::new(input);
    let mut next = || {
        let piece = reader.next(PIECE_BYTES);
        piece.map(Bytes::from).map_err(|error| Failure::BadInput(error.to_string()))
    };
    let first = next()?;
    let mut piece = next()?;
    if piece.is_empty() && first.len() as u64 <= WHOLE_BYTES_MAX {
        return Ok(Content::Memory(first));
    }
    let mut upload = spool.upload(now());
    let store = |error: crate::spool::AcceptError| Failure::Unavailable(error.to_string());
    spool.append(&mut upload, first).await.map_err(store)?;
    while !piece.is_empty() {
        spool.append(&mut upload, piece).await.map_err(store)?;
        piece = next()?;
    }
    Ok(Content::Uploaded(upload))
}
