//! Large content: a plain file for each message, in a folder beside the database.
//!
//! What goes through the database is written twice, to the log and to its place; a file is written once, and read
//! without waiting for anybody. Small content stays in the database, where many messages share one sync.
//!
//! Two rules keep the promise of 250. A file and its name are on stable storage before the message is committed that
//! needs it. And a file is removed only inside a transaction that sees that nobody needs it, so that no process can
//! begin to need it meanwhile. Between the two a crash leaves a file too many, which the next start removes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::schema::{self, sync_folder};
use crate::mail::MessageId;

/// What is read at once.
const PIECE_BYTES: u64 = 128 * 1024;

/// The files of one spool.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Those of the spool in a folder.
    pub fn of(spool: &Path) -> Files {
        Files { folder: spool.join("content") }
    }

    fn path(&self, id: MessageId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Adds what comes `at` this place of a content. The first piece makes the file; a file that is gone by then is not
    /// made again.
    ///
    /// # Errors
    /// As the system says; the file is then of no more use.
    pub fn add(&self, id: MessageId, at: u64, piece: &[u8]) -> io::Result<()> {
        let file = match at {
            0 => self.create(id)?,
            _ => OpenOptions::new().write(true).open(self.path(id))?,
        };
        file.write_all_at(piece, at)
    }

    fn create(&self, id: MessageId) -> io::Result<File> {
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
        let file = match options.open(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folder()?;
                options.open(self.path(id))?
            }
            opened => opened?,
        };
        self.give_to_owner(&self.path(id), &file)?;
        Ok(file)
    }

    fn make_folder(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.give_to_owner(&self.folder, &File::open(&self.folder)?)?;
        sync_folder(&self.folder)
    }

    fn give_to_owner(&self, path: &Path, made: &File) -> io::Result<()> {
        schema::give_to_owner(self.folder.parent().unwrap_or(&self.folder), path, made)
    }

    /// Puts a content of so many `bytes` and its name on stable storage.
    ///
    /// # Errors
    /// As the system says, and where the file is not that long.
    pub fn sync(&self, id: MessageId, bytes: u64) -> io::Result<()> {
        let file = File::open(self.path(id))?;
        if file.metadata()?.len() != bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.sync_data()?;
        File::open(&self.folder)?.sync_all()
    }

    /// Whether all of a content of so many `bytes` is here. Asked inside the transaction that begins to need it: a daemon
    /// that starts meanwhile removes what other processes were about to hand in.
    pub fn holds(&self, id: MessageId, bytes: u64) -> bool {
        self.path(id).metadata().is_ok_and(|file| file.len() == bytes)
    }

    /// Gives a content to the message with another id, in place of what that had; synced when this returns.
    ///
    /// # Errors
    /// As the system says.
    pub fn rename(&self, from: MessageId, to: MessageId) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Piece `index` of a content, counted from 0; `None` behind the last one.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::NotFound`] where a message has no file.
    pub fn piece(&self, id: MessageId, index: u32) -> io::Result<Option<Bytes>> {
        let file = File::open(self.path(id))?;
        let at = u64::from(index) * PIECE_BYTES;
        let left = file.metadata()?.len().saturating_sub(at).min(PIECE_BYTES);
        if left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; usize::try_from(left).unwrap_or_default()];
        file.read_exact_at(&mut piece, at)?;
        Ok(Some(piece.into()))
    }

    /// Removes the file of a message that nobody needs. Runs inside a transaction.
    ///
    /// # Errors
    /// As SQLite says. A file that cannot be removed is tried again at the next start.
    pub fn remove_unneeded(&self, db: &Connection, id: MessageId) -> rusqlite::Result<()> {
        if !is_needed(db, id)? {
            let _ = fs::remove_file(self.path(id));
        }
        Ok(())
    }

    /// Removes all files that nobody needs. Runs inside a transaction, before anything comes in.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn sweep(&self, db: &Connection) -> rusqlite::Result<()> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<MessageId>().ok());
        ids.into_iter().try_for_each(|id| self.remove_unneeded(db, id))
    }
}

/// Whether somebody is owed a message, or its content is kept for a while.
fn is_needed(db: &Connection, id: MessageId) -> rusqlite::Result<bool> {
    let needed = db
        .prepare_cached("SELECT due IS NOT NULL OR content_until IS NOT NULL FROM message WHERE id = ?1")?
        .query_row([id.number()], |row| row.get(0))
        .optional()?;
    Ok(needed.unwrap_or(false))
}
