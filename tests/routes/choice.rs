//! Which account takes a message.

use crate::program::device::{Device, message};
use crate::{account, field, gmail_of, relay, send, standing, subjects};

#[test]
fn mail_goes_through_the_account_that_is_meant_for_it() {
    let (home, work, print) = (gmail_of("me@gmail.com"), gmail_of("me@a.example"), gmail_of("print@gmail.com"));
    let mut relay = relay();
    let sections = [
        account(&relay, &work, "work", "senders = [\"*@a.example\", \"alerts@b.example\"]\nconnections = 1"),
        account(&relay, &home, "home", ""),
        account(&relay, &print, "print", "clients = [\"127.0.0.3\"]\ndaily_limit = 1"),
    ];
    relay.write_config(&sections.concat());
    relay.start();
    send(&relay, "boss@a.example", "work 1");
    send(&relay, "ALERTS@B.Example", "work 2");
    send(&relay, "other@b.example", "home 1");
    send(&relay, "ups", "home 2");
    assert_eq!(subjects(&work.wait_for(2)), ["work 1", "work 2"]);
    assert_eq!(subjects(&home.wait_for(2)), ["home 1", "home 2"]);
    // Each with the sender of the account that it goes through.
    assert!(work.received().iter().all(|message| message.mail_from == "me@a.example"));
    assert!(field(&work.received()[0], "From").contains("me@a.example"), "{:?}", work.received());
    assert!(home.received().iter().all(|message| message.mail_from == "me@gmail.com"));

    // One account that has reached its own limit keeps nobody else.
    for n in 1..=2 {
        let mut device = Device::connect_from([127, 0, 0, 3].into(), relay.port());
        device.order("HELO printer");
        device.send("printer@nas.local", &["you@example.com"], &message(&format!("print {n}")));
    }
    relay.log().wait_for_one("account", |event| event["account"] == "print" && event["state"] == "over_limit");
    send(&relay, "ups", "home 3");
    assert_eq!(subjects(&home.wait_for(3)), ["home 1", "home 2", "home 3"]);
    let queue = relay.wait_for_queue(1);
    assert_eq!(queue[0]["account"], "print", "{queue:?}");
    assert_eq!(relay.ask_json(&["queue", "list", "--json", "--account", "print"]).len(), 1);
    assert!(relay.ask_json(&["queue", "list", "--json", "--account", "home"]).is_empty());
    for (name, sent, state) in [("work", 2, "working"), ("home", 3, "working"), ("print", 1, "over_limit")] {
        let standing = standing(&relay, name);
        assert_eq!((standing["sent_24h"].as_u64(), &standing["state"]), (Some(sent), &state.into()), "{standing}");
        let past = relay.ask_json(&["history", "--json", "--account", name]);
        assert_eq!(past.len() as u64, sent, "{past:?}");
        assert!(past.iter().all(|past| past["account"] == name), "{past:?}");
    }
    let shown = relay.ask(&["status"]);
    assert!(["work", "home", "print"].iter().all(|name| shown.contains(&format!("Account   {name} ("))), "{shown}");
    relay.stop();
    assert_eq!((work.counts().messages, home.counts().messages, print.counts().messages), (2, 3, 1));
}

#[test]
fn check_tells_the_routes_and_tries_each_account() {
    let (home, work) = (gmail_of("me@gmail.com"), gmail_of("me@a.example"));
    let relay = relay();
    let work_section = account(&relay, &work, "work", "senders = [\"*@a.example\"]\nclients = [\"127.0.0.0/8\"]");
    relay.write_config(&format!("{}{work_section}", account(&relay, &home, "home", "fallback = \"work\"")));
    let said = relay.ask(&["check"]);
    for words in [
        "mail from *@a.example, of clients at 127.0.0.0/8 goes through \"work\"",
        "all other mail goes through \"home\"",
        "while \"home\" cannot send, \"work\" does",
        "takes the login of me@gmail.com",
        "takes the login of me@a.example",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }

    let wrong = crate::account_with(&relay, &home, "home", "zzzz zzzz zzzz zzzz", "");
    relay.write_config(&format!("{wrong}{work_section}"));
    let said = relay.command(&["check"]);
    assert_eq!(said.status, 69, "{said:?}");
    assert!(said.stderr.contains("account \"home\"") && said.stderr.contains("535"), "{said:?}");
    assert!(said.stdout.contains("takes the login of me@a.example"), "the others are tried too: {said:?}");
}

#[test]
fn variables_are_for_one_account() {
    let (home, work) = (gmail_of("me@gmail.com"), gmail_of("me@a.example"));
    let mut relay = relay();
    let sections = [account(&relay, &home, "home", ""), account(&relay, &work, "work", "logins = [\"scanner\"]")];
    relay.write_config(&sections.concat());
    relay.set("GMAIL_USER", "me@gmail.com");
    let said = relay.command(&["check", "--offline"]);
    assert_eq!(said.status, 78, "{said:?}");
    assert!(said.stderr.contains("GMAIL_USER is set, but there are 2 [[account]]"), "{said:?}");
}
