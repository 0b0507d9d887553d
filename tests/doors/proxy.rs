//! A proxy in front says who the client is, and only the right one is believed.

use crate::authority::{Authority, FILES};
use crate::program::{Gmail, Relay};
use crate::talk::{Talk, tcp};
use crate::{relay_not_started, relay_with, text};

const CONFIG: &str =
    "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy = true\nallow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n";

/// What a client hears first that a proxy announces so.
fn heard_behind(relay: &Relay, header: &[u8]) -> String {
    let mut talk = Talk::over(tcp(relay.port()));
    talk.write(header);
    talk.hear()
}

/// Version 2, with this command and an IPv4 address.
fn version_2(command: u8, ip: [u8; 4]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, 0x11, 0, 12], &ip, &[192, 0, 2, 1, 200, 0, 0, 25]].concat()
}

#[test]
fn the_announced_client_is_held_against_allow_and_shown() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, CONFIG);
    for (header, is_greeted) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 25\r\n".to_vec(), true),
        (b"PROXY TCP6 2001:db8::7 ::1 51000 25\r\n".to_vec(), true),
        (b"PROXY TCP6 ::ffff:192.0.2.8 ::1 51000 25\r\n".to_vec(), true),
        (b"PROXY TCP4 198.51.100.7 192.0.2.1 51000 25\r\n".to_vec(), false),
        (b"PROXY TCP6 ::ffff:198.51.100.8 ::1 51000 25\r\n".to_vec(), false),
        (version_2(1, [192, 0, 2, 9]), true),
        (version_2(1, [198, 51, 100, 9]), false),
        // The proxy speaks for itself, and is not in `allow`.
        (version_2(0, [192, 0, 2, 9]), false),
        (b"PROXY UNKNOWN\r\n".to_vec(), false),
    ] {
        let heard = heard_behind(&relay, &header);
        assert!(heard.starts_with(if is_greeted { "220 " } else { "554 " }), "{}: {heard}", header.escape_ascii());
    }
    // Mail may stand directly behind the header, and bytes may come one by one.
    let mut talk = Talk::over(tcp(relay.port()));
    for byte in b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 25\r\nEHLO prin" {
        talk.write(&[*byte]);
    }
    assert!(talk.hear().starts_with("220 "));
    assert!(talk.say("ter").starts_with("250-"));
    talk.send("behind a proxy");
    let accepted = relay.log().wait_for("accepted", 1).remove(0);
    assert_eq!(text(&accepted, "client"), "printer[192.0.2.7]");
    let refused = |ip: &str| relay.log().events("rejected").iter().filter(|event| event["client"] == ip).count();
    assert_eq!((refused("198.51.100.7"), refused("198.51.100.8"), refused("127.0.0.1")), (1, 1, 2));
    gmail.wait_for(1);
    relay.stop();
}

#[test]
fn who_says_nothing_of_it_is_sent_away_with_a_line_that_says_so() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, CONFIG);
    let told = |words: &'static str| {
        let is_told = move |event: &serde_json::Value| text(event, "reason").contains(words);
        relay.log().wait_for_one("rejected", is_told);
    };
    for (bytes, words) in [
        (&b"EHLO printer\r\n"[..], "no PROXY header: on a listener with `proxy = true`"),
        (b"PROXY TCP4 nonsense\r\n", "a PROXY line that is malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "far too long"),
        // Nothing at all, as an old device that waits for us.
        (b"", "no PROXY header within 5 seconds"),
    ] {
        assert!(heard_behind(&relay, bytes).starts_with("421 "), "{}", bytes.escape_ascii());
        told(words);
    }
    // A health check is not worth a line.
    let before = relay.log().events("rejected").len();
    drop(tcp(relay.port()));
    assert!(heard_behind(&relay, b"PROXY TCP4 192.0.2.7 192.0.2.1 1 25\r\n").starts_with("220 "));
    let log = relay.stop();
    assert_eq!(log.events("rejected").len(), before);
}

/// reliability-security.md, case 108.
#[test]
fn a_header_from_anybody_else_is_not_believed() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, &format!("{CONFIG}proxy_from = [\"198.51.100.0/24\"]\n"));
    assert!(heard_behind(&relay, b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 25\r\n").starts_with("554 "));
    let event = relay.log().wait_for("rejected", 1).remove(0);
    assert!(text(&event, "reason").contains("not in `proxy_from`"), "{event}");
    relay.stop();
}

#[test]
fn behind_a_proxy_there_may_be_tls_of_every_kind() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &format!("{CONFIG}tls = \"auto\"\n{FILES}"));
    authority.equip(&relay);
    relay.start();
    let announced = || {
        let mut talk = Talk::over(tcp(relay.port()));
        talk.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 25\r\n");
        talk
    };
    let mut at_once = Talk::over(authority.secure(announced().stream.into_inner()));
    assert!(at_once.hear().starts_with("220 "));
    at_once.send("TLS on connect");
    let mut asking = announced();
    assert!(asking.hear().starts_with("220 ") && asking.say("STARTTLS").starts_with("220 "));
    let mut asking = Talk::over(authority.secure(asking.stream.into_inner()));
    asking.send("STARTTLS");
    let mut plain = announced();
    assert!(plain.hear().starts_with("220 "));
    plain.send("in the clear");
    let accepted = relay.log().wait_for("accepted", 3);
    assert!(accepted.iter().all(|event| event["client"] == "unknown[192.0.2.7]"), "{accepted:?}");
    gmail.wait_for(3);
    relay.stop();
}
