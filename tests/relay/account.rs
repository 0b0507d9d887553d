//! Trouble with the account or on the way to Gmail: mail waits, nothing bounces, and the cure is told.

use serde_json::Value;
use smarthost::standin::{Certificate, Options};

use crate::program::{Gmail, Relay, device};

pub fn account(relay: &Relay) -> Value {
    let status: Value = serde_json::from_str(&relay.ask(&["status", "--json"])).expect("status is JSON");
    status["accounts"][0].clone()
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

/// Hands a message in, and sees that the account gets into this state while the message waits unharmed.
fn sees_trouble(relay: &Relay, state: &str) -> Value {
    device::send_one(relay.port(), "waiting", &["you@example.com"]);
    let event = relay.log().wait_for_one("account", |event| event["state"] != "working");
    assert_eq!(event["state"], state, "{event}");
    relay.log().wait_for("deferred", 1);
    let queue = relay.wait_for_queue(1);
    assert_eq!(queue[0]["state"], "waiting", "{queue:?}");
    let status = account(relay);
    assert_eq!(text(&status, "state"), state);
    assert_eq!((&status["reason"], &status["cure"]), (&event["reason"], &event["cure"]));
    assert_eq!((&status["waiting"], &status["sent_24h"]), (&1.into(), &0.into()));
    assert!(relay.ask_json(&["history", "--json"]).is_empty());
    status
}

#[test]
fn a_wrong_password_pauses_the_account_until_it_is_corrected() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.unset("GMAIL_APP_PASSWORD");
    let file = relay.write("app_password", "zzzz zzzz zzzz zzzz\n");
    relay.set("GMAIL_APP_PASSWORD_FILE", &file.display().to_string());
    relay.start();
    let status = sees_trouble(&relay, "paused");
    assert!(text(&status, "reason").contains("535 5.7.8"), "{status}");
    assert!(text(&status, "cure").contains("https://myaccount.google.com/apppasswords"), "{status}");
    assert_eq!(gmail.counts().messages, 0);

    relay.write("app_password", "abcdefghijklmnop");
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    gmail.wait_for(1);
    relay.log().wait_for("delivered", 1);
    let status = account(&relay);
    assert_eq!((text(&status, "state"), &status["reason"]), ("working", &Value::Null));
    assert_eq!((&status["waiting"], &status["sent_24h"]), (&0.into(), &1.into()));
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn a_wrong_password_is_not_tried_again_and_again() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_APP_PASSWORD", "zzzz zzzz zzzz zzzz");
    relay.start();
    for n in 0..10 {
        device::send_one(relay.port(), &format!("message {n}"), &["you@example.com"]);
    }
    relay.log().wait_for("account", 1);
    assert_eq!(relay.wait_for_queue(10).len(), 10);
    relay.stop();
    // The two deliveries may each have been under way when the first refusal came.
    assert!(gmail.counts().failed_logins <= 2, "{:?}", gmail.counts());
}

#[test]
fn the_daily_limit_holds_the_account_until_it_frees() {
    let gmail = Gmail::start();
    gmail.script(
        "mail => 550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to",
    );
    let mut relay = Relay::start_new(&gmail);
    let status = sees_trouble(&relay, "over_limit");
    assert!(text(&status, "reason").contains("550 5.4.5"), "{status}");
    assert!(!text(&status, "cure").is_empty(), "{status}");

    gmail.script("");
    let said = relay.ask(&["queue", "retry", "--all"]);
    assert!(said.ends_with(" to be tried at once\n"), "{said}");
    gmail.wait_for(1);
    relay.log().wait_for_one("account", |event| event["state"] == "working");
    assert_eq!(text(&account(&relay), "state"), "working");
    relay.stop();
}

#[test]
fn a_limit_that_is_told_at_rcpt_bounces_nothing_either() {
    let gmail = Gmail::start();
    gmail.script("rcpt => 550 5.4.5 Daily user sending limit exceeded.");
    let mut relay = Relay::new(&gmail);
    relay.write_config("[retry]\nfirst = \"1s\"\nlongest = \"1s\"\ngive_up_after = \"2s\"\n");
    relay.start();
    device::send_one(relay.port(), "waits", &["you@example.com"]);
    let limited = relay.log().wait_for_one("account", |event| event["state"] == "over_limit");
    assert!(text(&limited, "reason").contains("550 5.4.5"), "{limited}");
    // Longer than mail is tried for.
    let probes = gmail.counts().commands + 12;
    gmail.wait_until(|counts| counts.commands >= probes);
    assert!(relay.log().events("expired").is_empty());
    gmail.script("");
    gmail.wait_for(1);
    relay.stop();
}

#[test]
fn what_is_over_our_own_count_waits_its_turn() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config("[[account]]\ndaily_limit = 3\n");
    relay.start();
    // Two of the second message's three recipients still fit.
    device::send_one(relay.port(), "first", &["a@example.com"]);
    gmail.wait_for(1);
    device::send_one(relay.port(), "second", &["b@example.com", "c@example.com", "d@example.com"]);
    assert_eq!(gmail.wait_for(2)[1].recipients, ["b@example.com", "c@example.com"]);
    device::send_one(relay.port(), "third", &["e@example.com"]);
    let trouble = relay.log().wait_for_one("account", |event| event["state"] == "over_limit");
    assert!(text(&trouble, "cure").contains("The next place frees at"), "{trouble}");
    let status = account(&relay);
    assert_eq!((status["sent_24h"].as_u64(), status["daily_limit"].as_u64()), (Some(3), Some(3)), "{status}");
    assert_eq!(relay.wait_for_queue(2).len(), 2);
    relay.stop();
    assert_eq!(gmail.counts().messages, 2);

    // The count is kept over a restart, and a higher limit frees what waits.
    relay.write_config("[[account]]\ndaily_limit = 5\n");
    relay.start();
    let arrived = gmail.wait_for(4);
    let mut late: Vec<String> = arrived[2..].iter().flat_map(|message| message.recipients.clone()).collect();
    late.sort();
    assert_eq!(late, ["d@example.com", "e@example.com"]);
    relay.stop();
}

#[test]
fn mail_goes_through_the_port_with_starttls() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_PORT", &gmail.ports().starttls.to_string());
    relay.set("GMAIL_TLS", "starttls");
    relay.start();
    device::send_one(relay.port(), "starttls", &["you@example.com"]);
    assert_eq!(gmail.wait_for(1)[0].recipients, ["you@example.com"]);
    relay.stop();
}

/// Neither a login nor mail was seen.
fn assert_nothing_was_told(gmail: &Gmail) {
    let counts = gmail.counts();
    assert_eq!((counts.logins, counts.failed_logins, counts.messages), (0, 0, 0));
    for transcript in gmail.transcripts() {
        assert!(!transcript.contains("AUTH ") && !transcript.contains("MAIL"), "{transcript}");
    }
}

#[test]
fn nothing_is_told_to_a_server_without_starttls() {
    let gmail = Gmail::with(Options { leave_out: vec!["STARTTLS".to_owned()], ..Options::default() });
    gmail.script("starttls => 502 5.5.1 Unrecognized command.");
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_PORT", &gmail.ports().starttls.to_string());
    relay.set("GMAIL_TLS", "starttls");
    relay.start();
    let status = sees_trouble(&relay, "unreachable");
    assert!(text(&status, "reason").contains("does not offer STARTTLS: 502 5.5.1"), "{status}");
    assert!(text(&status, "cure").contains("port 465"), "{status}");
    relay.stop();
    assert_nothing_was_told(&gmail);
}

fn nothing_is_told_with_this_certificate(certificate: Certificate, words: &str, cure: &str) {
    let gmail = Gmail::with(Options { certificate, ..Options::default() });
    for (port, tls) in [(gmail.ports().implicit, "implicit"), (gmail.ports().starttls, "starttls")] {
        let mut relay = Relay::new(&gmail);
        relay.set("GMAIL_PORT", &port.to_string());
        relay.set("GMAIL_TLS", tls);
        relay.start();
        let status = sees_trouble(&relay, "misconfigured");
        assert!(text(&status, "reason").contains("certificate"), "{status}");
        assert!(text(&status, "reason").contains(words) && text(&status, "cure").contains(cure), "{status}");
        relay.stop();
    }
    assert_nothing_was_told(&gmail);
}

#[test]
fn nothing_is_told_to_a_server_whose_certificate_is_over() {
    nothing_is_told_with_this_certificate(Certificate::Expired, "its time is over", "clock");
}

#[test]
fn nothing_is_told_to_a_server_with_the_certificate_of_another() {
    nothing_is_told_with_this_certificate(Certificate::OtherName, "another name", "`host`");
}

#[test]
fn nothing_is_told_to_a_server_of_an_unknown_authority() {
    let (gmail, other) = (Gmail::start(), Gmail::start());
    let mut relay = Relay::new(&other);
    relay.set("GMAIL_PORT", &gmail.ports().implicit.to_string());
    relay.start();
    let status = sees_trouble(&relay, "misconfigured");
    assert!(text(&status, "reason").contains("certificate"), "{status}");
    assert!(text(&status, "cure").contains("`ca_file`"), "{status}");
    relay.stop();
    assert_nothing_was_told(&gmail);
}

#[test]
fn mail_waits_while_gmail_is_away_and_goes_when_it_is_back() {
    let gmail = Gmail::start();
    gmail.script("connect => close");
    let mut relay = Relay::new(&gmail);
    relay.write_config("[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n");
    relay.start();
    device::send_one(relay.port(), "away", &["you@example.com"]);
    // More than one probe fails, and the message has not aged by it.
    gmail.wait_until(|counts| counts.closed >= 3);
    assert_eq!(relay.ask_json(&["queue", "list", "--json"])[0]["attempts"], 0);
    assert_eq!(text(&account(&relay), "state"), "unreachable");
    gmail.script("");
    relay.log().wait_for_one("account", |event| event["state"] == "working");
    gmail.wait_for(1);
    relay.stop();
}
