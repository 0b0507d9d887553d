//! Whether the disk has room for one more message.
//!
//! A disk that is full to the last byte is a trap: what would free space, settling and deleting, has to be written
//! first. So mail is refused while a little is still free, and that little is left to those who free more.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rusqlite::{Connection, ffi};

use super::rows;

/// What is left to settlements, in bytes; on a small disk a tenth of it.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;
const RESERVE_PART: u64 = 10;
/// On a disk smaller than this, the log is emptied after so many pages of 4 KiB; usually after 1000.
const SMALL_DISK_BYTES: u64 = 256 * 1024 * 1024;
const SMALL_LOG_PAGES: u32 = 32;
/// Where so much is free, no client is asked for its share: to add up what waits takes a while.
const PLENTY_BYTES: u64 = 1024 * 1024 * 1024;
/// What is accepted goes to the log first, and then to the database.
const WRITTEN_TIMES: u64 = 2;

/// The disk that a spool is on.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub fn of(folder: &Path) -> Disk {
        Disk { folder: folder.to_owned() }
    }

    /// Whether the log has to be kept small.
    pub fn is_small(&self) -> bool {
        self.room().is_some_and(|room| room.all_bytes < SMALL_DISK_BYTES)
    }

    /// Keeps the log small beside a disk that is small: it could take all of it otherwise, and leave no room to empty it.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn fit_log(&self, db: &Connection) -> rusqlite::Result<()> {
        if self.is_small() {
            db.query_row(&format!("PRAGMA wal_autocheckpoint = {SMALL_LOG_PAGES}"), [], |_| Ok(()))?;
            // What a large transaction has made of it is given back; what is left has room for what frees more.
            let bytes = SMALL_LOG_PAGES * (4096 + 24);
            db.query_row(&format!("PRAGMA journal_size_limit = {bytes}"), [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Fails as a full disk does, if `bytes` more in a file of their own would be too much.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`].
    pub fn ensure_room_for_file(&self, bytes: u64) -> io::Result<()> {
        let lacking = self.room().and_then(|room| room.lacking(bytes));
        lacking.map_or(Ok(()), |lacking| Err(io::Error::new(io::ErrorKind::StorageFull, lacking.to_string())))
    }

    /// What there is of it now. Where the system does not tell, `None`: the disk is left to speak for itself.
    pub fn room(&self) -> Option<Room> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Room { free_bytes: bytes(disk.f_bavail), all_bytes: bytes(disk.f_blocks) })
    }
}

/// The room on a disk at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    free_bytes: u64,
    all_bytes: u64,
}

impl Room {
    /// Fails as a full disk does, if `bytes` more in the database would be too much. Pages that are free inside it count
    /// as room.
    ///
    /// # Errors
    /// `SQLITE_FULL`.
    pub fn ensure(self, db: &Connection, bytes: u64) -> rusqlite::Result<()> {
        let Some(lacking) = self.lacking(bytes.saturating_mul(WRITTEN_TIMES)) else { return Ok(()) };
        if free_inside(db)? >= lacking.bytes {
            return Ok(());
        }
        Err(full(lacking.to_string()))
    }

    /// Fails as a full disk does, if one client would hold more than its part, in percent, of the room that there is for mail:
    /// what is free, and what waits. As long as much is free nobody is asked.
    ///
    /// # Errors
    /// `SQLITE_FULL`.
    pub fn ensure_share(self, db: &Connection, ip: Option<IpAddr>, bytes: u64, percent: u8) -> rusqlite::Result<()> {
        if percent >= 100 || self.free_bytes >= PLENTY_BYTES {
            return Ok(());
        }
        let (of_client, of_all) = waiting(db, ip)?;
        let room = self.free_bytes.saturating_add(free_inside(db)?).saturating_add(of_all);
        let share = room.saturating_mul(percent.into()) / 100;
        if of_client.saturating_add(bytes) <= share {
            return Ok(());
        }
        Err(full(format!(
            "{} MB of this client wait, and {percent} % of the room is its share (limits.spool_share)",
            of_client.div_ceil(1_000_000)
        )))
    }

    /// What is missing for `bytes` more.
    fn lacking(self, bytes: u64) -> Option<Lacking> {
        let needed = RESERVE_BYTES.min(self.all_bytes / RESERVE_PART).saturating_add(bytes);
        let bytes = needed.saturating_sub(self.free_bytes);
        (bytes > 0).then_some(Lacking { bytes, needed })
    }
}

fn full(words: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), Some(words))
}

/// The disk has not enough room.
struct Lacking {
    bytes: u64,
    needed: u64,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "less than {} MB are free on the disk of the spool", self.needed.div_ceil(1_000_000))
    }
}

/// The bytes that wait of one client, and of all.
fn waiting(db: &Connection, ip: Option<IpAddr>) -> rusqlite::Result<(u64, u64)> {
    db.prepare_cached(
        "SELECT coalesce(sum(iif(ip IS ?1, size, 0)), 0), coalesce(sum(size), 0) FROM message WHERE due IS NOT NULL",
    )?
    .query_row([ip.map(|ip| ip.to_string())], |row| Ok((rows::count(row, 0)?, rows::count(row, 1)?)))
}

fn free_inside(db: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, u32>(0)).map(u64::from);
    Ok(number("PRAGMA freelist_count")? * number("PRAGMA page_size")?)
}
