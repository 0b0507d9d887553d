//! The real program under test: the binary in a process of its own, a stand-in for Gmail beside it, and old devices.
//!
//! Everything lives on loopback ports that were free and in temporary folders. Dropping a value ends its process and
//! removes its folder, also where a test panics. Waiting is for conditions, each with a deadline.

#![allow(dead_code, unused_imports, reason = "every test target uses a part of it")]
#![allow(clippy::panic, reason = "this is how a test ends that cannot go on")]

pub mod device;
pub mod gmail;
pub mod log;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

pub use device::Device;
pub use gmail::Gmail;
use log::Log;

/// For everything that is to happen; each takes milliseconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// From SIGTERM to the end.
const STOP_DEADLINE: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_smarthost");

/// A configuration with its spool, and the relay that runs under it, if one does.
pub struct Relay {
    running: Option<Running>,
    variables: BTreeMap<String, String>,
    folder: TempDir,
}

/// A process that said it is ready.
struct Running {
    child: Child,
    log: Arc<Log>,
    port: u16,
}

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Relay {
    /// A relay that is not started yet: configured by variables alone, as in a container, and with an empty spool.
    pub fn new(gmail: &Gmail) -> Relay {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, gmail.ca_pem()).expect("the folder is ours");
        let mut relay = Relay { running: None, variables: BTreeMap::new(), folder };
        relay.set("GMAIL_USER", "me@gmail.com");
        relay.set("GMAIL_APP_PASSWORD", gmail::APP_PASSWORD);
        relay.set("GMAIL_HOST", "localhost");
        relay.set("GMAIL_PORT", &gmail.ports().implicit.to_string());
        relay.set("GMAIL_TLS", "implicit");
        relay.set("GMAIL_CA_FILE", &ca_file.display().to_string());
        relay.set("SMARTHOST_LISTEN", "localhost:0");
        relay.set("SMARTHOST_SPOOL", &relay.spool().display().to_string());
        relay.set("SMARTHOST_HOSTNAME", "relay.example.net");
        relay.set("SMARTHOST_LOG", "json");
        relay
    }

    /// The same, running.
    pub fn start_new(gmail: &Gmail) -> Relay {
        let mut relay = Relay::new(gmail);
        relay.start();
        relay
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Writes a file into the folder that the program runs in; nobody else may read it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        path
    }

    /// Writes `./relay.toml`, which the program finds by itself. Variables win over it.
    pub fn write_config(&self, text: &str) {
        self.write("relay.toml", text);
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `smarthost run`; returns when it is ready.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "the relay is running already");
        let run = self.program(&["run"]);
        self.start_by(run);
    }

    /// `smarthost run`, as another program starts it that was handed `socket` as its standard input.
    pub fn start_through_shell(&mut self, script: &str, socket: OwnedFd) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, PROGRAM]).current_dir(self.folder.path()).env_clear().envs(&self.variables);
        shell.stdin(socket).stderr(Stdio::piped());
        self.start_by(shell);
    }

    /// `smarthost run`, killed after a time, whether or not it is ready by then.
    pub fn start_and_kill(&self, after: Duration) {
        let mut child = self.program(&["run"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        thread::sleep(after);
        child.kill().expect("the process is ours");
        child.wait().expect("the process is ours");
    }

    /// `smarthost run` behind the words of another program that runs it. Where it ends instead of being ready, this is
    /// its status and what it said.
    pub fn try_start_behind(&mut self, words: &[&str]) -> Result<(), Said> {
        let mut program = Command::new(words[0]);
        program.args(&words[1..]).args([PROGRAM, "run"]).current_dir(self.folder.path());
        program.env_clear().envs(&self.variables).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        program.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::spawn(program);
        if running.is_ready() {
            self.running = Some(running);
            return Ok(());
        }
        let status = running.wait(STOP_DEADLINE).code().unwrap_or(-1);
        Err(Said { status, stdout: String::new(), stderr: running.log.text() })
    }

    fn start_by(&mut self, program: Command) {
        let running = self.running.insert(Running::spawn(program));
        assert!(running.is_ready(), "it ends before it is ready; log:\n{}", running.log.text());
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.running().port
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn process_id(&self) -> u32 {
        self.running().child.id()
    }

    /// The log of the process that runs.
    pub fn log(&self) -> &Log {
        &self.running().log
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the relay runs")
    }

    /// SIGTERM: it has to end in order and in time. Returns its whole log.
    pub fn stop(&mut self) -> Arc<Log> {
        self.stop_by("TERM")
    }

    /// The same by another signal.
    pub fn stop_by(&mut self, signal: &str) -> Arc<Log> {
        self.signal(signal);
        let mut running = self.running.take().expect("the relay runs");
        let status = running.wait(STOP_DEADLINE);
        assert_eq!(status.code(), Some(0), "{status}; log:\n{}", running.log.text());
        running.log.wait_for_end();
        Arc::clone(&running.log)
    }

    /// SIGKILL: it ends without another instruction of its own.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("the relay runs");
        running.child.kill().expect("the process is ours");
        assert_eq!(running.wait(STOP_DEADLINE).signal(), Some(9));
    }

    /// SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// A signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let id = self.process_id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("there is `kill`");
        assert!(status.success(), "kill -{name} {id}: {status}");
    }

    /// Runs another command under the same configuration, as an operator would beside the relay: with the port
    /// that it really has.
    pub fn command(&self, arguments: &[&str]) -> Said {
        let mut program = self.program(arguments);
        if let Some(running) = &self.running
            && self.variables.get("SMARTHOST_LISTEN").is_some_and(|address| address == "localhost:0")
        {
            program.env("SMARTHOST_LISTEN", format!("localhost:{}", running.port));
        }
        outcome_of(program)
    }

    /// The same for a command that must succeed; returns what it printed.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let said = self.command(arguments);
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.stdout
    }

    /// The same for one that prints a JSON object a line.
    pub fn ask_json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.ask(arguments);
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    /// Asks until the queue is so long.
    pub fn wait_for_queue(&self, length: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let queue = self.ask_json(&["queue", "list", "--json"]);
            if queue.len() == length {
                return queue;
            }
            assert!(began.elapsed() < DEADLINE, "the queue holds {queue:?}");
            thread::sleep(LOOK_EVERY * 10);
        }
    }

    /// Looks past the program, into its database.
    pub fn count_rows(&self, table: &str) -> i64 {
        let database = rusqlite::Connection::open(self.spool().join("spool.db")).expect("there is a spool");
        let count = database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        count.expect("the rows can be counted")
    }

    fn program(&self, arguments: &[&str]) -> Command {
        self.program_at(Path::new(PROGRAM), arguments)
    }

    /// The program under another path, with the same variables and in the same folder.
    pub fn program_at(&self, path: &Path, arguments: &[&str]) -> Command {
        let mut program = Command::new(path);
        program.args(arguments).current_dir(self.folder.path()).env_clear().envs(&self.variables);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    }
}

impl Running {
    fn spawn(mut program: Command) -> Running {
        let mut child = program.stdout(Stdio::null()).spawn().expect("the program can be started");
        let stderr = child.stderr.take().expect("it is piped");
        let log = Arc::new(Log::default());
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.add(line);
            }
            lines.end();
        });
        Running { child, log, port: 0 }
    }

    /// Waits until it says so. `false`: it has ended instead.
    fn is_ready(&mut self) -> bool {
        let Some(ready) = self.log.wait_for_first("ready") else { return false };
        let addresses = ready["addresses"].as_str().expect("`ready` tells the addresses");
        let first = addresses.split(", ").next().and_then(|address| address.rsplit(':').next());
        // A Unix socket has none.
        self.port = first.and_then(|port| port.parse().ok()).unwrap_or_default();
        true
    }

    fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(began.elapsed() < deadline, "it still runs after {deadline:?}; log:\n{}", self.log.text());
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already, both say so, and that is all right.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("log of the relay:\n{}", self.log.text());
        }
    }
}

/// Runs a program to its end, which must come in time.
pub fn outcome_of(mut program: Command) -> Said {
    let child = program.spawn().expect("the program can be started");
    let id = child.id();
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(DEADLINE) else {
        let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        panic!("{program:?} does not end");
    };
    let output = output.expect("its output can be read");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { status: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// A port at which nobody answers for as long as this lives.
pub struct ClosedPort(socket2::Socket);

impl ClosedPort {
    pub fn new() -> ClosedPort {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are sockets");
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("there are free ports");
        ClosedPort(socket)
    }

    pub fn number(&self) -> u16 {
        let address = self.0.local_addr().expect("it is bound");
        address.as_socket().expect("it has a port").port()
    }
}
