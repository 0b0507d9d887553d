//! Another account sends while the first cannot.

use crate::program::Relay;
use crate::{account, account_with, field, gmail_of, relay, send, standing, subjects};

const QUICK: &str = "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n";

/// Whether everything that was sent is settled, and nothing waits.
fn nothing_waits(relay: &Relay) {
    assert!(relay.wait_for_queue(0).is_empty());
}

#[test]
fn another_account_helps_out_until_the_password_is_right() {
    let (home, spare) = (gmail_of("me@gmail.com"), gmail_of("spare@gmail.com"));
    let mut relay = relay();
    let spare_section = account(&relay, &spare, "spare", "");
    let wrong = account_with(&relay, &home, "home", "zzzz zzzz zzzz zzzz", "fallback = \"spare\"");
    relay.write_config(&format!("{wrong}{spare_section}"));
    relay.start();
    for n in 1..=3 {
        send(&relay, "ups@nas.local", &format!("first {n}"));
    }
    let arrived = spare.wait_for(3);
    assert_eq!(subjects(&arrived), ["first 1", "first 2", "first 3"]);
    for message in &arrived {
        assert_eq!(message.mail_from, "spare@gmail.com");
        assert!(field(message, "From").contains("spare@gmail.com"), "it is repaired for the account that sends it");
    }
    relay.log().wait_for("delivered", 3);
    assert!(relay.log().events("delivered").iter().all(|event| event["account"] == "spare"));
    nothing_waits(&relay);
    // It counts where it was sent, also for the next start.
    let home_stands = standing(&relay, "home");
    assert_eq!((&home_stands["state"], home_stands["sent_24h"].as_u64()), (&"paused".into(), Some(0)), "{home_stands}");
    assert_eq!(home_stands["fallback"], "spare");
    assert_eq!(standing(&relay, "spare")["sent_24h"].as_u64(), Some(3));
    let past = relay.ask_json(&["history", "--json", "--account", "spare"]);
    assert_eq!(past.len(), 3, "{past:?}");

    // It goes back when the first is well.
    relay.write_config(&format!("{}{spare_section}", account(&relay, &home, "home", "fallback = \"spare\"")));
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    for n in 1..=3 {
        send(&relay, "ups@nas.local", &format!("second {n}"));
    }
    relay.log().wait_for_one("account", |event| event["account"] == "home" && event["state"] == "working");
    nothing_waits(&relay);
    send(&relay, "ups@nas.local", "third");
    nothing_waits(&relay);
    relay.stop();
    let mut all = subjects(&spare.received());
    all.extend(subjects(&home.received()));
    all.sort();
    let mut sent: Vec<String> =
        ["first", "second"].iter().flat_map(|word| (1..=3).map(move |n| format!("{word} {n}"))).collect();
    sent.push("third".to_owned());
    assert_eq!(all, sent, "nothing is lost or sent twice");
    assert!(subjects(&home.received()).contains(&"third".to_owned()));
}

#[test]
fn a_limit_is_shared_out_and_a_chain_is_followed() {
    let (home, spare, last) = (gmail_of("me@gmail.com"), gmail_of("spare@gmail.com"), gmail_of("last@gmail.com"));
    let mut relay = relay();
    let sections = [
        account(&relay, &home, "home", "fallback = \"spare\"\ndaily_limit = 2"),
        account(&relay, &spare, "spare", "fallback = \"last\"\ndaily_limit = 1"),
        account(&relay, &last, "last", ""),
    ];
    relay.write_config(&sections.concat());
    relay.start();
    for n in 1..=6 {
        send(&relay, "ups@nas.local", &format!("message {n}"));
    }
    nothing_waits(&relay);
    let counts = [&home, &spare, &last].map(|gmail| gmail.counts().messages);
    assert_eq!(counts, [2, 1, 3]);
    let mut all: Vec<String> = [&home, &spare, &last].iter().flat_map(|gmail| subjects(&gmail.received())).collect();
    all.sort();
    assert_eq!(all, (1..=6).map(|n| format!("message {n}")).collect::<Vec<_>>());
    relay.stop();

    // The counts are kept over a restart.
    relay.start();
    send(&relay, "ups@nas.local", "message 7");
    last.wait_for(4);
    relay.stop();
    assert_eq!([&home, &spare, &last].map(|gmail| gmail.counts().messages), [2, 1, 4]);
}

#[test]
fn nothing_expires_while_no_account_works() {
    let (home, spare) = (gmail_of("me@gmail.com"), gmail_of("spare@gmail.com"));
    let mut relay = relay();
    let sections = [
        account_with(&relay, &home, "home", "zzzz zzzz zzzz zzzz", "fallback = \"spare\""),
        account(&relay, &spare, "spare", ""),
    ];
    spare.script("mail => 550 5.4.5 Daily user sending limit exceeded.");
    relay.write_config(&format!(
        "{}[retry]\nfirst = \"1s\"\nlongest = \"1s\"\ngive_up_after = \"2s\"\n",
        sections.concat()
    ));
    relay.start();
    send(&relay, "ups@nas.local", "waits");
    relay.log().wait_for_one("account", |event| event["account"] == "spare" && event["state"] == "over_limit");
    // Longer than mail is tried for.
    let probes = spare.counts().commands + 12;
    spare.wait_until(|counts| counts.commands >= probes);
    assert!(relay.log().events("expired").is_empty());
    assert_eq!(relay.wait_for_queue(1)[0]["account"], "home");
    spare.script("");
    assert_eq!(subjects(&spare.wait_for(1)), ["waits"]);
    nothing_waits(&relay);
    relay.stop();
}

#[test]
fn mail_that_is_refused_for_good_by_the_other_account_expires_as_any_other() {
    let (home, spare) = (gmail_of("me@gmail.com"), gmail_of("spare@gmail.com"));
    let mut relay = relay();
    let sections = [
        account_with(&relay, &home, "home", "zzzz zzzz zzzz zzzz", "fallback = \"spare\""),
        account(&relay, &spare, "spare", ""),
    ];
    spare.script("rcpt you@example.com => 451 4.3.0 Try again later");
    relay.write_config(&format!(
        "{}[retry]\nfirst = \"1s\"\nlongest = \"1s\"\ngive_up_after = \"2s\"\n",
        sections.concat()
    ));
    relay.start();
    send(&relay, "ups@example.com", "expires");
    let expired = relay.log().wait_for("expired", 1);
    assert_eq!(expired[0]["account"], "spare");
    relay.stop();
}

#[test]
fn a_line_that_is_down_is_left_only_for_another_server() {
    let (home, spare) = (gmail_of("me@gmail.com"), gmail_of("spare@gmail.com"));
    home.script("connect => close");
    let mut relay = relay();
    let sections = [account(&relay, &home, "home", "fallback = \"spare\""), account(&relay, &spare, "spare", "")];
    relay.write_config(&format!("{}{QUICK}", sections.concat()));
    relay.start();
    send(&relay, "ups@nas.local", "another server");
    assert_eq!(subjects(&spare.wait_for(1)), ["another server"]);
    relay.stop();

    // The same server for both: its mail waits for the line, as it would alone.
    let both = gmail_of("me@gmail.com");
    both.script("connect => close");
    let mut relay = crate::relay();
    let spare_section = account(&relay, &both, "spare", "");
    relay.write_config(&format!("{}{spare_section}{QUICK}", account(&relay, &both, "home", "fallback = \"spare\"")));
    relay.start();
    send(&relay, "ups@nas.local", "the same server");
    both.wait_until(|counts| counts.closed >= 3);
    both.script("");
    both.wait_for(1);
    relay.log().wait_for("delivered", 1);
    assert_eq!(relay.log().events("delivered")[0]["account"], "home");
    relay.stop();
}
