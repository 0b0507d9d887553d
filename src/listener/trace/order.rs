//! Orders to a relay that runs: a file in its spool says whose conversations are wanted. The file is locked by whoever gave
//! the order; once nobody holds it, the order is over.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Want, usual_folder};

/// How often the relay looks for orders.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the relay adds to an order that it follows.
const SEEN: &str = "seen";
/// How the name of an order begins that is not whole yet.
const DRAFT: &str = "draft-";
/// An order is shorter.
const ORDER_BYTES_MAX: u64 = 1024;

/// An order that was given; it is over when this is dropped, or its process has died.
#[derive(Debug)]
pub struct Order {
    path: PathBuf,
    _lock: File,
}

impl Order {
    /// Asks the relay on this spool for the conversations of a network.
    ///
    /// # Errors
    /// As the system says; `NotFound` where no relay has looked for orders yet.
    pub fn give(spool: &Path, network: IpNet, content: bool) -> io::Result<Order> {
        let folder = orders_folder(spool);
        let name = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
        let (draft, path) = (folder.join(format!("{DRAFT}{name}")), folder.join(name));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let owner = folder.metadata()?;
        if owner.uid() != file.metadata()?.uid() {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.lock()?;
        writeln!(file, "{network}\n{}", if content { "with content" } else { "without content" })?;
        fs::rename(&draft, &path)?;
        Ok(Order { path, _lock: file })
    }

    /// Whether the relay follows it.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text.lines().any(|line| line == SEEN))
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        // Where this fails, the relay removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn orders_folder(spool: &Path) -> PathBuf {
    usual_folder(spool).join("orders")
}

/// Keeps `wants` at what the configuration says and what is ordered. Never ends.
pub async fn follow_orders(
    spool: PathBuf,
    mut configured: watch::Receiver<Arc<Vec<Want>>>,
    wants: watch::Sender<Arc<Vec<Want>>>,
) {
    let folder = orders_folder(&spool);
    // Where it cannot be made, there are no orders.
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    loop {
        let orders = orders(&folder);
        let ordered = orders.iter().filter_map(|path| read(path, &spool));
        let present: Vec<Want> = ordered.chain(configured.borrow_and_update().iter().cloned()).collect();
        wants.send_if_modified(|before| {
            let changed = **before != present;
            if changed {
                *before = Arc::new(present);
            }
            changed
        });
        for path in &orders {
            mark_seen(path);
        }
        tokio::select! {
            Ok(()) = configured.changed() => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// The orders that somebody holds; those of the dead are removed.
fn orders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_held = |path: &PathBuf| {
        let held = File::open(path).map(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        if let Ok(false) = held {
            let _ = fs::remove_file(path);
        }
        held.unwrap_or(false)
    };
    let is_whole = |path: &PathBuf| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DRAFT));
    paths.filter(is_whole).filter(is_held).collect()
}

fn read(path: &Path, spool: &Path) -> Option<Want> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path).ok()?, ORDER_BYTES_MAX), &mut text).ok()?;
    let mut lines = text.lines();
    let networks = vec![lines.next()?.parse().ok()?];
    Some(Want { networks, folder: usual_folder(spool), content: lines.next()? == "with content" })
}

fn mark_seen(path: &Path) {
    let is_marked = fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line == SEEN));
    if !is_marked {
        let _ = OpenOptions::new().append(true).open(path).and_then(|mut file| writeln!(file, "{SEEN}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_lasts_as_long_as_it_is_held() {
        let spool = tempfile::tempdir().unwrap();
        let folder = orders_folder(spool.path());
        let network = "192.0.2.0/24".parse().unwrap();
        assert_eq!(Order::give(spool.path(), network, true).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(&folder).unwrap();
        let order = Order::give(spool.path(), network, false).unwrap();
        let found = orders(&folder);
        let want = Want { networks: vec![network], folder: usual_folder(spool.path()), content: false };
        assert_eq!(read(&found[0], spool.path()), Some(want));
        assert!(!order.is_seen());
        mark_seen(&found[0]);
        assert!(order.is_seen());
        fs::write(folder.join("of-the-dead"), "192.0.2.0/24\nwith content\n").unwrap();
        assert_eq!(orders(&folder), found);
        drop(order);
        assert_eq!((orders(&folder).len(), folder.read_dir().unwrap().count()), (0, 0));
    }
}
