//! The handshake with a client that wants TLS, and what to tell its owner where it fails: old devices say nothing on their
//! panel, so the log has to say what to change there (legacy-clients.md, section 5).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CipherSuite, Error, PeerIncompatible, ServerConfig};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::wire::Socket;

/// From the first byte to the end of the handshake. The slowest cards have 20 seconds for a whole session.
const DEADLINE: Duration = Duration::from_secs(30);

const UNTRUSTED: &str = "import the authority that signed the relay's certificate into the device, let the relay use a \
                         certificate of an authority that the device knows, or switch the check of certificates off in \
                         the device";
const OLD_TLS: &str = "update the device's firmware and let it use TLS 1.2 or 1.3; where it cannot, switch TLS off in the \
                       device and let it use a listener with tls = \"off\"";
const PLAIN: &str =
    "switch SSL/TLS on in the device, or let it use a listener with tls = \"off\", \"starttls\" or \"auto\"";

/// A handshake that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The client connected and left without a word, as monitors do.
    Silent,
    Because {
        reason: String,
        /// What to change, and where.
        cure: &'static str,
    },
}

/// Shakes hands as a server.
///
/// # Errors
/// Says why not; the client was sent an alert where the protocol has one for it.
pub async fn shake(socket: Socket, tls: Arc<ServerConfig>) -> Result<TlsStream<Socket>, Failed> {
    let mut suites = None;
    let handshake = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
        suites = Some(start.client_hello().cipher_suites().to_vec());
        start.into_stream(tls).await
    };
    match timeout(DEADLINE, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(explain(&error, suites.as_deref())),
        Err(_) => Err(late(suites.is_some())),
    }
}

fn because(reason: impl Into<String>, cure: &'static str) -> Failed {
    Failed::Because { reason: reason.into(), cure }
}

/// A program that wants no TLS waits for our greeting.
fn late(has_begun: bool) -> Failed {
    let seconds = DEADLINE.as_secs();
    if has_begun {
        return because(format!("the client did not go on with the handshake for {seconds} seconds"), "try it again");
    }
    because(format!("the client said nothing for {seconds} seconds where TLS on connect is expected"), PLAIN)
}

/// `suites` are those that the client offered, where it got that far.
fn explain(error: &io::Error, suites: Option<&[CipherSuite]>) -> Failed {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => explain_tls(error, suites.unwrap_or_default()),
        None if suites.is_none() => Failed::Silent,
        None => because(
            format!("the client broke the handshake off ({error})"),
            "some devices do so when they do not trust the certificate: import its authority there",
        ),
    }
}

fn explain_tls(error: &Error, suites: &[CipherSuite]) -> Failed {
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // An extension that came with TLS 1.2 (RFC 5246 §7.4.1.4.1).
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => because("TLS 1.2 not offered: the client knows only older versions", OLD_TLS),
        Error::PeerIncompatible(_) if knows_only_rsa(suites) => because(
            "no common cipher: the client offers RSA key exchange only, which is too weak to be offered here",
            "update the device's firmware, or switch TLS off in the device and let it use a listener with tls = \"off\"",
        ),
        Error::PeerIncompatible(why) => because(format!("nothing in common with the client ({why:?})"), OLD_TLS),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => {
            because("the client spoke plain text, or no TLS that we know, where a handshake is expected", PLAIN)
        }
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::NoApplicationProtocol => because(
            "the client wants to speak another protocol than SMTP (ALPN)",
            "this is a mail port; check the client",
        ),
        other => because(other.to_string(), "try it again; where it stays so, switch TLS off in the device"),
    }
}

/// The key exchange of the oldest devices: no suite with Diffie-Hellman (Ricoh, Kyocera, Sharp, Xerox).
fn knows_only_rsa(suites: &[CipherSuite]) -> bool {
    let is_exchange = |name: &str| name.contains("_ECDHE_") || name.contains("_DHE_") || name.starts_with("TLS13_");
    !suites.is_empty() && !suites.iter().any(|suite| is_exchange(&format!("{suite:?}")))
}

fn explain_alert(alert: AlertDescription) -> Failed {
    let why = match alert {
        AlertDescription::UnknownCA => "it does not know the authority that signed it",
        AlertDescription::CertificateExpired => "it says that its time is over",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => "it does not say why; its name may be another than the device was told",
        other => {
            return because(
                format!("the client ended the handshake ({other:?})"),
                "look for TLS settings in the device: version 1.2 or 1.3 is needed",
            );
        }
    };
    because(format!("the client does not trust the relay's certificate: {why} ({alert:?})"), UNTRUSTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: Error, suites: &[CipherSuite]) -> String {
        match explain(&io::Error::other(error), Some(suites)) {
            Failed::Because { reason, cure } => format!("{reason}: {cure}"),
            Failed::Silent => "nothing".to_owned(),
        }
    }

    #[test]
    fn every_common_failure_has_its_cause_and_its_cure() {
        let rsa = [CipherSuite::TLS_RSA_WITH_AES_256_CBC_SHA, CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV];
        let none = || Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon);
        for (error, suites, words) in [
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), &rsa[..], "TLS 1.2 not offered"),
            (none(), &rsa, "RSA key exchange only"),
            (Error::PeerIncompatible(PeerIncompatible::NamedGroupsExtensionRequired), &rsa, "RSA key exchange only"),
            (none(), &[CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA], "nothing in common"),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), &[], "plain text"),
            (Error::AlertReceived(AlertDescription::UnknownCA), &rsa, "import the authority"),
            (Error::AlertReceived(AlertDescription::CertificateExpired), &rsa, "time is over"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), &rsa, "version 1.2 or 1.3"),
            (Error::NoApplicationProtocol, &rsa, "ALPN"),
            (Error::DecryptError, &rsa, "switch TLS off"),
        ] {
            let told = told(error, suites);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn who_only_knocks_is_not_told_of() {
        let gone = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(explain(&gone, None), Failed::Silent);
        assert!(matches!(explain(&gone, Some(&[])), Failed::Because { .. }));
    }
}
