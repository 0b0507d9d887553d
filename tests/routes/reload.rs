//! What a reload makes of mail that waits.

use crate::{account, account_with, gmail_of, relay, send, subjects};

#[test]
fn mail_of_accounts_that_are_gone_goes_where_the_rules_now_say() {
    let (home, work) = (gmail_of("me@gmail.com"), gmail_of("me@a.example"));
    let mut relay = relay();
    let wrong = |name: &str, gmail, more: &str| account_with(&relay, gmail, name, "zzzz zzzz zzzz zzzz", more);
    let sections = [wrong("one", &home, ""), wrong("two", &work, "senders = [\"*@a.example\", \"*@b.example\"]")];
    relay.write_config(&sections.concat());
    relay.start();
    send(&relay, "x@a.example", "a");
    send(&relay, "x@b.example", "b");
    send(&relay, "x@c.example", "c");
    relay.log().wait_for("account", 2);
    let queue = relay.wait_for_queue(3);
    let accounts: Vec<&str> = queue.iter().filter_map(|message| message["account"].as_str()).collect();
    assert_eq!(accounts, ["two", "two", "one"]);
    let listed = relay.ask(&["queue", "list"]);
    assert!(listed.lines().next().is_some_and(|heading| heading.contains("ACCOUNT")), "{listed}");

    // "one" has another name, "two" is gone, and there is a new one for a part of its mail.
    let sections = [account(&relay, &home, "home", ""), account(&relay, &work, "new", "senders = [\"*@a.example\"]")];
    relay.write_config(&sections.concat());
    relay.hang_up();
    relay.log().wait_for("reloaded", 1);
    assert_eq!(subjects(&work.wait_for(1)), ["a"]);
    assert_eq!(subjects(&home.wait_for(2)), ["b", "c"]);
    assert!(relay.wait_for_queue(0).is_empty());

    // Back to one account, while the other one has mail that waits.
    work.script("mail => 421 4.7.0 Try again later");
    send(&relay, "x@a.example", "later");
    relay.log().wait_for_one("account", |event| event["account"] == "new" && event["state"] != "working");
    relay.write_config(&account(&relay, &home, "home", ""));
    relay.hang_up();
    relay.log().wait_for("reloaded", 2);
    assert_eq!(subjects(&home.wait_for(3)), ["b", "c", "later"]);
    assert!(relay.wait_for_queue(0).is_empty());
    relay.stop();
    assert_eq!((work.counts().messages, home.counts().messages), (1, 3));
}

#[test]
fn mistakes_in_the_accounts_leave_everything_as_it_was() {
    let (home, work) = (gmail_of("me@gmail.com"), gmail_of("me@a.example"));
    let mut relay = relay();
    let good = account(&relay, &home, "home", "");
    relay.write_config(&good);
    relay.start();
    relay.write_config(&format!("{good}{}", account(&relay, &work, "work", "")));
    relay.hang_up();
    relay.log().wait_for_one("warning", |event| {
        event["warning"].as_str().is_some_and(|words| words.contains("nothing would go through"))
    });
    send(&relay, "x@a.example", "as before");
    home.wait_for(1);
    relay.stop();
}
