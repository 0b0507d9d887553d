//! The other commands: send, check, status, and the ways in which a start fails.

use serde_json::Value;

use crate::program::{ClosedPort, Gmail, Relay};
use crate::{field, subject};

#[test]
fn send_follows_the_message_until_gmail_has_it() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let said = relay.ask(&["send", "--to", "you@example.com", "--subject", "A try"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("Accepted by the relay as "), "{said}");
    assert!(lines[1].starts_with("you@example.com: delivered (250 "), "{said}");
    let received = gmail.wait_for(1);
    assert_eq!(subject(&received[0].content), "A try");

    let file = relay.write("mail.eml", "From: Scanner <scan@nas.local>\nSubject: From a file\n\n.dots\n..stay\nend");
    relay.ask(&["send", "--to", "you@example.com", &file.display().to_string()]);
    let received = gmail.wait_for(2);
    let parsed = mailparse::parse_mail(&received[1].content).unwrap();
    assert_eq!(field(&parsed, "Subject"), "From a file");
    assert_eq!(parsed.get_body().unwrap().trim_end(), ".dots\r\n..stay\r\nend");
    relay.stop();
}

#[test]
fn send_says_who_does_not_get_it() {
    let gmail = Gmail::start();
    gmail.script("rcpt bad@ => 550 5.1.1 no such user");
    let relay = Relay::start_new(&gmail);
    let said = relay.command(&["send", "--to", "bad@example.com", "--to", "good@example.com"]);
    assert_eq!(said.status, 69, "{said:?}");
    assert!(said.stdout.contains("bad@example.com: refused (550 5.1.1 no such user)"), "{said:?}");
    assert!(said.stdout.contains("good@example.com: delivered"), "{said:?}");
}

#[test]
fn send_without_a_relay_says_so() {
    let gmail = Gmail::start();
    let closed = ClosedPort::new();
    let mut relay = Relay::new(&gmail);
    relay.set("SMARTHOST_LISTEN", &format!("127.0.0.1:{}", closed.number()));
    let said = relay.command(&["send", "--to", "you@example.com"]);
    assert_eq!((said.status, said.stdout.as_str()), (69, ""), "{said:?}");
    assert!(said.stderr.contains("no relay answers at 127.0.0.1:"), "{said:?}");
    assert!(said.stderr.contains("Is `smarthost run` running"), "{said:?}");
}

/// The first words of the lines: the steps.
fn steps(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split("  ").next()).map(str::trim).collect()
}

#[test]
fn check_tells_its_steps_to_the_login() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    for running in [false, true] {
        let said = relay.ask(&["check"]);
        assert_eq!(steps(&said), ["configuration", "listener", "spool", "name", "Gmail", "done"], "{said}");
        assert_eq!(said.contains("is served by the relay that is running"), running, "{said}");
        if !running {
            relay.start();
        }
    }
    relay.stop();
    assert_eq!((gmail.counts().logins, gmail.counts().messages), (2, 0));
}

#[test]
fn check_stops_before_the_network_when_told_so() {
    let gmail = Gmail::start();
    let said = Relay::new(&gmail).ask(&["check", "--offline"]);
    assert_eq!(steps(&said), ["configuration", "listener", "spool", "done"], "{said}");
    assert_eq!(gmail.counts().connections, 0);
}

#[test]
fn check_explains_a_wrong_password() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_APP_PASSWORD", "zzzz zzzz zzzz zzzz");
    let said = relay.command(&["check"]);
    assert_eq!(said.status, 69, "{said:?}");
    assert!(said.stderr.contains("535 5.7.8"), "{said:?}");
    assert!(said.stderr.contains("https://myaccount.google.com/apppasswords"), "{said:?}");
    assert!(!format!("{said:?}").contains("zzzz"), "{said:?}");
}

#[test]
fn check_explains_that_nobody_answers() {
    let gmail = Gmail::start();
    let closed = ClosedPort::new();
    let mut relay = Relay::new(&gmail);
    relay.set("GMAIL_PORT", &closed.number().to_string());
    let said = relay.command(&["check"]);
    assert_eq!(said.status, 69, "{said:?}");
    assert!(
        said.stderr.contains("refused the connection") && said.stderr.contains("Check `host` and `port`"),
        "{said:?}"
    );
}

#[test]
fn status_tells_whether_the_relay_runs() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    let said = relay.command(&["status", "--json"]);
    assert!(said.status == 0 || said.status == 69, "{said:?}");
    relay.start();
    let status = |relay: &Relay| -> Value { serde_json::from_str(&relay.ask(&["status", "--json"])).unwrap() };
    assert_eq!(status(&relay)["running"], true);
    assert!(relay.ask(&["status"]).starts_with("smarthost is running"));
    relay.stop();
    assert_eq!(status(&relay)["running"], false);
    assert!(relay.ask(&["status"]).starts_with("smarthost is not running"));
}

#[test]
fn a_second_relay_on_the_same_spool_does_not_start() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let mut second = Relay::new(&gmail);
    second.set("SMARTHOST_SPOOL", &relay.spool().display().to_string());
    let said = second.command(&["run"]);
    assert_eq!(said.status, 75, "{said:?}");
    assert!(said.stderr.contains(&relay.spool().display().to_string()), "{said:?}");
    // The first one noticed nothing of it.
    relay.ask(&["send", "--to", "you@example.com"]);
    relay.stop();
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let gmail = Gmail::start();
    let relay = Relay::start_new(&gmail);
    let mut second = Relay::new(&gmail);
    let address = format!("localhost:{}", relay.port());
    second.set("SMARTHOST_LISTEN", &address);
    for command in ["run", "check"] {
        let said = second.command(&[command]);
        assert_eq!(said.status, 69, "{said:?}");
        assert!(said.stderr.contains(&format!("127.0.0.1:{} is already in use", relay.port())), "{said:?}");
    }
}

#[test]
fn mistakes_in_the_configuration_stop_the_start() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config("[retry]\nfirts = \"1s\"\n");
    for command in ["run", "check", "status"] {
        let said = relay.command(&[command]);
        assert_eq!(said.status, 78, "{said:?}");
        assert!(said.stderr.contains("relay.toml:2") && said.stderr.contains("did you mean \"first\"?"), "{said:?}");
    }
    relay.write_config("");
    relay.set("GMAIL_CA_FILE", &relay.write("no.pem", "nothing").display().to_string());
    let said = relay.command(&["run"]);
    assert!(said.status == 78 && said.stderr.contains("no.pem"), "{said:?}");
    relay.unset("GMAIL_USER");
    let said = relay.command(&["run"]);
    assert!(said.status == 78 && said.stderr.contains("GMAIL_USER"), "{said:?}");
    assert!(!relay.spool().exists(), "a start that fails leaves no spool");
}

#[test]
fn a_wrong_option_is_a_mistake_of_usage() {
    let gmail = Gmail::start();
    let relay = Relay::new(&gmail);
    for arguments in [&["run", "--fast"][..], &["queue"], &["queue", "hold"], &["fly"], &["history", "--since", "long"]]
    {
        let said = relay.command(arguments);
        assert!(said.status == 64 && !said.stderr.is_empty(), "{arguments:?}: {said:?}");
    }
    assert!(relay.ask(&["--help"]).contains("smarthost"));
    assert!(relay.ask(&["--version"]).starts_with("smarthost "));
}

#[test]
fn replies_are_explained_and_the_page_about_them_is_current() {
    let gmail = Gmail::start();
    let relay = Relay::new(&gmail);
    let said = relay.ask(&["explain", "550-5.4.5 Daily user sending limit", "550 5.4.5 exceeded"]);
    assert!(said.starts_with("550 5.4.5 Daily user sending limit exceeded\n"), "{said}");
    assert!(said.contains("holds the account until the limit frees") && said.contains("Cure "), "{said}");
    let said = relay.command(&["explain", "nothing", "of", "the", "kind"]);
    assert_eq!(said.status, 65, "{}", said.stderr);
    assert!(said.stderr.contains("begins with three digits"), "{}", said.stderr);
    // After a change: smarthost explain --table > docs/replies.md
    assert_eq!(relay.ask(&["explain", "--table"]), include_str!("../../docs/replies.md"));
}
