//! The spool in SQLite: one database, one thread that writes with group commit, a few connections that read.
//!
//! It touches only the files of its folder: `spool.db` with its log beside it, large content in `content/`, and `lock`. Other processes may use
//! the same folder at the same time, as the queue commands do; only the daemon takes the lock.
//! It fails as `AcceptError` and `SpoolError` say; after a failed sync it takes nothing more until it is opened
//! again.

mod accept;
mod accounts;
mod deliver;
mod files;
mod leases;
mod operate;
mod past;
pub mod place;
mod room;
mod rows;
mod schema;
mod sql;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{
    AcceptError, Accepted, Backlog, Claim, Content, Filter, Heir, Lease, Next, Noted, Order, Past, Queued, Reading,
    Record, Restored, Settlement, Spool, SpoolError, Upload, Which,
};
use crate::mail::{MessageId, Submission, Timestamp};
use files::Files;
use leases::GivenBack;
use room::Disk;
use schema::{DaemonLock, database, make_folder, make_log, open_reader, open_writer};
pub use schema::{OpenError, is_in_use};
use writer::{Failure, Until, Writer};

/// A spool in a folder.
pub struct SqliteSpool {
    writer: Writer,
    thread: Option<std::thread::JoinHandle<()>>,
    readers: Arc<Readers>,
    listening: Arc<Listening>,
    given_back: Arc<GivenBack>,
    numbers: IdSource,
    files: Files,
    disk: Disk,
    /// What one client may hold of the room for mail, in percent.
    share: Arc<AtomicU8>,
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
        let mut db = open_writer(folder, lock.unclean)?;
        if !Disk::of(folder).is_small() {
            // Closed by the last one who has it open, the database has no log any more.
            drop(db);
            make_log(folder);
            db = open_writer(folder, false)?;
        }
        recover(&db, &Files::of(folder), now).map_err(|reason| OpenError::Sqlite { path: database(folder), reason })?;
        SqliteSpool::with(db, folder, Some(lock))
    }

    /// Opens the spool beside a daemon that may be running, to look and to give orders.
    ///
    /// # Errors
    /// See [`OpenError`]; a spool that is missing is not made.
    pub fn open_beside(folder: &Path) -> Result<SqliteSpool, OpenError> {
        match database(folder).metadata() {
            Ok(file) if file.len() > 0 => SqliteSpool::with(open_writer(folder, false)?, folder, None),
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                Err(OpenError::Folder { path: folder.to_owned(), reason })
            }
            _ => Err(OpenError::Missing(folder.to_owned())),
        }
    }

    /// The same; a spool that is missing is made.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_or_make_beside(folder: &Path) -> Result<SqliteSpool, OpenError> {
        make_folder(folder)?;
        SqliteSpool::with(open_writer(folder, false)?, folder, None)
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
            given_back: Arc::default(),
            numbers: IdSource::default(),
            files: Files::of(folder),
            disk,
            share: Arc::new(AtomicU8::new(100)),
            lock,
        })
    }

    /// From now on one client may hold so many percent of the room for mail; 100 is no limit.
    pub fn limit_share(&self, percent: u8) {
        self.share.store(percent, Ordering::Relaxed);
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

    /// Reads, beginning at once.
    fn read<T, F>(&self, work: F) -> impl Future<Output = Result<T, SpoolError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let reading = spawn_blocking(move || readers.with(work));
        async move {
            let result = reading.await.map_err(|error| SpoolError::Failed(error.to_string()))?;
            result.map_err(|error| SpoolError::Failed(error.to_string()))
        }
    }

    /// Who gives a lease back that is dropped: see [`Lease`].
    fn releaser(&self, now: Timestamp) -> Box<dyn FnOnce(MessageId, i64) + Send + Sync> {
        let (writer, given_back) = (self.writer.clone(), Arc::clone(&self.given_back));
        Box::new(move |id, generation| {
            // Whatever made a delivery panic would do so again, and keep other mail waiting.
            let due = if std::thread::panicking() { now + AFTER_A_PANIC } else { now };
            given_back.add(id, generation, due);
            writer.write_behind(move |db| given_back.store(db));
        })
    }

    /// A content that is on stable storage, or the bytes of one that is small.
    async fn taken_apart(&self, content: Content) -> Result<(Option<Upload>, Option<Bytes>), AcceptError> {
        match content {
            Content::Memory(bytes) => Ok((None, Some(bytes))),
            Content::Uploaded(mut upload) => {
                if let Some(last) = upload.under_way.take() {
                    last.await?;
                }
                let (files, id, bytes) = (self.files.clone(), upload.id, upload.bytes);
                in_background(move || files.sync(id, bytes)).await?;
                Ok((Some(upload), None))
            }
        }
    }

    /// Whether there is a daemon whose leases count. It may be this one.
    fn is_delivered_from(&self) -> bool {
        self.lock.is_some() || is_in_use(&self.readers.folder)
    }
}

/// What a daemon finds that was not stopped in order: leases of nobody, and content that was never accepted.
fn recover(db: &Connection, files: &Files, now: Timestamp) -> rusqlite::Result<()> {
    // Nobody else writes meanwhile, so no file is taken for unneeded that is about to be needed.
    let alone = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    deliver::free_leases(&alone, now)?;
    accept::abandon_all(&alone)?;
    files.sweep(&alone)?;
    alone.commit()
}

/// How long a message is left alone whose delivery ended in a panic.
const AFTER_A_PANIC: Duration = Duration::from_mins(5);

/// Ids of one process differ because they are counted up; those of others because they begin elsewhere.
struct IdSource(AtomicU32);

impl Default for IdSource {
    fn default() -> IdSource {
        IdSource(fastrand::u32(..).into())
    }
}

impl IdSource {
    fn next(&self, now: Timestamp) -> MessageId {
        MessageId::new(now, self.0.fetch_add(1, Ordering::Relaxed))
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
        let (writer, files) = (self.writer.clone(), self.files.clone());
        let given_up = Arc::<Mutex<bool>>::default();
        let locked = Arc::clone(&given_up);
        let abandon = move |id| {
            writer.write_behind(move |db| {
                *lock(&locked) = true;
                files.remove_unneeded(db, id)
            });
        };
        Upload { id: self.numbers.next(now), bytes: 0, under_way: None, given_up, abandon: Some(Box::new(abandon)) }
    }

    async fn append(&self, upload: &mut Upload, piece: Bytes) -> Result<(), AcceptError> {
        if let Some(before) = upload.under_way.take() {
            before.await?;
        }
        let (files, disk) = (self.files.clone(), self.disk.clone());
        let (id, at, given_up) = (upload.id, upload.bytes, Arc::clone(&upload.given_up));
        upload.bytes += piece.len() as u64;
        let storing = in_background(move || {
            let given_up = lock(&given_up);
            if *given_up {
                return Ok(());
            }
            disk.ensure_room_for_file(piece.len() as u64)?;
            files.add(id, at, &piece)
        });
        upload.under_way = Some(Box::pin(storing));
        Ok(())
    }

    async fn accept(&self, submission: Submission, content: Content) -> Result<Accepted, AcceptError> {
        let size = content.size();
        let (mut upload, small) = self.taken_apart(content).await?;
        let id = upload.as_ref().map_or_else(|| self.numbers.next(submission.received), |upload| upload.id);
        let (release, generation) = (self.releaser(submission.received), new_generation());
        let (listening, disk, files) = (Arc::clone(&self.listening), self.disk.clone(), self.files.clone());
        let share = self.share.load(Ordering::Relaxed);
        let accept = move |db: &Connection| {
            if let Some(room) = disk.room() {
                room.ensure(db, small.as_ref().map_or(0, Bytes::len) as u64)?;
                room.ensure_share(db, submission.client.ip, size, share)?;
            }
            if small.is_none() && !files.holds(id, size) {
                return Ok(None);
            }
            let listener = listening.take(&submission.account);
            accept::add_message(db, id, &submission, size, listener.is_some().then_some(generation))?;
            if let Some(bytes) = &small {
                accept::add_content(db, id, bytes)?;
            }
            let message = rows::fresh_message(id, submission, size, small);
            Ok(Some(listener.map(|listener| (listener, Lease { message, generation, release: Some(release) }))))
        };
        let handed = self.writer.write(Until::Synced, accept).await?.ok_or_else(content_is_gone)?;
        if let Some(upload) = &mut upload {
            upload.abandon = None;
        }
        if let Some((listener, lease)) = handed {
            // A listener that went away gives the lease back by dropping it.
            let _ = listener.send(lease);
        }
        Ok(Accepted { id })
    }

    async fn restore(&self, restored: Restored, content: Content) -> Result<bool, AcceptError> {
        let (size, now) = (content.size(), restored.submission.received);
        let (mut upload, small) = self.taken_apart(content).await?;
        let uploaded = upload.as_ref().map(|upload| upload.id);
        let (disk, files) = (self.disk.clone(), self.files.clone());
        let restore = move |db: &Connection| {
            if let Some(room) = disk.room() {
                room.ensure(db, small.as_ref().map_or(0, Bytes::len) as u64)?;
            }
            if uploaded.is_some_and(|id| !files.holds(id, size)) {
                return Ok(None);
            }
            if !accept::restore(db, &restored, size, now)? {
                return Ok(Some(false));
            }
            match (uploaded, &small) {
                (Some(id), _) => files.rename(id, restored.id).map_err(failed_in_system)?,
                (None, Some(bytes)) => accept::add_content(db, restored.id, bytes)?,
                (None, None) => {}
            }
            Ok(Some(true))
        };
        let restored = self.writer.write(Until::Synced, restore).await?.ok_or_else(content_is_gone)?;
        if let Some(upload) = upload.as_mut().filter(|_| restored) {
            upload.abandon = None;
        }
        Ok(restored)
    }

    async fn claim(&self, account: &str, now: Timestamp) -> Result<Claim, SpoolError> {
        let (release, generation) = (self.releaser(now), new_generation());
        let account = account.to_owned();
        let (given_back, listening) = (Arc::clone(&self.given_back), Arc::clone(&self.listening));
        // Made inside, so that a lease nobody waits for any more is given back by being dropped with the answer.
        let claim = move |db: &Connection| {
            given_back.store(db)?;
            match deliver::claim(db, &account, now, generation)? {
                deliver::Claimed::Message(message) => {
                    Ok(Claim::Leased(Box::new(Lease { message: *message, generation, release: Some(release) })))
                }
                // Nothing can be accepted between the look and this: both happen on the one thread that writes.
                deliver::Claimed::NothingUntil(until) => Ok(Claim::Nothing { until, handed: listening.add(&account) }),
            }
        };
        // A lease that a power cut forgets was nobody's: what was done under it is marked or settled.
        Ok(self.writer.write(Until::Written, claim).await?)
    }

    fn piece(&self, id: MessageId, index: u32) -> Reading {
        let (files, readers) = (self.files.clone(), Arc::clone(&self.readers));
        let reading = spawn_blocking(move || match files.piece(id, index) {
            // Small, or of a spool that an earlier version made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                readers.with(|db| accept::piece(db, id, index)).map_err(|error| SpoolError::Failed(error.to_string()))
            }
            piece => piece.map_err(|error| SpoolError::Failed(format!("the content of {id} cannot be read: {error}"))),
        });
        Box::pin(async move { reading.await.map_err(|error| SpoolError::Failed(error.to_string()))? })
    }

    async fn mark_sending(&self, lease: &Lease, synced: bool) -> Result<(), SpoolError> {
        let (id, generation) = (lease.message.id, lease.generation);
        let until = if synced { Until::Synced } else { Until::Written };
        let marked = self.writer.write(until, move |db| deliver::mark_sending(db, id, generation)).await?;
        if marked { Ok(()) } else { Err(SpoolError::LeaseLost(id)) }
    }

    async fn settle(&self, lease: &mut Lease, settlement: &Settlement) -> Result<(), SpoolError> {
        let (id, generation, settlement) = (lease.message.id, lease.generation, settlement.clone());
        let notice = settlement.notice.as_ref().map(|(submission, _)| self.numbers.next(submission.received));
        let has_file_to_go = settlement.next == Next::Done && lease.message.content.is_none();
        let settle = move |db: &Connection| deliver::settle(db, id, generation, &settlement, notice);
        let settled = self.writer.write(Until::Synced, settle).await?;
        lease.release = None;
        if has_file_to_go {
            let files = self.files.clone();
            self.writer.write_behind(move |db| files.remove_unneeded(db, id));
        }
        if settled { Ok(()) } else { Err(SpoolError::LeaseLost(id)) }
    }

    async fn grow_older(&self, account: &str, by: Duration) -> Result<(), SpoolError> {
        let account = account.to_owned();
        Ok(self.writer.write(Until::Written, move |db| accounts::grow_older(db, &account, by)).await?)
    }

    async fn note_account(&self, account: &str, noted: &Noted) -> Result<(), SpoolError> {
        let (account, noted) = (account.to_owned(), noted.clone());
        Ok(self.writer.write(Until::Synced, move |db| accounts::note_account(db, &account, &noted)).await?)
    }

    async fn noted(&self, account: &str) -> Result<Noted, SpoolError> {
        let account = account.to_owned();
        self.read(move |db| accounts::noted(db, &account)).await
    }

    async fn adopt(&self, accounts: &[String], heir: Heir) -> Result<u64, SpoolError> {
        let accounts = accounts.to_vec();
        Ok(self.writer.write(Until::Synced, move |db| accounts::adopt(db, &accounts, &heir)).await?)
    }

    async fn list(&self, which: &Which) -> Result<Vec<Queued>, SpoolError> {
        let (which, delivers) = (which.clone(), self.is_delivered_from());
        self.read(move |db| operate::list(db, &which, delivers)).await
    }

    async fn show(&self, id: MessageId) -> Result<Option<Record>, SpoolError> {
        let delivers = self.is_delivered_from();
        self.read(move |db| operate::show(db, id, delivers)).await
    }

    async fn order(&self, which: &Which, order: Order, now: Timestamp) -> Result<Vec<MessageId>, SpoolError> {
        let (which, delivers) = (which.clone(), self.is_delivered_from());
        let carry_out = move |db: &Connection| operate::order(db, &which, order, now, delivers);
        let ids = self.writer.write(Until::Synced, carry_out).await?;
        if matches!(order, Order::Delete | Order::Export) {
            let (files, let_go) = (self.files.clone(), ids.clone());
            let remove = move |db: &Connection| let_go.iter().try_for_each(|id| files.remove_unneeded(db, *id));
            self.writer.write(Until::Written, remove).await?;
        }
        Ok(ids)
    }

    async fn retry_asked(&self, account: &str) -> Result<Option<Timestamp>, SpoolError> {
        let account = account.to_owned();
        self.read(move |db| accounts::retry_asked(db, &account)).await
    }

    async fn history(&self, filter: &Filter) -> Result<Vec<(i64, Past)>, SpoolError> {
        let filter = filter.clone();
        self.read(move |db| past::history(db, &filter)).await
    }

    async fn prune(&self, now: Timestamp, history: Duration) -> Result<bool, SpoolError> {
        let files = self.files.clone();
        Ok(self.writer.write(Until::Written, move |db| past::prune(db, &files, now, history)).await?)
    }

    async fn sent_since(&self, account: &str, since: Timestamp) -> Result<Vec<(Timestamp, u32)>, SpoolError> {
        let account = account.to_owned();
        self.read(move |db| past::sent_since(db, &account, since)).await
    }

    async fn backlog(&self, now: Timestamp) -> Result<Vec<Backlog>, SpoolError> {
        self.read(move |db| operate::backlog(db, now - DAY)).await
    }
}

/// Of a lease: no other one has it, not even where a claim was rolled back and its lease is still to be given back.
fn new_generation() -> i64 {
    fastrand::i64(1..)
}

/// The window of the counts in [`Backlog`].
const DAY: Duration = Duration::from_hours(24);

/// Does something that waits for the disk, beginning at once.
fn in_background<F>(work: F) -> impl Future<Output = Result<(), AcceptError>> + Send + Sync
where
    F: FnOnce() -> io::Result<()> + Send + 'static,
{
    let working = spawn_blocking(work);
    async move {
        let worked = working.await.map_err(|error| AcceptError::Failed(error.to_string()))?;
        worked.map_err(|error| Failure::of_system(&error).into())
    }
}

fn failed_in_system(error: io::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn content_is_gone() -> AcceptError {
    AcceptError::Failed("the content is gone; was the relay started meanwhile?".to_owned())
}
