//! Status 0 means that the message is safe, whatever becomes of the relay and of the caller.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread;
use std::time::Duration;

use super::program::{Gmail, Relay};
use super::{TEXT, mailer, relay, sends};

fn subject(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: ")).expect("there is a subject");
    line.to_owned()
}

#[test]
fn what_was_handed_in_to_a_stopped_relay_goes_out_when_it_starts() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    sends(&relay, &["root"], TEXT);
    relay.start();
    gmail.wait_for(1);
    relay.stop();
    sends(&relay, &["root"], TEXT);
    relay.start();
    gmail.wait_for(2);
    relay.stop();
}

fn start_many(relay: &Relay, name: &str, count: usize) -> Vec<(String, Child)> {
    let start = |number| {
        let subject = format!("{name}{number}");
        let text = format!("Subject: {subject}\n\n{}", "line\n".repeat(number * 1000));
        let child = mailer(relay, &["root"], text.as_bytes()).spawn().expect("the program can be started");
        (subject, child)
    };
    (0..count).map(start).collect()
}

/// The subjects of those that ended with 0.
fn safe(calls: Vec<(String, Child)>) -> BTreeSet<String> {
    let is_safe = |child: Child| {
        let output = child.wait_with_output().expect("the process is ours");
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.success()
    };
    calls.into_iter().filter_map(|(subject, child)| is_safe(child).then_some(subject)).collect()
}

#[test]
fn many_at_once_all_get_in() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    let mut subjects = safe(start_many(&relay, "stopped", 16));
    relay.start();
    subjects.extend(safe(start_many(&relay, "running", 16)));
    assert_eq!(subjects.len(), 32);
    let arrived: BTreeSet<String> = gmail.wait_for(32).iter().map(|message| subject(&message.content)).collect();
    assert_eq!(arrived, subjects);
    relay.stop();
}

#[test]
fn neither_a_relay_nor_a_caller_that_is_killed_loses_what_was_promised() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    let mut promised = BTreeSet::new();
    for round in 0..4 {
        relay.start();
        let mut calls = start_many(&relay, &format!("round{round}n"), 8);
        thread::sleep(Duration::from_millis(fastrand::u64(..60)));
        calls[0].1.kill().expect("the process is ours");
        relay.kill();
        promised.extend(safe(calls));
    }
    relay.start();
    gmail.wait_until(|counts| counts.messages >= promised.len() as u64);
    relay.wait_for_queue(0);
    let arrived: BTreeSet<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
    assert!(arrived.is_superset(&promised), "lost: {:?}", promised.difference(&arrived));
    assert!(promised.len() >= 16, "hardly any of them got through: {promised:?}");
    relay.stop();
}
