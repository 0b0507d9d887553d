//! Large content has a file of its own beside the database: it is there for as long as somebody is owed it, and no longer.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

mod sample;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use rusqlite::Connection;
use sample::*;
use smarthost::mail::MessageId;
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{AcceptError, Content, Next, Order, Restored, Settlement, Spool, Upload, Which};

const SIZE: usize = 300_000;

fn open(folder: &Path) -> SqliteSpool {
    SqliteSpool::open(folder, at(0)).unwrap()
}

/// The files of contents, by the ids in their names.
fn files(folder: &Path) -> Vec<MessageId> {
    let names = fs::read_dir(folder.join("content")).into_iter().flatten();
    let mut ids: Vec<_> = names.map(|name| name.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    ids.sort();
    ids
}

async fn none_left(folder: &Path) {
    until("the file is removed", async || files(folder).is_empty()).await;
}

/// No two pieces of it are alike.
fn bytes() -> Vec<u8> {
    (0..SIZE).map(|index| u8::try_from(index / 1000 % 251).unwrap()).collect()
}

async fn upload(spool: &SqliteSpool) -> Upload {
    let mut upload = spool.upload(at(0));
    for piece in bytes().chunks(70_000) {
        spool.append(&mut upload, Bytes::copy_from_slice(piece)).await.unwrap();
    }
    upload
}

async fn accept_large(spool: &SqliteSpool) -> MessageId {
    let uploaded = Content::Uploaded(upload(spool).await);
    spool.accept(submission(&["a@example.com"], at(0)), uploaded).await.unwrap().id()
}

async fn settle(spool: &SqliteSpool, next: Next, keep_until: Option<i64>) {
    let mut lease = claim(spool, at(0)).await;
    let outcome = if next == Next::Done { delivered() } else { deferred() };
    let settlement = settlement(at(1), vec![(0, outcome)], next);
    let settlement = Settlement { keep_content_until: keep_until.map(at), ..settlement };
    spool.settle(&mut lease, &settlement).await.unwrap();
}

#[tokio::test]
async fn it_is_there_while_somebody_is_owed_it_and_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let id = accept_large(&spool).await;
    assert_eq!(files(folder.path()), [id]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("content")), 0o700);
    assert_eq!(mode(&folder.path().join("content").join(id.to_string())), 0o600);
    assert_eq!(content(&spool, id).await, bytes());
    settle(&spool, Next::RetryAt(at(0)), None).await;
    spool.close();
    let spool = open(folder.path());
    assert_eq!(content(&spool, id).await, bytes(), "a start leaves alone what is owed");
    settle(&spool, Next::Done, None).await;
    none_left(folder.path()).await;
    spool.close();
}

#[tokio::test]
async fn it_goes_when_an_operator_lets_the_message_go_or_the_time_is_over_for_which_it_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for order in [Order::Delete, Order::Export] {
        let id = accept_large(&spool).await;
        assert_eq!(spool.order(&Which::All, order, at(1)).await.unwrap(), [id]);
        assert!(files(folder.path()).is_empty(), "{order:?}");
    }
    let id = accept_large(&spool).await;
    settle(&spool, Next::Done, Some(100)).await;
    spool.prune(at(99), DAY).await.unwrap();
    spool.close();
    let spool = open(folder.path());
    assert_eq!(content(&spool, id).await, bytes(), "it is kept for a while, over a start");
    spool.prune(at(101), DAY).await.unwrap();
    assert!(files(folder.path()).is_empty());
    spool.close();
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

#[tokio::test]
async fn what_is_given_up_leaves_nothing_however_early() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for _ in 0..50 {
        let mut upload = spool.upload(at(0));
        spool.append(&mut upload, Bytes::from(vec![b'x'; 100_000])).await.unwrap();
        // The piece may not even be in its file yet.
        drop(upload);
    }
    drop(upload(&spool).await);
    none_left(folder.path()).await;
    spool.close();
}

#[tokio::test]
async fn a_spool_that_is_closed_waits_for_nobody_and_leaves_nothing_that_was_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let mut upload = spool.upload(at(0));
    spool.append(&mut upload, Bytes::from(vec![b'x'; 100_000])).await.unwrap();
    drop(upload);
    spool.close();
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_start_removes_files_of_nobody_and_leaves_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let id = accept_large(&spool).await;
    spool.close();
    let stray = MessageId::from_number(7).to_string();
    for name in [stray.as_str(), "notes.txt"] {
        fs::write(folder.path().join("content").join(name), "x").unwrap();
    }
    let spool = open(folder.path());
    let left = |name: &str| folder.path().join("content").join(name).exists();
    assert!(!left(&stray) && left("notes.txt") && left(&id.to_string()));
    spool.close();
}

/// As where a daemon starts while another process hands something in: it sees a file that nobody needs yet.
#[tokio::test]
async fn mail_whose_file_is_gone_or_too_short_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let is_refused = async |uploaded: Upload| {
        let accepted = spool.accept(submission(&["a@example.com"], at(0)), Content::Uploaded(uploaded)).await;
        assert!(matches!(accepted, Err(AcceptError::Failed(_))), "{accepted:?}");
        assert!(list(&spool).await.is_empty());
        none_left(folder.path()).await;
    };
    let uploaded = upload(&spool).await;
    until("all is written", async || length_of_one(folder.path()) == SIZE as u64).await;
    fs::remove_file(path_of_one(folder.path())).unwrap();
    is_refused(uploaded).await;
    let uploaded = upload(&spool).await;
    until("all is written", async || length_of_one(folder.path()) == SIZE as u64).await;
    fs::write(path_of_one(folder.path()), "cut").unwrap();
    is_refused(uploaded).await;
    spool.close();
}

fn path_of_one(folder: &Path) -> std::path::PathBuf {
    folder.join("content").join(files(folder)[0].to_string())
}

fn length_of_one(folder: &Path) -> u64 {
    files(folder).first().map_or(0, |_| path_of_one(folder).metadata().map_or(0, |file| file.len()))
}

#[tokio::test]
async fn what_comes_from_another_spool_gets_the_name_it_had_there() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let id = MessageId::from_number(1234);
    let restored = || Restored { id, submission: submission(&["a@example.com"], at(5)), attempts: 1, held: false };
    let restore = async || spool.restore(restored(), Content::Uploaded(upload(&spool).await)).await;
    assert_eq!(restore().await, Ok(true));
    assert_eq!(files(folder.path()), [id]);
    assert_eq!(restore().await, Ok(false), "somebody is owed it already");
    until("only the first copy is left", async || files(folder.path()) == [id]).await;
    assert_eq!(content(&spool, id).await, bytes());
    spool.order(&Which::All, Order::Export, at(6)).await.unwrap();
    assert_eq!(restore().await, Ok(true), "what was let go may come back");
    assert_eq!(content(&spool, id).await, bytes());
    spool.close();
}

/// A spool of an earlier version has large content in the database, in pieces.
#[tokio::test]
async fn content_that_an_earlier_version_stored_in_pieces_is_still_delivered_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let id = accept_large(&spool).await;
    let db = Connection::open(folder.path().join("spool.db")).unwrap();
    for (index, piece) in bytes().chunks(100_000).enumerate() {
        match index {
            0 => db.execute("INSERT INTO content VALUES (?1, ?2)", (id.number(), piece)),
            _ => db.execute(
                "INSERT INTO further_content VALUES (?1, ?2, ?3)",
                (id.number(), u32::try_from(index).unwrap(), piece),
            ),
        }
        .unwrap();
    }
    fs::remove_file(folder.path().join("content").join(id.to_string())).unwrap();
    assert_eq!(content(&spool, id).await, bytes());
    settle(&spool, Next::Done, None).await;
    let left: i64 = db.query_row("SELECT count(*) FROM further_content", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    spool.close();
}
