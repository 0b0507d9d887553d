//! A large message has a file of its own: where one of its calls fails, that message is refused, nothing of it is left,
//! and the relay goes on.

use std::fs;

use crate::client::{Client, body, message};
use crate::program::{Gmail, Relay};
use crate::strace::{self, Attached, Fault};
use crate::subject;

/// Above 64 KiB content goes into a file, in pieces.
const BYTES: usize = 150_000;

/// The calls, and how many of each kind belong to the file of a first large message before anything of it is in the
/// database: opening, making the folder and syncing it, the pieces, and the sync of all.
const CALLS: [(&str, usize); 4] = [("openat", 3), ("mkdir", 1), ("pwrite64", 2), ("fdatasync", 1)];

#[test]
fn each_call_for_the_file_of_a_large_message_fails() {
    if !strace::works() {
        println!("SKIPPED: system calls that fail, since strace is missing or may not trace here");
        return;
    }
    let gmail = Gmail::start();
    for (calls, count) in CALLS {
        for (error, code) in [("EIO", 451), ("ENOSPC", 452)] {
            for number in 1..=count {
                fails(&gmail, &Fault::error(calls, error, &number.to_string()), code);
            }
        }
    }
}

fn fails(gmail: &Gmail, fault: &Fault, code: u16) {
    let mut relay = Relay::new(gmail);
    relay.start();
    let send = |name: &str| {
        let mut client = Client::connect(relay.port()).expect("the relay listens");
        client.send(&format!("{name}@example.com"), &message(name, BYTES)).expect("the relay answers")
    };
    let trace = relay.folder().join("trace");
    let attached = Attached::to(relay.process_id(), fault, &trace, None);
    assert_eq!(send("under"), code, "{fault:?}");
    drop(attached);
    assert!(strace::has_struck(&trace), "{fault:?}");
    assert_eq!(send("after"), 250, "{fault:?}");
    relay.wait_for_queue(0);
    relay.stop();
    let arrived = gmail.received();
    let subjects: Vec<_> = arrived.iter().map(|message| subject(&message.content)).collect();
    assert!(!subjects.iter().any(|subject| subject == "under"), "{fault:?}: what was refused was sent");
    let last = arrived.last().expect("one message came");
    assert!(last.content.ends_with(body("after", BYTES).as_bytes()), "{fault:?}: not whole");
    let left: Vec<_> = fs::read_dir(relay.spool().join("content")).expect("it was made").collect();
    assert!(left.is_empty(), "{fault:?}: {left:?}");
}
