//! `docs/life-of-a-message.md` is true: its dialogue is played, and what it says is stored, sent and logged is compared
//! with what the real program stores, sends and logs.

mod program;

use serde_json::Value;

use program::{ClosedPort, Device, Gmail, Relay};

const PAGE: &str = include_str!("../docs/life-of-a-message.md");

/// The block of this kind, without its fences.
fn block(kind: &str) -> String {
    let fence = format!("```{kind}\n");
    let start = PAGE.find(&fence).expect("the page has a block of every kind") + fence.len();
    let end = PAGE[start..].find("```").expect("the block ends");
    PAGE[start..start + end].to_owned()
}

/// Puts one word for everything that differs from run to run: ids, dates, Gmail's session words, delays.
fn normalised(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '<', '@', '=', ';']).map(|word| {
        let (bare, end) = word.split_at(word.trim_end_matches([' ', '\n', '<', '@', '=', ';']).len());
        let is_id = bare.len() == 13 && bare.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let is_session = bare.len() > 13 && bare.contains("sm") && bare.contains('-');
        let is_number = bare.len() >= 9 && bare.bytes().all(|b| b.is_ascii_digit());
        let bare = if is_id && bare.bytes().any(|b| b.is_ascii_digit()) {
            "ID"
        } else if is_session {
            "SESSION"
        } else if is_number {
            "NUMBER"
        } else {
            bare
        };
        format!("{bare}{end}")
    });
    let lines: Vec<String> = words.collect::<String>().lines().map(without_times).collect();
    lines.join("\n")
}

fn without_times(line: &str) -> String {
    let mut line = line.trim_end().to_owned();
    if let Some(at) = line.find("delay_ms=") {
        line.replace_range(at.., "delay_ms=N");
    }
    if let Some(at) = line.find(" +0000") {
        let from = line.find(": ").map_or(0, |colon| colon + 2);
        line.replace_range(from..at, "TIME");
    }
    line
}

fn play(port: u16) {
    let mut device = Device::connect_without_listening(port);
    for line in block("dialogue").lines() {
        let (who, words) = line.split_once(':').expect("C: or S:");
        let words = words.strip_prefix(' ').unwrap_or(words);
        match who {
            "S" => assert_eq!(normalised(device.hear().trim_end()), normalised(words)),
            _ => device.write(format!("{words}\r\n").as_bytes()),
        }
    }
}

fn configured(gmail: &Gmail) -> Relay {
    let mut relay = Relay::new(gmail);
    relay.set("SMARTHOST_DEFAULT_DOMAIN", "example.com");
    relay.set("SMARTHOST_LOG_LEVEL", "debug");
    relay
}

/// As the text log writes it.
fn line_of(event: &Value) -> String {
    let keys = event.as_object().expect("an object").iter().skip(3).map(|(key, value)| match value {
        Value::String(text) if !text.contains([' ', '"']) => format!(" {key}={text}"),
        other => format!(" {key}={other}"),
    });
    event["event"].as_str().unwrap_or_default().to_owned() + &keys.collect::<String>()
}

#[test]
fn the_message_is_stored_and_would_be_sent_as_the_page_says() {
    let gmail = Gmail::start();
    let nobody = ClosedPort::new();
    let mut relay = configured(&gmail);
    relay.set("GMAIL_PORT", &nobody.number().to_string());
    relay.start();
    play(relay.port());
    let id = relay.wait_for_queue(1)[0]["id"].as_str().expect("an id").to_owned();
    let stored = relay.ask(&["queue", "show", "--raw", &id]);
    assert_eq!(stored, block("stored").replace('\n', "\r\n"));
    assert_eq!(normalised(&relay.ask(&["queue", "show", "--sent", &id])), normalised(&block("sent")));
}

#[test]
fn the_message_arrives_and_is_logged_as_the_page_says() {
    let gmail = Gmail::start();
    let mut relay = configured(&gmail);
    relay.start();
    play(relay.port());
    let arrived = gmail.wait_for(1);
    assert_eq!(normalised(&String::from_utf8_lossy(&arrived[0].content)), normalised(&block("sent")));
    relay.log().wait_for("delivered", 2);
    relay.log().wait_for("disconnected", 1);
    let log = relay.log().text();
    let mut lines: Vec<String> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        // Temporary files may be where a spool should not be.
        .filter(|event| event["event"] != "ready" && event["event"] != "warning")
        .map(|event| normalised(&line_of(&event)))
        .collect();
    let mut told: Vec<String> = block("log").lines().map(normalised).collect();
    // The delivery and the end of the connection race.
    lines.sort();
    told.sort();
    assert_eq!(lines, told);
}
