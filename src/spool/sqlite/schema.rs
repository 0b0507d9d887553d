//! The files of the spool: made, locked, checked and brought up to date here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Says to `file(1)` and to us that a database is ours: "SMTH".
const APPLICATION_ID: i32 = 0x534d_5448;
/// Counts up with every change of the tables; `STEPS` brings older ones up to it.
const STEPS: &[&str] = &[include_str!("schema.sql"), BELIEVED_LIMIT];
/// Recipients in 24 hours that Gmail is believed to allow, and since when that is believed; null: as configured.
const BELIEVED_LIMIT: &str =
    "ALTER TABLE account ADD COLUMN believed_limit INTEGER; ALTER TABLE account ADD COLUMN believed_since INTEGER;";
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
        "{path} is damaged: {reason}. Nothing was changed. Keep a copy of the folder; \
         `sqlite3 {path} .recover | sqlite3 salvaged.db` saves what can be read"
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

/// Makes the folder, readable by nobody else: it holds mail.
///
/// # Errors
/// Where it cannot be made.
pub fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let failed = |reason| OpenError::Folder { path: folder.to_owned(), reason };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    // SQLite gives its other files the mode of this one.
    let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
    options.open(database(folder)).and_then(|file| file.sync_all()).map_err(failed)?;
    sync_folder(folder).map_err(failed)
}

/// Makes the names in a folder, and its own name, survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
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
        // These two must come before the first table. A page of 8 KiB holds a usual message whole.
        db.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    // FULL syncs the log at every commit; NORMAL would lose the last ones in a power cut.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1;
         PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY",
    )?;
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}; COMMIT",
            number + 1
        ))?;
    }
    Ok(())
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
