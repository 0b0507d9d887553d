//! A large message has a file of its own: where one of its calls fails, that message is refused, nothing of it is left,
//! and the relay goes on.

use std::fs;

use crate::client::{Client, body, message};
use crate::program::{Gmail, Relay};
use crate::strace::{self, Attached, Fault};
use crate::subject;

/// Above 64 KiB content goes into a file, in pieces.
const BYTES: usize = 150_000;

/// The calls, and which of each kind belong to the file of a first large message before anything of it is in the database:
/// making the folder, opening the file, its pieces, and the sync of all. Others open files, too, so every opening fails.
const CALLS: [(&str, &[&str]); 4] =
    [("mkdir", &["1"]), ("openat", &["1+"]), ("pwrite64", &["1", "2"]), ("fdatasync", &["1"])];

#[test]
fn each_call_for_the_file_of_a_large_message_fails() {
    if !strace::works() {
        println!("SKIPPED: system calls that fail, since strace is missing or may not trace here");
        return;
    }
    let gmail = Gmail::start();
    for (calls, numbers) in CALLS {
        for (error, code) in [("EIO", 451), ("ENOSPC", 452)] {
            for number in numbers {
                fails(&gmail, &Fault::error(calls, error, number), code);
            }
        }
    }
}

fn fails(gmail: &Gmail, fault: &Fault, code: u16) {
    let mut relay = Relay::new(gmail);
    relay.start();
    let send_some = |name: &str, bytes: usize| {
        let mut client = Client::connect(relay.port()).expect("the relay listens");
        client.send(&format!("{name}@example.com"), &message(name, bytes)).expect("the relay answers")
    };
    let send = |name: &str| send_some(name, BYTES);
    // Behind a message that came and went, the spool has written what a start writes.
    assert_eq!(send_some("before", 300), 250);
    relay.wait_for_queue(0);
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
