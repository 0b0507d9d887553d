//! A spool where mail is not safe: the start says so, and what to do.

use smarthost::spool::sqlite::place;

use crate::mount::Mount;
use crate::program::{Gmail, Relay, device};

/// The warnings about the spool, at a start and by `smarthost check`; both are the same.
fn told(relay: &mut Relay, gmail: &Gmail) -> String {
    let checked = relay.ask(&["check", "--offline"]);
    relay.start();
    device::send_one(relay.port(), "in spite of it", &["you@example.com"]);
    gmail.wait_for(1);
    let log = relay.stop();
    let warnings = log.events("warning");
    assert_eq!(warnings.len(), 1, "{}", log.text());
    let warning = warnings[0]["warning"].as_str().unwrap().to_owned();
    assert!(log.text().find(r#""warning""#) < log.text().find(r#""ready""#), "{}", log.text());
    assert!(warning.contains(&relay.spool().display().to_string()), "{warning}");
    assert!(checked.contains(&warning), "{checked}");
    warning
}

#[test]
fn a_spool_on_the_overlay_of_a_container_is_warned_of() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    let layers = relay.folder().join("layers");
    // An overlay cannot lie on every file system, as not on another overlay; on this one it can.
    let Some(_below) = Mount::tmpfs(&layers, "size=64m") else { return };
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| layers.join(name));
    for folder in [&lower, &upper, &work] {
        std::fs::create_dir(folder).unwrap();
    }
    let Some(_overlay) = Mount::overlay(&relay.spool(), &lower, &upper, &work) else { return };
    let warning = told(&mut relay, &gmail);
    assert!(warning.contains("container") && warning.contains("docker run -v"), "{warning}");
}

#[test]
fn a_spool_in_memory_is_warned_of_and_that_of_the_demonstration_is_not() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    let Some(_memory) = Mount::tmpfs(&relay.spool(), "size=64m") else { return };
    let warning = told(&mut relay, &gmail);
    assert!(warning.contains("tmpfs") && warning.contains("spool.path"), "{warning}");
    relay.set("TMPDIR", &relay.spool().display().to_string());
    let demo = relay.command(&["demo", "--verbose"]);
    assert_eq!(demo.status, 0, "{demo:?}");
    assert!(demo.stderr.contains("delivered") && !demo.stderr.contains("tmpfs"), "{demo:?}");
}

#[test]
fn a_spool_on_a_disk_draws_no_warning() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let expected = usize::from(place::warning(&relay.spool()).is_some());
    assert_eq!(relay.stop().events("warning").len(), expected, "{:?}", place::warning(&relay.spool()));
}
