//! Clients that log in: the real programs, the real check, and a log at its most talkative that must not hold a secret.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

mod program;

use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use program::{Device, Gmail, Relay, device, outcome_of};

const PASSWORD: &str = "correct-horse-battery";

fn hash(relay: &Relay, password: &str) -> String {
    let script = format!("printf '%s\\n' '{password}' | \"$0\" hash-password");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_smarthost")]).current_dir(relay.folder());
    let said = outcome_of({
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    });
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    said.stdout.trim_end().to_owned()
}

fn start(gmail: &Gmail, auth: &str) -> Relay {
    let mut relay = Relay::new(gmail);
    let hash = hash(&relay, PASSWORD);
    let user = format!("[[user]]\nname = \"scanner\"\npassword_hash = \"{hash}\"\n");
    let user = if auth == "required" { user } else { String::new() };
    relay.write_config(&format!(
        "[[listen]]\naddress = \"localhost:0\"\nauth = \"{auth}\"\n{user}[log]\nlevel = \"trace\"\n"
    ));
    relay.unset("SMARTHOST_LISTEN");
    relay.start();
    relay
}

/// Every client, as it logs in by itself.
fn clients(relay: &Relay, password: &str) -> Vec<Command> {
    let (port, folder) = (relay.port(), relay.folder().display());
    relay.write("mail.eml", "From: scanner@nas.local\r\nSubject: Scan\r\n\r\nx\r\n");
    let python = format!(
        "import smtplib\nfor n in range(2):\n  s = smtplib.SMTP('127.0.0.1', {port})\n  s.login('scanner', '{password}')\n  \
         s.sendmail('scanner@nas.local', ['you@example.com'], 'Subject: Scan\\r\\n\\r\\nx\\r\\n')\n  s.quit()\n"
    );
    let swaks = |kind: &str| {
        format!(
            "swaks --server 127.0.0.1 --port {port} --from scanner@nas.local --to you@example.com --auth {kind} \
             --auth-user scanner --auth-password {password}"
        )
    };
    let curl = |options: &str| {
        format!(
            "curl -sS smtp://127.0.0.1:{port} --user scanner:{password} --mail-from scanner@nas.local --mail-rcpt \
             you@example.com --upload-file {folder}/mail.eml {options}"
        )
    };
    let msmtp = |kind: &str| {
        format!(
            "msmtp -C /dev/null --host=127.0.0.1 --port={port} --auth={kind} --user=scanner --passwordeval='echo {password}' \
             --tls=off --from=scanner@nas.local you@example.com < {folder}/mail.eml"
        )
    };
    let scripts = [
        swaks("PLAIN"),
        swaks("LOGIN"),
        curl("--login-options AUTH=PLAIN --sasl-ir"),
        curl("--login-options AUTH=PLAIN"),
        curl("--login-options AUTH=LOGIN"),
        msmtp("plain"),
        msmtp("login"),
        format!("python3 -c \"{python}\""),
    ];
    let shell = |script: String| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).env("HOME", relay.folder()).current_dir(relay.folder());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    };
    scripts.into_iter().map(shell).collect()
}

/// No form of the password is there (reliability-security.md, cases 110 and 111).
fn assert_no_secret(log: &str, password: &str) {
    let plain = format!("\0scanner\0{password}");
    for secret in [password.to_owned(), STANDARD.encode(password), STANDARD.encode(plain)] {
        assert!(!log.contains(&secret), "the log holds {secret}:\n{log}");
    }
    assert!(!log.contains("argon2"), "the log holds a hash:\n{log}");
}

#[test]
fn with_any_every_login_is_taken_and_is_a_label() {
    let gmail = Gmail::start();
    let mut relay = start(&gmail, "any");
    for client in clients(&relay, "whatever-it-is") {
        let shown = format!("{client:?}");
        let said = outcome_of(client);
        assert_eq!(said.status, 0, "{shown}: {said:?}");
    }
    // And none is needed.
    device::send_one(relay.port(), "Toner", &["you@example.com"]);
    let accepted = relay.log().wait_for("accepted", 10);
    assert_eq!(accepted.iter().filter(|event| event["login"] == "scanner").count(), 9, "{accepted:?}");
    relay.log().wait_for("delivered", 10);
    let past = relay.ask_json(&["history", "--json", "--client", "scanner"]);
    assert!(past.len() == 9 && past.iter().all(|past| past["login"] == "scanner"), "{past:?}");
    assert!(relay.ask(&["history"]).contains(" as scanner  "));
    let id = past[0]["id"].as_str().expect("it has one");
    assert!(relay.ask(&["queue", "show", id]).contains(" as scanner\n"));
    assert_no_secret(&relay.stop().text(), "whatever-it-is");
}

#[test]
fn with_required_only_the_right_password_sends() {
    let gmail = Gmail::start();
    let mut relay = start(&gmail, "required");
    let port = relay.port();
    for client in clients(&relay, PASSWORD) {
        let shown = format!("{client:?}");
        let said = outcome_of(client);
        assert_eq!(said.status, 0, "{shown}: {said:?}");
    }
    relay.log().wait_for("accepted", 9);

    let mut stranger = Device::connect(port);
    assert_eq!(
        stranger.say("MAIL FROM:<a@nas.local>"),
        "530 5.7.0 Log in first: this relay wants a name and a password"
    );
    let wrong = STANDARD.encode("\0scanner\0incorrect-horse");
    let began = Instant::now();
    assert_eq!(stranger.say(&format!("AUTH PLAIN {wrong}")), "535 5.7.8 Wrong name or password");
    assert!(began.elapsed().as_millis() >= 1000, "a wrong guess takes its time");
    let unknown = STANDARD.encode(format!("\0nobody\0{PASSWORD}"));
    assert_eq!(stranger.say(&format!("AUTH PLAIN {unknown}")), "535 5.7.8 Wrong name or password");
    assert!(stranger.say(&format!("AUTH PLAIN {wrong}")).starts_with("421 4.7.0 "));
    assert!(stranger.hears_the_end());

    let refused = relay.log().wait_for("rejected", 4);
    assert!(refused[0]["reason"].as_str().is_some_and(|why| why.contains("[[user]]")), "{refused:?}");
    let log = relay.stop().text();
    assert_no_secret(&log, PASSWORD);
    assert_no_secret(&log, "incorrect-horse");
}

/// A hundred guesses at once: no more than two are checked at the same time, and others are served meanwhile.
#[test]
fn guesses_neither_fill_memory_nor_keep_others_waiting() {
    let gmail = Gmail::start();
    let mut relay = start(&gmail, "required");
    let port = relay.port();
    let wrong = STANDARD.encode("\0scanner\0incorrect-horse");
    let mut guessers: Vec<Device> = (0..40).map(|_| Device::connect(port)).collect();
    for guesser in &mut guessers {
        guesser.write(format!("AUTH PLAIN {wrong}\r\n").as_bytes());
    }
    let mut other = Device::connect(port);
    let began = Instant::now();
    other.order("NOOP");
    assert!(began.elapsed().as_millis() < 1000, "checks are not made where others are heard");
    let replies: Vec<String> = guessers.iter_mut().map(Device::hear).collect();
    assert!(replies.iter().all(|reply| ["535", "421", "454"].contains(&&reply[..3])), "{replies:?}");
    assert!(other.say("AUTH LOGIN").starts_with("334"));
    assert!(other.say("c2Nhbm5lcg==").starts_with("334"));
    let right = STANDARD.encode(PASSWORD);
    assert!(other.say(&right).starts_with("421 4.7.0 Too many failed logins from your address"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.process_id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak_kib < 120 * 1024, "two checks take 38 MiB: {peak}");
    relay.stop();
}
