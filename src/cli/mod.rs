//! What people type: one file a command.
//!
//! Commands print what was asked for on standard output and everything else on standard error. Exit statuses follow
//! `sysexits.h`, so that scripts can tell a mistake from bad luck.

pub mod batch;
mod check;
mod demo;
mod explain;
mod export;
mod generate;
mod hash_password;
mod history;
mod queue;
mod run;
mod send;
mod sendmail;
mod standin;
mod status;
mod table;
mod trace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::config::{self, Config, Environment, Loaded, Mistakes};
use crate::daemon::StartError;
use crate::event::{self, Event};
use crate::listener::BindError;
use crate::log;
use crate::spool::SpoolError;
use crate::spool::sqlite::{OpenError, SqliteSpool};
use sendmail::arguments::Call;

/// How long what cannot be interrupted may keep the process.
const LOOKUP_GRACE: Duration = Duration::from_millis(200);

/// A small SMTP server for old software: takes mail from anything on this machine, repairs it, and hands it on to
/// Gmail.
#[derive(Debug, Parser)]
#[command(name = "smarthost", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command understands.
#[derive(Debug, clap::Args)]
struct Global {
    /// Read this configuration file. Without it: `$SMARTHOST_CONFIG`, ./relay.toml, /etc/smarthost/relay.toml; with none
    /// of them, the environment alone.
    #[arg(short, long, value_name = "PATH", global = true)]
    config: Option<PathBuf>,
    /// Log only warnings and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Log every connection, too.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// How log lines look. Without it: text on a terminal, JSON otherwise.
    #[arg(long, value_name = "FORMAT", global = true)]
    log: Option<LogFormat>,
    /// Called as the mailer of the system: see [`Global::environment`].
    #[arg(skip)]
    by_name: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay, until SIGTERM or SIGINT. SIGHUP reads the configuration again.
    Run,
    /// Read the configuration and try everything it names, without sending anything.
    Check(check::Options),
    /// Show the whole way of a message, without an account: a stand-in plays Gmail.
    Demo(demo::Options),
    /// Send one message through the running relay, and follow it until Gmail has answered.
    Send(send::Options),
    /// Tell how the relay and its accounts stand.
    Status(status::Options),
    /// Look at the mail that waits, and give orders about it.
    #[command(subcommand)]
    Queue(queue::Command),
    /// Tell what was delivered, refused or given up, newest first.
    History(history::Options),
    /// Show what a client says and hears, while the relay runs; passwords are replaced.
    Trace(trace::Options),
    /// Tell what a reply of Gmail means, what the relay does about it, and what you can do.
    Explain(explain::Options),
    /// Print the hash of a password, for `[[user]]`. Asks for it, or reads it from standard input.
    HashPassword,
    /// Hand a message in as `/usr/sbin/sendmail` does, whether or not the relay runs.
    #[command(disable_help_flag = true)]
    Sendmail(sendmail::Options),
    /// Play Gmail on ports of this machine, for tests of your own.
    #[command(hide = true)]
    Standin(standin::Options),
    /// Print the completions for a shell.
    Completions(generate::Completions),
    /// Print the manual page.
    Man,
}

/// Why a command failed. `Display` is what the user reads.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", .0.0.join("\nsmarthost: "))]
    Configuration(Mistakes),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the spool: {0}")]
    Spool(#[from] SpoolError),
    /// Something the user named is not there.
    #[error("{0}")]
    NotFound(String),
    /// The other side did not do what was asked.
    #[error("{0}")]
    Unavailable(String),
    /// What was given cannot be used.
    #[error("{0}")]
    BadInput(String),
    /// As callers of a mailer expect it: with this status.
    #[error("{1}")]
    Mailer(u8, String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// The status of `sysexits.h` that says the same.
    fn status(&self) -> u8 {
        const DATAERR: u8 = 65;
        const UNAVAILABLE: u8 = 69;
        const CANTCREAT: u8 = 73;
        const TEMPFAIL: u8 = 75;
        const NOPERM: u8 = 77;
        const CONFIG: u8 = 78;
        match self {
            Failure::Configuration(_) | Failure::Start(StartError::Trust(_) | StartError::Certificate(_)) => CONFIG,
            Failure::Start(StartError::Listen(BindError::Forbidden(_))) => NOPERM,
            Failure::Start(StartError::Listen(_) | StartError::Signals(_)) | Failure::Unavailable(_) => UNAVAILABLE,
            Failure::Start(StartError::Spool(error)) | Failure::Open(error) => match error {
                OpenError::Folder { .. } => CANTCREAT,
                OpenError::Missing(_) | OpenError::OldLibrary(_) => UNAVAILABLE,
                OpenError::Locked(_) | OpenError::Sqlite { .. } => TEMPFAIL,
                OpenError::Damaged { .. } | OpenError::Newer { .. } | OpenError::Foreign(_) => DATAERR,
            },
            Failure::Mailer(status, _) => *status,
            Failure::Spool(_) => TEMPFAIL,
            Failure::NotFound(_) | Failure::BadInput(_) => DATAERR,
            Failure::Io(_) => CANTCREAT,
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let call = sendmail::arguments::call(&words);
    // What is ours may hold a path in whatever bytes.
    let is_mailer = call.by_name || call.ours.len() < words.len();
    let cli = if is_mailer { Cli::try_parse_from(&call.ours) } else { Cli::try_parse() };
    let cli = match cli {
        Ok(cli) => cli.called(call),
        Err(error) => {
            // Help and version are no mistakes. A wrong option is EX_USAGE.
            let status = if error.use_stderr() { 64 } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let result = std::panic::catch_unwind(|| in_runtime(cli));
    let Ok(result) = result else {
        let _ = writeln!(io::stderr(), "smarthost: this is a bug; please report what stands above");
        return ExitCode::from(70);
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has had enough: `smarthost history | head`.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "smarthost: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn in_runtime(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(perform(cli));
    // A name that is being looked up has a thread that nothing can interrupt.
    runtime.shutdown_timeout(LOOKUP_GRACE);
    result
}

impl Cli {
    /// With what was said to the mailer, which has a grammar of its own.
    fn called(mut self, call: Call) -> Cli {
        self.global.by_name = call.by_name;
        if let Command::Sendmail(options) = &mut self.command {
            options.arguments = call.mailers;
        }
        self
    }
}

async fn perform(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Run => run::run(&global).await,
        Command::Check(options) => check::run(&global, &options).await,
        Command::Demo(options) => demo::run(&global, &options).await,
        Command::Send(options) => send::run(&global, &options).await,
        Command::Status(options) => status::run(&global, &options).await,
        Command::Queue(command) => queue::run(&global, &command).await,
        Command::History(options) => history::run(&global, &options).await,
        Command::Sendmail(options) => sendmail::run(&global, &options).await,
        Command::Standin(options) => standin::run(&global, &options).await,
        Command::HashPassword => hash_password::run(),
        Command::Trace(options) => trace::run(&global, &options).await,
        Command::Explain(options) => explain::run(&options),
        Command::Completions(options) => generate::completions(&options),
        Command::Man => generate::man(),
    }
}

impl Global {
    /// What the configuration is told from outside. The mailer of the system is called in folders of other people, whose
    /// `relay.toml` is none of its business.
    fn environment(&self) -> Environment {
        let mut environment = Environment::of_this_process();
        environment.usual_files.retain(|file| !self.by_name || file.is_absolute());
        environment
    }

    fn load(&self) -> Result<Loaded, Failure> {
        config::load(self.config.as_deref(), &self.environment()).map_err(Failure::Configuration)
    }

    /// The configuration, with its warnings already told.
    fn config(&self) -> Result<Config, Failure> {
        let Loaded { config, warnings, .. } = self.load()?;
        for warning in warnings {
            writeln!(io::stderr(), "smarthost: warning: {warning}")?;
        }
        Ok(config)
    }

    /// The spool of the configuration, beside a relay that may be running. Nothing else of the configuration has to be
    /// in order.
    fn spool(&self) -> Result<SqliteSpool, Failure> {
        Ok(SqliteSpool::open_beside(&self.spool_folder()?)?)
    }

    /// The same; made where there is none.
    fn spool_or_new(&self) -> Result<SqliteSpool, Failure> {
        Ok(SqliteSpool::open_or_make_beside(&self.spool_folder()?)?)
    }

    fn spool_folder(&self) -> Result<PathBuf, Failure> {
        config::load_spool_path(self.config.as_deref(), &self.environment()).map_err(Failure::Configuration)
    }

    /// Starts the log as the options and the configuration say, and tells the warnings there.
    fn start_log(&self, loaded: &Loaded) {
        let settings = &loaded.config.log;
        let format = match self.log {
            Some(LogFormat::Text) => log::Format::Text,
            Some(LogFormat::Json) => log::Format::Json,
            None => settings.format,
        };
        let level = match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::WARN,
            (_, true) => LevelFilter::DEBUG,
            _ => LevelFilter::from_level(settings.level),
        };
        log::start(format, level);
        for warning in &loaded.warnings {
            event::log(&Event::Warning { warning });
        }
    }
}

/// Prints a line of JSON.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{value}")?)
}
