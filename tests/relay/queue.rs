//! The operator's view: the queue and the history, with the relay running and without it.

use serde_json::Value;

use crate::program::{Device, Gmail, Relay, device};

/// An id of the right form that no message has.
const UNKNOWN: &str = "0000000000001";

/// A relay whose mail waits, since Gmail is away; one message with these recipients is in its queue.
fn with_waiting_mail(gmail: &Gmail) -> (Relay, String) {
    gmail.script("connect => close");
    let relay = Relay::start_new(gmail);
    let id = device::send_one(relay.port(), "waiting", &["one@example.com", "two@example.com"]);
    relay.log().wait_for("account", 1);
    relay.log().wait_for("deferred", 2);
    (relay, id)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("it is an object").keys().map(String::as_str).collect()
}

fn only<'a>(values: &'a [Value], id: &str) -> &'a Value {
    assert_eq!(values.len(), 1, "{values:?}");
    assert_eq!(values[0]["id"], id);
    &values[0]
}

#[test]
fn the_queue_is_listed_with_its_pinned_keys() {
    let gmail = Gmail::start();
    let (mut relay, id) = with_waiting_mail(&gmail);
    for running in [true, false] {
        let queue = relay.ask_json(&["queue", "list", "--json"]);
        let message = only(&queue, &id);
        let pinned = [
            "id",
            "received",
            "size",
            "account",
            "from",
            "to",
            "attempts",
            "next_try",
            "state",
            "last_reply",
            "client",
        ];
        assert_eq!(keys(message), pinned);
        assert_eq!((&message["account"], &message["from"]), (&"me@gmail.com".into(), &"printer@nas.local".into()));
        assert_eq!(message["to"], serde_json::json!(["one@example.com", "two@example.com"]));
        assert_eq!((&message["attempts"], &message["state"]), (&0.into(), &"waiting".into()));
        assert_eq!(message["size"], device::message("waiting").len());
        assert!(!message["last_reply"].as_str().unwrap().is_empty());
        let client = message["client"].as_str().unwrap();
        assert!(client.contains("printer") && client.contains("127.0.0.1"), "{client}");
        let table = relay.ask(&["queue", "list"]);
        assert!(table.lines().count() == 2 && table.contains(&id) && table.contains("one@example.com"), "{table}");
        if running {
            relay.stop();
        }
    }
}

#[test]
fn a_message_is_shown_as_it_came_and_as_it_goes() {
    let gmail = Gmail::start();
    let (mut relay, id) = with_waiting_mail(&gmail);
    let stored = device::message("waiting");
    for running in [true, false] {
        assert_eq!(relay.ask(&["queue", "show", &id, "--raw"]), stored);
        let sent = relay.ask(&["queue", "show", &id, "--sent"]);
        assert!(sent.contains("\r\nMessage-ID: <") && sent.ends_with("\r\n\r\nToner is low.\r\n"), "{sent}");
        let text = relay.ask(&["queue", "show", &id]);
        assert!(text.contains("To        one@example.com") && text.contains("Subject: waiting"), "{text}");
        let shown: Value = serde_json::from_str(&relay.ask(&["queue", "show", &id, "--json"])).unwrap();
        assert_eq!((&shown["id"], &shown["state"]), (&id.clone().into(), &"waiting".into()));
        assert_eq!(shown["owed"], serde_json::json!(["one@example.com", "two@example.com"]));
        assert_eq!(shown["history"].as_array().unwrap().len(), 2, "{shown}");
        assert_eq!(shown["history"][0]["outcome"], "deferred");
        if running {
            relay.stop();
        }
    }
    let predicted = relay.ask(&["queue", "show", &id, "--sent"]);
    gmail.script("");
    relay.start();
    let received = gmail.wait_for(1);
    assert_eq!(String::from_utf8_lossy(&received[0].content), predicted);
}

#[test]
fn a_delivered_message_can_still_be_looked_up() {
    let gmail = Gmail::start();
    let relay = Relay::start_new(&gmail);
    let id = device::send_one(relay.port(), "done", &["you@example.com"]);
    relay.log().wait_for("delivered", 1);
    let shown: Value = serde_json::from_str(&relay.ask(&["queue", "show", &id, "--json"])).unwrap();
    assert_eq!((&shown["state"], &shown["owed"]), (&"settled".into(), &Value::Array(vec![])));
    assert!(relay.ask(&["queue", "show", &id]).contains("nobody is owed it any more"));
    for option in ["--raw", "--sent"] {
        let said = relay.command(&["queue", "show", &id, option]);
        assert!(said.status == 65 && said.stderr.contains("the content of"), "{said:?}");
    }
    let said = relay.command(&["queue", "retry", &id]);
    assert!(said.status == 65 && said.stderr.contains("settled already"), "{said:?}");
}

#[test]
fn held_mail_waits_for_its_release_while_the_relay_runs() {
    let gmail = Gmail::start();
    let (mut relay, id) = with_waiting_mail(&gmail);
    assert_eq!(relay.ask(&["queue", "hold", &id]), format!("{id} held\n"));
    let queue = relay.ask_json(&["queue", "list", "--json"]);
    assert_eq!(only(&queue, &id)["state"], "held");
    let again = relay.command(&["queue", "hold", &id]);
    assert!(again.status == 65 && again.stderr.contains("is held already"), "{again:?}");

    // A reload tries everything at once, but not what is held.
    gmail.script("");
    relay.hang_up();
    let other = device::send_one(relay.port(), "not held", &["you@example.com"]);
    assert_eq!(relay.log().wait_for("delivered", 1)[0]["id"], other);
    let queue = relay.ask_json(&["queue", "list", "--json"]);
    assert_eq!(only(&queue, &id)["state"], "held");

    assert_eq!(relay.ask(&["queue", "release", &id]), format!("{id} released\n"));
    relay.log().wait_for("delivered", 3);
    let again = relay.command(&["queue", "release", &id]);
    assert!(again.status == 65 && again.stderr.contains("is settled already"), "{again:?}");
    relay.stop();
}

#[test]
fn orders_are_taken_without_a_relay() {
    let gmail = Gmail::start();
    let (mut relay, first) = with_waiting_mail(&gmail);
    let second = device::send_one(relay.port(), "second", &["you@example.com"]);
    relay.stop();
    gmail.script("");
    assert_eq!(relay.ask(&["queue", "delete", &first]), format!("{first} deleted\n"));
    assert_eq!(relay.ask(&["queue", "hold", "--all"]), format!("{second} held\n"));
    assert_eq!(relay.ask(&["queue", "hold", "--all"]), "There was nothing to do.\n");
    let deleted = relay.ask_json(&["history", "--json"]);
    assert_eq!(deleted.len(), 2, "{deleted:?}");
    assert!(deleted.iter().all(|past| past["outcome"] == "deleted" && past["id"] == first.as_str()), "{deleted:?}");

    relay.start();
    let third = device::send_one(relay.port(), "third", &["you@example.com"]);
    assert_eq!(relay.log().wait_for("delivered", 1)[0]["id"], third);
    relay.stop();
    assert_eq!(relay.ask(&["queue", "release", &second]), format!("{second} released\n"));
    assert_eq!(relay.ask(&["queue", "retry", &second]), format!("{second} to be tried at once\n"));
    relay.start();
    assert_eq!(relay.log().wait_for("delivered", 1)[0]["id"], second);
    relay.stop();
    assert_eq!(gmail.counts().messages, 2);
    assert_eq!(relay.ask(&["queue", "list"]), "Nothing waits.\n");
}

#[test]
fn deleted_mail_is_never_sent_while_the_relay_runs() {
    let gmail = Gmail::start();
    let (mut relay, id) = with_waiting_mail(&gmail);
    assert_eq!(relay.ask(&["queue", "delete", "--all"]), format!("{id} deleted\n"));
    assert!(relay.ask_json(&["queue", "list", "--json"]).is_empty());
    gmail.script("");
    relay.hang_up();
    device::send_one(relay.port(), "other", &["you@example.com"]);
    relay.log().wait_for("delivered", 1);
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn unknown_ids_are_told_plainly() {
    let gmail = Gmail::start();
    let (mut relay, id) = with_waiting_mail(&gmail);
    for running in [true, false] {
        for order in ["retry", "hold", "release", "delete", "show"] {
            let said = relay.command(&["queue", order, UNKNOWN]);
            assert_eq!((said.status, said.stdout.as_str()), (65, ""), "{order}: {said:?}");
            assert!(said.stderr.contains(UNKNOWN) && said.stderr.contains("the spool"), "{order}: {said:?}");
        }
        let wrong = relay.command(&["queue", "hold", "me@gmail.com"]);
        assert_eq!(wrong.status, 64, "{wrong:?}");
        if running {
            relay.stop();
        }
    }
    let half = relay.command(&["queue", "hold", &id, UNKNOWN]);
    assert_eq!((half.status, half.stdout), (65, format!("{id} held\n")));
}

#[test]
fn the_history_is_filtered() {
    let gmail = Gmail::start();
    gmail.script("rcpt bad@ => 550 5.1.1 no such user");
    let mut relay = Relay::start_new(&gmail);
    let mut ups = Device::connect(relay.port());
    ups.order("EHLO ups");
    ups.send("ups@cellar.local", &["good@example.com"], &device::message("one"));
    drop(ups);
    device::send_one(relay.port(), "two", &["bad@example.com"]);
    relay.log().wait_for("delivered", 2);
    let count = |options: &[&str]| relay.ask_json(&[&["history", "--json"], options].concat()).len();
    assert_eq!(count(&[]), 3);
    assert_eq!((count(&["--to", "good@"]), count(&["--to", "nobody@"])), (1, 0));
    assert_eq!((count(&["--from", "ups@"]), count(&["--from", "printer@"])), (1, 1));
    assert_eq!((count(&["--client", "ups"]), count(&["--since", "1h"])), (1, 3));
    let newest = &relay.ask_json(&["history", "--json", "--limit", "1"])[0];
    assert_eq!((&newest["to"], &newest["outcome"]), (&"me@gmail.com".into(), &"delivered".into()));
    assert!(relay.ask(&["history"]).lines().count() == 3);
    assert_eq!(relay.ask(&["history", "--to", "nobody@"]), "Nothing in the history fits.\n");
    relay.stop();
}
