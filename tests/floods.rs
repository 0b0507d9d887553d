//! Whatever is sent, and however slowly: memory and time stay bounded, others are served, and every message has a defined
//! end (reliability-security.md, section 13, cases 76 and 91 to 100). All of it against the real program.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

mod program;

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use program::{DEADLINE, Device, Gmail, Relay, device};

/// More than the program takes for itself in a test, and much less than any flood here would fill.
const PEAK_KIB_MAX: u64 = 150 * 1024;

fn start(gmail: &Gmail, limits: &str) -> Relay {
    let mut relay = Relay::new(gmail);
    relay.write_config(&format!("[limits]\n{limits}\n"));
    relay.start();
    relay
}

fn peak_kib(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.process_id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors(relay: &Relay) -> usize {
    fs::read_dir(format!("/proc/{}/fd", relay.process_id())).expect("it runs").count()
}

/// Memory has stayed within its bound, and the next one is served as ever.
fn assert_unharmed(relay: &Relay) {
    let peak = peak_kib(relay);
    assert!(peak < PEAK_KIB_MAX, "it took {peak} KiB");
    let began = Instant::now();
    device::send_one(relay.port(), "Toner", &["you@example.com"]);
    assert!(began.elapsed() < Duration::from_secs(5), "others wait for {:?}", began.elapsed());
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the relay listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream
}

/// Says `line` so many times without listening, while another thread counts the replies that begin with each code.
fn pipeline(port: u16, before: &str, line: &str, times: usize) -> Vec<(String, usize)> {
    let mut stream = connect(port);
    let mut listening = stream.try_clone().expect("a socket can be had twice");
    let listener = thread::spawn(move || {
        let mut replies = Vec::new();
        listening.read_to_end(&mut replies).expect("the relay answers in time");
        replies
    });
    stream.write_all(before.as_bytes()).expect("the relay reads");
    let many = line.repeat(1000);
    for _ in 0..times / 1000 {
        if stream.write_all(many.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"QUIT\r\n");
    let replies = String::from_utf8(listener.join().expect("it counts")).expect("replies are text");
    let mut counts: Vec<(String, usize)> = Vec::new();
    for line in replies.lines() {
        let code = &line[..3];
        match counts.iter_mut().find(|(known, _)| known == code) {
            Some((_, count)) => *count += 1,
            None => counts.push((code.to_owned(), 1)),
        }
    }
    counts
}

fn nested(depth: usize) -> String {
    let mut message = String::from("Subject: deep\r\nMIME-Version: 1.0\r\n");
    for level in 0..depth {
        let _ = write!(message, "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    message + "\r\nx\r\n"
}

/// Messages that are all too much of something. Those that are taken are delivered, or refused with a word.
#[test]
fn messages_that_are_too_much() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "");
    let port = relay.port();
    let line = "y".repeat(1 << 20);
    let mut accepted = 0;
    for (name, content, code) in [
        ("a field of 30 MB", format!("X: {}\r\n\r\nx\r\n", line.repeat(30)), "552"),
        ("100,000 fields", "a: b\r\n".repeat(100_000) + "\r\nx\r\n", "552"),
        ("50,000 short fields", "a:\r\n".repeat(50_000) + "\r\nx\r\n", "250"),
        ("parts in parts", nested(1000), "250"),
        ("a line of 64 MB", format!("Subject: x\r\n\r\n{}\r\n", line.repeat(64)), "552"),
        ("a line of 16 MB", format!("Subject: x\r\n\r\n{}\r\n", line.repeat(16)), "250"),
        ("a date in a far year", "Date: Mon, 1 Jan 1000000000 00:00:00 +0000\r\n\r\nx\r\n".to_owned(), "250"),
        ("a long encoded word", format!("Subject: =?utf-8?B?{}?=\r\n\r\nx\r\n", "QUFB".repeat(50_000)), "250"),
        ("comments in comments", format!("From: {}\r\n\r\nx\r\n", "(".repeat(100_000)), "250"),
    ] {
        let began = Instant::now();
        let mut device = Device::connect(port);
        device.order(&format!("EHLO {}", "x".repeat(4000)));
        device.begin("printer@nas.local", &["you@example.com"]);
        device.write(content.as_bytes());
        let reply = device.say(".");
        assert!(reply.starts_with(code), "{name}: {reply}");
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
        accepted += usize::from(code == "250");
    }
    let ended = || relay.log().events("delivered").len() + relay.log().events("refused").len();
    let began = Instant::now();
    while ended() < accepted {
        assert!(began.elapsed() < DEADLINE, "{} of {accepted} have an end", ended());
        thread::sleep(Duration::from_millis(20));
    }
    assert_unharmed(&relay);
}

#[test]
fn commands_by_the_hundred_thousand() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "recipients = 1000");
    let port = relay.port();
    let noops = pipeline(port, "", "NOOP\r\n", 1_000_000);
    assert_eq!(noops, [("220".to_owned(), 1), ("250".to_owned(), 1_000_000), ("221".to_owned(), 1)]);
    let resets = pipeline(port, "", "MAIL FROM:<a@b.example>\r\nRSET\r\n", 100_000);
    assert_eq!(resets[1], ("250".to_owned(), 200_000));
    let unknown = pipeline(port, "", "XYZZY\r\n", 100_000);
    assert_eq!(unknown, [("220".to_owned(), 1), ("500".to_owned(), 20), ("421".to_owned(), 1)]);
    assert_unharmed(&relay);
}

#[test]
fn recipients_by_the_hundred_thousand() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "recipients = 1000");
    let mut stream = connect(relay.port());
    let mut listening = stream.try_clone().expect("a socket can be had twice");
    let listener = thread::spawn(move || {
        let mut replies = String::new();
        listening.read_to_string(&mut replies).expect("the relay answers in time");
        replies
    });
    stream.write_all(b"MAIL FROM:<a@b.example>\r\n").expect("the relay reads");
    for number in 0..100_000 {
        stream.write_all(format!("RCPT TO:<u{number}@example.com>\r\n").as_bytes()).expect("the relay reads");
    }
    stream.write_all(b"QUIT\r\n").expect("the relay reads");
    let replies = listener.join().expect("it counts");
    assert_eq!(replies.matches("250 2.1.5").count(), 1000);
    assert_eq!(replies.matches("452 4.5.3 Too many recipients\r\n").count(), 99_000);
    assert_unharmed(&relay);
}

/// A line that never ends, in the place of a command.
#[test]
fn a_command_that_never_ends() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "");
    let mut stream = connect(relay.port());
    let piece = vec![b'x'; 1 << 20];
    let written = (0..64).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(written < 64, "the relay reads on and on");
    assert_unharmed(&relay);
}

/// A client that talks and never listens is heard no further than buffers reach, and loses its place.
#[test]
fn a_client_that_never_listens() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "silence = \"2s\"");
    let mut stream = connect(relay.port());
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
    let many = "HELP\r\n".repeat(1000);
    let began = Instant::now();
    let mut written = 0;
    loop {
        match stream.write(many.as_bytes()) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        assert!(began.elapsed() < DEADLINE, "it still has its place");
    }
    assert!(written < 32 << 20, "{written} bytes were taken in");
    assert_unharmed(&relay);
}

/// Drips on all places: nobody is cut off while there are places, and everybody is who drips when there are none.
#[test]
fn a_byte_now_and_then_on_every_place() {
    const PLACES: usize = 20;
    let gmail = Gmail::start();
    let alone = start(&gmail, "silence_when_full = \"2s\"");
    let crowded = start(&gmail, &format!("connections = {PLACES}\nsilence_when_full = \"3s\""));
    let begin = |port: u16| {
        let mut device = Device::connect(port);
        device.begin("printer@nas.local", &["you@example.com"]);
        device
    };
    let mut single = begin(alone.port());
    // The last ones to come already find it crowded.
    let mut drips: Vec<Device> = (0..PLACES).map(|_| begin(crowded.port())).collect();
    let mut waiting = Device::connect_without_listening(crowded.port());
    for _ in 0..14 {
        thread::sleep(Duration::from_secs(1));
        single.write(b"x");
        for drip in &mut drips {
            drip.try_write(b"x");
        }
    }
    assert_eq!(waiting.hear(), "421 4.3.2 Too many connections, try again later");
    let cut = crowded.log().wait_for("rejected", PLACES / 5);
    assert!(
        cut.iter().any(|event| event["reason"].as_str().is_some_and(|why| why.contains("rate_when_full"))),
        "{cut:?}"
    );
    let slow = drips.iter_mut().map(Device::hear).filter(|reply| reply.starts_with("421 4.4.2 Too slow")).count();
    assert!(slow >= PLACES / 5, "{slow} were cut off");
    single.write(b"\r\n");
    assert!(single.say(".").starts_with("250"), "who is alone may take his time");
    assert_unharmed(&crowded);
}

/// Connections that are opened and reset as fast as they can be.
#[test]
fn resets_in_crowds() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "");
    device::send_one(relay.port(), "Toner", &["you@example.com"]);
    relay.log().wait_for("delivered", 1);
    let before = descriptors(&relay);
    let address = SocketAddr::from(([127, 0, 0, 1], relay.port()));
    for _ in 0..5000 {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are sockets");
        socket.set_linger(Some(Duration::ZERO)).expect("it can be set");
        // The relay may be behind with accepting; then the kernel drops it.
        let _ = socket.connect_timeout(&address.into(), Duration::from_secs(1));
    }
    assert_unharmed(&relay);
    let began = Instant::now();
    while descriptors(&relay) > before + 2 {
        assert!(began.elapsed() < DEADLINE, "{} descriptors, {before} before", descriptors(&relay));
        thread::sleep(Duration::from_millis(20));
    }
}

/// What one client may hand in within a minute, and another one beside it.
#[test]
fn more_than_a_client_may_send_in_a_minute() {
    let gmail = Gmail::start();
    let relay = start(&gmail, "messages_per_minute = 3\nsize_per_minute = 100000");
    let mut device = Device::connect(relay.port());
    for _ in 0..3 {
        device.send("camera@nas.local", &["you@example.com"], &device::message("Motion"));
    }
    device.begin("camera@nas.local", &["you@example.com"]);
    let reply = device.say("Subject: Motion\r\n\r\nx\r\n.");
    assert_eq!(reply, "451 4.7.1 Too many messages from your address within a minute, try again later");
    let refused = relay.log().wait_for("rejected", 1);
    assert!(refused[0]["reason"].as_str().is_some_and(|why| why.contains("limits.messages_per_minute")), "{refused:?}");

    let mut other = Device::connect_from([127, 0, 0, 9].into(), relay.port());
    other.send("ups@nas.local", &["you@example.com"], &format!("Subject: x\r\n\r\n{}", "x\r\n".repeat(30_000)));
    other.begin("ups@nas.local", &["you@example.com"]);
    other.write("x\r\n".repeat(30_000).as_bytes());
    assert_eq!(other.say("."), "451 4.7.1 Too much mail from your address within a minute, try again later");
    assert_eq!(other.say("NOOP"), "250 2.0.0 OK", "it goes on");
}
