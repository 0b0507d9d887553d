//! The certificate of the relay: what is said of one that is of no use, and that it is read again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::authority::{Authority, FILES, Pair, Secure};
use crate::program::{Gmail, Relay};
use crate::talk::{Talk, tcp};
use crate::{relay_not_started, text};

const CONFIG: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"implicit\"\n";

fn relay(gmail: &Gmail) -> Relay {
    relay_not_started(gmail, &format!("{CONFIG}{FILES}"))
}

fn is_greeted(mut device: Talk<Secure>) -> bool {
    device.hear().starts_with("220 ")
}

#[test]
fn a_certificate_is_read_again_when_its_files_change_and_a_broken_one_changes_nothing() {
    let (gmail, first, second) = (Gmail::start(), Authority::new(), Authority::new());
    let mut relay = relay(&gmail);
    first.equip(&relay);
    relay.start();
    assert!(is_greeted(first.connect(relay.port())));
    relay.write("cert.pem", "-----BEGIN CERTIFICATE-----\nhalf\n");
    let is_told = |event: &serde_json::Value| text(event, "warning").contains("the old one stays in force");
    let warning = relay.log().wait_for_one("warning", is_told);
    assert!(text(&warning, "warning").contains("cert.pem"), "{warning}");
    assert!(is_greeted(first.connect(relay.port())));
    second.equip(&relay);
    relay.log().wait_for_one("reloaded", |event| text(event, "changes").contains("certificate"));
    assert!(is_greeted(second.connect(relay.port())) && !is_greeted(first.connect(relay.port())));
    first.equip(&relay);
    relay.hang_up();
    relay.log().wait_for_one("reloaded", |event| text(event, "changes") == "everything is in force");
    assert!(is_greeted(first.connect(relay.port())));
    relay.stop();
}

#[test]
fn what_is_of_no_use_stops_the_start_and_is_named_with_its_cure() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let (good, other) = (authority.pair((2020, 2120)), authority.pair((2020, 2120)));
    let mut relay = relay(&gmail);
    let with = |certificate: &str, key: &str| Pair { certificate: certificate.to_owned(), key: key.to_owned() };
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (pair, words) in [
        (None, ["cert.pem cannot be read", "certs/README.md"]),
        (Some(with("", &good.key)), ["cert.pem holds no certificate", "PEM"]),
        (Some(with(&good.certificate, "")), ["key.pem holds no private key", "openssl pkey"]),
        (Some(with(&good.certificate, &encrypted)), ["key.pem holds no private key", "passphrase"]),
        (Some(with(&good.certificate, &other.key)), ["does not belong to", "key.pem"]),
    ] {
        if let Some(pair) = pair {
            pair.write(&relay);
        }
        let said = relay.try_start_behind(&["env"]).expect_err(words[0]);
        let check = relay.command(&["check", "--offline"]);
        for (status, told) in [(said.status, said.stderr), (check.status, check.stderr)] {
            assert_eq!(status, 78, "{told}");
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
            assert!(!told.contains("BEGIN") || words[1] == "PEM", "{told}");
        }
    }
}

#[test]
fn a_key_that_others_can_read_and_a_time_that_is_over_draw_a_warning() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay(&gmail);
    authority.pair((2020, 2021)).write(&relay);
    let key = relay.folder().join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let words = ["run: chmod 600", "has ended on 2021-01-01"];
    let told = relay.ask(&["check", "--offline"]);
    assert!(words.iter().all(|word| told.contains(word)) && told.contains("for localhost; good until 2021"), "{told}");
    relay.start();
    for word in words {
        relay.log().wait_for_one("warning", |event| text(event, "warning").contains(word));
    }
    relay.stop();
    authority.pair((2020, 2120)).write(&relay);
    let told = relay.ask(&["check", "--offline"]);
    assert!(!told.contains("warning") && told.contains("good until 2120-01-01"), "{told}");
}

/// The commands of certs/README.md, as a reader would type them.
#[test]
fn the_page_about_certificates_tells_how_to_make_one_that_works() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/certs/README.md")).unwrap();
    let begin = page.find("    openssl req -x509").expect("the page shows the command");
    let block: Vec<&str> = page[begin..].lines().take_while(|line| line.starts_with("    ")).collect();
    let gmail = Gmail::start();
    let mut relay = relay_not_started(
        &gmail,
        &format!("{CONFIG}[tls]\ncertificate = \"certs/relay.pem\"\nkey = \"certs/relay.key\"\n"),
    );
    fs::create_dir(relay.folder().join("certs")).unwrap();
    let made = Command::new("sh").args(["-ec", &block.join("\n")]).current_dir(relay.folder()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let told = relay.ask(&["check", "--offline"]);
    assert!(told.contains("for relay.example.net") && !told.contains("warning"), "{told}");
    relay.start();
    let root = fs::read(relay.folder().join("certs/relay-root.pem")).unwrap();
    let verified = Command::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-verify_hostname",
            "relay.example.net",
            "-CAfile",
            "certs/relay-root.pem",
        ])
        .args(["-connect", &format!("127.0.0.1:{}", relay.port())])
        .current_dir(relay.folder())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(verified.status.success() && !root.is_empty(), "{verified:?}");
    relay.stop();
}

#[test]
fn an_address_that_a_reload_cannot_close_keeps_its_tls() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &format!("{}{FILES}", CONFIG.replace("implicit", "starttls")));
    authority.equip(&relay);
    relay.start();
    relay.write_config("[[listen]]\naddress = \"localhost:0\"\n");
    relay.hang_up();
    relay.log().wait_for_one("reloaded", |event| text(event, "changes").contains("the addresses to listen on"));
    let mut device = Talk::over(tcp(relay.port()));
    device.hear();
    let offered = device.say("EHLO nas");
    assert!(offered.contains("STARTTLS"), "{offered}");
    relay.stop();
}
