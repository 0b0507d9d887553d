//! One thread owns the connection that writes. It takes all requests that wait, runs them in one transaction,
//! commits once and then answers them all: a lone message has a sync to itself, under load many share one.
//!
//! Where nobody in a transaction needs it [synced](Until::Synced), its commit only reaches the system. The next synced
//! commit puts it on the disk together with its own, since both are in one log and in this order.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::oneshot;

use crate::event::{self, Event};

/// Requests in one transaction; more wait for the next one, so that nobody waits for long.
const BATCH_MAX: usize = 256;

/// Why nothing of a request was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No room on the disk; it may come back by itself.
    Full(String),
    /// Anything else.
    Failed(String),
}

impl Failure {
    fn of(error: &rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Failure::Full(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }

    /// The same of a file beside the database.
    pub fn of_system(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// When a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It survives the death of this process.
    Written,
    /// It survives a power cut.
    Synced,
}

/// Something to be done inside a transaction and answered after its commit.
trait Request: Send {
    fn until(&self) -> Until;
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

struct Work<F, T> {
    todo: Option<F>,
    done: Option<T>,
    until: Until,
    answer: oneshot::Sender<Result<T, Failure>>,
}

impl<F, T> Request for Work<F, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn until(&self) -> Until {
        self.until
    }

    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if let Some(work) = self.todo.take() {
            self.done = Some(work(db)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        let Work { done, answer, .. } = *self;
        let result = match (committed, done) {
            (Ok(()), Some(done)) => Ok(done),
            (Ok(()), None) => Err(Failure::Failed("the request was not carried out".to_owned())),
            (Err(failure), _) => Err(failure),
        };
        // Whoever asked may be gone; what was committed stays committed.
        let _ = answer.send(result);
    }
}

/// The way to the thread. The thread ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    requests: Sender<Box<dyn Request>>,
}

impl Writer {
    /// Starts the thread. The handle ends once every [`Writer`] is dropped and everything sent is committed.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(db: Connection) -> io::Result<(Writer, thread::JoinHandle<()>)> {
        let (requests, waiting) = channel();
        let thread = thread::Builder::new().name("spool".to_owned()).spawn(move || serve(&db, &waiting))?;
        Ok((Writer { requests }, thread))
    }

    /// Does `work` in a transaction, together with whatever else waits. It is as safe as asked for when the answer is
    /// there.
    ///
    /// # Errors
    /// Nothing of `work` is stored then.
    pub fn write<T, F>(&self, until: Until, work: F) -> impl Future<Output = Result<T, Failure>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // Under way from now on, whether or not somebody waits for the answer. Where the thread is gone, so is the answer.
        let _ = self.requests.send(Box::new(Work { todo: Some(work), done: None, until, answer }));
        async move { answered.await.unwrap_or_else(|_| Err(Failure::Failed("the spool is closed".to_owned()))) }
    }

    /// The same, for whoever cannot wait and needs no answer.
    pub fn write_behind(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) {
        drop(self.write(Until::Written, work));
    }
}

fn serve(db: &Connection, waiting: &Receiver<Box<dyn Request>>) {
    let mut broken: Option<Failure> = None;
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(BATCH_MAX - 1));
        match &broken {
            Some(failure) => refuse(batch, failure),
            None => broken = commit_guarded(db, batch),
        }
    }
}

/// A mistake of ours costs the batch, not the thread on which all mail depends.
fn commit_guarded(db: &Connection, batch: Vec<Box<dyn Request>>) -> Option<Failure> {
    let committed = catch_unwind(AssertUnwindSafe(|| commit_batch(db, batch)));
    committed.unwrap_or_else(|_| {
        event::log(&Event::Bug { reason: "the spool's thread panicked; the batch was rolled back" });
        if !db.is_autocommit() {
            let _ = execute(db, "ROLLBACK");
        }
        None
    })
}

fn refuse(batch: Vec<Box<dyn Request>>, failure: &Failure) {
    for request in batch {
        request.answer(Err(failure.clone()));
    }
}

/// Runs the requests in one transaction and answers them. Returns the failure after which no more may be written.
fn commit_batch(db: &Connection, batch: Vec<Box<dyn Request>>) -> Option<Failure> {
    if let Err(error) = begin(db, &batch) {
        refuse(batch, &Failure::of(&error));
        return None;
    }
    let (mut done, mut batch) = (Vec::with_capacity(batch.len()), batch.into_iter());
    while let Some(mut request) = batch.next() {
        match run_alone(db, request.as_mut()) {
            Ok(()) => done.push(request),
            Err(error) if db.is_autocommit() => {
                // SQLite has rolled the whole transaction back, as it does when a disk is full.
                done.push(request);
                done.extend(batch);
                return give_up(db, done, &error);
            }
            Err(error) => request.answer(Err(Failure::of(&error))),
        }
    }
    match execute(db, "COMMIT") {
        Ok(()) => {
            for request in done {
                request.answer(Ok(()));
            }
            None
        }
        Err(error) => give_up(db, done, &error),
    }
}

fn begin(db: &Connection, batch: &[Box<dyn Request>]) -> rusqlite::Result<()> {
    let synced = batch.iter().any(|request| request.until() == Until::Synced);
    // NORMAL still syncs the log before anything of it goes into the database.
    execute(db, if synced { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })?;
    execute(db, "BEGIN IMMEDIATE")
}

/// Keeps what a failing request has already written from being committed with the others.
fn run_alone(db: &Connection, request: &mut dyn Request) -> rusqlite::Result<()> {
    execute(db, "SAVEPOINT request")?;
    let result = request.run(db);
    if result.is_err() && !db.is_autocommit() {
        execute(db, "ROLLBACK TO request")?;
    }
    if !db.is_autocommit() {
        execute(db, "RELEASE request")?;
    }
    result
}

fn give_up(db: &Connection, batch: Vec<Box<dyn Request>>, error: &rusqlite::Error) -> Option<Failure> {
    if !db.is_autocommit() {
        let _ = execute(db, "ROLLBACK");
    }
    let suspect = is_suspect(error);
    if suspect {
        bury(db);
        event::log(&Event::SpoolBroken { reason: &error.to_string() });
    }
    let failure = Failure::of(error);
    if let Failure::Full(_) = failure {
        // What is in the log alone goes where it belongs, so that whoever tries again finds the log's room free.
        empty_log(db);
    }
    refuse(batch, &failure);
    suspect.then(|| Failure::Failed(format!("closed after a failed write ({error}) until the relay is started again")))
}

/// The pages of a failed sync may be in the log file, whole and with their commit mark, and would come back to life at
/// the next start. Cutting the log off behind the last good commit keeps the promise of the 451. Where the disk does
/// not even do that, a transaction of nothing is written over them: the checksums of a log are a chain, so what is
/// left of the old one counts no more, whether or not the new one is ever synced.
fn bury(db: &Connection) {
    if empty_log(db) {
        return;
    }
    let version = db.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0));
    if let Ok(version) = version {
        let _ = db.execute_batch(&format!("PRAGMA user_version = {version}"));
    }
}

/// Moves what is committed from the log into the database, and cuts the log off. Tells whether that could be done.
fn empty_log(db: &Connection) -> bool {
    const DONE: i32 = 0;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)) == Ok(DONE)
}

/// Whether the disk can no longer be believed. After a failed sync the system may call pages clean that never
/// reached the disk, so that trying again would report a success that is none (Rebello et al., USENIX ATC 2020).
fn is_suspect(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|sqlite| sqlite.extended_code & 0xff == ffi::SQLITE_IOERR)
}

fn execute(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(|_| ())
}
