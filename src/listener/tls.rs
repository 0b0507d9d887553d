//! The certificate that clients see: read, checked, and read again when its files change.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};
use tokio::sync::watch;
use tokio::time::sleep;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::clock::now;
use crate::event::{self, Event};
use crate::mail::Timestamp;

/// How often the files are looked at. They are read once they have looked the same twice: whoever renews them writes one
/// after the other.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// When to say that a certificate ends soon. Those that are renewed by machines are new 30 days before.
const SOON: Duration = Duration::from_hours(14 * 24);
/// What a client may ask to speak (RFC 7301). Without a list a browser that was led here would be served.
const PROTOCOLS: [&[u8]; 2] = [b"smtp", b"esmtp"];

/// Where certificate and key are, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Ours first, then those that lead to the authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate that was read, and what is to be known of it.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub tls: Arc<ServerConfig>,
    /// The names that it is for.
    pub names: Vec<String>,
    pub ends: Timestamp,
    begins: Timestamp,
    files: CertificateFiles,
    stamp: Stamp,
}

/// Why certificate and key are of no use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("tls.{0}: {1} cannot be read: {2}. certs/README.md tells how to make one")]
    Unreadable(&'static str, String, io::Error),
    #[error("tls.certificate: {0} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate(String),
    #[error(
        "tls.key: {0} holds no private key in PEM form, or one with a passphrase; take the passphrase off with: \
         openssl pkey -in {0} -out new.key"
    )]
    NoKey(String),
    #[error(
        "tls.key: {key} does not belong to {certificate}. Name the key that this certificate was made with; where the \
         file holds several certificates, the relay's own comes first"
    )]
    Mismatch { certificate: String, key: String },
    #[error("[tls]: {0} and {1} cannot be used: {2}")]
    Unusable(String, String, String),
}

/// What tells that a file was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp([Option<(u64, u64, i64, i64)>; 2]);

impl CertificateFiles {
    /// Reads both.
    ///
    /// # Errors
    /// Names the file, and what to do about it.
    pub fn read(&self) -> Result<Certificate, CertificateError> {
        let stamp = self.stamp();
        let chain = read_chain(&self.certificate)?;
        let key = read_key(&self.key)?;
        let (names, begins, ends) = describe(&chain[0]).ok_or_else(|| self.unusable("it is malformed"))?;
        let tls = Arc::new(self.settings(chain, key)?);
        Ok(Certificate { tls, names, ends, begins, files: self.clone(), stamp })
    }

    fn settings(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| self.unusable(&error.to_string()))?.with_no_client_auth();
        let mut tls = builder.with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(_) => CertificateError::Mismatch {
                certificate: self.certificate.display().to_string(),
                key: self.key.display().to_string(),
            },
            other => self.unusable(&other.to_string()),
        })?;
        tls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Some senders stumble over tickets, and nobody is here so often that they would help (legacy-clients.md, section 5).
        tls.send_tls13_tickets = 0;
        Ok(tls)
    }

    fn unusable(&self, reason: &str) -> CertificateError {
        let (certificate, key) = (self.certificate.display().to_string(), self.key.display().to_string());
        CertificateError::Unusable(certificate, key, reason.to_owned())
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        };
        Stamp([of(&self.certificate), of(&self.key)])
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let shown = || path.display().to_string();
    let fault = |error| match error {
        pem::Error::Io(error) => CertificateError::Unreadable("certificate", shown(), error),
        _ => CertificateError::NoCertificate(shown()),
    };
    let chain = CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if chain.is_empty() { Err(CertificateError::NoCertificate(shown())) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let shown = || path.display().to_string();
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::Io(error) => CertificateError::Unreadable("key", shown(), error),
        _ => CertificateError::NoKey(shown()),
    })
}

/// The names, and from when to when it is good.
fn describe(certificate: &CertificateDer<'_>) -> Option<(Vec<String>, Timestamp, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let time = |seconds: i64| Timestamp::from_second(seconds).ok();
    let (begins, ends) = (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some((names.collect(), begins, ends))
}

impl Certificate {
    /// What the operator should know: that its time is over or nearly so, or that others can read its key.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let key = &self.files.key;
        let mode = fs::metadata(key).map_or(0, |file| file.mode() & 0o777);
        let open = (mode & 0o004 != 0).then(|| {
            let key = key.display();
            format!("{key} holds a private key and can be read by others (mode {mode:o}); run: chmod 600 {key}")
        });
        open.into_iter().chain(self.time_warning(now)).collect()
    }

    fn time_warning(&self, now: Timestamp) -> Option<String> {
        let path = self.files.certificate.display();
        let advice = "clients that check certificates turn away; put a new one in its place, which is read by itself";
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        if now >= self.ends {
            Some(format!("the certificate {path} has ended on {}: {advice}", day(self.ends)))
        } else if now < self.begins {
            Some(format!(
                "the certificate {path} begins only on {}: {advice}; or set this machine's clock",
                day(self.begins)
            ))
        } else if self.ends.duration_since(now).unsigned_abs() < SOON {
            Some(format!("the certificate {path} ends on {}; from then on {advice}", day(self.ends)))
        } else {
            None
        }
    }
}

/// Keeps what is shown to clients up to date with the files, for ever. What cannot be used leaves the old one in force.
pub async fn keep(mut certificate: Certificate, shown: watch::Sender<Option<Arc<ServerConfig>>>) {
    let files = certificate.files.clone();
    let mut read = certificate.stamp.clone();
    let mut before = read.clone();
    let mut told = certificate.time_warning(now());
    loop {
        sleep(LOOK_EVERY).await;
        let present = files.stamp();
        if present != read && present == before {
            read = present.clone();
            match files.read() {
                Ok(new) => {
                    shown.send_replace(Some(Arc::clone(&new.tls)));
                    event::log(&Event::Reloaded { changes: "the certificate is in force" });
                    certificate = new;
                }
                Err(error) => warn(&format!("the certificate was not read again, the old one stays in force: {error}")),
            }
        }
        before = present;
        let due = certificate.time_warning(now());
        if due != told {
            if let Some(warning) = &due {
                warn(warning);
            }
            told = due;
        }
    }
}

fn warn(warning: &str) {
    event::log(&Event::Warning { warning });
}
