//! Users of this machine who may not touch the spool, and so come in as any client does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use super::program::{Gmail, PROGRAM, Relay, Said, outcome_of};
use super::{TEXT, relay, text_file};

/// `nobody`, on most systems; it needs no name.
const SOMEBODY: u32 = 65534;

/// Calls the mailer as another user. Only root can become one; otherwise the spool is closed to ourselves.
fn sends_as_somebody(relay: &Relay, arguments: &[&str]) -> Said {
    let is_root = rustix::process::geteuid().is_root();
    let mailer = relay.folder().join("sendmail");
    if !mailer.exists() {
        // By a program of its own: what this one has open for writing, its other threads' children have open, too.
        let copied = std::process::Command::new("cp").arg(PROGRAM).arg(&mailer).status();
        assert!(copied.is_ok_and(|status| status.success()), "there is room for the program");
    }
    let allow = |path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("the folder is ours");
    allow(relay.folder().to_owned(), 0o755);
    let mut program = relay.program_at(&mailer, arguments);
    if relay.is_running() {
        program.env("SMARTHOST_LISTEN", format!("localhost:{}", relay.port()));
    }
    program.stdin(text_file(TEXT.as_bytes()));
    if is_root {
        program.uid(SOMEBODY).gid(SOMEBODY);
        return outcome_of(program);
    }
    allow(relay.spool(), 0o000);
    let said = outcome_of(program);
    allow(relay.spool(), 0o700);
    said
}

#[test]
fn somebody_else_comes_in_through_the_listener_or_is_told_what_to_do() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.start();
    let said = sends_as_somebody(&relay, &["root"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert_eq!(gmail.wait_for(1)[0].recipients[0], "root@example.com");
    let said = sends_as_somebody(&relay, &["a@b@"]);
    assert!(said.status == 65 && said.stderr.contains("5.1.3"), "{said:?}");
    relay.stop();
    relay.set("SMARTHOST_LISTEN", "localhost:1");
    let said = sends_as_somebody(&relay, &["root"]);
    assert_eq!(said.status, 75, "{said:?}");
    assert!(said.stderr.contains("no relay answers at localhost:1. Start it: smarthost run"), "{said:?}");
}

#[test]
fn who_may_not_read_the_configuration_needs_none() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.start();
    let config = relay.write("secret.toml", "[[account]]\napp_password = \"very secret\"\n");
    fs::set_permissions(&config, Permissions::from_mode(0o000)).expect("the file is ours");
    relay.set("SMARTHOST_CONFIG", &config.display().to_string());
    let said = sends_as_somebody(&relay, &["root"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    gmail.wait_for(1);
    relay.stop();
    relay.set("SMARTHOST_LISTEN", "localhost:1");
    let said = sends_as_somebody(&relay, &["root"]);
    assert_eq!(said.status, 75, "{said:?}");
    assert!(said.stderr.contains("secret.toml cannot be read"), "{said:?}");
}
