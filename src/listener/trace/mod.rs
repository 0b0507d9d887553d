//! Conversations written down, on demand: each into a file of its own, as a transcript that the tests can play.
//!
//! Whose, the configuration says (`[[trace]]`), and a command beside the relay, by a file in the spool that is locked for as long
//! as the command runs. Files are for the eyes of the relay's user only, of bounded size, and of bounded number. Where nobody is
//! to be recorded, a connection costs one look at an empty list.

mod order;
mod transcript;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::clock::now;
use crate::event::{self, Event};
use crate::policy::{AliasKey, Limits, Pattern, Policy};
use crate::smtp::{Auth, Offer};
pub use order::{Order, follow_orders};
use transcript::Transcript;

/// The newest so many files are kept in one folder.
const FILES_MAX: usize = 100;
/// Of one file; what is behind that is left out.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Whose conversations are to be written down, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Empty: everybody's.
    pub networks: Vec<IpNet>,
    pub folder: PathBuf,
    /// Whether the content of messages, too.
    pub content: bool,
}

/// What is wanted at present.
pub type Wants = watch::Receiver<Arc<Vec<Want>>>;

/// Where transcripts are, unless the configuration says so otherwise.
#[must_use]
pub fn usual_folder(spool: &Path) -> PathBuf {
    spool.join("trace")
}

/// The address at the beginning of the name of a transcript.
#[must_use]
pub fn client_of(file: &Path) -> Option<IpAddr> {
    let name = file.file_name()?.to_str()?.strip_suffix(".smtp")?;
    name.split_once('_')?.0.parse().ok()
}

/// The transcripts in a folder, the oldest first.
///
/// # Errors
/// As the system says.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let found = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = found.filter(|path| client_of(path).is_some()).collect();
    let begun = |path: &PathBuf| {
        path.to_string_lossy().rsplit_once('/').and_then(|(_, name)| Some(name.split_once('_')?.1.to_owned()))
    };
    files.sort_by_key(begun);
    Ok(files)
}

impl Want {
    fn means(&self, ip: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// How a client came in, as far as its conversation depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    pub offer: Offer,
    /// It began with TLS.
    pub is_encrypted: bool,
}

/// A conversation that is being written down.
#[derive(Debug)]
pub struct Recording {
    file: File,
    transcript: Transcript,
    bytes_left: usize,
}

impl Recording {
    /// Begins one, if the conversation of this client is wanted.
    pub fn begin(wants: &[Want], ip: IpAddr, policy: &Policy, door: Door) -> Option<Recording> {
        let want = wants.iter().find(|want| want.means(ip))?;
        let title = format!(
            "{ip} at {}, written down by smarthost {}. Passwords are replaced; read it before you give it away.",
            now(),
            env!("CARGO_PKG_VERSION")
        );
        let made = create(&want.folder, ip);
        let told = |error: io::Error| {
            let warning = format!("cannot write a transcript into {}: {error}", want.folder.display());
            event::log(&Event::Warning { warning: &warning });
        };
        let file = made.map_err(told).ok()?;
        let given = [given(policy), given_at(ip, door)].concat();
        let transcript = Transcript::new(&title, &given, want.content);
        Some(Recording { file, transcript, bytes_left: FILE_BYTES_MAX })
    }

    /// Replies were written.
    pub fn said(&mut self, replies: &[u8]) {
        self.transcript.said(replies);
    }

    /// The handshake that the client asked for is done.
    pub fn encrypted(&mut self) {
        self.transcript.encrypted();
    }

    /// Bytes were read, and what they caused was said.
    pub fn heard(&mut self, bytes: &[u8]) {
        self.transcript.heard(bytes);
        self.write();
    }

    /// The end.
    pub fn finish(mut self, by_us: bool) {
        self.write();
        self.transcript.finish(by_us);
        // The end always fits: who follows waits for it.
        let _ = self.file.write_all(self.transcript.take().as_bytes());
    }

    fn write(&mut self) {
        let text = self.transcript.take();
        if text.len() <= self.bytes_left {
            self.bytes_left -= text.len();
            let _ = self.file.write_all(text.as_bytes());
        } else if self.bytes_left > 0 {
            self.bytes_left = 0;
            let _ = self.file.write_all(b"# The rest is left out: it is too long.\n");
        }
    }
}

/// A new file, in place of the oldest one where there are too many.
fn create(folder: &Path, ip: IpAddr) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let there = files(folder)?;
    let too_many = (there.len() + 1).saturating_sub(FILES_MAX);
    there.iter().take(too_many).for_each(|file| drop(fs::remove_file(file)));
    let name = format!("{ip}_{}_{:08x}.smtp", now().strftime("%Y%m%dT%H%M%S%.6f"), fastrand::u32(..));
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(folder.join(name))
}

/// The settings that a conversation depends on, where they are not the usual ones.
fn given(policy: &Policy) -> Vec<String> {
    let Policy { hostname, limits, recipients, .. } = policy;
    let usual = Limits::default();
    let mut given = vec![format!("hostname {hostname}")];
    let mut add = |is_there: bool, line: String| given.extend(is_there.then_some(line));
    add(limits.message_bytes != usual.message_bytes, format!("message_bytes {}", limits.message_bytes));
    add(limits.recipients != usual.recipients, format!("recipients {}", limits.recipients));
    if let Some(domain) = &recipients.default_domain {
        add(true, format!("default_domain {domain}"));
    }
    if let Some(everything) = &recipients.redirect_all {
        add(true, format!("redirect_all {everything}"));
    }
    for (key, targets) in &recipients.alias {
        let key = match key {
            AliasKey::Address(address) => address.to_string(),
            AliasKey::Local(local) => local.clone(),
            AliasKey::Domain(domain) => format!("*@{domain}"),
        };
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        add(!key.contains(' '), format!("alias {key} {}", targets.join(" ")));
    }
    let allowed: Vec<String> = recipients.allow.iter().map(shown).collect();
    add(recipients.allow != [Pattern::Everybody], format!("allow {}", allowed.join(" ")));
    given
}

/// What the listener offers to this client.
fn given_at(ip: IpAddr, door: Door) -> Vec<String> {
    let Door { offer, is_encrypted } = door;
    let auth = match offer.auth {
        Auth::Off => None,
        Auth::Any => Some("auth any"),
        Auth::Required => Some("auth required"),
    };
    // Only there it matters where the client is.
    let must_encrypt = offer.starttls && offer.auth == Auth::Required;
    let local = (must_encrypt && ip.is_loopback()).then_some("client local");
    let lines = [
        local,
        auth,
        offer.starttls.then_some("starttls"),
        offer.lf_only.then_some("lf_only"),
        is_encrypted.then_some("encrypted"),
    ];
    lines.into_iter().flatten().map(str::to_owned).collect()
}

fn shown(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Everybody => "*".to_owned(),
        Pattern::Domain(domain) => format!("*@{domain}"),
        Pattern::Address(address) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_file_makes_room_and_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("mine.smtp");
        fs::write(&other, "x").unwrap();
        let ip = |number: usize| IpAddr::from([192, 0, 2, u8::try_from(number % 250).unwrap()]);
        let oldest: Vec<PathBuf> = (0..FILES_MAX + 5)
            .map(|number| {
                create(folder.path(), ip(number)).unwrap();
                files(folder.path()).unwrap().first().unwrap().clone()
            })
            .collect();
        assert_eq!(files(folder.path()).unwrap().len(), FILES_MAX);
        assert!(other.exists() && !oldest[0].exists());
        assert_eq!(client_of(&files(folder.path()).unwrap()[0]), Some(ip(5)));
    }
}
