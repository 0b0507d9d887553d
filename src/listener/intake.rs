//! Where mail comes in: the pieces of one message on their way to the store, and the one caller of [`Spool::accept`].

use bytes::Bytes;

use crate::clock::now;
use crate::event::{self, Event};
use crate::mail::{Client, Refusal, Submission};
use crate::spool::{AcceptError, Accepted, Content, Spool, Upload};

/// What one client hands in.
pub struct Intake<'a> {
    pub client: Client,
    /// So many were accepted.
    pub messages: u64,
    spool: &'a dyn Spool,
    upload: Option<Upload>,
    /// Why the pieces of the present message could not be stored.
    failed: Option<AcceptError>,
}

impl<'a> Intake<'a> {
    pub fn new(client: Client, spool: &'a dyn Spool) -> Intake<'a> {
        Intake { client, messages: 0, spool, upload: None, failed: None }
    }

    pub async fn append(&mut self, piece: Bytes) {
        if self.failed.is_some() {
            return;
        }
        let upload = self.upload.get_or_insert_with(|| self.spool.upload(now()));
        if let Err(error) = self.spool.append(upload, piece).await {
            self.upload = None;
            self.failed = Some(error);
        }
    }

    pub fn forget(&mut self) {
        self.upload = None;
        self.failed = None;
    }

    /// The one place where mail is accepted.
    pub async fn store(&mut self, submission: Submission, rest: Bytes) -> Result<Accepted, Refusal> {
        self.client = submission.client.clone();
        let from = submission.envelope.reverse_path.to_string();
        let to: Vec<String> = submission.envelope.recipients.iter().map(|to| to.address.to_string()).collect();
        let (accepted, size) = self.accept(submission, rest).await.map_err(|error| match error {
            AcceptError::Full(words) => Refusal::SpoolFull(words),
            AcceptError::Failed(words) => Refusal::SpoolFailed(words),
        })?;
        self.messages += 1;
        event::log(&Event::Accepted {
            id: accepted.id(),
            client: &self.client.to_string(),
            login: self.client.login.as_deref(),
            from: &from,
            to: &to.join(","),
            size,
        });
        Ok(accepted)
    }

    async fn accept(&mut self, submission: Submission, rest: Bytes) -> Result<(Accepted, u64), AcceptError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let content = match self.upload.take() {
            None => Content::Memory(rest),
            Some(mut upload) => {
                if !rest.is_empty() {
                    self.spool.append(&mut upload, rest).await?;
                }
                Content::Uploaded(upload)
            }
        };
        let size = content.size();
        Ok((self.spool.accept(submission, content).await?, size))
    }

    pub fn log_refusal(&self, refusal: &Refusal, command: &str) {
        event::log(&Event::Rejected {
            client: &self.client.to_string(),
            reply: &refusal.reply().to_string(),
            command,
            reason: &refusal.to_string(),
        });
    }
}
