//! Whom the client asked for stays visible where somebody else gets the mail.

use smarthost::standin::Received;

use crate::program::device::{Device, message};
use crate::program::{Gmail, Relay};

/// Whom the message was asked to go to, as its header has it.
fn originals(received: &Received) -> Vec<String> {
    let text = String::from_utf8_lossy(&received.content).into_owned();
    let header = text.split("\r\n\r\n").next().unwrap_or_default();
    header.lines().filter_map(|line| line.strip_prefix("X-Original-To: ")).map(str::to_owned).collect()
}

fn send(relay: &Relay, subject: &str, to: &[&str]) -> String {
    Device::connect(relay.port()).send("ups@nas.local", to, &message(subject))
}

#[test]
fn everything_to_one_mailbox_shows_whom_it_was_meant_for() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("SMARTHOST_REDIRECT_ALL", "me@gmail.com");
    relay.start();
    let to = ["root@localhost", "boss@example.com", "root@localhost", "me@gmail.com", "\"two words\"@example.com"];
    let id = send(&relay, "redirected", &to);
    let arrived = &gmail.wait_for(1)[0];
    assert_eq!(arrived.recipients, ["me@gmail.com"], "once");
    let expected = ["root@localhost", "boss@example.com", "\"two words\"@example.com"];
    assert_eq!(originals(arrived), expected);
    relay.wait_for_queue(0);
    let past = relay.ask_json(&["history", "--json"]);
    assert_eq!(past[0]["original"], expected.join(", "));
    let shown = relay.ask(&["queue", "show", &id]);
    assert!(shown.contains("To        me@gmail.com, asked for as root@localhost, boss@example.com"), "{shown}");

    // More than anybody reads, and it still arrives.
    let many: Vec<String> = (0..1000).map(|n| format!("name-{n}@example.com")).collect();
    send(&relay, "many", &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(originals(&gmail.wait_for(2)[1]).len(), 100);
    relay.stop();
}

#[test]
fn an_alias_for_several_shows_its_name_and_blind_copies_stay_blind() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config(
        "[recipients]\nalias = { root = [\"a@example.com\", \"b@example.com\"], boss = \"boss@example.com\" }\n",
    );
    relay.start();
    send(&relay, "all of one name", &["root@localhost"]);
    let arrived = &gmail.wait_for(1)[0];
    assert_eq!(arrived.recipients, ["a@example.com", "b@example.com"]);
    assert_eq!(originals(arrived), ["root@localhost"]);

    send(&relay, "different names", &["root@localhost", "boss@localhost", "a@example.com"]);
    let arrived = &gmail.wait_for(2)[1];
    assert_eq!(arrived.recipients, ["a@example.com", "b@example.com", "boss@example.com"], "nobody twice");
    assert!(originals(arrived).is_empty());
    relay.stop();
}
