//! Who may come in: no stranger, and no stranger who looks like a neighbour.

use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpStream};

use crate::netns::Cable;
use crate::program::{DEADLINE, Device, Gmail};
use crate::{relay_not_started, relay_with, text};

#[test]
fn a_stranger_is_refused_before_a_byte_is_read_and_a_neighbour_is_greeted() {
    let Some(cable) = Cable::lay() else { return };
    let gmail = Gmail::start();
    let config = |allow: &str| format!("[[listen]]\naddress = \"{}:0\"\nallow = [{allow}]\n", cable.here());
    let mut relay = relay_with(&gmail, &config("\"loopback\", \"private\", \"link-local\""));
    assert!(cable.heard(&cable.here(), relay.port()).starts_with("554 "));
    let event = relay.log().wait_for("rejected", 1).remove(0);
    assert!(event["client"] == cable.there() && text(&event, "reason").contains("not in `allow`"), "{event}");
    relay.write_config(&config(&format!("\"{}/32\"", cable.there())));
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    assert!(cable.heard(&cable.here(), relay.port()).starts_with("220 "));
    relay.stop();
}

/// reliability-security.md, case 103: with a published port, strangers come from the gateway's address.
#[test]
fn in_a_container_the_gateway_is_no_neighbour_unless_it_is_named() {
    let Some(cable) = Cable::lay() else { return };
    let gmail = Gmail::start();
    let over_there = cable.over_there();
    // The mark of a container, where no one else sees it.
    let inside = "mount -t tmpfs none /run && touch /run/.containerenv && exec \"$@\"";
    let words = [&over_there[..], &["sh", "-ec", inside, "sh"]].concat();
    for (allow, is_greeted) in [("\"198.18.0.0/15\", \"private\"", false), ("\"private\", \"gateway\"", true)] {
        let config = format!("[[listen]]\naddress = \"{}:0\"\nallow = [{allow}]\n", cable.there());
        let mut relay = relay_not_started(&gmail, &config);
        relay.try_start_behind(&words).unwrap();
        let stream = TcpStream::connect((cable.there(), relay.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut heard = String::new();
        BufReader::new(stream).read_line(&mut heard).unwrap();
        assert_eq!(heard.starts_with("220 "), is_greeted, "{allow}: {heard}");
        if !is_greeted {
            let event = relay.log().wait_for("rejected", 1).remove(0);
            assert!(text(&event, "reason").contains("the gateway of this container"), "{event}");
        }
        relay.stop();
    }
}

#[test]
fn check_says_who_may_send_at_each_listener() {
    let gmail = Gmail::start();
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\nallow = [\"loopback\", \"192.0.2.0/24\"]\n\
                  [[listen]]\naddress = \"unix:smtp.sock\"\n\
                  [[listen]]\naddress = \"localhost:0\"\nproxy = true\nproxy_from = [\"192.0.2.1\"]\n";
    let relay = relay_not_started(&gmail, config);
    let told = relay.ask(&["check", "--offline"]);
    for words in [
        "127.0.0.0/8, ::1/128, 192.0.2.0/24",
        "unix:smtp.sock is free; every program of this machine that may open it",
        "a proxy at 192.0.2.1/32",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!relay.folder().join("smtp.sock").exists(), "it only tried");
}

/// legacy-clients.md, cases 95 and 96: a script with netcat gives up by itself, long before we do.
#[test]
fn who_is_listed_may_end_mail_with_lf_and_of_who_is_not_the_log_names_the_setting() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, "[[listen]]\naddress = \"127.0.0.1:0\"\nlf_only = [\"127.0.0.2\"]\n");
    let script = "HELO nas\nMAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nDATA\nSubject: x\n\nx\n.\nQUIT\n";
    let mut listed = Device::connect_from([127, 0, 0, 2].into(), relay.port());
    listed.write(script.as_bytes());
    gmail.wait_for(1);
    let mut other = Device::connect(relay.port());
    other.write(script.as_bytes());
    other.stream().shutdown(Shutdown::Write).expect("the connection stands");
    let warning = relay.log().wait_for_one("warning", |event| text(event, "warning").contains("`lf_only`"));
    assert!(text(&warning, "warning").starts_with("127.0.0.1 is gone, behind LF . LF"), "{warning}");
    assert_eq!(relay.log().events("accepted").len(), 1);
    relay.stop();
}
