//! SIGKILL at random moments, while 20 clients send and Gmail takes.
//!
//! `KILL_ROUNDS=300` goes on for longer; `KILL_SEED` repeats the moments of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use smarthost::standin::Received;

use crate::client::{Client, body, message};
use crate::program::{Gmail, Relay};
use crate::subject;

const CLIENTS: usize = 20;
/// After so many rounds everything has to be delivered; then another relay follows.
const ROUNDS: usize = 20;
const CONNECTIONS: usize = 4;
/// From the moment the relay is ready, or from its start, to its end.
const LONGEST_LIFE_MS: u64 = 400;
const LONGEST_START_MS: u64 = 150;
/// Above 64 KiB a message is stored in pieces.
const LARGE_BYTES: usize = 150_000;
const SMALL_BYTES: usize = 300;

/// What the clients know.
#[derive(Default)]
struct Record {
    /// Begun, with its size.
    tried: BTreeMap<String, usize>,
    /// Whoever sent it read 250.
    promised: BTreeSet<String>,
    /// It never came to a final dot, or was refused behind it.
    impossible: BTreeSet<String>,
}

/// What arrived at Gmail, with how often.
#[derive(Default)]
struct Arrived {
    times: BTreeMap<String, usize>,
    seen: usize,
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_repeats_only_what_was_under_way() {
    let rounds = std::env::var("KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("KILL_ROUNDS is a number"));
    let seed = std::env::var("KILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("KILL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut left = rounds;
    while left > 0 {
        let now = left.min(ROUNDS);
        live_and_die(now, &mut rng);
        left -= now;
    }
}

/// Kills a relay so many times, looks at what is left each time, and at the end lets it finish its work.
fn live_and_die(rounds: usize, rng: &mut Rng) {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config(&format!("[[account]]\nconnections = {CONNECTIONS}\ndaily_limit = 1000000\n"));
    let record = Arc::new(Mutex::new(Record::default()));
    let mut arrived = Arrived::default();
    let mut kills = 0;
    for round in 0..rounds {
        if rng.u8(..4) == 0 {
            relay.start_and_kill(Duration::from_millis(rng.u64(..LONGEST_START_MS)));
            kills += 1;
            arrived.note(&settled(&gmail), &record.lock().unwrap(), kills);
        }
        relay.start();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (port, record, rng) = (relay.port(), Arc::clone(&record), rng.fork());
                thread::spawn(move || send_until_the_relay_dies(port, &format!("r{round}c{number}"), &record, rng))
            })
            .collect();
        thread::sleep(Duration::from_millis(rng.u64(..LONGEST_LIFE_MS)));
        relay.kill();
        kills += 1;
        for client in clients {
            client.join().expect("a client only sees its connection end");
        }
        let record = record.lock().unwrap();
        arrived.note(&settled(&gmail), &record, kills);
        arrived.compare(&record, &queue(&relay), round);
    }
    let record = record.lock().unwrap();
    relay.start();
    relay.wait_for_queue(0);
    relay.stop();
    arrived.note(&gmail.received(), &record, kills);
    arrived.compare(&record, &BTreeSet::new(), rounds);
    assert_eq!(relay.count_rows("content"), 0, "content is left of mail that is delivered, or was never accepted");
    println!(
        "{kills} kills: {} sent, {} promised, {} arrived, {} of them twice",
        record.tried.len(),
        record.promised.len(),
        arrived.times.len(),
        arrived.repeated()
    );
}

/// Everything that Gmail has; what it has read of a relay that is dead it may still take.
fn settled(gmail: &Gmail) -> Vec<Received> {
    gmail.wait_until(|counts| counts.closed == counts.connections);
    gmail.received()
}

fn send_until_the_relay_dies(port: u16, name: &str, record: &Mutex<Record>, mut rng: Rng) {
    let mut count = 0;
    while let Some(mut client) = Client::connect(port) {
        for _ in 0..5 {
            count += 1;
            if send_something(&mut client, format!("{name}n{count}"), record, &mut rng).is_none() {
                break;
            }
            thread::sleep(Duration::from_millis(rng.u64(..30)));
        }
    }
}

/// One message of any kind. `None`: the connection is over.
fn send_something(client: &mut Client, subject: String, record: &Mutex<Record>, rng: &mut Rng) -> Option<()> {
    let to = format!("{subject}@example.com");
    let bytes = if rng.u8(..12) == 0 { LARGE_BYTES } else { SMALL_BYTES };
    let kind = rng.u8(..20);
    {
        let mut record = record.lock().unwrap();
        record.tried.insert(subject.clone(), bytes);
        if kind < 2 {
            record.impossible.insert(subject.clone());
        }
    }
    let content = message(&subject, bytes);
    match kind {
        // The client goes away in the middle.
        0 => {
            client.begin(&to)?;
            client.write(&content.as_bytes()[..content.len() / 2])?;
            None
        }
        // The relay refuses it: it has come round in a circle.
        1 => {
            let circle = "Received: by relay.example.net\r\n".repeat(60);
            assert_eq!(client.send(&to, &format!("{circle}{content}"))?, 554);
            Some(())
        }
        _ => {
            assert_eq!(client.send(&to, &content)?, 250);
            record.lock().unwrap().promised.insert(subject);
            Some(())
        }
    }
}

/// The first recipients of what waits; they are named like the subjects.
fn queue(relay: &Relay) -> BTreeSet<String> {
    let waiting = relay.ask_json(&["queue", "list", "--json"]);
    let name = |message: &serde_json::Value| message["to"][0].as_str().unwrap().split('@').next().unwrap().to_owned();
    waiting.iter().map(name).collect()
}

impl Arrived {
    /// Looks at what arrived since the last time. In one life of the relay every message goes out once: what is
    /// repeated was under way at a kill, and no more can be than there are connections.
    fn note(&mut self, received: &[Received], record: &Record, kills: usize) {
        let mut in_this_life = BTreeSet::new();
        for message in &received[self.seen..] {
            let subject = subject(&message.content);
            let bytes = record.tried.get(&subject).unwrap_or_else(|| panic!("nobody sent {subject}"));
            assert!(!record.impossible.contains(&subject), "{subject} was never accepted, and arrived");
            assert!(message.content.ends_with(body(&subject, *bytes).as_bytes()), "{subject} did not arrive whole");
            assert!(in_this_life.insert(subject.clone()), "{subject} arrived twice without a kill between");
            *self.times.entry(subject).or_default() += 1;
        }
        self.seen = received.len();
        assert!(self.repeated() <= kills * CONNECTIONS, "{} repeated after {kills} kills", self.repeated());
    }

    fn repeated(&self) -> usize {
        self.times.values().map(|times| times - 1).sum()
    }

    /// Nothing is lost, and nothing waits that should not.
    fn compare(&self, record: &Record, queued: &BTreeSet<String>, round: usize) {
        let is_safe = |subject: &&String| self.times.contains_key(*subject) || queued.contains(*subject);
        let lost: Vec<_> = record.promised.iter().filter(|subject| !is_safe(subject)).collect();
        assert!(lost.is_empty(), "round {round}: promised and lost: {lost:?}");
        let possible = |subject: &String| record.tried.contains_key(subject) && !record.impossible.contains(subject);
        let strange: Vec<_> = queued.iter().filter(|subject| !possible(subject)).collect();
        assert!(strange.is_empty(), "round {round}: never accepted, and in the queue: {strange:?}");
    }
}
