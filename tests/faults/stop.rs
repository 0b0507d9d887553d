//! SIGTERM in every phase of a session and of a delivery: it ends in time and in order, and nothing is lost.

use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

use crate::program::{DEADLINE, Device, Gmail, Relay, device};
use crate::subject;

/// Waits until the conversations with Gmail hold this.
fn wait_for_words(gmail: &Gmail, words: &str) {
    let began = Instant::now();
    while !gmail.transcripts().iter().any(|conversation| conversation.contains(words)) {
        assert!(began.elapsed() < DEADLINE, "waited in vain for {words:?}: {:?}", gmail.transcripts());
        thread::sleep(Duration::from_millis(5));
    }
}

/// One phase of a delivery, in which Gmail keeps the relay waiting.
struct Phase {
    rules: &'static str,
    /// What Gmail has heard by then; nothing: the connection alone.
    heard: &'static str,
    starttls: bool,
    /// How often the message may have arrived after the next start.
    arrivals: std::ops::RangeInclusive<usize>,
}

const fn phase(rules: &'static str, heard: &'static str) -> Phase {
    Phase { rules, heard, starttls: false, arrivals: 1..=1 }
}

const PHASES: &[Phase] = &[
    phase("connect => silent", ""),
    phase("greeting => silent", ""),
    Phase { starttls: true, ..phase("starttls => silent", "C: STARTTLS") },
    phase("ehlo => silent", "C: EHLO"),
    phase("auth => silent", "C: AUTH"),
    phase("mail => silent", "C: MAIL"),
    phase("rcpt => silent", "C: MAIL"),
    phase("data => silent", "C: MAIL"),
    // The content is on its way.
    phase("data delay=500ms", "C: DATA"),
    phase("dot => silent", "C: DATA"),
    phase("dot delay=2s", "C: DATA"),
    // The attempt is broken off behind the dot, and nobody can know what became of it.
    Phase { arrivals: 1..=2, ..phase("dot delay=7s", "C: DATA") },
    phase("quit => silent", "C: DATA"),
    phase("all => garbage", ""),
    phase("connect => close", ""),
    phase("auth => 535 5.7.8 Username and Password not accepted.", "C: AUTH"),
    phase("mail => 550 5.4.5 Daily user sending limit exceeded.", "C: MAIL"),
    phase("rcpt => 451 4.2.1 later", "C: MAIL"),
];

impl Phase {
    fn play(&self) {
        let gmail = Gmail::start();
        gmail.script(self.rules);
        let mut relay = Relay::new(&gmail);
        if self.starttls {
            relay.set("GMAIL_PORT", &gmail.ports().starttls.to_string());
            relay.set("GMAIL_TLS", "starttls");
        }
        relay.start();
        // Large enough to be under way for a while, and to be stored in pieces.
        let mut device = Device::connect(relay.port());
        let content = device::message(self.rules) + &"and so on, line by line\r\n".repeat(20_000);
        device.send("printer@nas.local", &["you@example.com"], &content);
        drop(device);
        gmail.wait_until(|counts| counts.connections > 0);
        wait_for_words(&gmail, self.heard);
        // In time, and with status 0.
        relay.stop();
        let waits = relay.ask_json(&["queue", "list", "--json"]).len();
        let arrived = gmail.counts().messages;
        assert!(waits == 1 || arrived == 1, "{}: lost", self.rules);
        gmail.script("");
        relay.start();
        relay.wait_for_queue(0);
        relay.stop();
        let arrived: Vec<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
        assert!(self.arrivals.contains(&arrived.len()), "{}: {arrived:?}", self.rules);
        assert!(gmail.received().iter().all(|message| message.content.ends_with(b"line by line\r\n")));
    }
}

#[test]
fn sigterm_in_every_phase_of_a_delivery_loses_nothing_and_sends_nothing_twice() {
    thread::scope(|scope| {
        let phases: Vec<_> = PHASES.iter().map(|phase| scope.spawn(|| phase.play())).collect();
        let failed = phases.into_iter().map(thread::ScopedJoinHandle::join).filter(Result::is_err).count();
        assert_eq!(failed, 0, "of {} phases", PHASES.len());
    });
}

/// How far a client has come, and what it has said for that.
const SESSIONS: &[(&str, &[&str])] = &[
    ("greeted", &[]),
    ("idle", &["HELO printer"]),
    ("in the envelope", &["HELO printer", "MAIL FROM:<a@nas.local>", "RCPT TO:<you@example.com>"]),
    ("in a small message", &["HELO printer", "MAIL FROM:<a@nas.local>", "RCPT TO:<you@example.com>", "DATA"]),
];

#[test]
fn sigterm_in_every_phase_of_a_session_ends_it_with_421_and_stores_nothing() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let mut devices = Vec::new();
    for (phase, commands) in SESSIONS {
        let mut device = Device::connect(relay.port());
        for command in *commands {
            device.order(command);
        }
        devices.push((*phase, device));
    }
    devices[3].1.write(b"Subject: half\r\n\r\nhalf a li");
    let mut silent = Device::connect_without_listening(relay.port());
    let log = relay.stop();
    devices.push(("greeted and not listening", {
        assert!(silent.hear().starts_with("220 "));
        silent
    }));
    for (phase, device) in &mut devices {
        assert!(device.hear().starts_with("421 "), "{phase}");
        assert!(device.hears_the_end(), "{phase}");
    }
    assert!(log.events("accepted").is_empty() && log.events("bug").is_empty(), "{}", log.text());
    assert!(relay.ask_json(&["queue", "list", "--json"]).is_empty());
    assert_eq!((gmail.counts().messages, relay.count_rows("content")), (0, 0));
}

/// A session at the moment of its final dot, which the store cannot answer: somebody else has the database.
fn in_the_middle_of_storing(relay: &Relay) -> (Device, Connection) {
    let mut device = Device::connect(relay.port());
    device.order("HELO printer");
    device.begin("printer@nas.local", &["you@example.com"]);
    device.write(device::message("in the middle").as_bytes());
    let somebody = Connection::open(relay.spool().join("spool.db")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    device.write(b".\r\n");
    (device, somebody)
}

#[test]
fn sigterm_while_a_message_is_stored_waits_for_it() {
    let gmail = Gmail::start();
    gmail.script("connect => close");
    let mut relay = Relay::start_new(&gmail);
    let (mut device, somebody) = in_the_middle_of_storing(&relay);
    relay.signal("TERM");
    relay.log().wait_for("stopping", 1);
    thread::sleep(Duration::from_millis(500));
    somebody.execute_batch("ROLLBACK").unwrap();
    let reply = device.hear();
    relay.stop();
    let waits = relay.ask_json(&["queue", "list", "--json"]);
    assert!(reply.starts_with("250 ") && waits.len() == 1, "{reply}, and {waits:?}");
    gmail.script("");
    relay.start();
    relay.wait_for_queue(0);
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn sigterm_while_the_store_hangs_promises_nothing_and_ends_in_time() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let (mut device, somebody) = in_the_middle_of_storing(&relay);
    relay.stop();
    assert!(!device.hear().starts_with('2'));
    somebody.execute_batch("ROLLBACK").unwrap();
    assert!(relay.ask_json(&["queue", "list", "--json"]).is_empty());
    relay.start();
    device::send_one(relay.port(), "afterwards", &["you@example.com"]);
    gmail.wait_for(1);
    relay.stop();
}
