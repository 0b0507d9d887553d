//! What the log tells, and what it must not.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::program::gmail::APP_PASSWORD;
use crate::program::{Device, Gmail, Relay, device};

/// The keys behind `ts`, `level` and `event`, which begin every line.
fn own_keys(event: &Value) -> Vec<&str> {
    let keys: Vec<&str> = event.as_object().expect("a line is an object").keys().map(String::as_str).collect();
    assert_eq!(keys[..3], ["ts", "level", "event"], "{event}");
    let ts = event["ts"].as_str().expect("`ts` is text");
    ts.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{ts}: {error}"));
    keys[3..].to_vec()
}

#[test]
fn events_have_their_pinned_keys() {
    let gmail = Gmail::start();
    gmail.script("rcpt bad@ => 550 5.1.1 no\nrcpt slow@ times=1 => 451 4.2.1 later\ndot lost@ times=1 => lose");
    let mut relay = Relay::new(&gmail);
    relay.set("SMARTHOST_LOG_LEVEL", "debug");
    relay.write_config("[retry]\nfirst = \"1s\"\n");
    relay.start();
    let id = device::send_one(relay.port(), "all of it", &["good@example.com", "bad@example.com", "slow@example.com"]);
    device::send_one(relay.port(), "lost", &["lost@example.com"]);
    relay.log().wait_for("delivered", 4);
    gmail.script("mail => 550 5.4.5 Daily user sending limit exceeded.");
    device::send_one(relay.port(), "over the limit", &["you@example.com"]);
    relay.log().wait_for_one("account", |event| event["state"] == "over_limit");
    assert!(Device::connect(relay.port()).say("DANCE").starts_with("500 "));
    relay.log().wait_for("rejected", 1);
    let log = relay.stop();
    let pinned: [(&str, &[&str]); 10] = [
        ("ready", &["addresses"]),
        ("connected", &["client"]),
        ("accepted", &["id", "client", "from", "to", "size"]),
        ("rejected", &["client", "reply", "command"]),
        ("delivered", &["id", "to", "account", "reply", "attempts", "delay_ms"]),
        ("deferred", &["id", "to", "account", "reply", "next_try"]),
        ("refused", &["id", "to", "account", "reply"]),
        ("uncertain", &["id", "to", "account", "reply"]),
        ("account", &["account", "state", "reason", "cure"]),
        ("stopping", &["reason"]),
    ];
    for (name, keys) in pinned {
        let events = log.events(name);
        assert!(!events.is_empty(), "there is no {name} in\n{}", log.text());
        for event in events {
            // More keys may follow; these come first, in this order.
            assert!(own_keys(&event).starts_with(keys), "{event}");
        }
    }
    let accepted = &log.events("accepted")[0];
    assert_eq!((&accepted["id"], &accepted["from"]), (&id.into(), &"printer@nas.local".into()));
    assert_eq!(accepted["to"], "good@example.com,bad@example.com,slow@example.com");
    assert_eq!(accepted["size"], device::message("all of it").len());
    assert_eq!(log.events("rejected")[0]["command"], "DANCE");
}

#[test]
fn no_secret_is_told_anywhere() {
    let gmail = Gmail::start();
    gmail.script("auth times=1 => 535 5.7.8 Username and Password not accepted.");
    let mut relay = Relay::new(&gmail);
    relay.set("SMARTHOST_LOG_LEVEL", "trace");
    relay.start();
    let mut device = Device::connect(relay.port());
    device.order("EHLO scanner");
    let of_the_device = STANDARD.encode("\0scanner\0hunter2hunter2");
    assert!(device.say(&format!("AUTH PLAIN {of_the_device}")).starts_with('5'));
    assert!(device.say("AUTH LOGIN").starts_with('5'));
    assert!(device.say("aHVudGVyMmh1bnRlcjI=").starts_with('5'));
    drop(device);
    device::send_one(relay.port(), "secrets", &["you@example.com"]);
    relay.log().wait_for_one("account", |event| event["state"] == "paused");
    let mut told = relay.ask(&["queue", "list"]) + &relay.ask(&["status", "--json"]);
    told += &relay.ask(&["queue", "retry", "--all"]);
    gmail.wait_for(1);
    relay.log().wait_for("delivered", 1);
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    told += &fs::read_to_string(format!("/proc/{}/cmdline", relay.process_id())).unwrap();
    told += &relay.ask(&["check"]);
    told += &relay.ask(&["history", "--attempts"]);
    told += &relay.stop().text();
    for folder in [relay.spool(), relay.spool().join("content"), relay.spool().join("trace")] {
        let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
        for file in files.filter(|path| path.is_file()) {
            told += &String::from_utf8_lossy(&fs::read(file).unwrap());
        }
    }
    let dense: String = APP_PASSWORD.split(' ').collect();
    let plain = |password: &str| STANDARD.encode(format!("\0me@gmail.com\0{password}"));
    let secrets = [
        APP_PASSWORD.to_owned(),
        plain(APP_PASSWORD),
        STANDARD.encode(APP_PASSWORD),
        plain(&dense),
        STANDARD.encode(&dense),
        dense,
        of_the_device,
        "hunter2hunter2".to_owned(),
        "aHVudGVyMmh1bnRlcjI=".to_owned(),
    ];
    assert!(told.contains("printer@nas.local"), "nothing was told at all");
    for secret in secrets {
        let line = told.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} is in {line:?}");
    }
}
