//! TLS in its three ways, and all of them on one port.

use crate::authority::{Authority, FILES};
use crate::program::{Device, Gmail};
use crate::talk::{Talk, tcp};
use crate::{relay_not_started, relay_with, text};

fn config(mode: &str) -> String {
    format!("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"{mode}\"\n{FILES}")
}

#[test]
fn starttls_is_offered_once_and_the_mail_says_that_it_came_through_tls() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &config("starttls"));
    authority.equip(&relay);
    relay.start();
    let mut clear = Talk::over(tcp(relay.port()));
    assert!(clear.hear().starts_with("220 "));
    assert!(clear.say("EHLO printer").contains("250-STARTTLS"));
    assert!(clear.say("STARTTLS now").starts_with("501 "));
    assert!(clear.say("STARTTLS").starts_with("220 "));
    let mut secret = Talk::over(authority.secure(clear.stream.into_inner()));
    let reply = secret.say("EHLO printer");
    assert!(reply.starts_with("250-") && !reply.contains("STARTTLS"), "{reply}");
    assert!(secret.say("STARTTLS").starts_with("503 "));
    secret.send("through STARTTLS");
    assert!(secret.say("QUIT").starts_with("221 ") && secret.hears_the_end());
    let content = String::from_utf8(gmail.wait_for(1)[0].content.to_vec()).unwrap();
    assert!(content.contains("from printer ([127.0.0.1])") && content.contains("with ESMTPS id"), "{content}");
    relay.stop();
}

#[test]
fn without_a_certificate_in_use_starttls_is_not_offered() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, "[[listen]]\naddress = \"127.0.0.1:0\"\n");
    let mut device = Device::connect(relay.port());
    assert!(!device.order("EHLO printer").contains("STARTTLS"));
    assert!(device.say("STARTTLS").starts_with("502 "));
    device.order("NOOP");
    relay.stop();
}

#[test]
fn words_in_the_clear_behind_starttls_end_the_connection() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &config("starttls"));
    authority.equip(&relay);
    relay.start();
    // Together with the command, and once the reply was heard.
    let mut at_once = Talk::over(tcp(relay.port()));
    at_once.hear();
    at_once.write(b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n");
    assert!(at_once.hear().starts_with("220 ") && at_once.hear().starts_with("421 "));
    assert!(at_once.hears_the_end());
    relay.log().wait_for_one("rejected", |event| text(event, "reason").starts_with("plain text behind STARTTLS"));
    let mut later = Talk::over(tcp(relay.port()));
    later.hear();
    later.say("STARTTLS");
    later.write(b"EHLO x\r\n");
    assert!(!later.hear().starts_with("250"));
    relay.log().wait_for_one("tls_failed", |event| text(event, "reason").contains("plain text"));
    relay.stop();
}

#[test]
fn implicit_tls_greets_inside_and_speaks_only_mail() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &config("implicit"));
    authority.equip(&relay);
    relay.start();
    let mut device = authority.connect(relay.port());
    assert!(device.hear().starts_with("220 "));
    let reply = device.say("EHLO printer");
    assert!(!reply.contains("STARTTLS"), "{reply}");
    device.send("through TLS");
    drop(device);
    for (protocols, is_served) in [(vec!["smtp"], true), (vec!["h2"], false), (vec!["h2", "http/1.1"], false)] {
        let mut device = Talk::over(authority.secure_for(tcp(relay.port()), &protocols));
        assert_eq!(device.hear().starts_with("220 "), is_served, "{protocols:?}");
    }
    relay.log().wait_for_one("tls_failed", |event| text(event, "reason").contains("ALPN"));
    gmail.wait_for(1);
    relay.stop();
}

#[test]
fn a_port_that_is_auto_serves_everybody_as_they_like() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &config("auto"));
    authority.equip(&relay);
    relay.start();
    // One that waits to be greeted.
    let mut waiting = Talk::over(tcp(relay.port()));
    assert!(waiting.hear().starts_with("220 "));
    waiting.send("in the clear");
    // One that speaks first.
    let mut hasty = Talk::over(tcp(relay.port()));
    hasty.write(b"HELO script\r\n");
    assert!(hasty.hear().starts_with("220 ") && hasty.hear().starts_with("250 "));
    hasty.send("hastily");
    // One that asks for TLS.
    let mut asking = Talk::over(tcp(relay.port()));
    asking.hear();
    assert!(asking.say("EHLO printer").contains("250-STARTTLS") && asking.say("STARTTLS").starts_with("220 "));
    let mut asking = Talk::over(authority.secure(asking.stream.into_inner()));
    asking.send("with STARTTLS");
    // One that begins with TLS.
    let mut device = authority.connect(relay.port());
    assert!(device.hear().starts_with("220 "));
    device.send("with TLS");
    // One that comes, looks, and goes.
    drop(tcp(relay.port()));
    gmail.wait_for(4);
    let log = relay.stop();
    assert_eq!(log.events("warning").len() + log.events("tls_failed").len(), 0, "{}", log.text());
}

#[test]
fn a_stop_does_not_wait_for_those_who_have_not_begun() {
    let (gmail, authority) = (Gmail::start(), Authority::new());
    let mut relay = relay_not_started(&gmail, &config("implicit"));
    authority.equip(&relay);
    relay.start();
    let silent = tcp(relay.port());
    // Connections are accepted in their order.
    assert!(authority.connect(relay.port()).hear().starts_with("220 "));
    let began = tokio::time::Instant::now();
    relay.stop();
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    drop(silent);
}
