//! A clock that is set while the relay runs, by libfaketime: the time of day jumps, the time that passes does not.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mailparse::{MailHeaderMap, parse_mail};
use smarthost::standin::Received;
use tokio::time::Instant;

use crate::program::{Gmail, Relay, device};
use crate::subject;

const HASTY: &str = "[retry]\nfirst = \"1s\"\nlongest = \"2s\"\n";
/// Longer than any wait that HASTY allows, with room for a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A relay whose clock can be set, not started yet. `None` where there is no libfaketime.
fn relay_with_a_clock(gmail: &Gmail, time: &str) -> Option<Relay> {
    let library = Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let Some(library) = library.ok().filter(|library| library.status.success()) else {
        println!("SKIPPED: a clock that is set, since there is no `faketime`");
        return None;
    };
    let mut relay = Relay::new(gmail);
    relay.write_config(HASTY);
    relay.set("LD_PRELOAD", String::from_utf8(library.stdout).unwrap().trim());
    relay.set("FAKETIME_TIMESTAMP_FILE", &relay.folder().join("clock").display().to_string());
    relay.set("FAKETIME_NO_CACHE", "1");
    for name in ["DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC"] {
        relay.set(name, "1");
    }
    set_clock(&relay, time);
    Some(relay)
}

/// `time` as libfaketime has it: an offset from the true time, or `@` and a time.
fn set_clock(relay: &Relay, time: &str) {
    // Put in place whole: it is read at every look at the clock.
    let new = relay.write("clock.new", time);
    fs::rename(new, relay.folder().join("clock")).unwrap();
}

/// When the message says that it was written, in seconds since 1970.
fn date(message: &Received) -> u64 {
    let parsed = parse_mail(&message.content).unwrap();
    let date = parsed.headers.get_first_value("Date").expect("every message that is sent has a date");
    mailparse::dateparse(&date).unwrap().try_into().unwrap_or_else(|_| panic!("{date} is before 1970"))
}

fn now() -> u64 {
    smarthost::clock::now().as_second().try_into().unwrap()
}

fn assert_near(seconds: u64, other: u64) {
    assert!(seconds.abs_diff(other) < 3600, "{seconds} is far from {other}");
}

/// Nothing is given up or sent twice by a clock that is set.
fn ends_well(mut relay: Relay, gmail: &Gmail, subjects: &[&str]) {
    relay.wait_for_queue(0);
    let log = relay.stop();
    for event in ["expired", "refused", "uncertain", "bug"] {
        assert!(log.events(event).is_empty(), "{}", log.text());
    }
    let mut arrived: Vec<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
    arrived.sort();
    assert_eq!(arrived, subjects);
}

/// Gmail tells a message to come later, and the clock jumps before it does. Then the same on the way back.
fn a_jump_while_a_message_waits(jump: &str) {
    let gmail = Gmail::start();
    let Some(mut relay) = relay_with_a_clock(&gmail, "+0") else { return };
    // It is kept: far from the true time no certificate holds, and no further connection can be made.
    relay.write_config(&format!("{HASTY}\n[[account]]\nconnections = 1\n"));
    relay.start();
    let began = now();
    for (number, time) in [jump, "+0"].into_iter().enumerate() {
        gmail.script("rcpt => 451 4.2.1 later");
        let known = relay.log().events("deferred").len();
        device::send_one(relay.port(), &format!("before jump {number}"), &["you@example.com"]);
        relay.log().wait_for("deferred", known + 1);
        set_clock(&relay, time);
        device::send_one(relay.port(), &format!("behind jump {number}"), &["you@example.com"]);
        gmail.script("");
        comes_soon(&gmail, 2 * (number as u64 + 1), time);
    }
    let first = gmail.received().into_iter().find(|message| subject(&message.content) == "before jump 0").unwrap();
    assert_near(date(&first), began);
    ends_well(relay, &gmail, &["before jump 0", "before jump 1", "behind jump 0", "behind jump 1"]);
}

fn comes_soon(gmail: &Gmail, messages: u64, time: &str) {
    let mended = Instant::now();
    gmail.wait_for(messages);
    assert!(mended.elapsed() < SOON, "{time}: the next try came after {:?}", mended.elapsed());
}

/// The account is in trouble, and the clock jumps before it is tried again. Nothing can go out before the clock is right
/// again.
fn a_jump_while_the_account_is_in_trouble(jump: &str) {
    let gmail = Gmail::start();
    let Some(mut relay) = relay_with_a_clock(&gmail, "+0") else { return };
    gmail.script("connect => close");
    relay.start();
    device::send_one(relay.port(), "waits", &["you@example.com"]);
    relay.log().wait_for("account", 1);
    set_clock(&relay, jump);
    device::send_one(relay.port(), "waits, too", &["you@example.com"]);
    // Long enough for another try under the false time.
    thread::sleep(Duration::from_secs(3));
    set_clock(&relay, "+0");
    gmail.script("");
    comes_soon(&gmail, 2, jump);
    ends_well(relay, &gmail, &["waits", "waits, too"]);
}

#[test]
fn a_clock_ten_years_ahead_keeps_expires_and_repeats_nothing() {
    a_jump_while_a_message_waits("+10y");
}

#[test]
fn a_clock_ten_years_back_keeps_expires_and_repeats_nothing() {
    a_jump_while_a_message_waits("-10y");
}

#[test]
fn a_clock_ten_years_back_while_the_account_is_in_trouble_keeps_nothing() {
    a_jump_while_the_account_is_in_trouble("-10y");
}

/// A machine without a clock of its own starts in 1970 and learns the time later.
#[test]
fn a_start_in_1970_loses_nothing() {
    let gmail = Gmail::start();
    let Some(mut relay) = relay_with_a_clock(&gmail, "@1970-01-01 00:00:30") else { return };
    relay.start();
    device::send_one(relay.port(), "from 1970", &["you@example.com"]);
    // In 1970 no certificate is valid yet.
    let account = relay.log().wait_for_one("account", |event| event["state"] != "working");
    assert!(account["cure"].as_str().unwrap().contains("clock"), "{account}");
    assert_eq!(relay.wait_for_queue(1).len(), 1);
    set_clock(&relay, "+0");
    comes_soon(&gmail, 1, "1970");
    ends_well(relay, &gmail, &["from 1970"]);
}

#[test]
fn a_clock_ten_years_ahead_during_an_attempt_sends_nothing_twice() {
    let gmail = Gmail::start();
    let Some(mut relay) = relay_with_a_clock(&gmail, "+0") else { return };
    gmail.script("dot delay=4s");
    relay.start();
    device::send_one(relay.port(), "under way", &["you@example.com"]);
    gmail.wait_until(|counts| counts.logins == 1);
    set_clock(&relay, "+10y");
    // The other delivery looks for what is due every second.
    relay.log().wait_for("delivered", 1);
    ends_well(relay, &gmail, &["under way"]);
}

/// As where the clock of the machine was kept in local time until the network told better.
#[test]
fn a_clock_two_hours_back_keeps_expires_and_repeats_nothing() {
    a_jump_while_a_message_waits("-2h");
}

#[test]
fn a_clock_ten_years_ahead_while_the_account_is_in_trouble_keeps_nothing() {
    a_jump_while_the_account_is_in_trouble("+10y");
}

/// As above, and nobody sets the clock forward again.
#[test]
fn a_clock_two_hours_back_while_the_account_is_in_trouble_keeps_nothing() {
    let gmail = Gmail::start();
    let Some(mut relay) = relay_with_a_clock(&gmail, "+0") else { return };
    gmail.script("connect => close");
    relay.start();
    device::send_one(relay.port(), "waits", &["you@example.com"]);
    relay.log().wait_for("account", 1);
    set_clock(&relay, "-2h");
    gmail.script("");
    comes_soon(&gmail, 1, "-2h");
    ends_well(relay, &gmail, &["waits"]);
}

/// The date is that of the first attempt under a clock that can be right, or the like; but none of before this program.
#[test]
fn what_was_accepted_in_1970_is_sent_with_a_plausible_date() {
    let gmail = Gmail::start();
    let Some(mut relay) = relay_with_a_clock(&gmail, "@1970-01-01 00:00:30") else { return };
    relay.start();
    device::send_one(relay.port(), "from 1970", &["you@example.com"]);
    relay.log().wait_for_one("account", |event| event["state"] != "working");
    set_clock(&relay, "+0");
    comes_soon(&gmail, 1, "1970");
    assert_near(date(&gmail.received()[0]), now());
    ends_well(relay, &gmail, &["from 1970"]);
}
