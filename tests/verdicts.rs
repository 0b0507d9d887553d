//! The judge against every reply that gmail.md knows, and the promises that hold for any reply at all.

use smarthost::mail::Reply;
use smarthost::upstream::fault::Fault;
use smarthost::upstream::verdict::{Stage, Verdict, judge, judge_anywhere, rows};
use smarthost::upstream::{Limit, TroubleKind};

/// Reads a reply the way it comes in: the code, then the text of all lines.
fn reply(text: &str) -> Reply {
    let (code, words) = text.split_once(' ').expect("a code and words");
    Reply::received(code.parse().expect("three digits"), &words.replace('|', "\r\n"))
}

fn stage(name: &str) -> Stage {
    *Stage::ALL.iter().find(|stage| format!("{stage:?}") == name).expect("a stage")
}

#[test]
fn every_reply_of_the_table_in_the_reference_gets_its_verdict() {
    let mut wrong = Vec::new();
    let lines = include_str!("verdicts.tsv").lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let columns: Vec<&str> = line.split('\t').collect();
        let [section, place, expected, words] = columns[..] else { panic!("four columns: {line}") };
        let verdict = format!("{:?}", judge(stage(place), &reply(words)).verdict);
        if verdict != expected {
            wrong.push(format!("{section} {place}: {words}\n    expected {expected}, got {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_is_the_first_to_fit_its_own_example() {
    for (place, row) in rows().enumerate() {
        let example = reply(row.example);
        let stages = if row.stages.is_empty() { &Stage::ALL[..] } else { row.stages };
        for stage in stages {
            let first = rows().position(|row| row.fits(*stage, &example));
            assert_eq!(first, Some(place), "{stage}: {}", row.example);
        }
        // Where two rows have one example, the first one counts for those who do not know the stage.
        let first = rows().find(|other| other.example == row.example).expect("itself at least");
        assert_eq!(judge_anywhere(&example).verdict, first.verdict, "{}", row.example);
    }
}

#[test]
fn rows_are_written_so_that_they_can_fit_and_can_be_read() {
    for row in rows() {
        assert!(row.words.iter().all(|words| words.to_lowercase() == *words), "{}", row.example);
        assert!(row.meaning.ends_with('.'), "{}", row.example);
        assert!(row.cure.is_empty() || row.cure.ends_with(['.', ':']), "{}", row.cure);
        let needs_cure = matches!(row.verdict, Verdict::PauseAccount | Verdict::PauseForConfiguration);
        assert!(!(needs_cure && row.cure.is_empty()), "somebody has to act, but how? {}", row.example);
    }
}

#[test]
fn nothing_said_before_mail_refuses_a_message() {
    let early = Stage::ALL.iter().filter(|stage| !stage.is_about_mail());
    for stage in early {
        for code in 300..=600 {
            for row in rows() {
                let words = row.example.split_once(' ').expect("words").1;
                let verdict = judge(*stage, &Reply::received(code, words)).verdict;
                let refused = matches!(verdict, Verdict::RefuseMessage | Verdict::RefuseRecipient);
                assert!(!refused, "{stage}: {code} {words}: {verdict:?}");
            }
        }
    }
}

#[test]
fn login_and_limits_are_never_held_against_a_message_at_any_stage() {
    let account = [
        "530 5.7.0 Authentication Required",
        "534 5.7.9 Something new",
        "535 5.7.8 Username and Password not accepted",
        "550 5.4.5 Daily user sending limit exceeded",
        "550 5.7.0 Mail relay denied",
        "550 5.7.0 Mail Sending denied",
        "554 5.7.0 Too Many Unauthenticated commands",
    ];
    for words in account {
        for stage in Stage::ALL {
            let judgement = judge(stage, &reply(words));
            assert!(judgement.trouble(&reply(words)).is_some(), "{stage}: {words}");
        }
    }
}

#[test]
fn a_domain_that_is_not_found_is_looked_for_twice() {
    let words = reply("553 5.1.2 We weren't able to find the recipient domain.");
    let judgement = judge(Stage::Rcpt, &words);
    assert!(!judgement.outcome(&words, true).is_final());
    assert!(judgement.outcome(&words, false).is_failure());
}

/// gmail.md, section 5: PAUSE is for somebody at Google, PAUSE (config) for the configuration; HOLD passes.
#[test]
fn what_the_account_becomes_is_told_apart() {
    for (stage, words, state) in [
        (Stage::Auth, "535 5.7.8 Username and Password not accepted.", "paused"),
        (Stage::Mail, "550 5.7.0 Mail Sending denied.", "paused"),
        (Stage::Ehlo, "421 4.7.0 Try again later, closing connection. (EHLO)", "misconfigured"),
        (Stage::Mail, "550 5.7.0 Mail relay denied [203.0.113.7].", "misconfigured"),
        (Stage::Mail, "530 5.7.0 Must issue a STARTTLS command first.", "misconfigured"),
        (Stage::Auth, "454 4.7.0 Too many login attempts, please try again later.", "over_limit"),
        (Stage::Dot, "550 5.4.5 Daily user sending limit exceeded.", "over_limit"),
        (Stage::Dot, "421 4.7.0 Temporary System Problem. Try again later (10).", "slowed"),
        (Stage::Auth, "454 4.7.0 Cannot authenticate due to temporary system problem.", "unreachable"),
    ] {
        let reply = reply(words);
        assert_eq!(judge(stage, &reply).trouble_before_mail(&reply).word(), state, "{stage}: {words}");
    }
}

#[test]
fn trouble_carries_the_words_of_gmail_and_the_cure() {
    let words = reply("535 5.7.8 Username and Password not accepted.");
    let trouble = judge(Stage::Auth, &words).trouble(&words).expect("trouble");
    assert_eq!((trouble.kind, trouble.word()), (TroubleKind::Paused, "paused"));
    let again = reply("535 5.7.8 Username and Password not accepted. another session - gsmtp");
    assert!(trouble.is_same_as(&judge(Stage::Auth, &again).trouble(&again).expect("trouble")));
    assert_eq!(
        trouble.reason,
        "Gmail does not accept this user with this password. (535 5.7.8 Username and Password not accepted.)"
    );
    assert!(trouble.cure.contains("https://myaccount.google.com/apppasswords"));
    let limit = reply("550 5.4.5 Daily user sending limit exceeded");
    assert_eq!(judge(Stage::Dot, &limit).trouble(&limit).expect("trouble").kind, TroubleKind::OverLimit(Limit::Day));
    let fine = reply("250 2.0.0 OK");
    assert_eq!(judge(Stage::Dot, &fine).trouble(&fine), None);
}

#[test]
fn failures_of_the_network_are_told_in_sentences() {
    let timeout = Fault::Timeout { stage: Stage::Dot, seconds: 600 };
    assert_eq!(timeout.to_string(), "no answer within 600 seconds (end of message)");
    let closed = Fault::Closed { stage: Stage::Ehlo, reason: "end of the connection".into() };
    assert_eq!(closed.to_string(), "the mail server closed the connection (EHLO): end of the connection");
    assert!(closed.cure().contains("hostname"));
    assert!(Fault::Tls("wrong version".into()).cure().contains("465"));
    assert!(Fault::ConnectTimeout("192.0.2.1:465".into()).cure().contains("587"));
    assert!(Fault::Unreachable("no route".into()).cure().contains("IPv6"));
    let without_tls = Fault::NoStarttls("502 5.5.1 Unrecognized command.".into());
    assert!(without_tls.meets_every_message() && without_tls.cure().contains("port 465"));
}
