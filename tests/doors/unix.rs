//! Unix sockets: made, shown, replaced and removed; also those that systemd made.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::program::Gmail;
use crate::talk::{Talk, unix};
use crate::{relay_not_started, relay_with, text};

const CONFIG: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:smtp.sock\"\n";

#[test]
fn a_program_of_this_machine_sends_through_a_socket_and_is_shown_as_local() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, CONFIG);
    let path = relay.folder().join("smtp.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "every program of this machine may send, as on localhost");
    let mut program = Talk::over(unix(&path));
    assert!(program.hear().starts_with("220 "));
    program.send("first");
    assert!(program.say("EHLO ups").starts_with("250-"));
    program.send("second");
    let clients: Vec<String> =
        relay.log().wait_for("accepted", 2).iter().map(|event| text(event, "client").to_owned()).collect();
    assert_eq!(clients, ["local", "ups[local]"]);
    let contents: Vec<String> =
        gmail.wait_for(2).iter().map(|mail| String::from_utf8_lossy(&mail.content).into_owned()).collect();
    let trace = "Received: from ups\r\n\tby relay.example.net with ESMTP";
    assert!(contents.iter().any(|content| content.contains(trace)), "{contents:?}");
    relay.log().wait_for("delivered", 2);
    assert!(relay.ask(&["history"]).contains("ups[local]"));
    relay.stop();
    assert!(!path.exists(), "it is gone with the relay");
}

#[test]
fn what_a_killed_relay_left_is_replaced_and_what_another_serves_is_not() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, CONFIG);
    let path = relay.folder().join("smtp.sock");
    let mut other = relay_not_started(&gmail, &format!("[[listen]]\naddress = \"unix:{}\"\n", path.display()));
    let refused = other.try_start_behind(&["env"]).unwrap_err();
    assert!(refused.status == 69 && refused.stderr.contains("is already in use"), "{refused:?}");
    assert!(relay.ask(&["check", "--offline"]).contains("is served by the relay that is running"));
    assert!(Talk::over(unix(&path)).hear().starts_with("220 "), "the others did it no harm");
    relay.kill();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket(), "a killed relay cannot tidy up");
    relay.start();
    assert!(Talk::over(unix(&path)).hear().starts_with("220 "));
    relay.stop();
    fs::write(&path, "a letter").unwrap();
    let refused = relay.try_start_behind(&["env"]).unwrap_err();
    assert!(refused.stderr.contains("a file of this name that is no socket"), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
}

#[test]
fn a_unix_socket_that_systemd_opened_is_served_and_its_file_left_alone() {
    let gmail = Gmail::start();
    let mut relay = relay_not_started(&gmail, "");
    let path = relay.folder().join("activated.sock");
    let socket = UnixListener::bind(&path).unwrap();
    relay.write_config(&format!("[[listen]]\naddress = \"unix:{}\"\n", path.display()));
    let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" run"#;
    relay.start_through_shell(script, socket.into());
    let mut program = Talk::over(unix(&path));
    assert!(program.hear().starts_with("220 "));
    program.send("through a socket unit");
    gmail.wait_for(1);
    relay.stop();
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn smarthost_send_goes_through_a_socket_too() {
    let gmail = Gmail::start();
    let mut relay = relay_with(&gmail, "[[listen]]\naddress = \"unix:smtp.sock\"\n");
    relay.ask(&["send", "--to", "you@example.com"]);
    gmail.wait_for(1);
    relay.stop();
}
