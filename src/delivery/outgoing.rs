//! Stored content on its way out: read piece by piece and repaired as it goes, twice the same.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::repair::{Plan, Repair, Settings, Survey};
use crate::mail::{Message, MessageId};
use crate::spool::Spool;
use crate::upstream::Outgoing;

/// Reads the stored pieces of one message.
struct Pieces {
    spool: Arc<dyn Spool>,
    id: MessageId,
    /// All of it, where it stayed in memory.
    whole: Option<Bytes>,
    index: u32,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let index = self.index;
        self.index += 1;
        match &self.whole {
            Some(whole) => Ok((index == 0).then(|| whole.clone())),
            None => self.spool.piece(self.id, index).await.map_err(|error| error.to_string()),
        }
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
        let mut pieces = Pieces { spool, id: message.id, whole: message.content.clone(), index: 0 };
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
        pieces.index = 0;
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
        self.pieces.index = 0;
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
