//! The contract of `src/spool/mod.rs`, kept by every store. Another store is one more line in [`stores`].

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

mod delivering;
mod operating;
#[path = "../sample/mod.rs"]
mod sample;

use std::path::Path;
use std::sync::Arc;

use sample::at;
use smarthost::mail::MessageId;
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{Spool, Which};

/// How a store is opened: as the daemon does, and beside it, as the queue commands do.
#[derive(Clone, Copy)]
struct Store {
    open: fn(&Path) -> Arc<dyn Spool>,
    open_beside: fn(&Path) -> Arc<dyn Spool>,
}

fn stores() -> Vec<Store> {
    vec![Store {
        open: |folder| Arc::new(SqliteSpool::open(folder, at(0)).unwrap()),
        open_beside: |folder| Arc::new(SqliteSpool::open_beside(folder).unwrap()),
    }]
}

/// A store on its folder.
struct Opened {
    store: Store,
    folder: tempfile::TempDir,
    spool: Option<Arc<dyn Spool>>,
}

impl Opened {
    fn spool(&self) -> &dyn Spool {
        self.spool.as_deref().unwrap()
    }

    fn beside(&self) -> Arc<dyn Spool> {
        (self.store.open_beside)(self.folder.path())
    }

    /// As if the process had died and was started again.
    fn reopen(&mut self) {
        self.spool = None;
        self.spool = Some((self.store.open)(self.folder.path()));
    }
}

/// Tests that hold for every store: `name(opened) { what must hold }`.
macro_rules! contract {
    ($($(#[$meta:meta])* $name:ident($opened:ident) $body:block)*) => {$(
        $(#[$meta])*
        #[tokio::test]
        async fn $name() {
            for store in stores() {
                let folder = tempfile::tempdir().unwrap();
                let spool = Some((store.open)(folder.path()));
                #[allow(unused_mut, reason = "only some tests reopen the store")]
                let mut $opened = Opened { store, folder, spool };
                $body
            }
        }
    )*};
}
use contract;

fn ids(queued: &[smarthost::spool::Queued]) -> Vec<MessageId> {
    queued.iter().map(|queued| queued.id).collect()
}

fn only(id: MessageId) -> Which {
    Which::Ids(vec![id])
}
