//! Promise 1 of the README against the program itself: killed in the middle, and on a disk that fails to sync.
//!
//! Gmail is a closed port, so that all mail stays in the queue.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `smarthost` in a spool folder; `before` is a command that runs it.
fn smarthost(spool: &Path, before: &[&str]) -> Command {
    let words: Vec<&str> = before.iter().copied().chain([env!("CARGO_BIN_EXE_smarthost")]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear();
    command.current_dir(spool.parent().unwrap()).stdin(Stdio::null()).envs([
        ("PATH", std::env::var("PATH").unwrap()),
        ("GMAIL_USER", "me@gmail.com".to_owned()),
        ("GMAIL_APP_PASSWORD", "abcd efgh ijkl mnop".to_owned()),
        ("GMAIL_HOST", "127.0.0.1".to_owned()),
        ("GMAIL_PORT", closed_port().to_string()),
        ("GMAIL_TLS", "implicit".to_owned()),
        ("SMARTHOST_HOSTNAME", "relay.example.net".to_owned()),
        ("SMARTHOST_LISTEN", "127.0.0.1:0".to_owned()),
        ("SMARTHOST_SPOOL", spool.display().to_string()),
        ("SMARTHOST_LOG", "json".to_owned()),
    ]);
    command
}

/// A relay that is running; killed when dropped.
struct Relay {
    child: Child,
    address: SocketAddr,
    log: Receiver<serde_json::Value>,
}

impl Relay {
    fn start(mut command: Command) -> Relay {
        let mut child = command.arg("run").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = events(child.stderr.take().unwrap());
        let ready = wait_for(&log, "ready");
        let address = ready["addresses"].as_str().unwrap().parse().unwrap();
        Relay { child, address, log }
    }

    fn wait_for(&self, event: &str) -> serde_json::Value {
        wait_for(&self.log, event)
    }

    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

fn events(stderr: ChildStderr) -> Receiver<serde_json::Value> {
    let (sender, log) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str(&line)
                && sender.send(event).is_err()
            {
                return;
            }
        }
    });
    log
}

fn wait_for(log: &Receiver<serde_json::Value>, event: &str) -> serde_json::Value {
    loop {
        let line = log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no `{event}` in the log"));
        if line["event"] == event {
            return line;
        }
    }
}

/// A client on one connection. Every answer is `None` once the relay is gone.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client(BufReader::new(stream));
        client.answer()?;
        client.say("HELO ups")?;
        Some(client)
    }

    fn say(&mut self, line: &str) -> Option<u16> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()?;
        self.answer()
    }

    fn answer(&mut self) -> Option<u16> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        line.get(..3)?.parse().ok()
    }

    /// Sends a message; the code is that after the final dot, or an earlier refusal.
    fn send(&mut self, to: &str, bytes: usize) -> Option<u16> {
        for (command, expected) in
            [("MAIL FROM:<ups@example.org>", 250), (&format!("RCPT TO:<{to}>"), 250), ("DATA", 354)]
        {
            let code = self.say(command)?;
            if code != expected {
                return Some(code);
            }
        }
        let body = "0123456789\r\n".repeat(bytes / 12);
        self.say(&format!("Subject: for {to}\r\n\r\n{body}."))
    }
}

/// Who is owed something, as the queue command says.
fn queue(spool: &Path) -> BTreeSet<String> {
    let output = smarthost(spool, &[]).args(["queue", "list", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let one = |line: &str| -> Vec<String> {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        message["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned()).collect()
    };
    lines.lines().flat_map(one).collect()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let attempted = Arc::new(Mutex::new(BTreeSet::new()));
    for (round, enough) in [3, 40, 90].into_iter().enumerate() {
        let relay = Relay::start(smarthost(&spool, &[]));
        let address = relay.address;
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (acknowledged, attempted) = (Arc::clone(&acknowledged), Arc::clone(&attempted));
                thread::spawn(move || {
                    let Some(mut client) = Client::connect(address) else { return };
                    for count in 0.. {
                        let to = format!("r{round}c{number}n{count}@example.com");
                        attempted.lock().unwrap().insert(to.clone());
                        // Every fifth is too large to stay in memory, and is stored in pieces.
                        let bytes = if count % 5 == 0 { 300_000 } else { 200 };
                        match client.send(&to, bytes) {
                            Some(250) => acknowledged.lock().unwrap().insert(to),
                            _ => return,
                        };
                    }
                })
            })
            .collect();
        for _ in 0..enough {
            relay.wait_for("accepted");
        }
        relay.kill();
        for client in clients {
            client.join().unwrap();
        }
        let (kept, promised) = (queue(&spool), acknowledged.lock().unwrap().clone());
        let lost: Vec<_> = promised.difference(&kept).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
        assert!(kept.is_subset(&attempted.lock().unwrap()), "what nobody sent");
    }
    // A fresh relay finds all of it whole.
    let relay = Relay::start(smarthost(&spool, &[]));
    let shown = smarthost(&spool, &[]).args(["queue", "list", "--json"]).output().unwrap();
    for line in String::from_utf8(shown.stdout).unwrap().lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let (id, size) = (message["id"].as_str().unwrap(), message["size"].as_u64().unwrap());
        let raw = smarthost(&spool, &[]).args(["queue", "show", id, "--raw"]).output().unwrap();
        assert_eq!(raw.stdout.len() as u64, size, "{id} is not whole");
        if size > 100_000 {
            break;
        }
    }
    drop(relay);
}

fn strace_works() -> bool {
    let strace = Command::new("strace").args(["-D", "-f", "-o", "/dev/null", "true"]).output();
    strace.is_ok_and(|strace| strace.status.success())
}

#[test]
fn a_sync_that_fails_once_is_never_acknowledged_and_ends_the_taking_of_mail() {
    take_mail_until_a_sync_fails("40");
}

#[test]
fn a_disk_that_fails_for_good_leaves_nothing_of_what_got_a_451() {
    take_mail_until_a_sync_fails("40+");
}

/// `when` is which syncs fail, as strace counts them.
fn take_mail_until_a_sync_fails(when: &str) {
    if !strace_works() {
        println!("SKIPPED: a failed sync, since strace is missing or may not trace here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let fault = format!("inject=fdatasync,fsync:error=EIO:when={when}");
    let trace = folder.path().join("trace").display().to_string();
    let strace = ["strace", "-D", "-f", "-o", &trace, "-e", "trace=fdatasync,fsync", "-e", &fault];
    let relay = Relay::start(smarthost(&spool, &strace));
    let mut client = Client::connect(relay.address).unwrap();
    assert_eq!(client.send("first@example.com", 100), Some(250));
    // The closed port is known from now on: only the acceptance of mail writes to the spool.
    relay.wait_for("account");
    let mut acknowledged = BTreeSet::from(["first@example.com".to_owned()]);
    let refused = loop {
        let to = format!("n{}@example.com", acknowledged.len());
        assert!(acknowledged.len() < 100, "no sync fails");
        match client.send(&to, 100) {
            Some(250) => acknowledged.insert(to),
            code => {
                assert_eq!(code, Some(451));
                break to;
            }
        };
    };
    relay.wait_for("spool_broken");
    assert_eq!(client.send("later@example.com", 100), Some(451), "no more mail is taken");
    let mut other = Client::connect(relay.address).unwrap();
    assert_eq!(other.send("other@example.com", 100), Some(451));
    relay.kill();
    assert_eq!(queue(&spool), acknowledged, "{refused} got a 451");
    let relay = Relay::start(smarthost(&spool, &[]));
    let mut client = Client::connect(relay.address).unwrap();
    assert_eq!(client.send(&refused, 100), Some(250), "a restart mends it");
    acknowledged.insert(refused);
    drop(relay);
    assert_eq!(queue(&spool), acknowledged);
}
