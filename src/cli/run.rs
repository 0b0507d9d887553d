//! `smarthost run`: the relay in the foreground.

use super::{Failure, Global};
use crate::daemon::{Asked, Daemon, Signals};
use crate::event::{self, Event};
use crate::spool::sqlite::place;

pub async fn run(global: &Global) -> Result<(), Failure> {
    let loaded = global.load()?;
    global.start_log(&loaded);
    if let Some(warning) = place::warning(&loaded.config.spool) {
        event::log(&Event::Warning { warning: &warning });
    }
    let mut signals = Signals::listen()?;
    let mut daemon = Daemon::start(loaded.config).await?;
    loop {
        match signals.next().await {
            Asked::Reload => reload(global, &mut daemon).await,
            Asked::Stop(reason) => {
                event::log(&Event::Stopping { reason });
                daemon.stop().await;
                return Ok(());
            }
        }
    }
}

/// A configuration with mistakes changes nothing.
async fn reload(global: &Global, daemon: &mut Daemon) {
    let reloaded = match global.load() {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                event::log(&Event::Warning { warning });
            }
            daemon.reload(loaded.config).await.map_err(Failure::from)
        }
        Err(failure) => Err(failure),
    };
    if let Err(failure) = reloaded {
        let warning = format!("the configuration was not read again, the old one stays in force: {failure}");
        event::log(&Event::Warning { warning: &warning });
    }
}
