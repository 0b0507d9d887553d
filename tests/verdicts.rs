//! The judge against every reply that gmail.md knows, and the promises that hold for any reply at all.

use smarthost::mail::Reply;
use smarthost::upstream::verdict::{Fault, Stage, TABLE, TroubleKind, Verdict, judge, judge_anywhere};

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
    for (place, row) in TABLE.iter().enumerate() {
        let example = reply(row.example);
        let stages = if row.stages.is_empty() { &Stage::ALL[..] } else { row.stages };
        for stage in stages {
            let first = TABLE.iter().position(|row| row.fits(*stage, &example));
            assert_eq!(first, Some(place), "{stage}: {}", row.example);
        }
        assert_eq!(judge_anywhere(&example).verdict, row.verdict, "{}", row.example);
    }
}

#[test]
fn rows_are_written_so_that_they_can_fit_and_can_be_read() {
    for row in TABLE {
        assert!(row.words.iter().all(|words| words.to_lowercase() == *words), "{}", row.example);
        assert!(row.meaning.ends_with('.'), "{}", row.example);
        assert!(row.cure.is_empty() || row.cure.ends_with(['.', ':']), "{}", row.cure);
        let needs_cure = row.verdict == Verdict::PauseAccount;
        assert!(!(needs_cure && row.cure.is_empty()), "somebody has to act, but how? {}", row.example);
    }
}

#[test]
fn nothing_said_before_mail_refuses_a_message() {
    let early = Stage::ALL.iter().filter(|stage| !stage.is_about_mail());
    for stage in early {
        for code in 300..=600 {
            for row in TABLE {
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
fn trouble_carries_the_words_of_gmail_and_the_cure() {
    let words = reply("535 5.7.8 Username and Password not accepted.");
    let trouble = judge(Stage::Auth, &words).trouble(&words).expect("trouble");
    assert_eq!(trouble.kind, TroubleKind::Paused);
    assert_eq!(
        trouble.reason,
        "Gmail does not accept this user with this password. (535 5.7.8 Username and Password not accepted.)"
    );
    assert!(trouble.cure.contains("https://myaccount.google.com/apppasswords"));
    let limit = reply("550 5.4.5 Daily user sending limit exceeded");
    assert_eq!(judge(Stage::Dot, &limit).trouble(&limit).expect("trouble").kind, TroubleKind::OverLimit);
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
