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
        let disk = rustix::fs::statvfs(&self.folder);
        disk.is_ok_and(|disk| disk.f_blocks.saturating_mul(disk.f_frsize) < SMALL_DISK_BYTES)
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

    /// Fails as a full disk does, if `bytes` more in the database would be too much. Pages that are free inside it count
    /// as room.
    ///
    /// # Errors
    /// `SQLITE_FULL`.
    pub fn ensure_room(&self, db: &Connection, bytes: u64) -> rusqlite::Result<()> {
        let Some(lacking) = self.lacking(bytes.saturating_mul(WRITTEN_TIMES)) else { return Ok(()) };
        if free_inside(db)? >= lacking.bytes {
            return Ok(());
        }
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), Some(lacking.to_string())))
    }

    /// The same for `bytes` more in a file of their own.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`].
    pub fn ensure_room_for_file(&self, bytes: u64) -> io::Result<()> {
        let lacking = self.lacking(bytes);
        lacking.map_or(Ok(()), |lacking| Err(io::Error::new(io::ErrorKind::StorageFull, lacking.to_string())))
    }

    /// Fails as a full disk does, if one client would hold more than its part, in percent, of the room that there is for mail:
    /// what is free, and what waits. As long as much is free nobody is asked.
    ///
    /// # Errors
    /// `SQLITE_FULL`.
    pub fn ensure_share(&self, db: &Connection, ip: Option<IpAddr>, bytes: u64, percent: u8) -> rusqlite::Result<()> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if percent >= 100 || free >= PLENTY_BYTES {
            return Ok(());
        }
        let (of_client, of_all) = waiting(db, ip)?;
        let room = free.saturating_add(free_inside(db)?).saturating_add(of_all);
        let share = room.saturating_mul(percent.into()) / 100;
        if of_client.saturating_add(bytes) <= share {
            return Ok(());
        }
        let words = format!(
            "{} MB of this client wait, and {percent} % of the room is its share (limits.spool_share)",
            of_client.div_ceil(1_000_000)
        );
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), Some(words)))
    }

    /// What is missing on the disk for `bytes` more. Where the system does not tell, the disk is left to speak for itself.
    fn lacking(&self, bytes: u64) -> Option<Lacking> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        let reserve = RESERVE_BYTES.min(disk.f_blocks.saturating_mul(disk.f_frsize) / RESERVE_PART);
        let needed = reserve.saturating_add(bytes);
        let bytes = needed.saturating_sub(disk.f_bavail.saturating_mul(disk.f_frsize));
        (bytes > 0).then_some(Lacking { bytes, needed })
    }
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
