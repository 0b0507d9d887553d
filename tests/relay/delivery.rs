//! What becomes of messages and recipients.

use crate::program::{ClosedPort, Device, Gmail, Relay, device};
use crate::{field, subject};

/// Waits are as short as they may be, and one connection is enough, so that its use can be counted.
const HASTY: &str = "[[account]]\nconnections = 1\n\n[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n";

fn hasty(gmail: &Gmail) -> Relay {
    let relay = Relay::new(gmail);
    relay.write_config(HASTY);
    relay
}

/// A message of a mebibyte: it is uploaded in pieces.
fn large_message(subject: &str) -> (String, String) {
    let line = "All work and no play makes the printer a dull device, says the manual.\r\n";
    let body = line.repeat(1024 * 1024 / line.len() + 1);
    (format!("Subject: {subject}\r\n\r\n{body}"), body)
}

#[test]
fn what_was_accepted_survives_kill_9_and_arrives_exactly_once() {
    let gmail = Gmail::start();
    let closed = ClosedPort::new();
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_PORT", &closed.number().to_string());
    relay.start();
    let (large, body) = large_message("message 7");
    let mut device = Device::connect(relay.port());
    for n in 0..20 {
        let content = if n == 7 { large.clone() } else { device::message(&format!("message {n}")) };
        device.send("printer@nas.local", &["you@example.com"], &content);
    }
    relay.kill();
    assert_eq!(relay.ask_json(&["queue", "list", "--json"]).len(), 20);

    relay.set("GMAIL_PORT", &gmail.ports().implicit.to_string());
    relay.start();
    relay.log().wait_for("delivered", 20);
    let received = gmail.received();
    let mut subjects: Vec<String> = received.iter().map(|message| subject(&message.content)).collect();
    subjects.sort();
    let mut expected: Vec<String> = (0..20).map(|n| format!("message {n}")).collect();
    expected.sort();
    assert_eq!(subjects, expected);
    let seventh = received.iter().find(|message| subject(&message.content) == "message 7").unwrap();
    assert!(seventh.content.ends_with(body.as_bytes()), "the large message changed on its way");
    relay.stop();
    assert_eq!(gmail.counts().messages, 20);
    assert_eq!(relay.ask_json(&["queue", "list", "--json"]).len(), 0);
}

#[test]
fn kill_9_between_senders_loses_nothing_that_got_its_250() {
    let gmail = Gmail::start();
    gmail.script("connect => close");
    let mut relay = Relay::start_new(&gmail);
    let port = relay.port();
    let (sender, accepted) = std::sync::mpsc::channel();
    let devices: Vec<_> = (0..4)
        .map(|number| {
            let sender = sender.clone();
            std::thread::spawn(move || send_until_the_relay_dies(port, number, &sender))
        })
        .collect();
    let mut promised: Vec<String> = accepted.iter().take(40).collect();
    relay.kill();
    drop(sender);
    promised.extend(accepted);
    for device in devices {
        device.join().expect("the device only sees its connection end");
    }
    gmail.script("");
    relay.start();
    gmail.wait_for(promised.len() as u64);
    relay.wait_for_queue(0);
    let arrived: Vec<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
    for subject in &promised {
        let times = arrived.iter().filter(|other| *other == subject).count();
        assert_eq!(times, 1, "{subject} of {} promised arrived {times} times", promised.len());
    }
}

/// Sends message after message, and tells the subject of each that was accepted.
fn send_until_the_relay_dies(port: u16, number: usize, accepted: &std::sync::mpsc::Sender<String>) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the relay listens");
    let mut heard = Vec::new();
    let mut sent = 0;
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        heard.extend_from_slice(&piece[..count]);
        let queued = String::from_utf8_lossy(&heard).matches("Queued as").count();
        if heard.ends_with(b"\r\n") && sent > 0 && queued == sent {
            let _ = accepted.send(format!("message {number}.{sent}"));
        }
        if heard.ends_with(b"\r\n") && queued == sent {
            sent += 1;
            let text = device::message(&format!("message {number}.{sent}"));
            let message = format!("MAIL FROM:<a@nas.local>\r\nRCPT TO:<you@example.com>\r\nDATA\r\n{text}.\r\n");
            if stream.write_all(message.as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_refused_recipient_does_not_harm_the_others_and_is_reported_to_the_account() {
    let gmail = Gmail::start();
    gmail.script("rcpt bad@ => 550 5.1.1 The email account that you tried to reach does not exist.");
    let mut relay = hasty(&gmail);
    relay.start();
    let to = ["one@example.com", "bad@example.com", "two@example.com"];
    let id = device::send_one(relay.port(), "Toner", &to);

    let received = gmail.wait_for(2);
    assert_eq!(received[0].recipients, ["one@example.com", "two@example.com"]);
    assert_eq!(gmail.counts().connections, 1);
    relay.wait_for_queue(0);
    let refused = relay.ask_json(&["history", "--json", "--to", "bad@"]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!((&refused[0]["id"], &refused[0]["outcome"]), (&id.into(), &"refused".into()));
    assert!(refused[0]["reply"].as_str().unwrap().starts_with("550 5.1.1 "), "{refused:?}");

    // printer@nas.local cannot receive, so its failures are told to the account.
    let report = &received[1];
    assert_eq!((report.mail_from.as_str(), report.recipients.as_slice()), ("", &["me@gmail.com".to_owned()][..]));
    let parsed = mailparse::parse_mail(&report.content).unwrap();
    assert_eq!(parsed.ctype.mimetype, "multipart/report");
    assert_eq!(parsed.ctype.params.get("report-type").map(String::as_str), Some("delivery-status"));
    assert_eq!(field(&parsed, "Auto-Submitted"), "auto-replied");
    let kinds: Vec<_> = parsed.subparts.iter().map(|part| part.ctype.mimetype.as_str()).collect();
    assert_eq!(kinds, ["text/plain", "message/delivery-status", "text/rfc822-headers"]);
    let status = parsed.subparts[1].get_body().unwrap();
    for line in ["Final-Recipient: rfc822;bad@example.com", "Action: failed", "Status: 5.1.1"] {
        assert!(status.lines().any(|other| other == line), "{status}");
    }
    assert!(!status.contains("one@example.com"), "{status}");
    assert!(parsed.subparts[2].get_body().unwrap().contains("Subject: Toner"));
    relay.stop();
}

#[test]
fn a_report_goes_to_the_sender_and_a_refused_report_makes_no_further_one() {
    let gmail = Gmail::start();
    gmail.script("rcpt gone@ => 550 5.1.1 no such user");
    let mut relay = hasty(&gmail);
    relay.start();
    let mut device = Device::connect(relay.port());
    device.send("alice@example.org", &["gone@example.com"], &device::message("first"));
    let report = gmail.wait_for(1).remove(0);
    assert_eq!((report.mail_from.as_str(), report.recipients.as_slice()), ("", &["alice@example.org".to_owned()][..]));

    device.send("gone@example.org", &["gone@example.com"], &device::message("second"));
    drop(device);
    let refused = relay.log().wait_for("refused", 3);
    assert_eq!(refused[2]["to"], "gone@example.org", "the report itself");
    // A further report would have been stored in the same commit as the refusal of this one.
    relay.wait_for_queue(0);
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn a_message_from_nobody_that_is_refused_makes_no_report() {
    let gmail = Gmail::start();
    gmail.script("dot => 550 5.7.1 not this one");
    let mut relay = hasty(&gmail);
    relay.start();
    Device::connect(relay.port()).send("", &["you@example.com"], &device::message("bounce"));
    relay.log().wait_for("refused", 1);
    relay.wait_for_queue(0);
    assert_eq!(gmail.counts().messages, 0);
    assert_eq!(relay.stop().events("refused").len(), 1);
}

#[test]
fn a_temporary_refusal_is_tried_again() {
    let gmail = Gmail::start();
    gmail.script("rcpt slow@ times=1 => 451 4.2.1 The user you are trying to contact is receiving mail too quickly");
    let mut relay = hasty(&gmail);
    relay.start();
    device::send_one(relay.port(), "patience", &["slow@example.com"]);
    let deferred = relay.log().wait_for("deferred", 1);
    assert!(deferred[0]["reply"].as_str().unwrap().starts_with("451 4.2.1 "), "{deferred:?}");
    let delivered = relay.log().wait_for("delivered", 1);
    assert_eq!(delivered[0]["attempts"], 2);
    assert!(delivered[0]["delay_ms"].as_i64().unwrap() >= 800, "{delivered:?}");
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

#[test]
fn what_is_refused_for_too_long_expires_with_one_report() {
    let gmail = Gmail::start();
    gmail.script("rcpt slow@ => 451 4.2.1 receiving mail too quickly");
    let mut relay = Relay::new(&gmail);
    relay.write_config("[retry]\nfirst = \"1s\"\nlongest = \"1s\"\ngive_up_after = \"3s\"\n");
    relay.start();
    device::send_one(relay.port(), "too late", &["slow@example.com", "quick@example.com"]);
    let expired = relay.log().wait_for("expired", 1);
    assert_eq!(expired[0]["to"], "slow@example.com");
    let received = gmail.wait_for(2);
    relay.wait_for_queue(0);
    let outcomes: Vec<_> = relay.ask_json(&["history", "--json", "--to", "slow@"]);
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes[0]["outcome"], "expired");
    assert_eq!(received[0].recipients, ["quick@example.com"]);
    assert_eq!(
        (received[1].mail_from.as_str(), subject(&received[1].content).as_str()),
        ("", "Undelivered mail: too late")
    );
    let report = String::from_utf8_lossy(&received[1].content);
    assert!(report.contains("Status: 4.4.7"), "{report}");
    relay.stop();
    assert_eq!(gmail.counts().messages, 2);
}

#[test]
fn a_connection_lost_behind_the_dot_leads_to_the_same_bytes_once_more() {
    let gmail = Gmail::start();
    gmail.script("dot times=1 => lose");
    let mut relay = hasty(&gmail);
    relay.start();
    device::send_one(relay.port(), "who knows", &["you@example.com"]);
    relay.log().wait_for("uncertain", 1);
    let received = gmail.wait_for(2);
    relay.log().wait_for("delivered", 1);
    assert_eq!(received[0].content, received[1].content);
    let parsed = mailparse::parse_mail(&received[0].content).unwrap();
    assert!(field(&parsed, "Message-ID").ends_with("@relay.example.net>"), "{}", field(&parsed, "Message-ID"));
    relay.stop();
    assert_eq!(gmail.counts().messages, 2);
}

#[test]
fn a_connection_cut_within_the_content_delivers_nothing_until_it_is_whole() {
    let gmail = Gmail::start();
    gmail.script("data times=1 => cut 300000");
    let mut relay = hasty(&gmail);
    relay.start();
    let (large, body) = large_message("cut");
    Device::connect(relay.port()).send("a@example.org", &["you@example.com"], &large);
    relay.log().wait_for("delivered", 1);
    relay.stop();
    let received = gmail.received();
    assert_eq!(received.len(), 1);
    assert!(received[0].content.ends_with(body.as_bytes()));
}

#[test]
fn many_recipients_go_in_several_transactions_and_each_is_named_once() {
    let gmail = Gmail::start();
    let mut relay = hasty(&gmail);
    relay.start();
    let mut wanted: Vec<String> = (0..250).map(|n| format!("user{n:03}@example.com")).collect();
    let to: Vec<&str> = wanted.iter().map(String::as_str).collect();
    Device::connect(relay.port()).send("a@example.org", &to, &device::message("to all"));
    let received = gmail.wait_for(3);
    relay.log().wait_for("delivered", 250);
    relay.stop();
    let sizes: Vec<_> = received.iter().map(|message| message.recipients.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(received.iter().all(|message| message.content == received[0].content));
    let mut named: Vec<String> = received.into_iter().flat_map(|message| message.recipients).collect();
    named.sort();
    wanted.sort();
    assert_eq!(named, wanted);
    assert_eq!((gmail.counts().messages, gmail.counts().connections), (3, 1));
}

#[test]
fn a_refused_data_leaves_nothing_on_the_connection() {
    let gmail = Gmail::start();
    gmail.script("data times=1 => 451 4.3.0 Try again later");
    let mut relay = Relay::new(&gmail);
    relay.write_config("[retry]\nfirst = \"1s\"\n\n[[account]]\nconnections = 1\n");
    relay.start();
    device::send_one(relay.port(), "deferred first", &["a@example.com"]);
    relay.log().wait_for("deferred", 1);
    device::send_one(relay.port(), "goes on", &["b@example.com"]);
    let arrived = gmail.wait_for(2);
    assert_eq!([&arrived[0].recipients[..], &arrived[1].recipients[..]], [["b@example.com"], ["a@example.com"]]);
    assert_eq!(gmail.counts().logins, 1, "one connection served all of it");
    relay.stop();
}

#[test]
fn an_answer_that_is_out_of_step_is_not_taken_for_a_delivery() {
    let gmail = Gmail::start();
    gmail.script("data times=1 => 250 2.1.5 OK");
    let mut relay = Relay::new(&gmail);
    relay.write_config("[retry]\nfirst = \"1s\"\n");
    relay.start();
    device::send_one(relay.port(), "not lost", &["a@example.com"]);
    relay.log().wait_for("deferred", 1);
    assert_eq!(subject(&gmail.wait_for(1)[0].content), "not lost");
    relay.log().wait_for("delivered", 1);
    relay.stop();
}
