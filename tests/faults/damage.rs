//! A damaged database, and two relays on one spool.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::client::{Client, message};
use crate::program::{Gmail, Relay, device};

const MESSAGES: usize = 30;
const BYTES: usize = 20_000;

/// A spool with mail that was not stopped in order, and whose mail is in the database itself, not in the log.
fn killed_with_mail(gmail: &Gmail) -> Relay {
    gmail.script("connect => close");
    let mut relay = Relay::start_new(gmail);
    let mut client = Client::connect(relay.port()).unwrap();
    for number in 0..MESSAGES {
        let name = format!("kept{number}");
        assert_eq!(client.send(&format!("{name}@example.com"), &message(&name, BYTES)), Some(250));
    }
    relay.kill();
    let database = rusqlite::Connection::open(database(&relay)).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    relay
}

fn database(relay: &Relay) -> PathBuf {
    relay.spool().join("spool.db")
}

fn overwrite(path: &Path, place: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, place).unwrap();
}

/// The database and its log; a log that is empty is none.
fn files(relay: &Relay) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = ["spool.db", "spool.db-wal"].map(|name| relay.spool().join(name));
    let read = paths.into_iter().filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes)));
    read.filter(|(path, bytes)| path.ends_with("spool.db") || !bytes.is_empty()).collect()
}

/// The relay refuses to start, twice, says how to save what can be saved, and leaves everything as it is.
fn refuses(relay: &Relay) {
    let before = files(relay);
    for _ in 0..2 {
        let said = relay.command(&["run"]);
        assert_eq!(said.status, 65, "{said:?}");
        for words in ["is damaged", "Nothing was changed", "`smarthost queue export --copy mail`"] {
            assert!(said.stderr.contains(words), "{said:?}");
        }
        assert!(!said.stderr.contains(r#""ready""#), "{said:?}");
    }
    assert!(files(relay) == before, "the spool was changed");
}

#[test]
fn a_spool_without_its_header_is_refused_and_left_alone() {
    let gmail = Gmail::start();
    let relay = killed_with_mail(&gmail);
    overwrite(&database(&relay), 0, &[0; 100]);
    refuses(&relay);
    let said = relay.command(&["queue", "list"]);
    assert!(said.status == 65 && said.stderr.contains(".recover"), "{said:?}");
    let checked = relay.command(&["check", "--offline"]);
    assert!(checked.status == 65 && checked.stderr.contains(".recover"), "{checked:?}");
    refuses(&relay);
}

#[test]
fn a_spool_that_was_cut_off_is_refused_and_left_alone() {
    let gmail = Gmail::start();
    let relay = killed_with_mail(&gmail);
    let file = OpenOptions::new().write(true).open(database(&relay)).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    refuses(&relay);
}

#[test]
fn a_spool_with_a_spoilt_page_is_refused_and_left_alone() {
    let gmail = Gmail::start();
    let relay = killed_with_mail(&gmail);
    let page: u32 = rusqlite::Connection::open(database(&relay))
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'past'", [], |row| row.get(0))
        .unwrap();
    overwrite(&database(&relay), u64::from(page - 1) * 4096, &[0xff; 64]);
    refuses(&relay);

    // What it says can be done can be done.
    let folder = relay.folder().join("mail").display().to_string();
    let said = relay.ask(&["queue", "export", "--copy", &folder]);
    assert!(said.ends_with(&format!("copied to {folder}, and still in the queue\n")), "{said}");
    gmail.script("");
    let mut new = Relay::start_new(&gmail);
    let said = new.ask(&["queue", "import", &folder]);
    let count = u64::try_from(said.lines().count() - 1).unwrap();
    assert!(count > 0, "{said}");
    gmail.wait_for(count);
    new.stop();
}

#[test]
fn a_second_relay_on_the_spool_names_it_and_ends() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("SMARTHOST_LISTEN", "127.0.0.1:0");
    relay.start();
    let said = relay.command(&["run"]);
    assert_eq!(said.status, 75, "{said:?}");
    let words = format!("another smarthost is running on {}", relay.spool().display());
    assert!(said.stderr.contains(&words), "{said:?}");
    device::send_one(relay.port(), "undisturbed", &["you@example.com"]);
    gmail.wait_for(1);
    relay.kill();
    relay.start();
    relay.stop();
}

/// As a file system may leave it that lost its last changes: the log still holds mail.
#[test]
fn a_spool_that_was_emptied_or_lost_its_database_is_not_made_anew() {
    let gmail = Gmail::start();
    gmail.script("connect => close");
    for is_gone in [false, true] {
        let mut relay = Relay::start_new(&gmail);
        device::send_one(relay.port(), "in the log", &["you@example.com"]);
        relay.kill();
        if is_gone {
            fs::remove_file(database(&relay)).unwrap();
        } else {
            OpenOptions::new().write(true).open(database(&relay)).unwrap().set_len(0).unwrap();
        }
        let before = files(&relay);
        let log = relay.spool().join("spool.db-wal");
        assert!(before.contains_key(&log), "there is a log");
        match relay.try_start_behind(&["env"]) {
            Ok(()) => panic!("gone: {is_gone}: it starts, and the log is gone or holds mail that nobody sees"),
            Err(said) => assert_eq!(said.status, 65, "{said:?}"),
        }
        assert!(files(&relay).get(&log) == before.get(&log), "the log was changed");
    }
}
