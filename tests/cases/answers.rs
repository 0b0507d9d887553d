//! A server in Gmail's place that answers strangely before TLS: nothing is told to it, no message is refused because of
//! it, and the log says what it was (reliability-security.md, cases 65 to 72). What is said behind TLS is played by the
//! stand-in, in `behind_tls`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::program::{DEADLINE, Gmail, Relay, device};

/// The alert of a server that speaks nothing as new as TLS 1.2: fatal, `protocol_version` (RFC 8446 §6).
const ALERT: &[u8] = b"\x15\x03\x02\x00\x02\x02\x46";

/// Says one of `answers` to each line of whoever connects, the first one unasked, and remembers what it heard.
struct Strange {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Strange {
    fn answering(answers: Vec<Vec<u8>>) -> Strange {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let said = speak(stream.unwrap(), &answers);
                ears.lock().unwrap().extend(said);
            }
        });
        Strange { port, heard }
    }
}

/// The client may hang up at any moment.
fn speak(stream: TcpStream, answers: &[Vec<u8>]) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut reader = BufReader::new(stream);
    reader.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    for answer in answers {
        if !heard.is_empty() || answer != &answers[0] {
            let Ok(1..) = reader.read_until(b'\n', &mut heard) else { return heard };
        }
        if reader.get_mut().write_all(answer).is_err() {
            return heard;
        }
    }
    let _ = reader.get_ref().shutdown(std::net::Shutdown::Write);
    let _ = reader.read_to_end(&mut heard);
    heard
}

/// A message waits behind this server, and the reason holds these words.
fn waits(answers: &[&[u8]], words: &str) {
    let strange = Strange::answering(answers.iter().map(|answer| answer.to_vec()).collect());
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_HOST", "127.0.0.1");
    relay.set("GMAIL_PORT", &strange.port.to_string());
    relay.set("GMAIL_TLS", "starttls");
    relay.start();
    device::send_one(relay.port(), "waiting", &["you@example.com"]);
    let trouble = relay.log().wait_for_one("account", |event| event["state"] != "working");
    assert!(trouble["reason"].as_str().unwrap().contains(words), "{trouble}");
    relay.log().wait_for("deferred", 1);
    assert_eq!(relay.wait_for_queue(1)[0]["state"], "waiting", "{words}");
    assert!(relay.ask_json(&["history", "--json"]).is_empty(), "{words}");
    let log = relay.stop().text();
    assert!(!log.chars().any(|c| c.is_control() && c != '\n') && !log.contains("\\u001b"), "{log}");
    let heard = strange.heard.lock().unwrap().clone();
    assert!(!heard.windows(4).any(|word| word.eq_ignore_ascii_case(b"AUTH")), "{words}");
}

const GREETING: &[u8] = b"220 smtp.gmail.com\r\n";
const STARTTLS: &[u8] = b"250-smtp.gmail.com\r\n250 STARTTLS\r\n";

#[test]
fn a_greeting_that_sends_us_away_is_believed_for_a_while() {
    waits(&[b"554 5.7.1 Go away\r\n"], "554 5.7.1 Go away");
    waits(&[b"421 4.7.0 Come later\r\n"], "421 4.7.0 Come later");
}

#[test]
fn a_reply_that_does_not_end_is_cut_off() {
    waits(&[&[b"220 ", "x".repeat(1_000_000).as_bytes()].concat()], "the reply does not end");
    waits(&[GREETING, &b"250-and more\r\n".repeat(10_000)], "the reply does not end");
}

#[test]
fn a_reply_that_is_none_is_trouble_on_the_way() {
    waits(&[GREETING, b"250-smtp.gmail.com\r\n220 STARTTLS\r\n"], "two codes");
    waits(&[GREETING, b"250-smtp.gmail.com\r\n"], "end of the connection");
    waits(&[b"\x1b]0;x\x07\0\r\n"], "");
}

#[test]
fn a_reply_cannot_write_to_the_terminal_of_who_reads_the_log() {
    waits(&[b"554 5.7.1 \x1b]0;x\x07\0Go away\r\n"], "Go away");
}

#[test]
fn nothing_is_said_to_a_server_without_tls_1_2() {
    waits(&[GREETING, STARTTLS, b"220 2.0.0 Ready\r\n", ALERT], "TLS");
}

/// Somebody on the way adds replies in the clear, to be taken for those behind TLS.
#[test]
fn replies_put_behind_starttls_end_the_connection() {
    waits(&[GREETING, STARTTLS, b"220 2.0.0 Ready\r\n250 AUTH PLAIN\r\n220 again\r\n"], "something follows");
}
