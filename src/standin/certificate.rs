//! The stand-in's certificate: an authority of its own and one leaf for this machine, made in memory at each start.
//!
//! Reads the day from its argument and randomness from the system. The authority's key is thrown away at once, so
//! nobody can make a second leaf that a client of this run would trust.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::StandinError;

/// What the leaf is like: good, or wrong in a way that every client must notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// Valid for `localhost`, `127.0.0.1` and `::1`, from yesterday on for a year.
    #[default]
    Good,
    /// As good as the other, but its time is over.
    Expired,
    /// For a name that is not ours.
    OtherName,
}

/// A certificate ready to be used.
pub(super) struct Identity {
    /// The authority that clients have to trust, in PEM.
    pub ca_pem: String,
    /// TLS 1.2 and 1.3 with that leaf; sessions can be resumed.
    pub tls: Arc<ServerConfig>,
}

/// Makes authority and leaf; `now` decides from when to when they are valid.
pub(super) fn make(kind: Certificate, now: Timestamp) -> Result<Identity, StandinError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let ca_key = KeyPair::generate()?;
    let ca = authority(today);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let key = KeyPair::generate()?;
    let leaf = leaf(kind, today)?.signed_by(&key, &Issuer::new(ca, ca_key))?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)?;
    Ok(Identity { ca_pem, tls: Arc::new(tls) })
}

fn authority(today: Date) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "smarthost stand-in authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    set_validity(&mut params, today.saturating_sub(2.years()), today.saturating_add(1.year()));
    params
}

fn leaf(kind: Certificate, today: Date) -> Result<CertificateParams, rcgen::Error> {
    let names = match kind {
        Certificate::OtherName => vec!["smtp.example.net".to_owned()],
        Certificate::Good | Certificate::Expired => ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec(),
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "smarthost stand-in for Gmail");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let end = match kind {
        Certificate::Expired => today.saturating_sub(2.days()),
        Certificate::Good | Certificate::OtherName => today.saturating_add(1.year()),
    };
    set_validity(&mut params, end.saturating_sub(13.months()), end);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, from: Date, to: Date) {
    let day =
        |date: Date| rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs());
    params.not_before = day(from);
    params.not_after = day(to);
}
