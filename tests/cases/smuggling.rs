//! Nothing that a client smuggles into its content comes out as a second message (reliability-security.md, section 3,
//! cases 34 to 48): through the real program, and for every cut through all that content passes on its way out.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use smarthost::delivery::repair::{FromRule, Repair, Settings, Survey};
use smarthost::mail::stuffing::Stuffing;
use smarthost::mail::{Client, Envelope, Message, MessageId, Protocol, Recipient, ReversePath, Submission, Timestamp};

use crate::program::{Device, Gmail, Relay};

const SEQUENCES: [&[u8]; 13] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    // Only unstuffed content can hold it: a client that means it as text doubles the dot.
    b"\r\n.\r\n",
];

const SMUGGLED: &[u8] = b"MAIL FROM:<s@x>\r\nRCPT TO:<t@y>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n";

fn content(sequence: &[u8]) -> Vec<u8> {
    [b"Subject: first\r\n\r\nfirst", sequence, SMUGGLED].concat()
}

/// What goes out for content that comes in two pieces, with the final dot.
fn wire_bytes(pieces: [&[u8]; 2]) -> Vec<u8> {
    let settings = Settings {
        hostname: "relay.example.net".into(),
        account_address: "me@gmail.com".parse().unwrap(),
        from: FromRule::Rewrite,
        send_as: Vec::new(),
    };
    let mut survey = Survey::new();
    for piece in pieces {
        survey.read(piece);
    }
    let message = message(pieces.concat().len() as u64);
    let mut repair = Repair::new(survey.finish(&settings, &message).into());
    let mut stuffing = Stuffing::default();
    let mut wire = Vec::new();
    for piece in pieces {
        let mut out = Vec::new();
        repair.push(piece, &mut out);
        wire.extend(stuffing.stuff(&out));
    }
    let mut out = Vec::new();
    repair.finish(&mut out);
    wire.extend(stuffing.stuff(&out));
    wire.extend_from_slice(b".\r\n");
    wire
}

fn message(size: u64) -> Message {
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        recipients: vec![Recipient::from("you@example.com".parse::<smarthost::mail::Address>().unwrap())],
        smtputf8: false,
    };
    let submission = Submission {
        envelope,
        client: Client { helo: "printer".into(), ip: None, login: None },
        protocol: Protocol::Smtp,
        account: "home".into(),
        received: Timestamp::from_second(1_790_000_000).unwrap(),
    };
    Message {
        id: MessageId::from_number(1),
        submission,
        size,
        owed: Vec::new(),
        attempts: 0,
        patience_ms: 0,
        uncertain: false,
        content: None,
    }
}

/// Where a server would end the data that takes any of CR LF, LF and CR for the end of a line.
fn lax_ends(wire: &[u8]) -> usize {
    let text = String::from_utf8_lossy(wire).replace("\r\n", "\n").replace('\r', "\n");
    text.matches("\n.\n").count()
}

#[test]
fn nothing_goes_out_that_ends_before_its_end_for_anybody() {
    for sequence in SEQUENCES {
        let content = content(sequence);
        let whole = wire_bytes([&content, b""]);
        assert_eq!(lax_ends(&whole), 1, "{}", whole.escape_ascii());
        assert!(whole.ends_with(b"\r\n.\r\n") && !whole.contains(&0), "{}", whole.escape_ascii());
        for pair in whole.windows(2) {
            assert_eq!(pair[0] == b'\r', pair[1] == b'\n', "CR or LF alone in {}", whole.escape_ascii());
        }
        for at in 0..content.len() {
            let (first, second) = content.split_at(at);
            assert_eq!(wire_bytes([first, second]), whole, "{}, cut at {at}", sequence.escape_ascii());
        }
    }
}

/// Every byte in a segment of its own, and Gmail gets one message each.
#[test]
fn one_message_is_handed_on_however_its_bytes_arrive() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let clients: Vec<_> = SEQUENCES[..12]
        .iter()
        .map(|sequence| {
            let port = relay.port();
            thread::spawn(move || send_byte_by_byte(port, &content(sequence)))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let received = gmail.wait_for(12);
    relay.log().wait_for("delivered", 12);
    relay.stop();
    assert_eq!(gmail.counts().messages, 12);
    for message in received {
        assert_eq!(message.recipients, ["you@example.com"]);
        assert!(message.content.ends_with(b"\r\nx\r\n"), "{}", message.content.escape_ascii());
    }
}

fn send_byte_by_byte(port: u16, content: &[u8]) {
    let mut device = Device::connect(port);
    device.begin("printer@nas.local", &["you@example.com"]);
    let stream: &mut TcpStream = device.stream();
    stream.set_nodelay(true).unwrap();
    for byte in content {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(device.say(".").starts_with("250 "));
    assert!(device.say("QUIT").starts_with("221 "));
    assert!(device.hears_the_end());
}
