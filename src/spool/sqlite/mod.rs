//! The spool in SQLite: one database, one thread that writes with group commit, a few connections that read.
//!
//! It touches only the files of its folder: `spool.db` with its log beside it, and `lock`. Other processes may use
//! the same folder at the same time, as the queue commands do; only the daemon takes the lock.
//! It fails as `AcceptError` and `SpoolError` say; after a failed sync it takes nothing more until it is opened
//! again.

pub mod place;
mod queries;
mod room;
mod rows;
mod schema;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    AcceptError, Accepted, Backlog, Claim, Content, Filter, LEASE, Lease, Noted, Order, Past, Queued, Record,
    Settlement, Spool, SpoolError, Upload, Which,
};
use crate::mail::{MessageId, Submission, Timestamp};
use room::Disk;
use schema::{DaemonLock, database, make_folder, open_reader, open_writer};
pub use schema::{OpenError, is_in_use};
use writer::{Failure, Writer};

/// A spool in a folder.
pub struct SqliteSpool {
    writer: Writer,
    thread: Option<std::thread::JoinHandle<()>>,
    readers: Arc<Readers>,
    listening: Arc<Listening>,
    numbers: IdSource,
    disk: Disk,
    lock: Option<DaemonLock>,
}

impl std::fmt::Debug for SqliteSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteSpool {{ {} }}", self.readers.folder.display())
    }
}

impl SqliteSpool {
    /// Opens the spool as the one daemon that delivers from it: makes what is missing, checks the database where
    /// the last daemon did not stop in order, and makes due at once what that one was just delivering.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed then.
    pub fn open(folder: &Path, now: Timestamp) -> Result<SqliteSpool, OpenError> {
        make_folder(folder)?;
        let lock = DaemonLock::take(folder)?;
        let db = open_writer(folder, lock.unclean)?;
        queries::recover(&db, now).map_err(|reason| OpenError::Sqlite { path: database(folder), reason })?;
        SqliteSpool::with(db, folder, Some(lock))
    }

    /// Opens the spool beside a daemon that may be running, to look and to give orders.
    ///
    /// # Errors
    /// See [`OpenError`]; a spool that is missing is not made.
    pub fn open_beside(folder: &Path) -> Result<SqliteSpool, OpenError> {
        match database(folder).metadata() {
            Ok(file) if file.len() > 0 => SqliteSpool::with(open_writer(folder, false)?, folder, None),
            Err(reason) if reason.kind() != std::io::ErrorKind::NotFound => {
                Err(OpenError::Folder { path: folder.to_owned(), reason })
            }
            _ => Err(OpenError::Missing(folder.to_owned())),
        }
    }

    fn with(db: Connection, folder: &Path, lock: Option<DaemonLock>) -> Result<SqliteSpool, OpenError> {
        let disk = Disk::of(folder);
        disk.fit_log(&db).map_err(|reason| OpenError::Sqlite { path: database(folder), reason })?;
        let (writer, thread) =
            Writer::start(db).map_err(|reason| OpenError::Folder { path: folder.to_owned(), reason })?;
        Ok(SqliteSpool {
            writer,
            thread: Some(thread),
            readers: Arc::new(Readers { folder: folder.to_owned(), idle: Mutex::default() }),
            listening: Arc::default(),
            numbers: IdSource::default(),
            disk,
            lock,
        })
    }

    /// Commits what is under way and says that this was an orderly end.
    pub fn close(mut self) {
        let thread = self.thread.take();
        let lock = self.lock.take();
        drop(self);
        let ended = thread.is_none_or(|thread| thread.join().is_ok());
        if let Some(mut lock) = lock.filter(|_| ended) {
            // Should this fail, the next start checks the database without need.
            let _ = lock.mark_clean();
        }
    }

    async fn read<T, F>(&self, work: F) -> Result<T, SpoolError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let result = tokio::task::spawn_blocking(move || readers.with(work)).await;
        result
            .map_err(|error| SpoolError::Failed(error.to_string()))?
            .map_err(|error| SpoolError::Failed(error.to_string()))
    }

    /// Who gives a lease back that is dropped: see [`Lease`].
    fn releaser(&self, now: Timestamp) -> Box<dyn FnOnce(MessageId, i64) + Send + Sync> {
        let writer = self.writer.clone();
        Box::new(move |id, generation| {
            // Whatever made a delivery panic would do so again, and keep other mail waiting.
            let due = if std::thread::panicking() { now + AFTER_A_PANIC } else { now };
            writer.write_behind(move |db| queries::release(db, id, generation, due));
        })
    }
}

/// How long a message is left alone whose delivery ended in a panic.
const AFTER_A_PANIC: Duration = Duration::from_mins(5);

/// Ids of one process differ because they are counted up; those of others because they begin elsewhere.
struct IdSource(std::sync::atomic::AtomicU32);

impl Default for IdSource {
    fn default() -> IdSource {
        IdSource(fastrand::u32(..).into())
    }
}

impl IdSource {
    fn next(&self, now: Timestamp) -> MessageId {
        MessageId::new(now, self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// Connections that read, opened as they are needed.
struct Readers {
    folder: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Idle connections kept; each costs some memory.
const READERS_KEPT: usize = 2;

impl Readers {
    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let kept = lock(&self.idle).pop();
        let db = kept.map_or_else(|| open_reader(&self.folder), Ok)?;
        let result = work(&db);
        let mut idle = lock(&self.idle);
        if idle.len() < READERS_KEPT {
            idle.push(db);
        }
        result
    }
}

/// Those who wait for mail of an account, the last to come first: whoever waits for longest has the coldest
/// connection.
#[derive(Default)]
struct Listening(Mutex<HashMap<String, Vec<oneshot::Sender<Lease>>>>);

impl Listening {
    fn add(&self, account: &str) -> oneshot::Receiver<Lease> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.0);
        let waiting = waiting.entry(account.to_owned()).or_default();
        waiting.retain(|other| !other.is_closed());
        waiting.push(sender);
        receiver
    }

    fn take(&self, account: &str) -> Option<oneshot::Sender<Lease>> {
        let mut waiting = lock(&self.0);
        let waiting = waiting.get_mut(account)?;
        std::iter::from_fn(|| waiting.pop()).find(|sender| !sender.is_closed())
    }
}

/// What is behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Failure> for AcceptError {
    fn from(failure: Failure) -> AcceptError {
        match failure {
            Failure::Full(words) => AcceptError::Full(words),
            Failure::Failed(words) => AcceptError::Failed(words),
        }
    }
}

impl From<Failure> for SpoolError {
    fn from(failure: Failure) -> SpoolError {
        match failure {
            Failure::Full(words) | Failure::Failed(words) => SpoolError::Failed(words),
        }
    }
}

#[async_trait]
impl Spool for SqliteSpool {
    fn upload(&self, now: Timestamp) -> Upload {
        let writer = self.writer.clone();
        let abandon = move |id| writer.write_behind(move |db| queries::abandon(db, id));
        Upload { id: self.numbers.next(now), pieces: 0, bytes: 0, abandon: Some(Box::new(abandon)) }
    }

    async fn append(&self, upload: &mut Upload, piece: Bytes) -> Result<(), AcceptError> {
        let (id, index) = (upload.id, upload.pieces);
        upload.pieces += 1;
        upload.bytes += piece.len() as u64;
        let disk = self.disk.clone();
        let add = move |db: &Connection| {
            disk.ensure_room(db, piece.len() as u64)?;
            queries::add_piece(db, id, index, &piece)
        };
        Ok(self.writer.write(add).await?)
    }

    async fn accept(&self, submission: Submission, content: Content) -> Result<Accepted, AcceptError> {
        let size = content.size();
        let (mut upload, small) = match content {
            Content::Memory(bytes) => (None, Some(bytes)),
            Content::Uploaded(upload) => (Some(upload), None),
        };
        let id = upload.as_ref().map_or_else(|| self.numbers.next(submission.received), |upload| upload.id);
        let pieces = upload.as_ref().map(|upload| upload.pieces);
        let release = self.releaser(submission.received);
        let (listening, disk) = (Arc::clone(&self.listening), self.disk.clone());
        let handed = self
            .writer
            .write(move |db| {
                disk.ensure_room(db, small.as_ref().map_or(0, Bytes::len) as u64)?;
                if let Some(pieces) = pieces
                    && !queries::is_whole(db, id, pieces)?
                {
                    return Ok(None);
                }
                let listener = listening.take(&submission.account);
                let lease_until = listener.is_some().then(|| submission.received + LEASE);
                queries::add_message(db, id, &submission, size, lease_until)?;
                if let Some(bytes) = &small {
                    queries::add_piece(db, id, 0, bytes)?;
                }
                let message = rows::fresh_message(id, submission, size, small);
                Ok(Some(listener.map(|listener| {
                    (listener, Lease { message, generation: rows::FIRST_GENERATION, release: Some(release) })
                })))
            })
            .await?
            .ok_or_else(|| AcceptError::Failed("pieces of the content are missing".to_owned()))?;
        if let Some(upload) = &mut upload {
            upload.abandon = None;
        }
        if let Some((listener, lease)) = handed {
            // A listener that went away gives the lease back by dropping it.
            let _ = listener.send(lease);
        }
        Ok(Accepted { id })
    }

    async fn claim(&self, account: &str, now: Timestamp) -> Result<Claim, SpoolError> {
        let release = self.releaser(now);
        let account = account.to_owned();
        // Made inside, so that a lease nobody waits for any more is given back by being dropped with the answer.
        let claim = move |db: &Connection| match queries::claim(db, &account, now)? {
            queries::Claimed::Message(message, generation) => {
                Ok(Claim::Leased(Box::new(Lease { message: *message, generation, release: Some(release) })))
            }
            queries::Claimed::NothingUntil(time) => Ok(Claim::NothingUntil(time)),
        };
        Ok(self.writer.write(claim).await?)
    }

    fn listen(&self, account: &str) -> oneshot::Receiver<Lease> {
        self.listening.add(account)
    }

    async fn piece(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, SpoolError> {
        self.read(move |db| queries::piece(db, id, index)).await
    }

    async fn settle(&self, lease: &mut Lease, settlement: &Settlement) -> Result<(), SpoolError> {
        let (id, generation, settlement) = (lease.message.id, lease.generation, settlement.clone());
        let notice = settlement.notice.as_ref().map(|(submission, _)| self.numbers.next(submission.received));
        let settled = self.writer.write(move |db| queries::settle(db, id, generation, &settlement, notice)).await?;
        lease.release = None;
        if settled { Ok(()) } else { Err(SpoolError::LeaseLost(id)) }
    }

    async fn grow_older(&self, account: &str, by: Duration) -> Result<(), SpoolError> {
        let account = account.to_owned();
        Ok(self.writer.write(move |db| queries::grow_older(db, &account, by)).await?)
    }

    async fn note_account(&self, account: &str, noted: &Noted) -> Result<(), SpoolError> {
        let (account, noted) = (account.to_owned(), noted.clone());
        Ok(self.writer.write(move |db| queries::note_account(db, &account, &noted)).await?)
    }

    async fn noted(&self, account: &str) -> Result<Noted, SpoolError> {
        let account = account.to_owned();
        self.read(move |db| queries::noted(db, &account)).await
    }

    async fn adopt(&self, accounts: &[String], heir: &str) -> Result<u64, SpoolError> {
        let (accounts, heir) = (accounts.to_vec(), heir.to_owned());
        Ok(self.writer.write(move |db| queries::adopt(db, &accounts, &heir)).await?)
    }

    async fn list(&self, which: &Which) -> Result<Vec<Queued>, SpoolError> {
        let which = which.clone();
        self.read(move |db| queries::list(db, &which)).await
    }

    async fn show(&self, id: MessageId) -> Result<Option<Record>, SpoolError> {
        self.read(move |db| queries::show(db, id)).await
    }

    async fn order(&self, which: &Which, order: Order, now: Timestamp) -> Result<Vec<MessageId>, SpoolError> {
        let which = which.clone();
        Ok(self.writer.write(move |db| queries::order(db, &which, order, now)).await?)
    }

    async fn retry_asked(&self, account: &str) -> Result<Option<Timestamp>, SpoolError> {
        let account = account.to_owned();
        self.read(move |db| queries::retry_asked(db, &account)).await
    }

    async fn history(&self, filter: &Filter) -> Result<Vec<(i64, Past)>, SpoolError> {
        let filter = filter.clone();
        self.read(move |db| queries::history(db, &filter)).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, SpoolError> {
        Ok(self.writer.write(move |db| queries::prune(db, before)).await?)
    }

    async fn sent_since(&self, account: &str, since: Timestamp) -> Result<Vec<(Timestamp, u32)>, SpoolError> {
        let account = account.to_owned();
        self.read(move |db| queries::sent_since(db, &account, since)).await
    }

    async fn backlog(&self, now: Timestamp) -> Result<Vec<Backlog>, SpoolError> {
        self.read(move |db| queries::backlog(db, now)).await
    }
}
