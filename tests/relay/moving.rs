//! `queue export` and `import`: mail moves between spools as files, and is owed from one place at any time.

use std::fs;
use std::path::PathBuf;

use crate::program::{ClosedPort, Gmail, Relay, device};
use crate::subject;

/// A relay that reaches nobody, with mail in its queue.
fn with_queue(gmail: &Gmail, closed: &ClosedPort, subjects: &[&str]) -> Relay {
    let mut relay = Relay::new(gmail);
    relay.set("GMAIL_PORT", &closed.number().to_string());
    relay.start();
    for subject in subjects {
        device::send_one(relay.port(), subject, &["you@example.com", "root@example.com"]);
    }
    relay.wait_for_queue(subjects.len());
    if !subjects.is_empty() {
        relay.log().wait_for("account", 1);
    }
    relay
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn mail_moves_to_another_spool_while_both_relays_run() {
    let (gmail, closed) = (Gmail::start(), ClosedPort::new());
    let mut from = with_queue(&gmail, &closed, &["first", "second", "third"]);
    let queue = from.ask_json(&["queue", "list", "--json"]);
    let third = queue[2]["id"].as_str().unwrap();
    from.ask(&["queue", "hold", third]);
    let folder = from.folder().join("mail");
    let path = folder.display().to_string();
    let said = from.ask(&["queue", "export", &path]);
    assert!(said.ends_with(&format!("3 messages written to {path}, and out of the queue\n")), "{said}");
    assert!(from.ask_json(&["queue", "list", "--json"]).is_empty());
    assert_eq!(files(&folder).len(), 3);
    let shown = from.ask(&["queue", "show", third]);
    assert!(shown.contains("exported you@example.com: taken out of the queue into a file"), "{shown}");

    let mut to = Relay::start_new(&gmail);
    let said = to.ask(&["queue", "import", &path]);
    assert!(said.ends_with(&format!("3 messages taken over from {path}\n")), "{said}");
    assert!(files(&folder).is_empty(), "a file that was taken over is gone");
    let received = gmail.wait_for(2);
    let mut subjects: Vec<String> = received.iter().map(|message| subject(&message.content)).collect();
    subjects.sort();
    assert_eq!(subjects, ["first", "second"]);
    assert_eq!(received[0].recipients, ["you@example.com", "root@example.com"]);
    // What was held is held there too, under its own name.
    let left = to.wait_for_queue(1);
    assert_eq!((&left[0]["id"], &left[0]["state"]), (&queue[2]["id"], &"held".into()));
    assert_eq!((&left[0]["received"], &left[0]["client"]), (&queue[2]["received"], &queue[2]["client"]));
    to.ask(&["queue", "release", third]);
    gmail.wait_for(3);
    to.stop();
    from.stop();
    assert_eq!(gmail.counts().messages, 3);
}

#[test]
fn mail_moves_while_no_relay_runs_and_into_a_spool_that_is_new() {
    let (gmail, closed) = (Gmail::start(), ClosedPort::new());
    let mut from = with_queue(&gmail, &closed, &["one", "two"]);
    from.stop();
    let queue = from.ask_json(&["queue", "list", "--json"]);
    let (one, two) = (queue[0]["id"].as_str().unwrap(), queue[1]["id"].as_str().unwrap());
    let sent = from.ask(&["queue", "show", one, "--sent"]);
    let folder = from.folder().join("mail");
    let path = folder.display().to_string();
    let said = from.command(&["queue", "export", &path, one, "0000000000000"]);
    assert_eq!(said.status, 65, "{said:?}");
    assert!(said.stderr.contains("0000000000000 is not in the queue"), "{said:?}");
    let left = from.ask_json(&["queue", "list", "--json"]);
    assert_eq!((left.len(), &left[0]["id"], &left[0]["state"]), (1, &two.into(), &"waiting".into()));
    let text = fs::read_to_string(&files(&folder)[0]).unwrap();
    for line in ["MAIL FROM:<printer@nas.local>\r\n", "RCPT TO:<root@example.com>\r\n", "DATA\r\n", "\r\n.\r\nQUIT\r\n"]
    {
        assert!(text.contains(line), "{line:?} in {text}");
    }

    let mut to = Relay::new(&gmail);
    to.ask(&["queue", "import", &path]);
    // The same message, so the same bytes with the same Message-ID go out.
    let there = to.ask(&["queue", "show", one, "--sent"]);
    assert_eq!(there, sent);
    to.start();
    assert_eq!(subject(&gmail.wait_for(1)[0].content), "one");
    to.stop();

    // It may also come back to where it was.
    from.ask(&["queue", "export", &path, two]);
    let said = from.ask(&["queue", "import", &path]);
    assert_eq!(said, format!("{two} imported\n1 message taken over from {path}\n"));
    assert_eq!(from.ask_json(&["queue", "list", "--json"])[0]["id"], two);
}

#[test]
fn large_mail_moves_byte_by_byte() {
    let (gmail, closed) = (Gmail::start(), ClosedPort::new());
    let mut from = with_queue(&gmail, &closed, &[]);
    let mut device = device::Device::connect(from.port());
    let body =
        (0..20_000).fold(String::new(), |body, line| body + ".line " + &line.to_string() + " of a long scan\r\n");
    let id = device.send("scan@nas.local", &["you@example.com"], &format!("Subject: scan\r\n\r\n{body}"));
    drop(device);
    let raw = from.ask(&["queue", "show", &id, "--raw"]);
    let path = from.folder().join("mail").display().to_string();
    from.ask(&["queue", "export", &path]);
    from.stop();
    let to = Relay::new(&gmail);
    to.ask(&["queue", "import", &path]);
    assert!(to.ask(&["queue", "show", &id, "--raw"]) == raw, "the content has changed on its way");
}

#[test]
fn a_file_that_is_no_message_is_named_and_left() {
    let gmail = Gmail::start();
    let relay = Relay::new(&gmail);
    let folder = relay.folder().join("mail");
    fs::create_dir(&folder).unwrap();
    let path = folder.display().to_string();
    let good =
        "HELO x\nMAIL FROM:<a@example.org>\nRCPT TO:<you@example.com>\nDATA\nSubject: by hand\n\ntext\n.\nQUIT\n";
    fs::write(folder.join("good.bsmtp"), good).unwrap();
    fs::write(folder.join("cut.bsmtp"), &good[..good.len() - 20]).unwrap();
    fs::write(folder.join("letter.bsmtp"), "Dear Gmail,\n").unwrap();
    let said = relay.command(&["queue", "import", &path]);
    assert_eq!(said.status, 65, "{said:?}");
    assert!(said.stdout.ends_with(&format!("1 message taken over from {path}\n")), "{said:?}");
    assert!(said.stderr.contains("cut.bsmtp: the file ends before the message does"), "{said:?}");
    let letter = "letter.bsmtp: line 1: expected a command such as MAIL, RCPT or DATA, found \"Dear Gmail,\"";
    assert!(said.stderr.contains(letter), "{said:?}");
    assert_eq!(files(&folder).len(), 2);
    let said = relay.command(&["queue", "import", "nowhere"]);
    assert_eq!(said.status, 73, "{said:?}");
    assert!(said.stderr.contains("nowhere: No such file or directory"), "{said:?}");
    assert_eq!(relay.ask_json(&["queue", "list", "--json"]).len(), 1);
}
