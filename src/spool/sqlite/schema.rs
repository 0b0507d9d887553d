//! The files of the spool: made, locked, checked and brought up to date here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use super::sql::STATEMENTS_KEPT;

/// Says to `file(1)` and to us that a database is ours: "SMTH".
const APPLICATION_ID: i32 = 0x534d_5448;
/// Counts up with every change of the tables; `STEPS` brings older ones up to it.
const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];
/// Before this, two connections could corrupt the database at the same instant (sqlite.org/changes.html, 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// How long to wait for another process, such as a queue command, to finish its transaction.
const BUSY: Duration = Duration::from_secs(10);

/// Why the spool cannot be opened. Nothing was changed in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use {path} as the spool folder: {reason}")]
    Folder { path: PathBuf, reason: io::Error },
    #[error("there is no spool in {0}; has `smarthost run` been started with this configuration?")]
    Missing(PathBuf),
    #[error("another smarthost is running on {0}; stop it first, or give this one another spool.path")]
    Locked(PathBuf),
    #[error(
        "{path} was written by a newer smarthost (version {found} of its tables, this program knows {known}); start that one"
    )]
    Newer { path: PathBuf, found: usize, known: usize },
    #[error(
        "{path} is damaged: {reason}. Nothing was changed. Keep a copy of the folder; then `smarthost queue export --copy mail` \
         saves what can be read of the mail that waits, and `smarthost queue import mail` takes it into a new spool. Where that \
         says the same, .recover of a recent sqlite3 is left to try"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("{0} is a database of another program")]
    Foreign(PathBuf),
    #[error("the SQLite library is too old ({0}); 3.51.3 is the first that is safe for a spool")]
    OldLibrary(&'static str),
    #[error("the spool in {path} cannot be opened: {reason}")]
    Sqlite { path: PathBuf, reason: rusqlite::Error },
}

/// The lock that keeps a second daemon out; released when dropped. The file also remembers whether the last
/// daemon came to an orderly end.
#[derive(Debug)]
pub struct DaemonLock {
    file: File,
    /// The daemon before this one did not stop in order.
    pub unclean: bool,
}

impl DaemonLock {
    /// # Errors
    /// [`OpenError::Locked`] where another daemon holds it.
    pub fn take(folder: &Path) -> Result<DaemonLock, OpenError> {
        let failed = |reason| OpenError::Folder { path: folder.to_owned(), reason };
        let path = folder.join("lock");
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut file = options.open(path).map_err(failed)?;
        lock(&file).map_err(|error| match error {
            fs::TryLockError::WouldBlock => OpenError::Locked(folder.to_owned()),
            fs::TryLockError::Error(reason) => failed(reason),
        })?;
        let mut words = String::new();
        file.read_to_string(&mut words).map_err(failed)?;
        let mut lock = DaemonLock { file, unclean: words.starts_with("running") };
        lock.remember("running").map_err(failed)?;
        Ok(lock)
    }

    /// Says that everything was stored in order.
    ///
    /// # Errors
    /// Where the file cannot be written; the next start then checks the spool for nothing.
    pub fn mark_clean(&mut self) -> io::Result<()> {
        self.remember("stopped")
    }

    fn remember(&mut self, word: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{word}")?;
        self.file.sync_all()
    }
}

/// Somebody who asks [`is_in_use`] holds the lock for an instant; a daemon holds it for good.
fn lock(file: &File) -> Result<(), fs::TryLockError> {
    for _ in 0..3 {
        if file.try_lock().is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    file.try_lock()
}

/// Whether a daemon is running on the folder.
#[must_use]
pub fn is_in_use(folder: &Path) -> bool {
    let lock = File::open(folder.join("lock"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Where the database is.
pub fn database(folder: &Path) -> PathBuf {
    folder.join("spool.db")
}

/// Where its log is.
fn log(folder: &Path) -> PathBuf {
    folder.join("spool.db-wal")
}

/// Makes the folder, readable by nobody else: it holds mail.
///
/// # Errors
/// Where it cannot be made.
pub fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let failed = |reason| OpenError::Folder { path: folder.to_owned(), reason };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    // SQLite gives its other files the mode of this one.
    let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
    let path = database(folder);
    let made = options.open(&path).and_then(|file| file.sync_all().and_then(|()| give_to_owner(folder, &path, &file)));
    made.map_err(failed)?;
    sync_folder(folder).map_err(failed)
}

/// What root makes in the `folder` of a relay of another user must be that user's, or the relay could not read it. SQLite
/// does the same with its further files.
///
/// # Errors
/// As the system says.
pub fn give_to_owner(folder: &Path, path: &Path, made: &File) -> io::Result<()> {
    let owner = folder.metadata()?;
    if made.metadata()?.uid() == owner.uid() { Ok(()) } else { chown(path, Some(owner.uid()), Some(owner.gid())) }
}

/// Makes the names in a folder, and its own name, survive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// As long as the log usually becomes before it is emptied: 2000 pages with their headers (sqlite.org/walformat.html).
const LOG_BYTES: usize = 32 + 2000 * (24 + 4096);

/// Makes the log as long as it will become, before there is one: a sync that also has to make a file longer takes half as
/// long again. What is in it is no log to SQLite, which begins a new one there. Where it cannot be had, the log grows as
/// it is written.
pub fn make_log(folder: &Path) {
    let (log, draft) = (log(folder), folder.join("spool.db-wal.new"));
    if log.exists() {
        return;
    }
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(&vec![0; LOG_BYTES])?;
        file.sync_all()
    });
    // A link, unlike a renaming, never puts it in the place of a log that another process has begun meanwhile.
    let _ = written.and_then(|()| fs::hard_link(&draft, &log));
    let _ = fs::remove_file(draft);
}

/// Opens the database for writing and brings its tables up to date.
///
/// # Errors
/// One for each reason; see [`OpenError`].
pub fn open_writer(folder: &Path, check: bool) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::OldLibrary(rusqlite::version()));
    }
    let path = database(folder);
    // Two who make the tables at the same time would be in each other's way. Released when this returns.
    let alone = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
    let _alone = alone.map_err(|reason| OpenError::Folder { path: folder.to_owned(), reason })?;
    refuse_lone_log(folder)?;
    let failed = |reason| explain(&path, reason);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    // A database that is refused must stay as it is, and closing it would move its log into it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    let version = known_version(&db, &path)?;
    if check && version > 0 {
        quick_check(&db, &path)?;
    }
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    prepare(&db, version).map_err(failed)?;
    sync_folder(folder).map_err(|reason| OpenError::Folder { path: folder.to_owned(), reason })?;
    Ok(db)
}

/// A log beside a database that is empty may hold mail, and SQLite would remove it.
fn refuse_lone_log(folder: &Path) -> Result<(), OpenError> {
    /// How every log begins (sqlite.org/walformat.html), but for a bit that tells the order of bytes.
    const BEGINNING: [u8; 3] = [0x37, 0x7f, 0x06];
    let path = database(folder);
    if path.metadata().is_ok_and(|database| database.len() > 0) {
        return Ok(());
    }
    let mut beginning = [0; 3];
    let log = File::open(log(folder)).and_then(|mut log| log.read_exact(&mut beginning));
    if log.is_err() || beginning != BEGINNING {
        return Ok(());
    }
    let reason =
        "it is empty, but its log spool.db-wal may hold mail; put the database back from where it is".to_owned();
    Err(OpenError::Damaged { path, reason })
}

/// Opens the database for reading.
///
/// # Errors
/// As SQLite says.
pub fn open_reader(folder: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database(folder), flags)?;
    db.busy_timeout(BUSY)?;
    db.execute_batch("PRAGMA cache_size = -256")?;
    Ok(db)
}

/// The version of the tables, 0 for a new database.
fn known_version(db: &Connection, path: &Path) -> Result<usize, OpenError> {
    let failed = |reason| explain(path, reason);
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i32>(0)).map_err(failed);
    let version = usize::try_from(number("PRAGMA user_version")?).unwrap_or(0);
    let application = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, tables) {
        (0, 0) => Ok(0),
        (APPLICATION_ID, _) if version <= STEPS.len() => Ok(version),
        (APPLICATION_ID, _) => Err(OpenError::Newer { path: path.to_owned(), found: version, known: STEPS.len() }),
        _ => Err(OpenError::Foreign(path.to_owned())),
    }
}

fn quick_check(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let answer: String =
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|reason| explain(path, reason))?;
    if answer == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), reason: answer }) }
}

fn prepare(db: &Connection, version: usize) -> rusqlite::Result<()> {
    if version == 0 {
        // These two must come before the first table. Larger pages would be more writing for small mail.
        db.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    // FULL syncs the log at every commit; NORMAL would lose the last ones in a power cut.
    keep_log(db)?;
    db.execute_batch(
        "PRAGMA wal_autocheckpoint = 2000; PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1;
         PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY",
    )?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // A plan then does not depend on the values bound to it, and no statement is prepared again for other ones.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}; COMMIT",
            number + 1
        ))?;
    }
    Ok(())
}

/// Switches to a log, once more from the beginning where a disk that failed has left the switch half done.
fn keep_log(db: &Connection) -> rusqlite::Result<()> {
    for modes in [&["WAL"][..], &["DELETE", "WAL"]] {
        for mode in modes {
            db.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))?;
        }
        if is_logged(db)? {
            return Ok(());
        }
    }
    let words = "the database could not be told to keep a log".to_owned();
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_WRITE), Some(words)))
}

/// Whether the database says that it has a log (sqlite.org/fileformat.html, 1.3.3). Where a disk fails just then, SQLite calls
/// the change of the mode a success, and goes on without.
fn is_logged(db: &Connection) -> rusqlite::Result<bool> {
    let mut versions = [0; 2];
    let path = db.path().unwrap_or_default().to_owned();
    let read = File::open(&path).and_then(|database| database.read_exact_at(&mut versions, 18));
    read.map_err(|_| rusqlite::Error::InvalidPath(path.into()))?;
    Ok(versions == [2, 2])
}

fn explain(path: &Path, reason: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match reason.sqlite_error_code() {
        Some(NotADatabase | DatabaseCorrupt) => {
            OpenError::Damaged { path: path.to_owned(), reason: reason.to_string() }
        }
        _ => OpenError::Sqlite { path: path.to_owned(), reason },
    }
}
