//! Repair, as data: `tests/repair/NAME.in.eml` is what a client sent, `NAME.out.eml` what Gmail gets, and
//! `cases.toml` tells the story of each pair. The same inputs, mutated, prove what holds for every message.

// A test that fails is to end: the lints know only the functions that carry `#[test]`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use mailparse::{MailHeaderMap, ParsedMail};
use serde::Deserialize;
use smarthost::delivery::repair::{FromRule, Plan, Repair, Settings, Survey};
use smarthost::mail::{
    Address, Client, Envelope, Message, MessageId, Protocol, Recipient, ReversePath, Submission, header,
};
use smarthost::policy::Pattern;

/// Rounds with seeds from 0.
const MUTATIONS: u64 = 3000;

/// One entry of `cases.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the pair shows; numbers are those of the test lists in the research.
    why: String,
    #[serde(default = "default_mail_from")]
    mail_from: String,
    #[serde(default = "default_helo")]
    helo: String,
    #[serde(default = "default_ip")]
    ip: String,
    #[serde(default = "default_protocol")]
    protocol: String,
    #[serde(default = "default_received")]
    received: String,
    /// `rewrite` unless it says `keep`.
    #[serde(default)]
    from: String,
    #[serde(default)]
    send_as: Vec<String>,
    /// Whether the plan must ask for 8BITMIME and SMTPUTF8.
    #[serde(default)]
    eight_bit: bool,
    #[serde(default)]
    smtputf8: bool,
    /// What the plan must say was done, in part.
    #[serde(default)]
    changes: Vec<String>,
    /// Well-formed enough for another parser to find the same parts before and after.
    #[serde(default)]
    same_parts: bool,
}

fn default_mail_from() -> String {
    "ups@example.com".to_owned()
}
fn default_helo() -> String {
    "nas.local".to_owned()
}
fn default_ip() -> String {
    "192.0.2.5".to_owned()
}
fn default_protocol() -> String {
    "ESMTP".to_owned()
}
fn default_received() -> String {
    "2026-01-15T10:00:00Z".to_owned()
}

impl Case {
    fn plain() -> Case {
        toml::from_str("why = 'generated'").unwrap()
    }

    fn settings(&self) -> Settings {
        let pattern = |text: &String| match text.strip_prefix("*@") {
            Some(domain) => Pattern::Domain(domain.to_owned()),
            None => Pattern::Address(text.parse().unwrap()),
        };
        Settings {
            hostname: "relay.example.net".to_owned(),
            account_address: "Me@gmail.com".parse().unwrap(),
            from: if self.from == "keep" { FromRule::Keep } else { FromRule::Rewrite },
            send_as: self.send_as.iter().map(pattern).collect(),
        }
    }

    fn message(&self, size: usize) -> Message {
        let reverse_path = match self.mail_from.as_str() {
            "" => ReversePath::Null,
            address => ReversePath::Mailbox(address.parse().unwrap()),
        };
        let recipients = vec![Recipient::from("you@example.org".parse::<Address>().unwrap())];
        let submission = Submission {
            envelope: Envelope { reverse_path, recipients, smtputf8: false },
            client: Client { helo: self.helo.clone(), ip: self.ip.parse().ok(), login: None },
            protocol: Protocol::from_word(&self.protocol),
            account: "home".to_owned(),
            received: self.received.parse().unwrap(),
        };
        let id = MessageId::from_number(0x0123_4567_89ab_cdef);
        Message {
            id,
            submission,
            size: size as u64,
            owed: Vec::new(),
            attempts: 0,
            patience_ms: 0,
            uncertain: false,
            content: None,
        }
    }

    /// Repairs a message that comes in pieces of this size.
    fn repair(&self, input: &[u8], piece: usize) -> (Vec<u8>, Arc<Plan>) {
        let mut survey = Survey::new();
        input.chunks(piece).for_each(|piece| survey.read(piece));
        let plan = Arc::new(survey.finish(&self.settings(), &self.message(input.len())));
        let mut repair = Repair::new(Arc::clone(&plan));
        let mut out = Vec::new();
        input.chunks(piece).for_each(|piece| repair.push(piece, &mut out));
        repair.finish(&mut out);
        (out, plan)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/repair")
}

fn read(name: &str, end: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.{end}"))).unwrap_or_else(|error| panic!("{name}.{end}: {error}"))
}

fn cases() -> BTreeMap<String, Case> {
    toml::from_str(&fs::read_to_string(folder().join("cases.toml")).unwrap()).unwrap()
}

#[test]
fn every_pair_has_its_story() {
    let mut found: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".in.eml")?.to_owned()))
        .collect();
    found.sort();
    assert_eq!(found, cases().into_keys().collect::<Vec<_>>());
    assert!(cases().values().all(|case| !case.why.is_empty()));
}

#[test]
fn what_arrives_becomes_what_gmail_takes() {
    for (name, case) in cases() {
        let input = read(&name, "in.eml");
        let expected = read(&name, "out.eml");
        for piece in [input.len().max(1), 7, 1] {
            let (out, plan) = case.repair(&input, piece);
            assert!(out == expected, "{name} by {piece} became\n{}", String::from_utf8_lossy(&out));
            assert_eq!((plan.eight_bit, plan.smtputf8), (case.eight_bit, case.smtputf8), "{name}");
            for change in &case.changes {
                assert!(plan.changes.iter().any(|made| made.contains(change)), "{name}: {:?}", plan.changes);
            }
        }
    }
}

#[test]
fn what_is_sent_is_legal_and_stays_as_it_is() {
    for (name, case) in cases() {
        check(&case, &read(&name, "in.eml"), &name);
    }
}

#[test]
fn parts_decode_to_what_they_were() {
    let mut compared = 0;
    for (name, case) in cases().into_iter().filter(|(_, case)| case.same_parts) {
        let input = read(&name, "in.eml");
        assert_eq!(parts(&case.repair(&input, 64).0), parts(&input), "{name}");
        compared += 1;
    }
    assert!(compared > 20, "only {compared} pairs were compared");
}

#[test]
fn mutations_are_legal_too() {
    let inputs: Vec<(Case, Vec<u8>)> = cases().into_iter().map(|(name, case)| (case, read(&name, "in.eml"))).collect();
    for seed in 0..MUTATIONS {
        let mut random = fastrand::Rng::with_seed(seed);
        let (case, input) = &inputs[random.usize(..inputs.len())];
        let (_, other) = &inputs[random.usize(..inputs.len())];
        let input = mutate(input, other, &mut random);
        let whole = case.repair(&input, input.len().max(1)).0;
        let piece = random.usize(1..=input.len().max(1));
        assert!(case.repair(&input, piece).0 == whole, "seed {seed}: differs by {piece}");
        check(case, &input, &format!("seed {seed}"));
    }
}

fn mutate(input: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    const TOKENS: [&[u8]; 26] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        "ü".as_bytes(),
        b":",
        b"\"",
        b"(",
        b")",
        b"<",
        b">",
        b"@",
        b",",
        b";",
        b" ",
        b"\t",
        b"--",
        b"--b",
        b"=?utf-8?q?x?=",
        b"=",
        b".",
        b"From: x <a@b.example>\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
    ];
    let mut text = input.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=text.len());
        let end = random.usize(at..=text.len().min(at + 200));
        match random.u8(..8) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..at, input.iter().copied().skip(at).take(end - at))),
            2 => drop(text.splice(at..at, vec![random.alphanumeric() as u8; random.usize(900..2100)])),
            3 => drop(text.splice(at.., other.iter().copied().skip(random.usize(..=other.len())))),
            4 => drop(text.splice(at..end.min(at + 1), [random.u8(..)])),
            _ => drop(text.splice(at..at, TOKENS[random.usize(..TOKENS.len())].iter().copied())),
        }
    }
    text
}

/// What holds for every message.
fn check(case: &Case, input: &[u8], name: &str) {
    let (out, plan) = case.repair(input, input.len().max(1));
    let signed = ["multipart/signed", "multipart/encrypted", "pkcs7-mime"];
    let text = String::from_utf8_lossy(&out).to_lowercase();
    let is_signed = signed.iter().any(|kind| text.contains(kind));
    check_lines(&out, is_signed, name);
    check_header(&out, plan.smtputf8, name);
    assert_eq!(plan.header, out[..plan.header.len()], "{name}");
    assert!(plan.eight_bit || out.is_ascii(), "{name}: 8-bit unannounced");
    if !plan.changes.iter().any(|change| change.contains("long line")) {
        assert_eq!(plan.size, out.len() as u64, "{name}");
    }
    if plan.header.len() > 512 * 1024 {
        return; // No client can hand in such a header; what is behind a certain length becomes body.
    }
    let again = case.repair(&out, out.len()).0;
    let received = header::entries(&again).next().unwrap().len();
    let first = again[received..].iter().zip(&out).position(|(a, b)| a != b);
    assert!(
        again[received..] == out,
        "{name} changes again at {first:?}:\n{:?}",
        first.map(|at| {
            let around = |text: &[u8]| {
                String::from_utf8_lossy(&text[at.saturating_sub(200)..text.len().min(at + 200)]).into_owned()
            };
            (around(&out), around(&again[received..]))
        })
    );
}

/// RFC 5321 §2.3.8 and §4.5.3.1.6, strictly.
fn check_lines(out: &[u8], may_be_long: bool, name: &str) {
    assert!(out.ends_with(b"\r\n") && !out.contains(&0), "{name}");
    for line in out.split_inclusive(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{name}: LF without CR"));
        assert!(!text.contains(&b'\r'), "{name}: CR without LF");
        assert!(
            may_be_long || text.len() <= 998,
            "{name}: a line of {}: {:?}",
            text.len(),
            String::from_utf8_lossy(&text[..80])
        );
    }
}

fn check_header(out: &[u8], smtputf8: bool, name: &str) {
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{name}: no border"));
    let block = &out[..end + 2];
    assert_eq!(block.is_ascii(), !smtputf8, "{name}");
    assert!(block.starts_with(b"Received: "), "{name}");
    let lines: Vec<&[u8]> = block.split_inclusive(|&byte| byte == b'\n').collect();
    assert!(lines.iter().all(|line| line.len() <= 1000 && !line.trim_ascii().is_empty()), "{name}: header line");
    assert!(header::entries(block).all(|entry| header::Field::parse(entry).is_some()), "{name}: no field");
    let count = |wanted: &str| header::fields(block).filter(|field| field.is(wanted)).count();
    for once in ["From", "Date", "Message-ID"] {
        assert_eq!(count(once), 1, "{name}: {once}");
    }
    for most_once in ["To", "Cc", "Subject", "Sender", "Reply-To", "MIME-Version", "Content-Type"] {
        assert!(count(most_once) < 2, "{name}: {most_once}");
    }
    assert_eq!(count("Bcc") + count("Resent-Bcc") + count("Return-Path"), 0, "{name}");
    let from = header::find(block, "From").unwrap().text();
    let people = mailparse::addrparse(&from).unwrap_or_else(|error| panic!("{name}: {from}: {error}"));
    assert_eq!(people.count_addrs(), 1, "{name}: {from}");
}

/// The decoded content of every leaf, as another parser sees it. Its line ends, and those at its end, do not count.
fn parts(message: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    collect(&mailparse::parse_mail(message).unwrap(), &mut found);
    found
}

fn collect(part: &ParsedMail<'_>, found: &mut Vec<Vec<u8>>) {
    let body = part.get_body_raw().unwrap();
    match part.subparts.as_slice() {
        [] if part.ctype.mimetype == "message/rfc822" => collect(&mailparse::parse_mail(&body).unwrap(), found),
        [] => found.push(unix(&body)),
        parts => parts.iter().for_each(|part| collect(part, found)),
    }
}

fn unix(body: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = body.iter().copied().filter(|&byte| byte != b'\r' && byte != 0).collect();
    text.strip_suffix(b"\n").unwrap_or(&text).to_vec()
}

/// 98, 99: lines of every length, in every encoding, alone and in a part.
#[test]
fn lines_of_any_length_keep_their_content() {
    let letters: String = ('a'..='z').cycle().take(1_048_576).collect();
    for length in [998, 999, 2048, 65_536, 1_048_576] {
        let text = &letters[..length];
        for (encoding, line) in [
            ("", text.to_owned()),
            ("", "é=".repeat(length / 3)),
            ("Content-Transfer-Encoding: 8bit\r\n", "ü ".repeat(length / 3)),
            ("Content-Transfer-Encoding: BASE64\r\n", "QUJD".repeat(length / 4)),
            ("Content-Transfer-Encoding: Quoted-Printable\r\n", "=C3=BC-".repeat(length / 7)),
        ] {
            let head = "Subject: x\r\nMIME-Version: 1.0\r\n";
            let part = format!("Content-Type: text/plain; charset=utf-8\r\n{encoding}\r\nfirst\r\n{line}\r\n");
            let part = if encoding.contains("BASE64") { part.replace("first\r\n", "") } else { part };
            let alone = format!("{head}{part}");
            let several = format!(
                "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{part}--b\r\n\r\nx\r\n--b--\r\n"
            );
            for message in [alone, several] {
                check(&Case::plain(), message.as_bytes(), &format!("{length} {encoding}"));
                let (out, plan) = Case::plain().repair(message.as_bytes(), 4096);
                assert_eq!(parts(&out), parts(message.as_bytes()), "{length} {encoding}");
                let off = plan.size.abs_diff(out.len() as u64);
                assert!(off <= out.len() as u64 / 2, "{length} {encoding}: said {}, is {}", plan.size, out.len());
                assert!(length > 998 || out.ends_with(part.as_bytes()) || out.ends_with(b"--b--\r\n"));
            }
        }
    }
}

/// 76, 123, 124 and what else grows: time is linear in the message, and nothing ends in a panic.
#[test]
fn hostile_messages_take_little_time() {
    let many = 100_000;
    let deep: String = (0..1000).fold(String::new(), |deep, n| {
        deep + &format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")
    });
    let within: String = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
    let wide = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(20_000));
    let long = format!("{}\r\n", "y".repeat(3000));
    for (name, message) in [
        ("fields", format!("{}\r\nx\r\n", "X: y\r\n".repeat(many))),
        ("short fields", format!("{}\r\nx\r\n", "To: ü\r\n".repeat(many / 4))),
        ("strays", format!("Subject: x\r\n{}To: y\r\n\r\nx\r\n", "stray\r\n".repeat(many / 4))),
        ("froms", format!("{}\r\nx\r\n", "From: x\r\n".repeat(many / 4))),
        ("comments", format!("From: {}a@b\r\n\r\nx\r\n", "(".repeat(many))),
        ("closed comments", format!("From: {}{}a@b\r\n\r\nx\r\n", "(".repeat(many), ")".repeat(many))),
        ("addresses", format!("From: {}\r\n\r\nx\r\n", "x@,".repeat(many))),
        (
            "encoded word",
            format!("Subject: =?utf-8?B?{}?=\r\nFrom: =?utf-8?B?{0}?= <a@b>\r\n\r\nx\r\n", "QUJD".repeat(many / 10)),
        ),
        ("encoded words", format!("From: {} <a@b>\r\n\r\nx\r\n", "=?utf-8?q?x?= ".repeat(30_000))),
        ("blanks", format!("Subject:{}x\r\n\r\nx\r\n", " ".repeat(many * 5))),
        ("blank lines", format!("Subject: x\r\n{}\r\nx\r\n", " \r\n".repeat(many))),
        ("parameters", format!("Content-Type: text/plain{}\r\n\r\nx\r\n", ";x=\"".repeat(many))),
        ("boundary", format!("Content-Type: multipart/mixed; boundary={}\r\n\r\n--x\r\n", "b".repeat(many))),
        ("date", format!("Date: Mon, 1 Jan 1000000000 00:00:00 +0000{}\r\n\r\n", " x".repeat(many))),
        ("deep", format!("{deep}{long}")),
        ("messages", format!("{within}{long}")),
        ("wide", format!("{wide}{long}")),
        ("part header", format!("{}{}", &wide[..60], "X: y\r\n".repeat(many))),
        ("hyphens", format!("{}{}", &wide[..60], "--\r\n-\r\n".repeat(many))),
        ("carriage returns", "\r".repeat(many * 5)),
        ("nothing but NUL", "\0".repeat(many)),
        ("no header, no line end", "x".repeat(3_000_000)),
        ("no end of header", format!("Subject: x\r\n{}", "Y: z\r\n".repeat(many * 2))),
    ] {
        let (done, wait) = mpsc::channel();
        std::thread::spawn(move || {
            check(&Case::plain(), message.as_bytes(), name);
            done.send(()).unwrap();
        });
        wait.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// 77: what is decoded from an encoded word never becomes a field.
#[test]
fn an_encoded_line_end_stays_inside_its_field() {
    let word = "=?utf-8?Q?x=0D=0ABcc:_x@y?=";
    let message = format!("Subject: {word}\r\nFrom: {word} <ups@nas.local>\r\nTo: {word} ü <a@b>\r\n\r\nx\r\n");
    let out = Case::plain().repair(message.as_bytes(), 7).0;
    let parsed = mailparse::parse_mail(&out).unwrap();
    assert_eq!(parsed.headers.get_all_values("Bcc"), Vec::<String>::new());
    assert_eq!(parsed.headers.get_all_headers("From").len(), 1);
}
