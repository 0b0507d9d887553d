//! A folder that received messages are written to: `<n>.eml` the content, `<n>.json` the envelope.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::ledger::Received;

/// Where messages go, counted from 1.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    written: AtomicU64,
}

impl Folder {
    /// Makes the folder, where it is not there.
    pub fn open(path: PathBuf) -> io::Result<Folder> {
        std::fs::create_dir_all(&path)?;
        Ok(Folder { path, written: AtomicU64::new(0) })
    }

    /// Writes both files. The envelope comes last, so that whoever sees it finds the content complete.
    pub async fn write(&self, message: &Received) -> io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let envelope = serde_json::to_vec_pretty(&json!({
            "mail_from": message.mail_from,
            "mail_parameters": message.mail_parameters,
            "recipients": message.recipients,
            "size": message.content.len(),
            "session": message.session,
            "at": message.at.to_string(),
        }))?;
        let (eml, json) = (self.path.join(format!("{number}.eml")), self.path.join(format!("{number}.json")));
        let content = message.content.clone();
        tokio::task::spawn_blocking(move || {
            std::fs::write(eml, content)?;
            std::fs::write(json, envelope)
        })
        .await?
    }
}
