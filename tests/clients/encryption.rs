//! Clients that encrypt what they say, at a port with STARTTLS and at one with TLS on connect.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::desk::Desk;
use super::mails::{Kind, Mail};
use super::program::{Gmail, Relay};
use super::table::{Client, Upgrade};
use super::{compare, prove_one};

const LISTENERS: &str = r#"
[[listen]]
address = "localhost:0"
tls = "starttls"
auth = "any"

[[listen]]
address = "127.0.0.1:0"
tls = "implicit"
auth = "any"

[tls]
certificate = "relay.pem"
key = "relay.key"
"#;

const LOGIN: &str = "scanner";
const PASSWORD: &str = "whatever-it-is";

/// Lets a client send in the ways that it knows, with a certificate that its system trusts.
pub fn prove(client: &Client) {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.unset("SMARTHOST_LISTEN");
    relay.write_config(LISTENERS);
    let authority = certify(&relay).display().to_string();
    relay.start();
    let mut desk = Desk::new(&relay);
    let trust = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].map(|name| (name, authority.as_str()));
    for (name, value) in trust {
        desk.set(name, value);
    }
    desk.set("LOGIN", LOGIN);
    desk.set("PASSWORD", PASSWORD);
    for (number, &tls) in client.encryption.iter().enumerate() {
        desk.set("TLS", tls);
        desk.set("PORT", &port(&relay, tls));
        let mail = Mail::of(Kind::Text);
        let said = desk.run(client.script, &mail);
        prove_one(client, &mail, &said, &gmail, number);
        let is_encrypted = !tls.is_empty() || client.upgrade == Upgrade::WhereOffered;
        let received = compare::field(&gmail.received()[number], "Received");
        assert_eq!(received.contains("SMTPS "), is_encrypted, "{} with TLS {tls:?}: {received}", client.name);
    }
    let accepted = relay.log().wait_for("accepted", client.encryption.len());
    assert!(accepted.iter().all(|event| event["login"] == LOGIN), "{} did not log in: {accepted:#?}", client.name);
    let log = relay.stop().text();
    let plain = format!("\0{LOGIN}\0{PASSWORD}");
    for secret in [PASSWORD.to_owned(), STANDARD.encode(PASSWORD), STANDARD.encode(plain)] {
        assert!(!log.contains(&secret), "{}: the log holds {secret}:\n{log}", client.name);
    }
    assert!(!log.contains("\"warn\"") && !log.contains("\"rejected\""), "{log}");
}

/// The port with TLS on connect is the last one.
fn port(relay: &Relay, tls: &str) -> String {
    let ready = relay.log().wait_for("ready", 1).remove(0);
    let addresses = ready["addresses"].as_str().expect("`ready` tells the addresses").to_owned();
    let last = addresses.rsplit(':').next().expect("an address ends in its port").to_owned();
    if tls == "implicit" { last } else { relay.port().to_string() }
}

/// Makes a certificate for the relay, and returns that of the authority which signed it.
fn certify(relay: &Relay) -> PathBuf {
    let (key, authority_key) = (KeyPair::generate().expect("keys can be made"), KeyPair::generate().expect("keys"));
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "the authority of this house");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let trusted = authority.self_signed(&authority_key).expect("it can be signed").pem();
    let mut leaf = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).expect("that is a name");
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    let signed = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).expect("it can be signed").pem();
    relay.write("relay.pem", &signed);
    relay.write("relay.key", &key.serialize_pem());
    relay.write("authority.pem", &trusted)
}
