//! The real program explains what people see: every symptom of the reference, and nothing that it does not know.

#[path = "program/mod.rs"]
mod program;

use std::collections::BTreeSet;
use std::process::Command;

use program::{Said, outcome_of};
use toml::{Table, Value};

/// In a place without any configuration: whoever asks may not even have one.
fn explain(text: &str) -> Said {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut program = Command::new(env!("CARGO_BIN_EXE_smarthost"));
    program.args(["explain", text]).current_dir(folder.path()).env_clear();
    program.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    outcome_of(program)
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().expect("a text")
}

#[test]
fn every_symptom_of_the_reference_is_explained() {
    let table: Table = include_str!("symptoms.toml").parse().expect("it can be read");
    let cases = table["symptom"].as_array().expect("a list");
    let (mut rows, mut wrong) = (BTreeSet::new(), Vec::new());
    for case in cases {
        rows.insert(case["row"].as_integer().expect("a number"));
        let said = explain(text(case, "text"));
        let missing = case["says"].as_array().expect("a list").iter().filter_map(Value::as_str);
        let missing: Vec<_> = missing.filter(|words| !said.stdout.contains(words)).collect();
        if said.status != 0 || !missing.is_empty() {
            wrong.push(format!("{}\n    misses {missing:?} in {said:?}", text(case, "text")));
        }
        for line in ["Meaning    ", "The relay  ", "Cure       "] {
            assert!(said.stdout.contains(line), "{said:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows, (1..=26).collect(), "each row of the reference has a case");
}

#[test]
fn what_is_not_known_is_not_made_up() {
    for text in ["nothing of the kind", "", "42", "the printer is on fire", "I have 500 devices"] {
        let said = explain(text);
        assert_eq!((said.status, said.stdout.as_str()), (65, ""), "{said:?}");
        assert!(said.stderr.contains("three digits") && said.stderr.contains("explain --table"), "{said:?}");
    }
}

#[test]
fn a_reply_that_is_in_no_row_is_explained_by_its_first_digit() {
    let said = explain("450 4.9.9 Not today");
    assert!(said.stdout.contains("could not do it now") && said.stdout.contains("tries again later"), "{said:?}");
    let said = explain("deferred id=6h0f5nv7sgmv8 reply=\"452 Not today\"");
    assert!(said.stdout.contains("could not do it now"), "{said:?}");
    let said = explain("550 5.9.9 Never");
    assert!(said.stdout.contains("refused it for good") && said.stdout.contains("tells the sender"), "{said:?}");
}
