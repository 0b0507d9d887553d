//! The n-th write, sync, open or removal in the spool fails, for n = 1, 2, … until none is left to fail.
//!
//! The ordinary run takes some of these; `FAULTS=all` takes all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::client::{Client, body, message};
use crate::program::{Gmail, Relay, Said};
use crate::strace::{self, Attached, Fault};
use crate::subject;

/// Above 64 KiB a message is stored in pieces.
const SIZES: [usize; 4] = [300, 300, 150_000, 300];

/// The calls by what they are for, with how many of them there are at most.
const KINDS: [(&str, usize); 4] =
    [("write,pwrite64", 400), ("fsync,fdatasync", 60), ("openat", 40), ("ftruncate,unlink,rename,mkdir", 20)];

/// Whether the fault is there from the start, or comes while the relay runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Start,
    Running,
}

fn is_thorough() -> bool {
    std::env::var("FAULTS").is_ok_and(|faults| faults == "all")
}

/// Which of the calls fail: the first ones, where most kinds are, and then fewer and fewer.
fn numbers(most: usize) -> Vec<usize> {
    let few = [1, 2, 3, 5, 8, 13, 21, 34, 55];
    if is_thorough() { (1..=most).collect() } else { few.into_iter().filter(|number| *number <= most).collect() }
}

/// `lasting`: nothing works from that call on.
fn each_fails(from: From, (calls, most): (&'static str, usize), lasting: bool) {
    if !strace::works() {
        println!("SKIPPED: system calls that fail, since strace is missing or may not trace here");
        return;
    }
    let gmail = Gmail::start();
    for error in ["EIO", "ENOSPC"] {
        for number in numbers(most) {
            let when = format!("{number}{}", if lasting { "+" } else { "" });
            let fault = Fault::error(calls, error, &when);
            let name = format!("{from:?}-{}-{error}-{number}", calls.split(',').next().unwrap_or_default());
            let case = Case { from, fault, name: name.to_lowercase(), gmail: &gmail };
            if !case.plays() {
                assert!(number > 1, "no call is ever made: {calls}");
                break;
            }
        }
    }
}

#[test]
fn each_write_fails_at_the_start() {
    each_fails(From::Start, KINDS[0], false);
}

#[test]
fn each_sync_fails_at_the_start() {
    each_fails(From::Start, KINDS[1], false);
}

#[test]
fn each_open_fails_at_the_start() {
    each_fails(From::Start, KINDS[2], false);
}

#[test]
fn each_removal_fails_at_the_start() {
    each_fails(From::Start, KINDS[3], false);
}

#[test]
fn each_write_fails_while_mail_comes() {
    each_fails(From::Running, KINDS[0], false);
}

#[test]
fn each_sync_fails_while_mail_comes() {
    each_fails(From::Running, KINDS[1], false);
}

#[test]
fn the_disk_fails_for_good_at_a_write() {
    each_fails(From::Running, KINDS[0], true);
}

#[test]
fn the_disk_fails_for_good_at_a_sync() {
    each_fails(From::Running, KINDS[1], true);
}

struct Case<'a> {
    from: From,
    fault: Fault,
    name: String,
    gmail: &'a Gmail,
}

/// What the clients of one case know.
#[derive(Default)]
struct Record {
    /// With their sizes.
    tried: BTreeMap<String, usize>,
    promised: BTreeSet<String>,
    /// Refused behind the final dot, or before it.
    refused: BTreeSet<String>,
    /// Somebody heard 451: until a restart so does everybody.
    is_broken: bool,
}

impl Case<'_> {
    /// Plays one fault. `false`: it never struck.
    fn plays(&self) -> bool {
        let mut relay = Relay::new(self.gmail);
        let mut record = Record::default();
        let trace = relay.folder().join("trace");
        let struck = match self.from {
            From::Start => self.starts_under_fault(&mut relay, &mut record),
            From::Running => {
                relay.start();
                let attached = Attached::to(relay.process_id(), &self.fault, &trace, Some(&relay.spool()));
                self.send(&relay, &mut record, "under");
                self.judge(&relay, &record);
                drop(attached);
                relay.kill();
                strace::has_struck(&trace)
            }
        };
        self.goes_on_without_fault(&mut relay, &mut record);
        struck
    }

    fn starts_under_fault(&self, relay: &mut Relay, record: &mut Record) -> bool {
        let trace = relay.folder().join("trace");
        let words = strace::before(&self.fault, &trace, &relay.spool());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match relay.try_start_behind(&words) {
            Ok(()) => {
                self.send(relay, record, "under");
                self.judge(relay, record);
                strace::let_go(relay.process_id());
                relay.kill();
            }
            Err(said) => self.judge_end(&said, relay),
        }
        strace::has_struck(&trace)
    }

    fn name(&self, when: &str, number: usize) -> String {
        format!("{}-{when}{number}", self.name)
    }

    /// Each message over a connection of its own, so that one that breaks costs one message.
    fn send(&self, relay: &Relay, record: &mut Record, when: &str) {
        for (number, bytes) in SIZES.into_iter().enumerate() {
            let name = self.name(when, number);
            record.tried.insert(name.clone(), bytes);
            let client = Client::connect(relay.port());
            let code =
                client.and_then(|mut client| client.send(&format!("{name}@example.com"), &message(&name, bytes)));
            match code {
                Some(250) => {
                    assert!(!record.is_broken, "{:?}: {name} is accepted on a disk that has failed", self.fault);
                    record.promised.insert(name)
                }
                Some(code @ (451 | 452)) => {
                    record.is_broken |= code == 451;
                    record.refused.insert(name)
                }
                other => panic!("{:?}: {name} heard {other:?}", self.fault),
            };
        }
    }

    /// A relay that does not start says why, names the spool, and has a status that says the same.
    fn judge_end(&self, said: &Said, relay: &Relay) {
        let told = said
            .stderr
            .lines()
            .any(|line| line.starts_with("smarthost: ") && line.contains(&relay.spool().display().to_string()));
        assert!(matches!(said.status, 73 | 75) && told, "{:?}: {said:?}", self.fault);
    }

    fn judge(&self, relay: &Relay, record: &Record) {
        let log = relay.log();
        assert!(log.events("bug").is_empty(), "{:?}: {}", self.fault, log.text());
        if record.is_broken {
            log.wait_for("spool_broken", 1);
        }
        if !record.refused.is_empty() {
            let rejected = log.wait_for("rejected", record.refused.len());
            assert!(rejected.iter().all(|event| event["reason"] != ""), "{:?}: {}", self.fault, log.text());
        }
    }

    /// Without the fault everything is as it was promised.
    fn goes_on_without_fault(&self, relay: &mut Relay, record: &mut Record) {
        let arrived_before = self.arrived();
        let queued = self.queued(relay);
        for name in &record.promised {
            assert!(queued.contains(name) || arrived_before.contains_key(name), "{name} was promised, and is lost");
        }
        for name in &record.refused {
            assert!(!queued.contains(name) && !arrived_before.contains_key(name), "{name} was refused, and is there");
        }
        relay.start();
        record.is_broken = false;
        self.send(relay, record, "after");
        assert!((0..SIZES.len()).all(|number| record.promised.contains(&self.name("after", number))));
        relay.wait_for_queue(0);
        relay.stop();
        let arrived = self.arrived();
        for name in record.tried.keys() {
            let times = arrived.get(name).copied().unwrap_or(0);
            let allowed = if record.promised.contains(name) { 1..=2 } else { 0..=0 };
            assert!(allowed.contains(&times), "{name} arrived {times} times");
        }
        assert_eq!(relay.count_rows("content"), 0, "{:?}", self.fault);
        fs::remove_dir_all(relay.spool()).expect("the spool is ours");
    }

    /// What arrived of this case, whole, and how often.
    fn arrived(&self) -> BTreeMap<String, usize> {
        let mut arrived = BTreeMap::new();
        let names: BTreeMap<String, usize> = ["under", "after"]
            .into_iter()
            .flat_map(|when| SIZES.into_iter().enumerate().map(move |(number, bytes)| (when, number, bytes)))
            .map(|(when, number, bytes)| (self.name(when, number), bytes))
            .collect();
        for message in self.gmail.received() {
            let subject = subject(&message.content);
            if let Some(bytes) = names.get(&subject) {
                assert!(message.content.ends_with(body(&subject, *bytes).as_bytes()), "{subject} is not whole");
                *arrived.entry(subject).or_default() += 1;
            }
        }
        arrived
    }

    fn queued(&self, relay: &Relay) -> BTreeSet<String> {
        let said = relay.command(&["queue", "list", "--json"]);
        if said.status == 69 && said.stderr.contains("there is no spool") {
            return BTreeSet::new();
        }
        assert_eq!(said.status, 0, "{:?}: {said:?}", self.fault);
        let names = said.stdout.lines().map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            message["to"][0].as_str().unwrap().split('@').next().unwrap().to_owned()
        });
        names.collect()
    }
}

/// SQLite answers the wish for a log with the mode that it has instead of an error. The rules for a failed sync
/// (`spool::sqlite::writer`) are those of a log.
#[test]
fn a_spool_that_cannot_get_its_log_does_not_start() {
    if !strace::works() {
        println!("SKIPPED: a spool that cannot get its log, since strace is missing or may not trace here");
        return;
    }
    let gmail = Gmail::start();
    for number in 4..16 {
        let mut relay = Relay::new(&gmail);
        let fault = Fault::error("fsync,fdatasync", "EIO", &number.to_string());
        let words = strace::before(&fault, &relay.folder().join("trace"), &relay.spool());
        if relay.try_start_behind(&words.iter().map(String::as_str).collect::<Vec<_>>()).is_ok() {
            let header = fs::read(relay.spool().join("spool.db")).unwrap();
            assert_eq!(header[18..20], [2, 2], "sync {number} failed, and the spool has no log (its versions say so)");
            strace::let_go(relay.process_id());
            relay.kill();
        }
    }
}
