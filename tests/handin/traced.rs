//! What a client says, written down by a relay that runs: the same files that the tests of the session play.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::program::{DEADLINE, Device, Gmail, Relay};
use super::relay;
use super::transcripts::play;

/// `\0me\0very secret`, `me` and `very secret`.
const SECRETS: [&str; 3] = ["AG1lAHZlcnkgc2VjcmV0", "bWU=", "dmVyeSBzZWNyZXQ="];

/// `smarthost trace`, until it has to end.
struct Trace(Child);

impl Trace {
    /// Returns once the relay follows it.
    fn begin(relay: &Relay, arguments: &[&str]) -> Trace {
        let words = [&["trace", "127.0.0.1"], arguments].concat();
        let mut program = relay.program_at(Path::new(super::PROGRAM), &words);
        let mut child = program.stdout(Stdio::piped()).spawn().expect("the program can be started");
        let mut first = String::new();
        let stderr = child.stderr.as_mut().expect("it is piped");
        BufReader::new(stderr).read_line(&mut first).expect("it can be read");
        assert!(first.starts_with("Listening to 127.0.0.1/32"), "{first}");
        Trace(child)
    }

    /// Waits for its end; returns what it printed.
    fn end(mut self) -> String {
        let began = Instant::now();
        while self.0.try_wait().expect("the process is ours").is_none() {
            assert!(began.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().expect("it is piped"), &mut text).expect("it is text");
        assert!(self.0.wait().expect("the process is ours").success());
        text
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An old printer at work: a login that is not offered, a bare name, bytes that are no text, several messages, odd cuts.
fn print(port: u16) {
    let mut device = Device::connect(port);
    device.say("EHLO printer");
    device.say(&format!("AUTH PLAIN {}", SECRETS[0]));
    device.say("AUTH LOGIN");
    device.say(SECRETS[1]);
    device.say(SECRETS[2]);
    device.begin("printer@nas.local", &["root"]);
    device.write(b"Subject: Gr\xfc\xdfe\t \r\n\r\n..\r\nbare\nline \\ \x07\r\n.\r\n");
    device.hear();
    device.say("RCPT TO:<nobody>");
    device.write(b"MAIL FROM:<>\r\nRCPT TO:<root>\r\nDA");
    device.hear();
    device.hear();
    device.write(b"TA\r\n");
    device.hear();
    device.write(b"AUTH is the first word\r\n.\r\nNOOP\nQUIT\r\n");
    for _ in 0..3 {
        device.hear();
    }
    assert!(device.hears_the_end());
}

fn is_clean(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

/// The transcripts in a folder, once there are so many and each has its end.
fn wait_for_files(folder: &Path, count: usize) -> Vec<PathBuf> {
    let began = Instant::now();
    loop {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("it can be read").path());
        let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "smtp")).collect();
        let is_whole = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("\nthen stored "));
        if files.len() == count && files.iter().all(is_whole) {
            return files;
        }
        assert!(began.elapsed() < DEADLINE, "there is only {files:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there are threads").block_on(future);
}

#[test]
fn a_client_is_traced_while_the_relay_runs_and_what_is_written_can_be_played() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.start();
    print(relay.port());
    let output = relay.folder().join("printer.smtp");
    let trace = Trace::begin(&relay, &["--sessions", "1", "--output", &output.display().to_string()]);
    print(relay.port());
    assert_eq!(trace.end(), "");
    let text = fs::read_to_string(&output).expect("it was written");
    is_clean(&text);
    for line in [
        "S: 220 relay.example.net ESMTP smarthost",
        "C: AUTH LOGIN",
        "C: Subject: Gr\\xfc\\xdfe\\t\\x20",
        "C! bare\\n",
        "C: AUTH is the first word",
        "then stored 2",
        "then closed",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
    }
    run(play("printer.smtp", &text));
    let trace = Trace::begin(&relay, &["--sessions", "2", "--without-content"]);
    print(relay.port());
    print(relay.port());
    let text = trace.end();
    is_clean(&text);
    assert_eq!(text.matches("\nthen stored 2\n").count(), 2, "{text}");
    assert!(!text.contains("Subject") && text.contains("of content are left out here"), "{text}");
    relay.stop();
}

#[test]
fn the_configuration_may_want_a_transcript_too() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.write_config("[[trace]]\nclient = \"192.0.2.1\"\n");
    relay.start();
    print(relay.port());
    relay.write_config("[[trace]]\nclient = \"127.0.0.0/8\"\nfolder = \"seen\"\ncontent = false\n");
    relay.hang_up();
    relay.log().wait_for_first("reloaded").expect("the relay runs");
    let folder = relay.folder().join("seen");
    let began = Instant::now();
    while !folder.exists() {
        assert!(began.elapsed() < DEADLINE, "the new configuration wants nothing");
        print(relay.port());
    }
    let file = wait_for_files(&folder, 1).remove(0);
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let text = fs::read_to_string(file).expect("it can be read");
    is_clean(&text);
    run(play("of the configuration", &text));
    assert!(
        !relay
            .spool()
            .join("trace")
            .read_dir()
            .expect("it is there")
            .any(|entry| { entry.expect("it can be read").path().extension().is_some_and(|end| end == "smtp") })
    );
    relay.stop();
}

#[test]
fn without_a_relay_there_is_nothing_to_trace() {
    let gmail = Gmail::start();
    let relay = relay(&gmail);
    let said = relay.command(&["trace", "192.0.2.1"]);
    assert_eq!(said.status, 69, "{said:?}");
    assert!(said.stderr.contains("no relay runs on the spool"), "{said:?}");
    assert_eq!(relay.command(&["trace", "printer"]).status, 64);
}
