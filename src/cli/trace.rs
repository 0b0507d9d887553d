//! `smarthost trace`: what one client says and hears, while the relay runs.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{Instant, sleep};

use super::{Failure, Global};
use crate::listener::trace::{self, Order};
use crate::spool::sqlite;

/// How long the relay may take to see that somebody wants to know.
const NOTICE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The client: an address, or a network such as 192.168.1.0/24.
    #[arg(value_parser = network)]
    client: IpNet,
    /// End after so many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// End after so many connections.
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// Write into this file; each further connection into one of its own, numbered.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out what the messages contain.
    #[arg(long)]
    without_content: bool,
}

fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical())));
    parsed.map_err(|_| "expected an address such as 192.168.1.40, or a network such as 192.168.1.0/24".to_owned())
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let spool = global.spool_folder()?;
    let no_relay =
        || Failure::Unavailable(format!("no relay runs on the spool {}; start it: smarthost run", spool.display()));
    if !sqlite::is_in_use(&spool) {
        return Err(no_relay());
    }
    let folder = trace::usual_folder(&spool);
    let before = trace::files(&folder)?;
    let order = Order::give(&spool, options.client, !options.without_content)?;
    let given = Instant::now();
    while !order.is_seen() {
        if given.elapsed() > NOTICE {
            return Err(no_relay());
        }
        sleep(LOOK_EVERY).await;
    }
    writeln!(io::stderr(), "Listening to {}; Ctrl-C ends this.", options.client)?;
    let mut following = Following { folder, known: before, current: None, ended: 0, options };
    let end = async {
        match options.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = following.follow() => result?,
        () = end => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    following.look()?;
    if following.ended == 0 && following.current.is_none() {
        writeln!(io::stderr(), "Nothing was heard. The log says who is turned away (`rejected`).")?;
    }
    Ok(())
}

/// Passes on transcripts as they grow, one after the other.
struct Following<'a> {
    folder: PathBuf,
    /// Those that were there before, or are done with.
    known: Vec<PathBuf>,
    current: Option<Current>,
    ended: usize,
    options: &'a Options,
}

struct Current {
    from: File,
    to: Box<dyn Write + Send>,
    at: u64,
}

impl Following<'_> {
    async fn follow(&mut self) -> Result<(), Failure> {
        while self.options.sessions.is_none_or(|sessions| self.ended < sessions) {
            self.look()?;
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Passes on what there is by now.
    fn look(&mut self) -> Result<(), Failure> {
        while self.options.sessions.is_none_or(|sessions| self.ended < sessions) {
            if self.current.is_none() {
                self.current = self.next()?;
            }
            let Some(current) = &mut self.current else { return Ok(()) };
            if !current.pass_on()? {
                return Ok(());
            }
            self.current = None;
            self.ended += 1;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Current>, Failure> {
        let is_meant = |path: &PathBuf| trace::client_of(path).is_some_and(|ip| self.options.client.contains(&ip));
        let new = trace::files(&self.folder)?.into_iter().find(|path| is_meant(path) && !self.known.contains(path));
        let Some(path) = new else { return Ok(None) };
        let from = File::open(&path)?;
        self.known.push(path);
        let to: Box<dyn Write + Send> = match &self.options.output {
            Some(path) => {
                let path = numbered(path, self.ended + 1);
                Box::new(
                    File::create(&path).map_err(|error| Failure::BadInput(format!("{}: {error}", path.display())))?,
                )
            }
            None => Box::new(io::stdout()),
        };
        Ok(Some(Current { from, to, at: 0 }))
    }
}

impl Current {
    /// Passes on what is new. Tells whether that was the last of it.
    fn pass_on(&mut self) -> Result<bool, Failure> {
        let mut text = Vec::new();
        self.from.seek(SeekFrom::Start(self.at))?;
        self.from.read_to_end(&mut text)?;
        // Only whole lines: the rest comes the next time.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        text.truncate(whole);
        self.at += text.len() as u64;
        self.to.write_all(&text)?;
        self.to.flush()?;
        let last = text.strip_suffix(b"\n").and_then(|text| text.rsplit(|&byte| byte == b'\n').next());
        Ok(last.is_some_and(|last| [&b"then open"[..], b"then closed"].contains(&last)))
    }
}

/// `printer.smtp`, then `printer-2.smtp`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{end}"))
}
