//! A disk that is full, below a relay that runs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, message};
use crate::mount::Mount;
use crate::program::{DEADLINE, Gmail, Relay};
use crate::subject;

const AWAY: &str = "connect => close";
/// A message of this size stays in memory; a large one is stored in pieces.
const BYTES: usize = 60_000;
const LARGE_BYTES: usize = 300_000;

/// A relay on a small disk, with Gmail away.
fn on_a_small_disk(gmail: &Gmail) -> Option<(Relay, Mount)> {
    gmail.script(AWAY);
    let relay = Relay::new(gmail);
    let disk = Mount::tmpfs(&relay.spool(), "size=4m")?;
    relay.write_config("[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n");
    Some((relay, disk))
}

/// Sends until the disk is full. Returns what was accepted.
fn fill(client: &mut Client) -> BTreeSet<String> {
    let mut promised = BTreeSet::new();
    for number in 0..100 {
        let name = format!("full{number}");
        match client.send(&format!("{name}@example.com"), &message(&name, BYTES)) {
            Some(250) => promised.insert(name),
            code => {
                assert_eq!(code, Some(452));
                assert!(promised.len() > 5, "only {} messages fit", promised.len());
                return promised;
            }
        };
    }
    panic!("the disk never gets full")
}

/// Sends a message until it is accepted.
fn send_at_last(client: &mut Client, name: &str) {
    let began = Instant::now();
    loop {
        match client.send(&format!("{name}@example.com"), &message(name, BYTES)) {
            Some(250) => return,
            code => assert_eq!(code, Some(452)),
        }
        assert!(began.elapsed() < DEADLINE, "there is room, and no mail is taken");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Fills the disk, makes room without a restart, and looks at what arrives. `deleted`: what was accepted before is gone.
fn recovers(make_room: impl FnOnce(&Relay, &Gmail, &Path), deleted: bool) {
    let gmail = Gmail::start();
    let Some((mut relay, _disk)) = on_a_small_disk(&gmail) else { return };
    let ballast = relay.spool().join("ballast");
    fs::write(&ballast, vec![0; 1_000_000]).unwrap();
    relay.start();
    let mut client = Client::connect(relay.port()).unwrap();
    let mut promised = fill(&mut client);
    assert_eq!(client.send("large@example.com", &message("large", LARGE_BYTES)), Some(452));
    assert_eq!((client.say("RSET"), client.say("NOOP")), (Some(250), Some(250)), "the session goes on");
    assert_eq!(relay.ask_json(&["queue", "list", "--json"]).len(), promised.len());
    make_room(&relay, &gmail, &ballast);
    send_at_last(&mut client, "afterwards");
    assert_eq!(client.say("QUIT"), Some(221));
    if deleted {
        promised.clear();
    }
    promised.insert("afterwards".to_owned());
    gmail.script("");
    relay.ask(&["queue", "retry", "--all"]);
    relay.wait_for_queue(0);
    let log = relay.stop();
    let arrived: Vec<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
    assert_eq!(arrived.len(), promised.len(), "{arrived:?}");
    assert_eq!(arrived.into_iter().collect::<BTreeSet<_>>(), promised);
    assert!(
        log.events("rejected").iter().all(|event| event["reply"].as_str().unwrap().starts_with("452 4.3.1 ")),
        "{}",
        log.text()
    );
    for event in ["spool_broken", "bug"] {
        assert!(log.events(event).is_empty(), "{}", log.text());
    }
}

#[test]
fn a_full_disk_takes_mail_again_when_something_else_on_it_goes() {
    recovers(|_, _, ballast| fs::remove_file(ballast).unwrap(), false);
}

#[test]
fn a_full_disk_takes_mail_again_when_mail_is_delivered() {
    let deliver = |relay: &Relay, gmail: &Gmail, _: &Path| {
        gmail.script("");
        relay.ask(&["queue", "retry", "--all"]);
    };
    recovers(deliver, false);
}

#[test]
fn a_full_disk_takes_mail_again_when_mail_is_deleted() {
    let delete = |relay: &Relay, _: &Gmail, _: &Path| {
        relay.ask(&["queue", "delete", "--all"]);
    };
    recovers(delete, true);
}

/// Writes until not a byte is left.
fn take_all_room(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    for bytes in [4096, 1] {
        while file.write_all(&vec![0; bytes]).is_ok() {}
    }
}

#[test]
fn a_disk_without_a_byte_left_loses_nothing_and_sends_nothing_twice() {
    let gmail = Gmail::start();
    let Some((mut relay, _disk)) = on_a_small_disk(&gmail) else { return };
    relay.start();
    let mut client = Client::connect(relay.port()).unwrap();
    for number in 0..10 {
        send_at_last(&mut client, &format!("before{number}"));
    }
    let ballast = relay.spool().join("ballast");
    take_all_room(&ballast);
    assert_eq!(client.send("refused@example.com", &message("refused", BYTES)), Some(452));
    gmail.script("");
    // Where there is no room left to write down what was sent, it is not sent again meanwhile.
    gmail.wait_for(2);
    fs::remove_file(&ballast).unwrap();
    relay.wait_for_queue(0);
    assert_eq!(gmail.counts().messages, 10);
    send_at_last(&mut client, "afterwards");
    gmail.wait_for(11);
    relay.wait_for_queue(0);
    relay.stop();
}

#[test]
fn a_relay_that_was_killed_starts_on_a_full_disk_or_says_that_it_is_full() {
    let gmail = Gmail::start();
    let Some((mut relay, _disk)) = on_a_small_disk(&gmail) else { return };
    relay.start();
    let promised = fill(&mut Client::connect(relay.port()).unwrap());
    relay.kill();
    let ballast = relay.spool().join("ballast");
    take_all_room(&ballast);
    if let Err(said) = relay.try_start_behind(&["env"]) {
        let is_told = said.stderr.contains(&relay.spool().display().to_string()) && said.stderr.contains("full");
        assert!(matches!(said.status, 73 | 75) && is_told, "{said:?}");
    } else {
        relay.kill();
    }
    fs::remove_file(&ballast).unwrap();
    relay.start();
    assert_eq!(relay.ask_json(&["queue", "list", "--json"]).len(), promised.len());
    gmail.script("");
    relay.ask(&["queue", "retry", "--all"]);
    relay.wait_for_queue(0);
    relay.stop();
    let arrived: BTreeSet<String> = gmail.received().iter().map(|message| subject(&message.content)).collect();
    assert_eq!(arrived, promised);
}

#[test]
fn one_client_leaves_room_for_others() {
    let gmail = Gmail::start();
    let Some((mut relay, _disk)) = on_a_small_disk(&gmail) else { return };
    relay.write_config("[limits]\nspool_share = 50\n");
    relay.start();
    let mut greedy = Client::connect(relay.port()).unwrap();
    let promised = fill(&mut greedy);
    let rejected = relay.log().wait_for("rejected", 1);
    assert!(rejected[0]["reason"].as_str().unwrap().contains("limits.spool_share"), "{rejected:?}");
    let mut other = Client::connect_from([127, 0, 0, 2].into(), relay.port()).unwrap();
    assert_eq!(other.send("other@example.com", &message("other", BYTES)), Some(250));
    gmail.script("");
    relay.ask(&["queue", "retry", "--all"]);
    gmail.wait_for(promised.len() as u64 + 1);
    send_at_last(&mut greedy, "afterwards");
    relay.wait_for_queue(0);
    relay.stop();
}

/// Once it runs the spool makes no further files for small mail, so it is the start that needs them.
#[test]
fn a_disk_that_can_hold_no_more_files_is_told_at_the_start() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    let Some(disk) = Mount::tmpfs(&relay.spool(), "size=4m,nr_inodes=3") else { return };
    let said = relay.try_start_behind(&["env"]).expect_err("there is no room for the files of a spool");
    assert!(matches!(said.status, 73 | 75), "{said:?}");
    assert!(said.stderr.contains(&relay.spool().display().to_string()), "{said:?}");
    disk.remount("nr_inodes=8");
    relay.start();
    let mut files = 0;
    while File::create(relay.spool().join(format!("ballast{files}"))).is_ok() {
        files += 1;
    }
    let mut client = Client::connect(relay.port()).unwrap();
    assert_eq!(client.send("large@example.com", &message("large", LARGE_BYTES)), Some(452));
    send_at_last(&mut client, "without-files");
    gmail.wait_for(1);
    relay.wait_for_queue(0);
    relay.stop();
}
