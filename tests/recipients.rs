//! What `[recipients]` does, as data: settings, what a client writes, and what becomes of it.

use std::fs;

use smarthost::config::{self, Environment};
use smarthost::mail::{Address, Recipient, Refusal};
use smarthost::policy::Policy;
use smarthost::smtp::command::{self, Command};
use smarthost::smtp::line::LineEnd;

const CASES: &str = include_str!("recipients.txt");

/// A configuration with these settings of `[recipients]`.
fn load(settings: &str) -> Result<Policy, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let text = format!("hostname = \"relay.example.net\"\n[recipients]\n{settings}\n[spool]\npath = \"spool\"\n");
    fs::write(&file, text).unwrap();
    let variables = [("GMAIL_USER", "me@gmail.com"), ("GMAIL_APP_PASSWORD", "abcdefghijklmnop")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let environment = Environment { variables, ..Environment::default() };
    let loaded = config::load(Some(&file), &environment).map_err(|mistakes| mistakes.to_string());
    loaded.map(|loaded| loaded.config.policy)
}

fn asked(policy: &Policy, path: &str) -> Result<Vec<Recipient>, Refusal> {
    let command = command::parse(format!("RCPT TO:{path}").as_bytes(), LineEnd::CrLf)?;
    let Command::Rcpt(paths) = command else { panic!("RCPT is RCPT") };
    let each = paths.into_iter().map(|path| policy.recipients(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(each.concat())
}

/// As a line of the table has it.
fn shown(policy: &Policy, path: &str) -> String {
    let recipients = match asked(policy, path) {
        Ok(recipients) => recipients,
        Err(refusal) => return refusal.reply().code().to_string(),
    };
    let each = recipients.iter().map(|recipient| match recipient.asked_for().as_str() {
        "" => recipient.address.to_string(),
        original => format!("{} ({original})", recipient.address),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[test]
fn every_recipient_goes_where_the_table_says() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for block in CASES.split("\n---\n") {
        let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let is_case = |line: &&str| line.contains(" -> ");
        let settings: Vec<&str> = lines.iter().copied().filter(|line| !is_case(line)).collect();
        let policy = load(&settings.join("\n")).expect("the settings of a block are right");
        for line in lines.into_iter().filter(is_case) {
            let (path, expected) = line.split_once(" -> ").unwrap();
            let found = shown(&policy, path.trim());
            if found != expected {
                wrong.push(format!("{line}\n    found {found}"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(seen > 50, "the cases were not found");
}

#[test]
fn aliases_that_come_to_no_end_are_told_with_every_step() {
    for (alias, steps) in [
        (r#"a = "b@localhost", b = "a@localhost""#, "b@localhost → a@localhost → b@localhost"),
        (
            r#"a = ["me@gmail.com", "b@relay.example.net"], b = "x@nas.local", "*@nas.local" = "a@localhost""#,
            "b@relay.example.net → x@nas.local → a@localhost → b@relay.example.net",
        ),
        (r#""*@a.example" = "x@b.example", "*@b.example" = "x@a.example""#, "x@b.example → x@a.example → x@b.example"),
    ] {
        let mistake = load(&format!("alias = {{ {alias} }}")).unwrap_err();
        let expected = format!("relay.toml:3: recipients.alias comes to no end: {steps}");
        assert!(mistake.ends_with(&expected), "{mistake}");
    }
    let long: Vec<String> = (0..200).map(|n| format!("a{n} = \"a{}@localhost\"", n + 1)).collect();
    let mistake = load(&format!("alias = {{ {} }}", long.join(", "))).unwrap_err();
    assert!(mistake.contains("comes to no end"), "{mistake}");
}

#[test]
fn what_a_client_can_make_grow_is_bounded() {
    let policy = load("redirect_all = \"me@gmail.com\"").unwrap();
    let mut one = asked(&policy, "<a@example.com>").unwrap().remove(0);
    for n in 0..1000 {
        one.join(asked(&policy, &format!("<a{n}@example.com>")).unwrap().remove(0));
        one.join(asked(&policy, &format!("<a{n}@example.com>")).unwrap().remove(0));
    }
    assert_eq!(one.originals.len(), 100);
    let expected: Vec<Address> = ["a", "a0", "a1"].map(|name| format!("{name}@example.com").parse().unwrap()).to_vec();
    assert_eq!(one.originals[..3], expected);
}
