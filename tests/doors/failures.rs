//! Handshakes that fail: the log says why, and what to change in the device.

use std::process::{Command, Stdio};

use crate::authority::{Authority, FILES};
use crate::program::{Device, Gmail, Relay, outcome_of};
use crate::talk::{Talk, tcp};
use crate::{relay_not_started, text};

fn relay(gmail: &Gmail, authority: &Authority, mode: &str) -> Relay {
    let config = format!("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"{mode}\"\n{FILES}");
    let mut relay = relay_not_started(gmail, &config);
    authority.equip(&relay);
    relay.start();
    relay
}

/// A handshake by openssl, which must fail.
fn fail_by_openssl(port: u16, options: &[&str]) {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(options);
    openssl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = outcome_of(openssl);
    assert!(said.status != 0 && !said.stdout.contains("220 "), "{said:?}");
}

fn wait_for(relay: &Relay, reason: &str, cure: &str) {
    let event = relay.log().wait_for_one("tls_failed", |event| text(event, "reason").contains(reason));
    assert_eq!((event["level"].as_str(), text(&event, "client")), (Some("warn"), "127.0.0.1"));
    assert!(text(&event, "cure").contains(cure), "{event}");
}

/// legacy-clients.md, cases 150 and 151.
#[test]
fn devices_that_are_too_old_for_our_tls_are_told_of() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay(&gmail, &authority, "auto");
    for version in ["-tls1", "-tls1_1"] {
        fail_by_openssl(relay.port(), &[version, "-cipher", "DEFAULT:@SECLEVEL=0"]);
    }
    wait_for(&relay, "TLS 1.2 not offered", "firmware");
    fail_by_openssl(relay.port(), &["-tls1_2", "-cipher", "AES256-SHA:@SECLEVEL=0"]);
    wait_for(&relay, "RSA key exchange only", "switch TLS off in the device");
    let log = relay.stop();
    assert_eq!(log.events("tls_failed").len(), 3, "{}", log.text());
}

#[test]
fn a_device_that_does_not_trust_the_certificate_is_told_of_with_what_to_import() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay(&gmail, &authority, "implicit");
    let mut device = Authority::new().connect(relay.port());
    assert_eq!(device.hear(), "");
    drop(device);
    wait_for(&relay, "does not trust the relay's certificate", "import the authority");
    relay.stop();
}

#[test]
fn plain_talk_to_a_port_of_tls_is_told_of() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay(&gmail, &authority, "implicit");
    let mut hasty = Talk::over(tcp(relay.port()));
    hasty.write(b"EHLO printer\r\nMAIL FROM:<a@b>\r\n");
    assert!(!hasty.hear().starts_with("220 "));
    wait_for(&relay, "plain text", "switch SSL/TLS on in the device");
    // A health check is not worth a line.
    drop(tcp(relay.port()));
    let log = relay.stop();
    assert_eq!(log.events("tls_failed").len(), 1, "{}", log.text());
}

/// legacy-clients.md, case 5.
#[test]
fn tls_to_a_port_without_it_is_told_of() {
    let gmail = Gmail::start();
    let mut relay = relay_not_started(&gmail, "[[listen]]\naddress = \"127.0.0.1:0\"\n");
    relay.start();
    let mut device = Device::connect(relay.port());
    device.write(b"\x16\x03\x01\x02\x00");
    assert!(device.hear().starts_with("421 ") && device.hears_the_end());
    let event = relay.log().wait_for("rejected", 1).remove(0);
    assert!(text(&event, "reason").contains("implicit TLS"), "{event}");
    relay.stop();
}
