//! Measures the whole relay from outside, as a process of its own: `cargo bench --bench relay`.
//!
//! The load and the stand-in for Gmail run in this process and share the machine with the relay, so the figures are
//! of the three together; the relay's own processor time is read from `/proc`. Each figure is the median of a few
//! runs, each on a new spool.

#![expect(clippy::cast_precision_loss, reason = "figures are printed, and rounded anyway")]

use std::io::{BufRead, BufReader as StdBufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use smarthost::standin::{Keep, Options, Standin};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

const RUNS: usize = 3;
const CLIENTS: usize = 20;
const MESSAGES: usize = 4000;
const DEADLINE: Duration = Duration::from_mins(2);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The relay as a process.
struct Relay {
    process: Child,
    address: SocketAddr,
}

impl Relay {
    fn start(folder: &Path, port: u16) -> Result<Relay, Failure> {
        let config = folder.join("relay.toml");
        std::fs::write(
            &config,
            format!(
                "hostname = \"relay.example.net\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                 [[account]]\nuser = \"me@gmail.com\"\napp_password = \"abcd efgh ijkl mnop\"\nhost = \"localhost\"\n\
                 port = {port}\ntls = \"implicit\"\nca_file = \"ca.pem\"\nconnections = {CLIENTS}\n\
                 daily_limit = 1000000\n[spool]\npath = \"{}\"\n[retry]\nfirst = \"1h\"\n",
                folder.join("spool").display()
            ),
        )?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_smarthost"))
            .args(["run", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = StdBufReader::new(process.stderr.take().ok_or("no log")?);
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err("the relay did not start".into());
            }
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "ready" {
                break event["addresses"].as_str().ok_or("no address")?.parse()?;
            }
        };
        // The log must be read, or the relay would wait for us.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Relay { process, address })
    }

    fn status(&self, key: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// What it has handed to the kernel to be written, sockets included, in bytes.
    fn written_bytes(&self) -> Option<f64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.process.id())).ok()?;
        io.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
    }

    /// User and system time, in seconds.
    fn processor_s(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        // Linux counts in hundredths here on every architecture that we run on.
        Some(ticks / 100.0)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    async fn connect(address: SocketAddr) -> Result<Client, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream: BufReader::new(stream), line: String::new() };
        client.expect("220").await?;
        client.say(b"EHLO bench\r\n", "250").await?;
        Ok(client)
    }

    async fn say(&mut self, words: &[u8], wanted: &str) -> Result<(), Failure> {
        self.stream.get_mut().write_all(words).await?;
        self.expect(wanted).await
    }

    async fn expect(&mut self, wanted: &str) -> Result<(), Failure> {
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line).await? == 0 {
                return Err("the relay closed the connection".into());
            }
            if self.line.get(3..4) != Some("-") {
                return if self.line.starts_with(wanted) { Ok(()) } else { Err(self.line.clone().into()) };
            }
        }
    }

    /// Sends one message, one command at a time; returns the time from the final dot to the 250.
    async fn send(&mut self, content: &[u8]) -> Result<Duration, Failure> {
        self.say(b"MAIL FROM:<device@example.net>\r\n", "250").await?;
        self.say(b"RCPT TO:<you@example.com>\r\n", "250").await?;
        self.say(b"DATA\r\n", "354").await?;
        let dot = Instant::now();
        self.say(content, "250").await?;
        Ok(dot.elapsed())
    }

    async fn quit(mut self) -> Result<(), Failure> {
        self.say(b"QUIT\r\n", "221").await
    }
}

/// A message of about `bytes` bytes, with its final dot.
fn message(bytes: usize) -> Vec<u8> {
    let mut content =
        b"From: Device <device@example.net>\r\nTo: you@example.com\r\nSubject: benchmark\r\n\r\n".to_vec();
    while content.len() < bytes {
        content.extend_from_slice(b"The quick brown fox jumps over the lazy dog, again and again and again and.\r\n");
    }
    content.extend_from_slice(b".\r\n");
    content
}

/// Sends all messages, a new connection for each one.
async fn load(address: SocketAddr, messages: usize) -> Result<(), Failure> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(async move {
            let content = message(4096);
            for _ in 0..messages / CLIENTS {
                let mut client = Client::connect(address).await?;
                client.send(&content).await?;
                client.quit().await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

async fn standin(folder: &Path) -> Result<Standin, Failure> {
    let standin = Standin::start(Options { keep: Keep::CountsOnly, ..Options::default() }).await?;
    standin.write_ca(&folder.join("ca.pem"))?;
    Ok(standin)
}

/// Figures of one run, by name.
type Figures = Vec<(&'static str, f64)>;

/// Acceptance alone: Gmail is away.
async fn acceptance() -> Result<Figures, Failure> {
    let folder = tempfile::tempdir()?;
    let gmail = standin(folder.path()).await?;
    let port = gmail.ports().implicit;
    gmail.stop().await;
    let relay = Relay::start(folder.path(), port)?;
    let idle_kb = relay.status("VmRSS").unwrap_or(0);
    let began = Instant::now();
    load(relay.address, MESSAGES).await?;
    let rate = MESSAGES as f64 / began.elapsed().as_secs_f64();
    Ok(vec![("idle memory, MB", idle_kb as f64 / 1000.0), ("accepted a second", rate)])
}

/// The whole way.
async fn delivery() -> Result<Figures, Failure> {
    let folder = tempfile::tempdir()?;
    let gmail = standin(folder.path()).await?;
    let relay = Relay::start(folder.path(), gmail.ports().implicit)?;
    let before = relay.processor_s().unwrap_or(0.0);
    let began = Instant::now();
    load(relay.address, MESSAGES).await?;
    gmail.wait_for(MESSAGES as u64, DEADLINE).await?;
    let rate = MESSAGES as f64 / began.elapsed().as_secs_f64();
    let processor = (relay.processor_s().unwrap_or(0.0) - before) * 1000.0 / MESSAGES as f64;
    let written_kb = relay.written_bytes().unwrap_or(0.0) / 1000.0 / MESSAGES as f64;
    let peak_kb = relay.status("VmHWM").unwrap_or(0);
    gmail.stop().await;
    Ok(vec![
        ("delivered a second", rate),
        ("kB written for one delivered", written_kb),
        ("processor seconds for 1,000", processor),
        ("peak memory, MB", peak_kb as f64 / 1000.0),
    ])
}

/// One message after another, on kept connections.
async fn one_by_one() -> Result<Figures, Failure> {
    let folder = tempfile::tempdir()?;
    let gmail = standin(folder.path()).await?;
    let relay = Relay::start(folder.path(), gmail.ports().implicit)?;
    let mut client = Client::connect(relay.address).await?;
    let content = message(4096);
    let (mut accepted, mut arrived) = (Vec::new(), Vec::new());
    for count in 1..=200 {
        let began = Instant::now();
        let dot_to_250 = client.send(&content).await?;
        let envelope = began.elapsed().saturating_sub(dot_to_250);
        gmail.wait_for(count, DEADLINE).await?;
        accepted.push(dot_to_250.as_secs_f64() * 1000.0);
        arrived.push(began.elapsed().saturating_sub(envelope).as_secs_f64() * 1000.0);
    }
    client.quit().await?;
    gmail.stop().await;
    Ok(vec![("final dot to 250, ms", median(accepted)), ("final dot to arrival, ms", median(arrived))])
}

/// Large messages from four clients at once.
async fn large() -> Result<Figures, Failure> {
    const EACH: usize = 3;
    const BYTES: usize = 25_000_000;
    let folder = tempfile::tempdir()?;
    let gmail = standin(folder.path()).await?;
    let relay = Relay::start(folder.path(), gmail.ports().implicit)?;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let address = relay.address;
        clients.spawn(async move {
            let content = message(BYTES);
            let mut client = Client::connect(address).await?;
            for _ in 0..EACH {
                client.send(&content).await?;
            }
            client.quit().await
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    gmail.wait_for(4 * EACH as u64, DEADLINE).await?;
    let rate = (4 * EACH * BYTES) as f64 / 1e6 / began.elapsed().as_secs_f64();
    let peak_kb = relay.status("VmHWM").unwrap_or(0);
    gmail.stop().await;
    Ok(vec![("25 MB from 4 clients, MB a second", rate), ("peak memory with 25 MB, MB", peak_kb as f64 / 1000.0)])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn all() -> Result<Figures, Failure> {
    let mut figures = acceptance().await?;
    figures.extend(delivery().await?);
    figures.extend(one_by_one().await?);
    figures.extend(large().await?);
    Ok(figures)
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(runtime.block_on(all())?);
    }
    println!("| figure | lowest | median | highest |\n| --- | --- | --- | --- |");
    for (index, (name, _)) in runs[0].iter().enumerate() {
        let mut values: Vec<f64> = runs.iter().map(|run| run[index].1).collect();
        values.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} | {:.2} | {:.2} |", values[0], median(values.clone()), values[values.len() - 1]);
    }
    Ok(())
}
