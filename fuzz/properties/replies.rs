//! What the mail server says: any code with any words is judged, the outcome is one that its stage allows, and what
//! is shown of it is one printable line.

use smarthost::mail::{Outcome, Reply};
use smarthost::upstream::connect::whole_reply;
use smarthost::upstream::fault::Fault;
use smarthost::upstream::symptoms;
use smarthost::upstream::verdict::{Stage, judge, judge_anywhere};

use super::{assert_printable, choices};

pub fn holds(input: &[u8]) {
    let ([code_high, code_low], text) = choices(input);
    let code = u16::from_be_bytes([code_high, code_low]) % 1000;
    is_read(text);
    let text = String::from_utf8_lossy(text);
    let reply = Reply::received(code, &text);
    assert_printable(&reply.to_string());
    assert_eq!(reply.code(), code);
    assert!(reply.text().len() <= text.len().max(1), "a reply has grown");
    is_read_again(&reply);
    for stage in Stage::ALL {
        for first_try in [true, false] {
            is_judged(stage, &reply, first_try);
        }
    }
    assert!(!judge_anywhere(&reply).meaning.is_empty());
    for has_reply in [true, false] {
        let _ = symptoms::find(&text, has_reply);
    }
}

/// As it comes before there is TLS, from anybody. What is no reply is shown too.
fn is_read(wire: &[u8]) {
    match whole_reply(wire) {
        Ok(Some(reply)) => is_read_again(&reply),
        Ok(None) => {}
        Err(fault) => is_shown(&fault),
    }
    is_shown(&Fault::protocol(&String::from_utf8_lossy(wire)));
}

fn is_shown(fault: &Fault) {
    let told = fault.to_string();
    assert_printable(&told);
    assert!(told.len() < 1000, "{told}");
}

/// The history keeps a reply as text.
fn is_read_again(reply: &Reply) {
    let written = reply.to_string();
    let (code, words) = written.split_once(' ').expect("a blank stands behind the code");
    let again = Reply::received(code.parse().expect("a code"), words);
    assert_eq!(again.to_string(), written, "it is not what it was when it is read again");
    assert_eq!(again.enhanced(), reply.enhanced(), "{written}");
}

fn is_judged(stage: Stage, reply: &Reply, first_try: bool) {
    let judgement = judge(stage, reply);
    assert!(judgement.meaning.ends_with('.'), "{stage}: {reply}");
    let outcome = judgement.outcome(reply, first_try);
    assert_printable(&outcome.reason());
    match &outcome {
        Outcome::Delivered(_) => assert!((200..300).contains(&reply.code()), "{stage}: {reply} delivered a message"),
        Outcome::Refused(_) => {
            assert!(stage.is_about_mail(), "{stage}: {reply} refused a message, but is about the account");
            assert!((400..600).contains(&reply.code()), "{stage}: {reply}");
            assert!(reply.code() >= 500 || !first_try, "{stage}: {reply} refused a message too early");
        }
        Outcome::Deferred(_) => assert!(!(200..300).contains(&reply.code()), "{stage}: {reply}"),
        Outcome::Uncertain(_) | Outcome::Expired(_) => panic!("{stage}: {reply} was an answer"),
    }
    let trouble = judgement.trouble_before_mail(reply);
    assert_printable(&trouble.reason);
    assert_printable(&trouble.cure);
    assert!(
        !(judgement.trouble(reply).is_some() && outcome.is_failure()),
        "{stage}: {reply} is held against a message"
    );
}
