//! How an account stands: every trouble leads to its state, holds its mail for as long as it takes, bounces none of it,
//! and is over as soon as somebody has mended it.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::account::{account, text};
use crate::program::{ClosedPort, Gmail, Relay, device};

/// As short as it may be: mail that is held is held for longer than mail is tried for.
const HASTY: &str = "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\ngive_up_after = \"1s\"\n";
const LONGER_THAN_PATIENCE: Duration = Duration::from_millis(2500);

/// A relay whose patience is soon over.
fn hasty(gmail: &Gmail, account: &str) -> Relay {
    let mut relay = Relay::new(gmail);
    configure(&mut relay, account);
    relay
}

/// Keys of the account; those that are set by a variable have to be unset.
fn configure(relay: &mut Relay, account: &str) {
    relay.write_config(&format!("{HASTY}\n[[account]]\n{account}\n"));
}

/// What goes wrong, what becomes of it, and how it is mended.
struct Case {
    name: &'static str,
    /// For the stand-in.
    rule: &'static str,
    /// For the relay, before it starts.
    begin: fn(&mut Relay, &Gmail),
    state: &'static str,
    /// Part of what is told.
    reason: &'static str,
    cure: &'static str,
    /// What somebody does, once the rule is gone.
    mend: fn(&mut Relay, &Gmail),
}

fn nothing(_: &mut Relay, _: &Gmail) {}

fn retry(relay: &mut Relay, _: &Gmail) {
    // Where it is probed at this moment there is nothing to order.
    relay.ask(&["queue", "retry", "--all"]);
}

fn hang_up(relay: &mut Relay, _: &Gmail) {
    relay.hang_up();
}

fn set_host(relay: &mut Relay, host: &str) {
    relay.unset("GMAIL_HOST");
    configure(relay, &format!("host = \"{host}\""));
}

fn right_host(relay: &mut Relay, _: &Gmail) {
    set_host(relay, "localhost");
    relay.hang_up();
}

static CASES: [Case; 14] = [
    Case {
        name: "bad password",
        rule: "",
        begin: |relay, _| {
            relay.unset("GMAIL_APP_PASSWORD");
            configure(relay, "app_password = \"zzzz zzzz zzzz zzzz\"");
        },
        state: "paused",
        reason: "535 5.7.8 Username and Password not accepted",
        cure: "https://myaccount.google.com/apppasswords",
        mend: |relay, _| {
            configure(relay, "app_password = \"abcd efgh ijkl mnop\"");
            relay.hang_up();
        },
    },
    Case {
        name: "app password required",
        rule: "auth => 534 5.7.9 Application-specific password required. Learn more at",
        begin: nothing,
        state: "paused",
        reason: "534 5.7.9",
        cure: "https://myaccount.google.com/apppasswords",
        mend: retry,
    },
    Case {
        name: "login by browser wanted",
        rule: "auth => 534 5.7.14 <https://accounts.google.com/signin> Please log in via your web browser",
        begin: nothing,
        state: "paused",
        reason: "does not trust this login",
        cure: "browser",
        mend: hang_up,
    },
    Case {
        name: "sending denied",
        rule: "mail => 550 5.7.0 Mail Sending denied.",
        begin: nothing,
        state: "paused",
        reason: "550 5.7.0",
        cure: "administrator",
        mend: retry,
    },
    Case {
        name: "daily limit",
        rule: "dot => 550 5.4.5 Daily user sending limit exceeded.",
        begin: nothing,
        state: "over_limit",
        reason: "550 5.4.5",
        cure: "within 24 hours",
        mend: retry,
    },
    Case {
        name: "too many logins",
        rule: "auth => 454 4.7.0 Too many login attempts, please try again later.",
        begin: nothing,
        state: "over_limit",
        reason: "454 4.7.0",
        cure: "every try prolongs it",
        mend: hang_up,
    },
    Case {
        name: "peak of an organisation",
        rule: "mail => 450 4.2.1 Peak SMTP relay limit exceeded for customer.",
        begin: nothing,
        state: "over_limit",
        reason: "450 4.2.1",
        cure: "ten minutes",
        mend: retry,
    },
    Case {
        name: "EHLO name refused",
        rule: "ehlo => close 421 4.7.0 Try again later, closing connection. (EHLO)",
        begin: nothing,
        state: "misconfigured",
        reason: "421 4.7.0",
        cure: "`hostname`",
        mend: hang_up,
    },
    Case {
        name: "relay denied",
        rule: "mail => 550 5.7.0 Mail relay denied [203.0.113.7].",
        begin: nothing,
        state: "misconfigured",
        reason: "550 5.7.0 Mail relay denied",
        cure: "`host` to smtp.gmail.com",
        mend: retry,
    },
    Case {
        name: "certificate of an unknown authority",
        rule: "",
        begin: |relay, _| relay.unset("GMAIL_CA_FILE"),
        state: "misconfigured",
        reason: "somebody whom this machine does not trust",
        cure: "`ca_file`",
        mend: |relay, _| {
            let ca_file = relay.folder().join("ca.pem");
            configure(relay, &format!("ca_file = \"{}\"", ca_file.display()));
            relay.hang_up();
        },
    },
    Case {
        name: "no TLS at this port",
        rule: "",
        begin: |relay, gmail| {
            relay.unset("GMAIL_PORT");
            configure(relay, &format!("port = {}", gmail.ports().starttls));
        },
        state: "misconfigured",
        reason: "does not speak TLS",
        cure: "swapped",
        mend: |relay, gmail| {
            configure(relay, &format!("port = {}", gmail.ports().implicit));
            relay.hang_up();
        },
    },
    // TCP has no way to this address, whatever the network is (RFC 919 §7).
    Case {
        name: "no route",
        rule: "",
        begin: |relay, _| set_host(relay, "255.255.255.255"),
        state: "unreachable",
        reason: "no way to the mail server",
        cure: "online",
        mend: right_host,
    },
    // A label of 64 letters (RFC 1035 §2.3.4): it is found nowhere, and no name service has to be asked to know that.
    Case {
        name: "DNS away",
        rule: "",
        begin: |relay, _| set_host(relay, &format!("{}.invalid", "g".repeat(64))),
        state: "unreachable",
        reason: "name of the mail server was not found",
        cure: "DNS",
        mend: right_host,
    },
    Case {
        name: "hung up",
        rule: "connect => close",
        begin: nothing,
        state: "unreachable",
        reason: "TLS failed",
        cure: "intercepts TLS",
        mend: retry,
    },
];

/// Sees that one message waits for longer than mail is tried for.
fn waits_longer_than_patience(relay: &Relay, state: &str) {
    // Time itself is what has to pass here.
    thread::sleep(LONGER_THAN_PATIENCE);
    assert_eq!(relay.ask_json(&["queue", "list", "--json"]).len(), 1);
    assert_eq!(text(&account(relay), "state"), state);
    for event in ["expired", "refused", "delivered"] {
        assert!(relay.log().events(event).is_empty(), "{event}");
    }
}

fn play(case: &Case) {
    let gmail = Gmail::start();
    gmail.script(case.rule);
    let mut relay = hasty(&gmail, "");
    (case.begin)(&mut relay, &gmail);
    relay.start();
    device::send_one(relay.port(), case.name, &["you@example.com"]);
    let event = relay.log().wait_for("account", 1).remove(0);
    let told = |value: &Value| {
        assert_eq!(text(value, "state"), case.state, "{value}");
        assert!(text(value, "reason").contains(case.reason), "{value}");
        assert!(text(value, "cure").contains(case.cure), "{value}");
    };
    told(&event);
    waits_longer_than_patience(&relay, case.state);
    told(&account(&relay));
    assert!(gmail.counts().failed_logins <= 1, "{:?}", gmail.counts());

    gmail.script("");
    (case.mend)(&mut relay, &gmail);
    gmail.wait_for(1);
    relay.log().wait_for_one("account", |event| event["state"] == "working");
    relay.log().wait_for("delivered", 1);
    assert_eq!(text(&account(&relay), "state"), "working");
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn every_trouble_of_an_account_holds_its_mail_until_it_is_mended() {
    let play_some = |cases: &'static [Case]| {
        thread::scope(|scope| {
            let played: Vec<_> = cases.iter().map(|case| (case.name, scope.spawn(move || play(case)))).collect();
            let failed = played.into_iter().filter_map(|(name, played)| played.join().is_err().then_some(name));
            failed.collect::<Vec<&str>>()
        })
    };
    // Some at a time, as every one of them is a process that wants to be heard.
    let failed: Vec<&str> = CASES.chunks(5).flat_map(play_some).collect();
    assert!(failed.is_empty(), "{failed:?}; see above");
}

/// The pace of gmail.md, section 5.1: "DEFER, drop to one connection".
#[test]
fn throttling_slows_the_account_to_one_connection_and_bounces_nothing() {
    let gmail = Gmail::start();
    gmail.script("mail => 421 4.7.0 Temporary System Problem. Try again later (10).");
    let mut relay = hasty(&gmail, "connections = 3");
    relay.start();
    device::send_one(relay.port(), "throttled", &["you@example.com"]);
    let slowed = relay.log().wait_for("account", 1).remove(0);
    assert_eq!(text(&slowed, "state"), "slowed", "{slowed}");
    assert!(text(&slowed, "reason").contains("421 4.7.0"), "{slowed}");
    waits_longer_than_patience(&relay, "slowed");
    let throttled = relay.ask_json(&["queue", "list", "--json"]).remove(0);
    assert!(throttled["attempts"].as_u64() >= Some(1), "it has been tried: {throttled}");
    for n in 1..12 {
        device::send_one(relay.port(), &format!("message {n}"), &["you@example.com"]);
    }

    gmail.script("");
    relay.log().wait_for_one("account", |event| event["state"] == "working");
    let arrived = gmail.wait_for(12);
    let first = arrived[0].session;
    assert!(arrived[..5].iter().all(|message| message.session == first), "the first five came over one connection");
    relay.log().wait_for("delivered", 12);
    let log = relay.stop();
    let states: Vec<_> = log.events("account").iter().map(|event| text(event, "state").to_owned()).collect();
    assert_eq!(states, ["slowed", "working"]);
    assert!(log.events("expired").is_empty());
}

#[test]
fn bursts_go_out_at_once_as_long_as_gmail_takes_them() {
    let gmail = Gmail::start();
    gmail.script("dot delay=300ms");
    let mut relay = hasty(&gmail, "connections = 5");
    relay.start();
    for n in 0..5 {
        device::send_one(relay.port(), &format!("message {n}"), &["you@example.com"]);
    }
    let arrived = gmail.wait_for(5);
    let mut sessions: Vec<_> = arrived.iter().map(|message| message.session).collect();
    sessions.sort_unstable();
    sessions.dedup();
    assert!(sessions.len() >= 2, "several connections at once: {sessions:?}");
    assert!(relay.stop().events("account").is_empty());
}

#[test]
fn a_relay_that_is_started_again_and_again_logs_in_once_each_time() {
    let gmail = Gmail::start();
    let mut relay = hasty(&gmail, "connections = 1");
    relay.set("GMAIL_APP_PASSWORD", "zzzz zzzz zzzz zzzz");
    relay.start();
    for n in 0..5 {
        device::send_one(relay.port(), &format!("message {n}"), &["you@example.com"]);
    }
    relay.log().wait_for("account", 1);
    let before = account(&relay);
    for starts in 2..5 {
        relay.kill();
        assert_eq!(text(&account(&relay), "state"), "paused", "it is known while nothing runs");
        relay.start();
        let event = relay.log().wait_for("account", 1).remove(0);
        assert_eq!(text(&event, "state"), "paused", "{event}");
        assert_eq!(gmail.counts().failed_logins, starts);
    }
    let after = account(&relay);
    assert_eq!((&after["since"], &after["state"]), (&before["since"], &before["state"]));
    relay.kill();

    relay.set("GMAIL_APP_PASSWORD", crate::program::gmail::APP_PASSWORD);
    relay.start();
    gmail.wait_for(5);
    relay.log().wait_for_one("account", |event| event["state"] == "working");
    relay.stop();
}

#[test]
fn a_limit_that_gmail_teaches_is_believed_until_it_takes_more() {
    let gmail = Gmail::start();
    gmail.script("mail after=2 => 550 5.4.5 Daily user sending limit exceeded.");
    let mut relay = hasty(&gmail, "connections = 1");
    relay.start();
    let limits = |relay: &Relay| {
        let status = account(relay);
        ["sent_24h", "daily_limit", "left_24h"].map(|key| status[key].as_u64().expect("a number"))
    };
    device::send_one(relay.port(), "first", &["a@example.com"]);
    device::send_one(relay.port(), "second", &["b@example.com"]);
    let first = relay.log().wait_for("delivered", 2).remove(0);
    assert_eq!((limits(&relay), &account(&relay)["believed_limit"]), ([2, 500, 498], &Value::Null));
    device::send_one(relay.port(), "third", &["c@example.com"]);
    relay.log().wait_for_one("account", |event| event["state"] == "over_limit");
    let status = account(&relay);
    assert_eq!((limits(&relay), &status["believed_limit"]), ([2, 500, 0], &2.into()));
    let [sent, frees] =
        [text(&first, "ts"), text(&status, "next_place_frees")].map(|time| time.parse::<Timestamp>().expect("a time"));
    // Counted by the minute.
    let minutes = frees.duration_since(sent).as_mins();
    assert!((24 * 60..=24 * 60 + 1).contains(&minutes), "{status}");
    let told = relay.ask(&["status"]);
    for words in ["2 of 500 recipients", "Limit     2, it seems", "Left      0, the next place frees at "] {
        assert!(told.contains(words), "{told}");
    }
    relay.kill();
    assert_eq!(account(&relay)["believed_limit"], 2, "it is kept");
    relay.start();
    relay.log().wait_for_one("account", |event| event["state"] == "over_limit");

    // One message is tried beyond it, now and then.
    gmail.script("");
    gmail.wait_for(3);
    relay.log().wait_for_one("account", |event| event["state"] == "working");
    assert_eq!((limits(&relay), &account(&relay)["believed_limit"]), ([3, 500, 497], &Value::Null));
    relay.stop();
    assert_eq!(gmail.counts().messages, 3);
}

#[test]
fn a_port_where_nobody_listens_is_told_as_such() {
    let gmail = Gmail::start();
    let closed = ClosedPort::new();
    let mut relay = hasty(&gmail, "");
    relay.set("GMAIL_PORT", &closed.number().to_string());
    relay.start();
    device::send_one(relay.port(), "refused", &["you@example.com"]);
    let event = relay.log().wait_for("account", 1).remove(0);
    assert_eq!(text(&event, "state"), "unreachable");
    assert!(text(&event, "reason").contains("refused the connection"), "{event}");
    waits_longer_than_patience(&relay, "unreachable");
    relay.stop();
}
