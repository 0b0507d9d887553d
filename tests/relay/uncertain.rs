//! The one moment nobody can know: the final dot went out, and no answer came back.

use crate::program::{Gmail, Relay, device};
use crate::subject;

/// A relay that is killed while Gmail says nothing, at the stage that `rule` names; started again, with Gmail well.
fn killed_while_silent(gmail: &Gmail, rule: &str, config: &str) -> Relay {
    gmail.script(rule);
    let mut relay = Relay::new(gmail);
    relay.write_config(config);
    relay.start();
    device::send_one(relay.port(), "once", &["you@example.com"]);
    gmail.wait_until(|counts| counts.silences == 1);
    relay.kill();
    gmail.script("");
    relay.start();
    relay
}

fn uncertain_24h(relay: &Relay) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&relay.ask(&["status", "--json"])).expect("it is JSON");
    status["accounts"][0]["uncertain_24h"].as_u64().expect("it is a number")
}

#[test]
fn a_relay_killed_behind_the_dot_remembers_that_it_cannot_know() {
    let gmail = Gmail::start();
    let mut relay = killed_while_silent(&gmail, "dot => silent", "[retry]\nfirst = \"1s\"\n");
    let event = relay.log().wait_for("uncertain", 1).remove(0);
    assert!(event["reply"].as_str().is_some_and(|reply| reply.contains("the relay was stopped")), "{event}");
    assert!(event["next_try"].is_string(), "{event}");
    assert_eq!(subject(&gmail.wait_for(1)[0].content), "once");
    relay.log().wait_for("delivered", 1);
    assert_eq!(uncertain_24h(&relay), 1);
    let said = relay.ask(&["status"]);
    assert!(said.contains("Uncertain 1 "), "{said}");
    relay.stop();
}

#[test]
fn a_relay_killed_before_the_dot_knows_that_nothing_arrived() {
    let gmail = Gmail::start();
    let mut relay = killed_while_silent(&gmail, "data => silent", "");
    gmail.wait_for(1);
    relay.log().wait_for("delivered", 1);
    assert!(relay.log().events("uncertain").is_empty());
    assert_eq!(uncertain_24h(&relay), 0);
    relay.stop();
}

#[test]
fn what_is_uncertain_is_held_for_whoever_prefers_that() {
    let gmail = Gmail::start();
    let hold = "[retry]\nfirst = \"1s\"\non_uncertain = \"hold\"\n";
    let mut relay = killed_while_silent(&gmail, "dot => silent", hold);
    let event = relay.log().wait_for("uncertain", 1).remove(0);
    assert!(event["next_try"].is_null(), "{event}");
    // The same where the line breaks while the relay lives.
    gmail.script("dot => lose");
    device::send_one(relay.port(), "twice", &["you@example.com"]);
    relay.log().wait_for("uncertain", 2);
    gmail.script("");
    let queue = relay.wait_for_queue(2);
    assert!(queue.iter().all(|message| message["state"] == "held"), "{queue:?}");
    let ids: Vec<&str> = queue.iter().filter_map(|message| message["id"].as_str()).collect();
    assert_eq!(relay.ask(&["queue", "delete", ids[1]]), format!("{} deleted\n", ids[1]));
    assert_eq!(relay.ask(&["queue", "release", ids[0]]), format!("{} released\n", ids[0]));
    // What arrived without an answer is no longer sent: somebody looked, and deleted it.
    let subjects: Vec<String> = gmail.wait_for(2).iter().map(|message| subject(&message.content)).collect();
    assert_eq!(subjects, ["twice", "once"]);
    relay.log().wait_for("delivered", 1);
    relay.stop();
    assert_eq!(gmail.counts().messages, 2);
}
