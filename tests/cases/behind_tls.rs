//! Gmail misbehaves behind TLS, at the moments where a message could be lost or sent twice (reliability-security.md,
//! cases 31 to 33 and 70).

use crate::program::{Device, Gmail, Relay, device};

fn hand_in(gmail: &Gmail) -> Relay {
    let relay = Relay::start_new(gmail);
    let mut device = Device::connect(relay.port());
    let to = ["one@example.com", "two@example.com", "three@example.com"];
    device.send("printer@nas.local", &to, &device::message("strange"));
    relay
}

#[test]
fn an_answer_counts_whatever_follows_it() {
    for rule in ["dot => close after", "quit => silent", "quit => close"] {
        let gmail = Gmail::start();
        gmail.script(rule);
        let mut relay = hand_in(&gmail);
        relay.log().wait_for("delivered", 1);
        relay.wait_for_queue(0);
        let log = relay.stop();
        assert_eq!(gmail.counts().messages, 1, "{rule}: {}", log.text());
        assert!(log.events("uncertain").is_empty() && log.events("deferred").is_empty(), "{rule}: {}", log.text());
    }
}

#[test]
fn who_is_told_421_in_place_of_the_answer_knows_that_nothing_arrived() {
    let gmail = Gmail::start();
    gmail.script("dot => close 421 4.7.0 Try again later");
    let mut relay = hand_in(&gmail);
    relay.log().wait_for("deferred", 1);
    let queue = relay.wait_for_queue(1);
    assert_eq!(queue[0]["state"], "waiting", "{queue:?}");
    let log = relay.stop();
    assert!(log.events("uncertain").is_empty(), "{}", log.text());
    assert_eq!(gmail.counts().messages, 0);
}

#[test]
fn a_reply_without_end_costs_neither_memory_nor_the_message() {
    for rule in ["mail => endless", "mail => endless line", "dot => endless line"] {
        let gmail = Gmail::start();
        gmail.script(rule);
        let mut relay = hand_in(&gmail);
        // What went wrong behind the dot is uncertain, and everything else was put off.
        relay.log().wait_for(if rule.starts_with("dot") { "uncertain" } else { "deferred" }, 1);
        let queue = relay.wait_for_queue(1);
        assert_eq!(queue[0]["state"], "waiting", "{rule}: {queue:?}");
        let memory_kb = peak_memory_kb(&relay);
        assert!(memory_kb < 100_000, "{rule}: {memory_kb} kB");
        let log = relay.stop();
        assert!(log.events("delivered").is_empty() && log.events("bounced").is_empty(), "{rule}: {}", log.text());
    }
}

/// The most memory that the process ever had (proc(5)).
fn peak_memory_kb(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
