//! Stored content on its way out: read piece by piece and repaired as it goes, twice the same.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::repair::{Plan, Repair, Settings, Survey};
use crate::mail::{Message, MessageId};
use crate::spool::{Lease, Reading, Spool};
use crate::upstream::Outgoing;

/// Reads the stored pieces of one message, each while the one before is worked on.
struct Pieces {
    spool: Arc<dyn Spool>,
    id: MessageId,
    /// All of it, where it stayed in memory.
    whole: Option<Bytes>,
    index: u32,
    ahead: Option<Reading>,
}

impl Pieces {
    fn of(spool: Arc<dyn Spool>, message: &Message) -> Pieces {
        Pieces { spool, id: message.id, whole: message.content.clone(), index: 0, ahead: None }
    }

    fn rewind(&mut self) {
        self.index = 0;
        self.ahead = None;
    }

    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let index = self.index;
        self.index += 1;
        if let Some(whole) = &self.whole {
            return Ok((index == 0).then(|| whole.clone()));
        }
        let reading = self.ahead.take().unwrap_or_else(|| self.spool.piece(self.id, index));
        let piece = reading.await.map_err(|error| error.to_string())?;
        self.ahead = piece.is_some().then(|| self.spool.piece(self.id, index + 1));
        Ok(piece)
    }
}

/// The content of one message as it is sent.
pub struct Repaired {
    pieces: Pieces,
    plan: Arc<Plan>,
    /// `None` once the end was given out.
    repair: Option<Repair>,
}

impl std::fmt::Debug for Repaired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repaired {{ {} }}", self.pieces.id)
    }
}

impl Repaired {
    /// Reads the content once, to know what has to be repaired.
    ///
    /// # Errors
    /// Where the store fails, or has lost the content.
    pub async fn survey(spool: Arc<dyn Spool>, message: &Message, settings: &Settings) -> Result<Repaired, String> {
        let mut pieces = Pieces::of(spool, message);
        let mut survey = Survey::default();
        let mut bytes = 0;
        while let Some(piece) = pieces.next().await? {
            bytes += piece.len() as u64;
            survey.read(&piece);
        }
        if bytes != message.size {
            return Err(format!("the spool holds {bytes} bytes of a message of {}", message.size));
        }
        let plan = Arc::new(survey.finish(settings, message));
        let repair = Some(Repair::new(Arc::clone(&plan)));
        pieces.rewind();
        Ok(Repaired { pieces, plan, repair })
    }

    /// What is repaired, and what that makes of the message.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

#[async_trait]
impl Outgoing for Repaired {
    async fn rewind(&mut self) {
        self.pieces.rewind();
        self.repair = Some(Repair::new(Arc::clone(&self.plan)));
    }

    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        while let Some(repair) = &mut self.repair {
            let mut out = Vec::new();
            match self.pieces.next().await? {
                Some(piece) => repair.push(&piece, &mut out),
                None => {
                    if let Some(repair) = self.repair.take() {
                        repair.finish(&mut out);
                    }
                }
            }
            if !out.is_empty() {
                return Ok(Some(Bytes::from(out)));
            }
        }
        Ok(None)
    }
}

/// Content of which the store learns, before its end goes out, that it may arrive.
pub struct Marked<'a> {
    pub repaired: Repaired,
    pub spool: &'a dyn Spool,
    pub lease: &'a Lease,
    /// Whether the mark has to survive a power cut.
    pub synced: bool,
}

impl std::fmt::Debug for Marked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Marked {{ {:?} }}", self.repaired)
    }
}

#[async_trait]
impl Outgoing for Marked<'_> {
    async fn rewind(&mut self) {
        self.repaired.rewind().await;
    }

    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.repaired.next().await
    }

    async fn before_the_end(&mut self) -> Result<(), String> {
        self.spool.mark_sending(self.lease, self.synced).await.map_err(|error| error.to_string())
    }
}
