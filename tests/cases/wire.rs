//! What can only be seen on a real connection: how replies leave, and how clients go.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::program::{DEADLINE, Device, Gmail, Relay, device};

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// What one read gets.
fn read(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// A reply in two segments hangs some programs (legacy-clients.md, cases 1 and 8).
#[test]
fn each_reply_leaves_whole() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    for _ in 0..50 {
        let mut stream = connect(relay.port());
        let greeting = read(&mut stream);
        assert!(greeting.starts_with("220 ") && greeting.ends_with("\r\n"), "{greeting:?}");
        assert_eq!(greeting.matches('\n').count(), 1, "{greeting:?}");
        stream.write_all(b"EHLO printer\r\n").unwrap();
        let offers = read(&mut stream);
        assert!(offers.ends_with("250 ENHANCEDSTATUSCODES\r\n"), "{offers:?}");
    }
    relay.stop();
}

/// Monitors, scanners that probe, and floods of resets: nobody is warned of, nothing is left, and the next client is
/// served (legacy-clients.md, cases 2, 64, 65; reliability-security.md, case 99).
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    device::send_one(relay.port(), "before", &["you@example.com"]);
    relay.log().wait_for("delivered", 1);
    for _ in 0..500 {
        drop(Device::connect(relay.port()));
    }
    // These may be told that they are too many.
    for _ in 0..500 {
        reset(&connect(relay.port()));
    }
    wait_for_no_client(&relay);
    for _ in 0..50 {
        let mut device = Device::connect(relay.port());
        device.order("MAIL FROM:<a@b>");
        device.order("RCPT TO:<c@example.com>");
        device.order("RSET");
        device.order("QUIT");
        let mut device = Device::connect(relay.port());
        device.order("MAIL FROM:<a@b>");
        device.order("RCPT TO:<c@example.com>");
    }
    wait_for_no_client(&relay);
    device::send_one(relay.port(), "behind", &["you@example.com"]);
    relay.log().wait_for("delivered", 2);
    let log = relay.stop().text();
    // A start in a folder of the tests may warn of its file system, and of nothing else.
    let is_alarming = |line: &&str| line.contains(r#""level":"warn""#) || line.contains(r#""level":"error""#);
    let alarming = log.lines().filter(is_alarming).find(|line| !line.contains(r#""event":"warning""#));
    assert_eq!(alarming, None);
    assert_eq!(gmail.counts().messages, 2);
}

/// Ends the connection with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// No connection of a client is open in the relay any more.
fn wait_for_no_client(relay: &Relay) {
    let began = Instant::now();
    let open = || connections_of(relay);
    while open() > 0 {
        assert!(began.elapsed() < DEADLINE, "{} connections stay open", open());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Established or half-closed connections on the relay's port, as the relay's side has them (proc(5)).
fn connections_of(relay: &Relay) -> usize {
    let port = format!(":{:04X}", relay.port());
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", relay.process_id())).unwrap();
    let is_open = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // 01 is ESTABLISHED, 08 CLOSE_WAIT.
        words[1].ends_with(&port) && ["01", "08"].contains(&words[3])
    };
    table.lines().skip(1).filter(is_open).count()
}

/// Cameras reset the connection instead of QUIT, and some do not even wait for the 250: the message is stored once, and
/// that is no error (legacy-clients.md, cases 106, 107).
#[test]
fn who_leaves_behind_the_dot_without_a_word_is_served_once() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let mut hasty = Device::connect(relay.port());
    hasty.begin("camera@nas.local", &["you@example.com"]);
    hasty.write(device::message("hasty").as_bytes());
    hasty.write(b".\r\n");
    drop(hasty);
    gmail.wait_for(1);
    let mut rude = Device::connect(relay.port());
    rude.send("camera@nas.local", &["you@example.com"], &device::message("rude"));
    reset(rude.stream());
    drop(rude);
    relay.log().wait_for("delivered", 2);
    let log = relay.stop();
    assert_eq!(gmail.counts().messages, 2, "{}", log.text());
    assert!(!log.text().contains(r#""level":"error""#), "{}", log.text());
}

/// Python 2.7 waits for the 221 and then for the end (legacy-clients.md, case 108).
#[test]
fn quit_is_answered_and_ends_the_connection() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let mut device = Device::connect(relay.port());
    assert!(device.say("QUIT").starts_with("221 "));
    assert!(device.hears_the_end());
    relay.stop();
}

/// However an address is written, mail goes nowhere but to those on the list (reliability-security.md, cases 105, 106).
#[test]
fn no_way_of_writing_leads_past_the_list_of_recipients() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config("[recipients]\nallow = [\"*@example.com\"]\n");
    relay.start();
    let mut device = Device::connect(relay.port());
    device.order("MAIL FROM:<spam@evil.example>");
    for written in [
        "<user@evil.example>",
        "<user%evil.example@evil.example>",
        "<\"user@example.com\"@evil.example>",
        "<@example.com:user@evil.example>",
        "<@example.com,@evil.example:user@evil.example>",
        "<user@evil.example> <user@example.com>",
        "<evil.example!user>",
        "<user@example.com@evil.example>",
        "<user@[127.0.0.1]>",
        "<user@[example.com]>",
        "<user@evil.example,user@example.com>",
        "user@evil.example",
        "<user@example.com.evil.example>",
        "<user@evil.example\0@example.com>",
    ] {
        let reply = device.say(&format!("RCPT TO:{written}"));
        assert!(reply.starts_with('5'), "{written}: {reply}");
    }
    assert!(device.say("DATA").starts_with("554 "));
    relay.stop();
    assert_eq!(gmail.counts().messages, 0);
}
