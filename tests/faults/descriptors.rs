//! More clients than places, and more connections than file descriptors.

use std::fs;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, message};
use crate::program::{Device, Gmail, Relay, device};
use crate::strace::{self, Attached, Fault};

const CLIENTS: usize = 100;
/// How long a client waits for a place.
const WAIT: Duration = Duration::from_secs(5);

/// The code that a client hears first.
fn first_word(device: &mut Device) -> String {
    let greeting = device.hear();
    assert!(greeting.len() > 3, "nobody is dropped without a word");
    greeting[..3].to_owned()
}

/// Processor time of a process so far; the unit of this file has been a hundredth of a second for ever (proc(5)).
fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let ticks = behind_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Sends a message, however often the relay has no place for it. Returns how often that was.
fn send_at_last(port: u16, name: &str) -> usize {
    for refusals in 0.. {
        if let Some(mut client) = Client::connect(port) {
            assert_eq!(client.send(&format!("{name}@example.com"), &message(name, 300)), Some(250));
            client.say("QUIT");
            return refusals;
        }
        thread::sleep(Duration::from_millis(20));
    }
    unreachable!("there are numbers enough")
}

#[test]
fn a_hundred_clients_and_32_descriptors_keep_neither_mail_nor_the_relay_from_going_on() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    let nothing = fs::File::open("/dev/null").unwrap();
    relay.start_through_shell(r#"ulimit -n 32; exec "$0" run"#, nothing.into());
    let port = relay.port();
    let says =
        |words: &'static str| move |event: &serde_json::Value| event["warning"].as_str().unwrap().contains(words);
    let warning = relay.log().wait_for_one("warning", says("not 500"))["warning"].to_string();
    assert!(warning.contains("may have 32 files"), "{warning}");

    // All at once: some have a place and keep it, and the others are told.
    let crowd: Vec<Device> = (0..CLIENTS).map(|_| Device::connect_without_listening(port)).collect();
    let (began, used) = (Instant::now(), processor_time(relay.process_id()));
    let readers: Vec<_> =
        crowd.into_iter().map(|mut device| thread::spawn(move || (first_word(&mut device), device))).collect();
    let heard: Vec<(String, Device)> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    let (mut greeted, refused): (Vec<_>, Vec<_>) = heard.into_iter().partition(|(word, _)| word == "220");
    assert!(!greeted.is_empty() && greeted.len() < 10, "{} have a place", greeted.len());
    assert!(refused.iter().all(|(word, _)| word == "421"), "{refused:?}");
    // A loop that turns without end would show in this time.
    thread::sleep(Duration::from_secs(2));
    let used = processor_time(relay.process_id()).saturating_sub(used);
    assert!(used < Duration::from_secs(1), "{used:?} of processor time in {:?}", began.elapsed());

    // Who has a place gets everything done, while all the others are held by those who say nothing.
    drop(refused);
    let (_, speaks) = greeted.last_mut().unwrap();
    speaks.order("HELO printer");
    speaks.send("printer@nas.local", &["you@example.com"], &device::message("in spite of all"));
    gmail.wait_for(1);
    drop(greeted);

    // And with patience everybody gets a turn.
    let patient: Vec<_> =
        (0..CLIENTS).map(|number| thread::spawn(move || send_at_last(port, &format!("patient{number}")))).collect();
    let refusals: usize = patient.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(refusals > 0, "there was a crowd");
    gmail.wait_for(1 + CLIENTS as u64);
    relay.wait_for_queue(0);
    let log = relay.stop();
    assert!(!log.events("warning").iter().any(says("cannot accept")), "descriptors never run out: {}", log.text());
    for trouble in ["account", "spool_failed", "spool_broken", "bug"] {
        assert!(log.events(trouble).is_empty(), "{}", log.text());
    }
    assert_eq!(gmail.counts().messages, 1 + CLIENTS as u64);
}

#[test]
fn a_relay_that_cannot_accept_says_so_once_and_goes_on_when_it_can() {
    if !strace::works() {
        println!("SKIPPED: connections that cannot be accepted, since strace is missing or may not trace here");
        return;
    }
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let trace = relay.folder().join("trace");
    let fault = Fault::error("accept4", "EMFILE", "1..10");
    let attached = Attached::to(relay.process_id(), &fault, &trace, None);
    let mut device = Device::connect(relay.port());
    device.order("HELO printer");
    device.send("printer@nas.local", &["you@example.com"], &device::message("at last"));
    drop(attached);
    gmail.wait_for(1);
    let log = relay.stop();
    assert!(fs::read_to_string(trace).unwrap().matches("(INJECTED)").count() >= 10);
    let told = log.events("warning").into_iter().filter(|event| event["warning"].to_string().contains("cannot accept"));
    assert_eq!(told.count(), 1, "{}", log.text());
}

#[test]
fn a_hundred_connections_at_once_from_one_address_are_all_served() {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let port = relay.port();
    let crowd: Vec<Device> = (0..CLIENTS).map(|_| Device::connect_without_listening(port)).collect();
    let clients: Vec<_> = crowd
        .into_iter()
        .enumerate()
        .map(|(number, mut device)| {
            thread::spawn(move || {
                assert_eq!(first_word(&mut device), "220");
                device.order("HELO printer");
                device.send("printer@nas.local", &["you@example.com"], &device::message(&format!("no {number}")));
                device.order("QUIT");
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    gmail.wait_for(CLIENTS as u64);
    let log = relay.stop();
    assert!(log.events("rejected").is_empty(), "{}", log.text());
}

#[test]
fn a_client_waits_for_a_place_of_its_own_and_hears_421_where_none_comes_free() {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.write_config("[limits]\nconnections_per_client = 1\n");
    relay.start();
    let first = Device::connect(relay.port());
    let wait = |_| {
        let mut device = Device::connect_without_listening(relay.port());
        thread::spawn(move || (first_word(&mut device), Instant::now(), device))
    };
    let waiting = [0; 2].map(wait);
    let freed = Instant::now();
    drop(first);
    let mut heard = waiting.map(|device| device.join().unwrap());
    heard.sort_by_key(|(_, at, _)| *at);
    let [(lucky, soon, _), (unlucky, late, _)] = &heard;
    assert_eq!((lucky.as_str(), unlucky.as_str()), ("220", "421"));
    assert!(*soon - freed < WAIT / 2, "a place that frees is given on at once, not after {:?}", *soon - freed);
    assert!(*late - freed < WAIT + WAIT / 2, "the others hear so after {:?}", *late - freed);
    drop(heard);
    let rejected = relay.log().wait_for("rejected", 1).remove(0);
    assert!(rejected["reply"].as_str().unwrap().starts_with("421 4.7.0 "), "{rejected}");
    device::send_one(relay.port(), "afterwards", &["you@example.com"]);
    gmail.wait_for(1);
    relay.stop();
}
