//! What only the SQLite store has to keep: its files, its lock, its damage, and the disk below it.
//!
//! `tests/faults` has the cases that need the whole relay.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

mod sample;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use sample::*;
use smarthost::mail::MessageId;
use smarthost::spool::sqlite::{OpenError, SqliteSpool, is_in_use};
use smarthost::spool::{AcceptError, Accepted, Content, Filter, Next, Order, Settlement, Spool, SpoolError, Which};

fn open(folder: &Path) -> SqliteSpool {
    SqliteSpool::open(folder, at(0)).unwrap()
}

/// Why the spool does not open.
fn refusal(folder: &Path) -> OpenError {
    SqliteSpool::open(folder, at(0)).expect_err("it must not open")
}

fn database(folder: &Path) -> PathBuf {
    folder.join("spool.db")
}

fn sql(folder: &Path) -> Connection {
    Connection::open(database(folder)).unwrap()
}

fn count(db: &Connection, table: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// The bytes of the database and its log; a log that is empty is none.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = ["spool.db", "spool.db-wal"].map(|name| folder.join(name));
    let read = paths.into_iter().filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes)));
    read.filter(|(_, bytes)| !bytes.is_empty()).collect()
}

fn assert_untouched(folder: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(files(folder) == *before, "the database or its log was changed");
}

/// What is on the disk at this moment, as a process that is killed leaves it.
fn as_if_killed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["spool.db", "spool.db-wal", "lock"] {
        fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_second_daemon_is_locked_out_and_the_queue_commands_are_not() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!is_in_use(folder.path()));
    assert!(matches!(SqliteSpool::open_beside(folder.path()), Err(OpenError::Missing(_))));
    let first = open(folder.path());
    assert!(is_in_use(folder.path()));
    assert!(matches!(refusal(folder.path()), OpenError::Locked(_)));
    let id = accept(&first, &["a@example.com"], at(0)).await;
    let beside = SqliteSpool::open_beside(folder.path()).unwrap();
    assert_eq!(list(&beside).await[0].id, id);
    first.close();
    assert!(!is_in_use(folder.path()));
    open(folder.path()).close();
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/spool");
    let spool = open(&folder);
    accept(&spool, &["a@example.com"], at(0)).await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut modes: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    modes.sort();
    let names: Vec<_> = modes.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["lock", "spool.db", "spool.db-shm", "spool.db-wal"]);
    assert!(modes.iter().all(|path| mode(path) == 0o600));
    spool.close();
}

#[tokio::test]
async fn a_spool_of_a_newer_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close();
    sql(folder.path()).pragma_update(None, "user_version", 99).unwrap();
    let before = files(folder.path());
    assert!(matches!(refusal(folder.path()), OpenError::Newer { found: 99, .. }));
    assert!(matches!(SqliteSpool::open_beside(folder.path()), Err(OpenError::Newer { .. })));
    assert_untouched(folder.path(), &before);
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    sql(folder.path()).execute_batch("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')").unwrap();
    let before = files(folder.path());
    assert!(matches!(refusal(folder.path()), OpenError::Foreign(_)));
    assert_untouched(folder.path(), &before);
}

#[tokio::test]
async fn a_spool_without_its_header_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    accept(&spool, &["a@example.com"], at(0)).await;
    spool.close();
    fs::OpenOptions::new().write(true).open(database(folder.path())).unwrap().write_all_at(&[7; 100], 0).unwrap();
    let before = files(folder.path());
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(".recover"), "{error}");
    assert_untouched(folder.path(), &before);
}

/// The log of a spool that was not stopped in order holds the newest mail: it must stay as it is, too.
#[tokio::test]
async fn damage_is_found_after_an_unclean_stop_and_left_alone_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for second in 0..50 {
        accept(&spool, &["a@example.com"], at(second)).await;
    }
    spool.close();
    let spool = open(folder.path());
    accept(&spool, &["newest@example.com"], at(60)).await;
    let killed = as_if_killed(folder.path());
    spool.close();
    // A page that is in use but not in the log, so that the damage is in the database itself.
    let page: i64 = sql(folder.path())
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'past'", [], |row| row.get(0))
        .unwrap();
    let place = u64::try_from((page - 1) * 4096).unwrap();
    let file = fs::OpenOptions::new().write(true).open(database(killed.path())).unwrap();
    file.write_all_at(&[0xff; 64], place).unwrap();
    let before = files(killed.path());
    assert_eq!(before.len(), 2, "there is a log");
    let error = refusal(killed.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_untouched(killed.path(), &before);
}

#[tokio::test]
async fn an_unclean_stop_frees_leases_and_removes_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let id = accept(&spool, &["a@example.com"], at(0)).await;
    let lease = claim(&spool, at(0)).await;
    sql(folder.path()).execute("INSERT INTO content (message, bytes) VALUES (7, x'00')", []).unwrap();
    let killed = as_if_killed(folder.path());
    assert!(fs::read_to_string(killed.path().join("lock")).unwrap().starts_with("running"));
    let again = open(killed.path());
    assert_eq!(count(&sql(killed.path()), "content"), 1);
    assert_eq!(claim(&again, at(0)).await.message.id, id);
    again.close();
    assert!(fs::read_to_string(killed.path().join("lock")).unwrap().starts_with("stopped"));
    drop(lease);
    spool.close();
}

/// Makes the store fail on what holds the word `boom`.
fn fail_on_boom(folder: &Path) {
    let trigger = |table: &str, column: &str| {
        format!(
            "CREATE TRIGGER boom_{table} BEFORE INSERT ON {table} WHEN instr(new.{column}, 'boom')
             BEGIN SELECT RAISE(ABORT, 'boom'); END;"
        )
    };
    let triggers = trigger("recipient", "address") + &trigger("past", "reply") + &trigger("content", "bytes");
    sql(folder).execute_batch(&triggers).unwrap();
}

#[tokio::test]
async fn what_fails_is_undone_and_takes_nobody_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fail_on_boom(folder.path());
    // All of these share transactions: the thread finds them waiting together.
    let to = |n: i64| if n % 3 == 0 { "boom@example.com" } else { "fine@example.com" };
    let spool = Arc::new(spool);
    let mut accepts = tokio::task::JoinSet::new();
    for n in 0..30 {
        let spool = Arc::clone(&spool);
        accepts.spawn(async move { spool.accept(submission(&["first@example.com", to(n)], at(n)), small()).await });
    }
    let answers = accepts.join_all().await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(AcceptError::Failed(_)))).count(), 10);
    let mut accepted: Vec<MessageId> = answers.iter().flatten().map(Accepted::id).collect();
    accepted.sort();
    assert_eq!(list(spool.as_ref()).await.iter().map(|queued| queued.id).collect::<Vec<_>>(), accepted);
    let db = sql(folder.path());
    assert_eq!((count(&db, "recipient"), count(&db, "content")), (40, 20));
    Arc::into_inner(spool).unwrap().close();
}

#[tokio::test]
async fn a_settlement_is_stored_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fail_on_boom(folder.path());
    let id = accept(&spool, &["a@example.com", "b@example.com"], at(0)).await;
    let mut lease = claim(&spool, at(0)).await;
    let before = spool.show(id).await.unwrap();
    let (submission, _) = notice("ups@example.org", at(1));
    let report = Some((submission, Bytes::from_static(b"boom")));
    let outcomes = vec![(0, delivered()), (1, refused())];
    let failing = Settlement { notice: report, ..settlement(at(1), outcomes, Next::Done) };
    assert!(matches!(spool.settle(&mut lease, &failing).await, Err(SpoolError::Failed(_))));
    let after = spool.show(id).await.unwrap();
    assert_eq!(after.as_ref().unwrap().past, []);
    assert_eq!(after.unwrap().queued.unwrap().to, before.unwrap().queued.unwrap().to);
    assert_eq!(history(&spool, Filter::default()).await, []);
    assert_eq!(content(&spool, id).await.len(), 27);
    // Nothing is lost by it: the same can be offered again.
    let mended = settlement(at(2), vec![(0, delivered()), (1, refused())], Next::Done);
    spool.settle(&mut lease, &mended).await.unwrap();
    assert_eq!(list(&spool).await, []);
    spool.close();
}

/// A file system of two megabytes, gone when dropped.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    /// `None` where this process may not mount.
    fn mount() -> Option<TinyDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(folder.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(TinyDisk(folder))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn large() -> Content {
    Content::Memory(Bytes::from(vec![b'x'; 100_000]))
}

#[tokio::test]
async fn a_full_disk_refuses_mail_leaves_nothing_behind_and_recovers() {
    let Some(disk) = TinyDisk::mount() else {
        println!("SKIPPED: a full disk, since mounting a small one is not permitted here");
        return;
    };
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 700_000]).unwrap();
    let spool = open(disk.0.path());
    let mut accepted = Vec::new();
    let error = loop {
        match spool.accept(submission(&["a@example.com"], at(0)), large()).await {
            Ok(message) => accepted.push(message.id()),
            Err(error) => break error,
        }
        assert!(accepted.len() < 100, "the disk never gets full");
    };
    assert!(matches!(error, AcceptError::Full(_)), "{error:?}");
    assert!(!accepted.is_empty());
    let mut upload = spool.upload(at(1));
    // The answer to a piece comes with the next one.
    spool.append(&mut upload, Bytes::from(vec![b'y'; 300_000])).await.unwrap();
    let piece = spool.append(&mut upload, Bytes::from(vec![b'y'; 300_000])).await;
    assert!(matches!(piece, Err(AcceptError::Full(_))), "{piece:?}");
    drop(upload);
    let listed: Vec<_> = list(&spool).await.iter().map(|queued| queued.id).collect();
    assert_eq!(listed, accepted);
    fs::remove_file(ballast).unwrap();
    let after = spool.accept(submission(&["a@example.com"], at(2)), large()).await.unwrap();
    accepted.push(after.id());
    spool.close();
    let spool = open(disk.0.path());
    assert_eq!(list(&spool).await.iter().map(|queued| queued.id).collect::<Vec<_>>(), accepted);
    let db = sql(disk.0.path());
    assert_eq!(count(&db, "content"), i64::try_from(accepted.len()).unwrap());
    spool.close();
}

#[tokio::test]
async fn no_client_fills_the_disk_alone() {
    let Some(disk) = TinyDisk::mount() else {
        println!("SKIPPED: the share of a client, since mounting a small disk is not permitted here");
        return;
    };
    let spool = open(disk.0.path());
    spool.limit_share(50);
    let of = |last: u8| {
        let mut submission = submission(&["a@example.com"], at(0));
        submission.client.ip = Some([192, 0, 2, last].into());
        submission
    };
    let mut accepted = 0;
    let error = loop {
        match spool.accept(of(1), large()).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "one client gets all of it");
    };
    assert!(matches!(&error, AcceptError::Full(words) if words.contains("limits.spool_share")), "{error:?}");
    assert!(accepted > 2);
    spool.accept(of(2), large()).await.unwrap();
    let mut lease = claim(&spool, at(1)).await;
    spool.settle(&mut lease, &settlement(at(2), vec![(0, delivered())], Next::Done)).await.unwrap();
    spool.accept(of(1), large()).await.unwrap();
    spool.close();
}

/// A disk full to the last byte would be a trap: what frees room has to be written first.
#[tokio::test]
async fn mail_that_is_delivered_or_deleted_frees_a_full_disk_without_a_restart() {
    let Some(disk) = TinyDisk::mount() else {
        println!("SKIPPED: a full disk, since mounting a small one is not permitted here");
        return;
    };
    let spool = open(disk.0.path());
    let mut accepted = 0;
    while spool.accept(submission(&["a@example.com"], at(accepted)), large()).await.is_ok() {
        accepted += 1;
        assert!(accepted < 100, "the disk never gets full");
    }
    assert!(accepted > 2, "only {accepted} messages fit");
    for round in 0..2 {
        let mut lease = claim(&spool, at(1000 + round)).await;
        spool.settle(&mut lease, &settlement(at(2000), vec![(0, delivered())], Next::Done)).await.unwrap();
    }
    spool.accept(submission(&["a@example.com"], at(3000)), large()).await.unwrap();
    let deleted = spool.order(&Which::All, Order::Delete, at(4000)).await.unwrap();
    assert_eq!(deleted.len(), usize::try_from(accepted).unwrap() - 1);
    for second in 0..accepted {
        spool.accept(submission(&["a@example.com"], at(5000 + second)), large()).await.unwrap();
    }
    spool.close();
}
