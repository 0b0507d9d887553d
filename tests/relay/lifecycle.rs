//! Start, reload and end, while devices and Gmail are in the middle of something.

use crate::program::{DEADLINE, Device, Gmail, Relay, device};
use crate::subject;

#[test]
fn a_stop_in_the_middle_of_an_upload_ends_it_without_a_promise() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let mut device = Device::connect(relay.port());
    device.begin("printer@nas.local", &["you@example.com"]);
    device.write(b"Subject: half\r\n\r\n");
    device.write("A line of a scan that is far from its end.\r\n".repeat(10_000).as_bytes());
    let mut idle = Device::connect(relay.port());
    relay.stop();
    assert!(device.hear().starts_with("421 "));
    assert!(device.hears_the_end());
    assert!(idle.hear().starts_with("421 ") && idle.hears_the_end());
    assert!(relay.ask_json(&["queue", "list", "--json"]).is_empty());
    relay.start();
    assert!(relay.ask_json(&["queue", "list", "--json"]).is_empty());
    device::send_one(relay.port(), "whole", &["you@example.com"]);
    assert_eq!(subject(&gmail.wait_for(1)[0].content), "whole");
}

/// Files of large contents in the spool.
fn stored_files(relay: &Relay) -> usize {
    std::fs::read_dir(relay.spool().join("content")).map_or(0, Iterator::count)
}

#[test]
fn an_upload_that_ends_halfway_leaves_nothing_behind() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let half = "A line of a scan that is far from its end.\r\n".repeat(20_000);
    let upload_half = |relay: &Relay| {
        let mut device = Device::connect(relay.port());
        device.begin("printer@nas.local", &["you@example.com"]);
        device.write(half.as_bytes());
        device
    };
    // The relay dies with a file in its spool.
    let device = upload_half(&relay);
    let began = tokio::time::Instant::now();
    while stored_files(&relay) == 0 && began.elapsed() < DEADLINE {
        std::thread::yield_now();
    }
    relay.kill();
    assert!(stored_files(&relay) > 0);
    drop(device);
    // The device goes away.
    relay.start();
    drop(upload_half(&relay));
    device::send_one(relay.port(), "whole", &["you@example.com"]);
    relay.log().wait_for("delivered", 1);
    relay.stop();
    assert_eq!((gmail.counts().messages, stored_files(&relay)), (1, 0));
}

#[test]
fn a_stop_while_gmail_is_silent_loses_nothing() {
    let gmail = Gmail::start();
    gmail.script("dot => silent");
    let mut relay = Relay::start_new(&gmail);
    let mut device = Device::connect(relay.port());
    let id = device.send("printer@nas.local", &["you@example.com"], &device::message("silence"));
    gmail.wait_until(|counts| counts.logins == 1);
    relay.stop();
    let queue = relay.ask_json(&["queue", "list", "--json"]);
    assert_eq!(queue.len(), 1, "{queue:?}");
    assert_eq!(queue[0]["id"], id);
    gmail.script("");
    relay.start();
    assert_eq!(subject(&gmail.wait_for(1)[0].content), "silence");
    relay.log().wait_for("delivered", 1);
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn a_stop_waits_for_a_delivery_that_is_under_way() {
    let gmail = Gmail::start();
    gmail.script("dot delay=1s");
    let mut relay = Relay::start_new(&gmail);
    device::send_one(relay.port(), "slowly", &["you@example.com"]);
    gmail.wait_until(|counts| counts.logins == 1);
    let log = relay.stop();
    assert_eq!(log.events("delivered").len(), 1, "{}", log.text());
    assert_eq!(gmail.counts().messages, 1);
    assert!(relay.ask_json(&["queue", "list", "--json"]).is_empty());
}

#[test]
fn ctrl_c_ends_it_in_order_too() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    assert_eq!(relay.stop_by("INT").events("stopping")[0]["reason"], "SIGINT");
}

#[test]
fn a_broken_configuration_changes_nothing_while_the_relay_runs() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config("[recipients]\nallow = [\"*@example.com\"]\n");
    relay.start();
    relay.write_config("[recipients]\nalow = [\"*\"]\n");
    relay.hang_up();
    let is_told = |event: &serde_json::Value| event["warning"].as_str().unwrap().contains("the old one stays in force");
    let warning = relay.log().wait_for_one("warning", is_told);
    assert!(warning["warning"].as_str().unwrap().contains("relay.toml:2"), "{warning}");
    let mut device = Device::connect(relay.port());
    device.order("MAIL FROM:<a@nas.local>");
    assert!(device.say("RCPT TO:<you@example.org>").starts_with("550 5.7.1 "));
    device.order("RCPT TO:<you@example.com>");
    drop(device);
    relay.stop();
}

#[test]
fn a_changed_rule_is_in_force_for_the_next_session() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let mut before = Device::connect(relay.port());
    relay.write_config("[recipients]\nredirect_all = \"me@gmail.com\"\n");
    relay.hang_up();
    let reloaded = relay.log().wait_for("reloaded", 1);
    assert_eq!(reloaded[0]["changes"], "everything is in force");
    device::send_one(relay.port(), "after", &["boss@example.com"]);
    assert_eq!(gmail.wait_for(1)[0].recipients, ["me@gmail.com"]);
    // Whoever was connected goes on under the rules of the time.
    before.send("a@nas.local", &["boss@example.com"], &device::message("before"));
    assert_eq!(gmail.wait_for(2)[1].recipients, ["boss@example.com"]);
    drop(before);

    relay.write_config("[retry]\nfirst = \"1s\"\n\n[spool]\npath = \"elsewhere\"\n\n[limits]\nconnections = 7\n");
    relay.unset("SMARTHOST_SPOOL");
    relay.hang_up();
    let reloaded = relay.log().wait_for("reloaded", 2);
    assert_eq!(reloaded[1]["changes"], "in force, except for limits.connections, which needs a restart");
    relay.stop();
}

#[test]
fn a_reload_does_not_disturb_what_is_under_way() {
    let gmail = Gmail::start();
    gmail.script("dot delay=500ms");
    let mut relay = Relay::start_new(&gmail);
    device::send_one(relay.port(), "delivery", &["you@example.com"]);
    let mut device = Device::connect(relay.port());
    device.begin("a@nas.local", &["you@example.com"]);
    device.write(b"Subject: upload\r\n\r\nfirst half\r\n");
    gmail.wait_until(|counts| counts.logins == 1);
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    device.write(b"second half\r\n");
    device.order(".");
    drop(device);
    relay.log().wait_for("delivered", 2);
    relay.stop();
    let mut subjects: Vec<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
    subjects.sort();
    assert_eq!(subjects, ["delivery", "upload"]);
}

#[test]
fn a_reload_does_not_wait_for_a_delivery_that_hangs() {
    let gmail = Gmail::start();
    gmail.script("dot hang@ => silent");
    let mut relay = Relay::start_new(&gmail);
    device::send_one(relay.port(), "hangs", &["hang@example.com"]);
    gmail.wait_until(|counts| counts.logins == 1);
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    device::send_one(relay.port(), "goes on", &["you@example.com"]);
    assert_eq!(subject(&gmail.wait_for(1)[0].content), "goes on");
    relay.kill();
}

#[test]
fn a_socket_that_was_opened_for_us_is_served() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    // As systemd does it: the sockets begin at descriptor 3, and the process is told that they are its own.
    let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" run"#;
    relay.start_through_shell(script, socket.into());
    assert_eq!(relay.port(), port);
    device::send_one(port, "through a socket unit", &["you@example.com"]);
    gmail.wait_for(1);
    relay.stop();
}

#[test]
fn a_client_that_is_not_allowed_hears_554_before_it_says_anything() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.unset("SMARTHOST_LISTEN");
    relay.write_config("[[listen]]\naddress = \"127.0.0.1:0\"\nallow = [\"192.0.2.0/24\"]\n");
    relay.start();
    let mut stranger = Device::connect_without_listening(relay.port());
    assert!(stranger.hear().starts_with("554 5.7.1 "));
    assert!(stranger.hears_the_end());
    drop(stranger);
    let rejected = relay.log().wait_for("rejected", 1);
    assert_eq!(rejected[0]["client"], "127.0.0.1");
    relay.write_config("[[listen]]\naddress = \"127.0.0.1:0\"\nallow = [\"loopback\"]\n");
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    device::send_one(relay.port(), "now", &["you@example.com"]);
    gmail.wait_for(1);
    relay.stop();
}
