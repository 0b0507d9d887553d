//! What callers say, and what arrives of it.

use std::time::Duration;

use mailparse::{MailHeaderMap, parse_mail};
use tokio::time::Instant;

use super::program::{Gmail, Relay, outcome_of};
use super::{TEXT, link, mailer, relay, sendmail, sends};

/// A caller: its arguments, what it writes, to whom the message goes, and what its content holds.
type Call = (&'static [&'static str], &'static str, &'static str, &'static [&'static str]);

const CRON: &str = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> backup\nMIME-Version: 1.0\n\
    Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n\nDisk full\n.\nEnd\n";

const CALLS: &[Call] = &[
    // cron of Debian (do_command.c, MAILARGS).
    (
        &["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"],
        CRON,
        "root@example.com",
        &["Cron Daemon", "Disk full\r\n.\r\nEnd\r\n"],
    ),
    // PHP: sendmail_path, and mail() with additional parameters; it writes CR LF since PHP 8.
    (&["-t", "-i"], "To: a@example.org\r\nSubject: PHP\r\n\r\nText\r\n", "a@example.org", &["Subject: PHP\r\n"]),
    (
        &["-t", "-i", "-fweb@example.org"],
        "To: a@example.org\nSubject: x\n\nText\n",
        "a@example.org",
        &["web@example.org"],
    ),
    // git send-email.
    (
        &["-i", "b@example.org", "c@example.org"],
        "From: me@gmail.com\nTo: b@example.org\nCc: c@example.org\n\n-- \n2.1\n",
        "b@example.org c@example.org",
        &["To: b@example.org\r\n"],
    ),
    // bsd-mailx, s-nail, mutt.
    (&["-i", "root"], TEXT, "root@example.com", &["Subject: Hello\r\n"]),
    (&["-i", "-f", "me@example.org", "--", "d@example.org"], TEXT, "d@example.org", &["me@example.org"]),
    (&["-oem", "-oi", "-f", "me@example.org", "--", "d@example.org"], TEXT, "d@example.org", &[]),
    // Recipients from both sides are added, as Postfix has it; Bcc is nobody's business.
    (
        &["-t", "e@example.org"],
        "To: Us: f@example.org,\n\tg@example.org;\nBcc: h@example.org\n\nText\n",
        "e@example.org f@example.org g@example.org h@example.org",
        &["To: Us: f@example.org"],
    ),
    (&["-t"], "Resent-To: i@example.org\nTo: no@example.org\n\nText\n", "i@example.org", &[]),
    (&["-t"], "To: Jürgen <j@example.org>\nSubject: Grüße\n\nText\n", "j@example.org", &["Subject: =?"]),
    (&["k@example.org,l@example.org", "Name <m@example.org>"], TEXT, "k@example.org l@example.org m@example.org", &[]),
    // A lone dot, a name for the author, a message without header, one without anything.
    (&["n@example.org"], "Subject: x\n\nfirst\n.\nsecond\n", "n@example.org", &["\r\n\r\nfirst\r\n"]),
    (
        &["-F", "Back, Up", "-f", "", "n@example.org"],
        "To: x@example.org\n\nText\n",
        "n@example.org",
        &["From: \"Back, Up\" <me@gmail.com>"],
    ),
    (&["n@example.org"], "disk full: yes\nnow\n", "n@example.org", &["now\r\n"]),
    (&["n@example.org"], "", "n@example.org", &["Date: "]),
];

#[test]
fn every_caller_gets_its_mail_through_at_once() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.start();
    for (number, (arguments, text, to, parts)) in (1..).zip(CALLS) {
        let began = Instant::now();
        sends(&relay, arguments, text);
        let arrived = gmail.wait_for(number).pop().expect("it has arrived");
        assert!(began.elapsed() < Duration::from_secs(10), "{arguments:?}: a relay that runs sends at once");
        let recipients: Vec<String> = arrived.recipients.iter().map(ToString::to_string).collect();
        assert_eq!(recipients.join(" "), *to, "{arguments:?}");
        let content = String::from_utf8_lossy(&arrived.content).into_owned();
        for part in *parts {
            assert!(content.contains(part), "{arguments:?}: no {part:?} in {content}");
        }
        assert!(!content.contains("Bcc") && !content.contains("second"), "{arguments:?}: {content}");
        let message = parse_mail(&arrived.content).expect("it can be parsed");
        assert!(message.headers.get_first_value("From").is_some_and(|from| from.contains("me@gmail.com")), "{content}");
    }
    relay.stop();
}

#[test]
fn the_rules_for_recipients_hold_here_too() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.write_config(
        "[recipients]\nalias = { root = \"me@gmail.com\" }\nallow = [\"me@gmail.com\", \"*@example.com\"]\n",
    );
    relay.set("SMARTHOST_CONFIG", &relay.folder().join("relay.toml").display().to_string());
    sends(&relay, &["root", "www-data"], TEXT);
    let to = &relay.wait_for_queue(1)[0]["to"];
    assert_eq!(to.to_string(), r#"["me@gmail.com","www-data@example.com"]"#);
    let said = sendmail(&relay, &["a@example.org", "root"], TEXT);
    assert_eq!(said.status, 77, "{said:?}");
    assert!(said.stderr.starts_with("smarthost: a@example.org: 550 5.7.1"), "{said:?}");
    assert_eq!(relay.wait_for_queue(2)[1]["to"].to_string(), r#"["me@gmail.com"]"#, "the others get it");
}

#[test]
fn the_folder_of_the_caller_configures_no_mailer() {
    let gmail = Gmail::start();
    let relay = relay(&gmail);
    relay.write_config("[recipients]\nredirect_all = \"thief@example.org\"\n");
    sends(&relay, &["root"], TEXT);
    assert_eq!(relay.count_rows("message"), 1);
    assert!(!relay.ask(&["queue", "list"]).contains("thief"));
}

#[test]
fn the_other_names_do_what_their_programs_do() {
    let gmail = Gmail::start();
    let relay = relay(&gmail);
    sends(&relay, &["root"], TEXT);
    let call = |name: &str, arguments: &[&str]| outcome_of(relay.program_at(&link(&relay, name), arguments));
    let queue = call("mailq", &[]);
    assert!(queue.status == 0 && queue.stdout.contains("root@example.com"), "{queue:?}");
    assert_eq!(call("sendmail", &["-bp"]).stdout, queue.stdout);
    let aliases = call("newaliases", &[]);
    assert!(aliases.status == 0 && aliases.stdout.starts_with("Nothing to do"), "{aliases:?}");
    let help = call("sendmail", &["--help"]);
    assert!(help.status == 0 && help.stdout.contains("-F NAME"), "{help:?}");
    assert_eq!(relay.ask(&["sendmail", "--help"]), help.stdout);
    let mut program = mailer(&relay, &[], TEXT.as_bytes());
    program.args(["root"]);
    assert_eq!(outcome_of(program).status, 0);
}

const SESSION: &str = "EHLO there\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<root>\r\nDATA\r\n\
    Subject: x\r\n\r\n..\r\n.\r\nRCPT TO:<x>\r\nQUIT\r\n";

#[test]
fn a_client_may_speak_smtp_through_it() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    let check = |relay: &Relay| {
        let said = sendmail(relay, &["-bs"], SESSION);
        assert_eq!(said.status, 0, "{said:?}");
        let codes: Vec<&str> =
            said.stdout.lines().filter(|line| line.get(3..4) == Some(" ")).map(|line| &line[..3]).collect();
        assert_eq!(codes, ["220", "250", "250", "250", "354", "250", "503", "221"], "{said:?}");
    };
    check(&relay);
    relay.wait_for_queue(1);
    relay.start();
    check(&relay);
    let arrived = gmail.wait_for(2);
    assert!(arrived.iter().all(|message| message.content.ends_with(b"\r\n\r\n.\r\n")));
    relay.stop();
}
