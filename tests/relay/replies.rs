//! What becomes of mail by what Gmail says of a part of it.

use crate::program::{Device, Gmail, Relay, device};

const HASTY: &str = "[[account]]\nconnections = 1\n\n[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n";

fn started(gmail: &Gmail) -> Relay {
    let mut relay = Relay::new(gmail);
    relay.write_config(HASTY);
    relay.start();
    relay
}

#[test]
fn a_message_with_too_many_recipients_goes_in_smaller_transactions() {
    let gmail = Gmail::start();
    gmail.script("dot times=2 => 452 4.5.3 Your message has too many recipients.");
    let mut relay = started(&gmail);
    let to: Vec<String> = (0..8).map(|n| format!("user{n}@example.com")).collect();
    let named: Vec<&str> = to.iter().map(String::as_str).collect();
    Device::connect(relay.port()).send("a@example.org", &named, &device::message("to all"));
    relay.log().wait_for("delivered", 8);
    let received = gmail.received();
    let sizes: Vec<_> = received.iter().map(|message| message.recipients.len()).collect();
    assert_eq!(sizes, [2, 2, 2, 2]);
    let mut arrived: Vec<String> = received.into_iter().flat_map(|message| message.recipients).collect();
    arrived.sort();
    assert_eq!(arrived, to);
    assert!(relay.stop().events("deferred").is_empty());
}

#[test]
fn a_recipient_over_whom_gmail_hangs_up_does_not_hold_the_others_back() {
    let gmail = Gmail::start();
    gmail.script("rcpt fussy@ => close 421 4.7.0 TLS required for RCPT domain, closing connection.");
    let mut relay = started(&gmail);
    device::send_one(relay.port(), "to all", &["one@example.com", "fussy@example.org", "two@example.com"]);
    let arrived = gmail.wait_for(1).remove(0);
    let mut others = arrived.recipients;
    others.sort();
    assert_eq!(others, ["one@example.com", "two@example.com"]);
    let deferred = relay.log().wait_for("deferred", 1);
    assert!(deferred.iter().all(|event| event["to"] == "fussy@example.org"), "{deferred:?}");
    gmail.script("");
    assert_eq!(gmail.wait_for(2)[1].recipients, ["fussy@example.org"]);
    let log = relay.stop();
    assert!(log.events("account").is_empty(), "it says nothing about the account");
}

#[test]
fn a_domain_that_is_not_found_is_looked_for_twice() {
    let gmail = Gmail::start();
    let words = "553 5.1.2 We weren't able to find the recipient domain.";
    gmail.script(&format!("rcpt typo@ => {words}\nrcpt hiccup@ times=1 => {words}"));
    let mut relay = started(&gmail);
    device::send_one(relay.port(), "somewhere", &["typo@example.con", "hiccup@example.com"]);
    assert_eq!(relay.log().wait_for("deferred", 2).len(), 2);
    assert_eq!(relay.log().wait_for("refused", 1)[0]["to"], "typo@example.con");
    assert_eq!(relay.log().wait_for("delivered", 1)[0]["to"], "hiccup@example.com");
    relay.stop();
}
