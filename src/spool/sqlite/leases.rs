//! Leases that were given back: remembered until the store has them, since it may be full or busy just then, and no
//! clock would ever end them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::deliver;
use crate::mail::{MessageId, Timestamp};

/// Leases on their way back, by message and generation, with the time when the message is due.
#[derive(Debug, Default)]
pub struct GivenBack(Mutex<HashMap<(MessageId, i64), Timestamp>>);

impl GivenBack {
    pub fn add(&self, id: MessageId, generation: i64, due: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((id, generation), due);
    }

    /// Stores all of them. What was stored before this transaction is safe, and is forgotten.
    ///
    /// # Errors
    /// As SQLite says; the next transaction tries again.
    pub fn store(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = HashMap::with_capacity(leases.len());
        for ((id, generation), due) in leases.iter() {
            if deliver::give_back(db, *id, *generation, *due)? {
                open.insert((*id, *generation), *due);
            }
        }
        *leases = open;
        Ok(())
    }
}
