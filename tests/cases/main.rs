//! The numbered cases of the two lists of the reference: what old clients send (`legacy_clients.toml`), and what
//! attackers and bad luck do (`reliability_security.toml`). Each number names the tests that prove it, or says what we
//! do instead and why. Those that need bytes on a real connection are in the other modules.

#![allow(clippy::panic, clippy::unwrap_used, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod answers;
mod behind_tls;
mod smuggling;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What is said of one case, or of several in a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Case {
    /// Where it is proven.
    Proven(Vec<String>),
    /// The rule was judged wrong, or cannot be tried here: what we do, why, and where that is proven.
    Instead {
        instead: String,
        #[serde(default)]
        proven: Vec<String>,
    },
    /// It belongs to a part of the program that is not there.
    Missing { missing: String },
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The cases of a list, by number; a key is `7` or `9-16`.
fn cases(list: &str) -> Vec<(u32, Case)> {
    let text = fs::read_to_string(root().join("tests/cases").join(list)).unwrap();
    let cases: BTreeMap<String, Case> = toml::from_str(&text).unwrap_or_else(|error| panic!("{list}: {error}"));
    let mut numbered = Vec::new();
    for (key, case) in cases {
        let (from, to) = key.split_once('-').unwrap_or((&key, &key));
        let range = from.parse::<u32>().unwrap()..=to.parse().unwrap();
        assert!(!range.is_empty(), "{list}: {key}");
        numbered.extend(range.map(|number| (number, case.clone())));
    }
    numbered.sort_by_key(|(number, _)| *number);
    numbered
}

/// Looks for a transcript `NAME.smtp`, a repair pair `NAME.eml`, a mistake in a configuration `NAME.toml`, or a test
/// `FILE::NAME`, where the file is below `tests` unless it begins with `src`.
fn exists(proof: &str) -> bool {
    if let Some((file, test)) = proof.split_once("::") {
        let file = root().join(if file.starts_with("src/") { "" } else { "tests" }).join(file);
        let text = fs::read_to_string(file.with_extension("rs")).unwrap_or_default();
        // A contract of the store is a test for every store, and a row of the clients a test, each made by a macro.
        let ways = [format!("fn {test}()"), format!("    {test}(opened) {{"), format!("    {test} => Client {{")];
        return ways.iter().any(|way| text.contains(way));
    }
    let file = match proof.rsplit_once('.') {
        Some((_, "smtp")) => format!("tests/smtp/{proof}"),
        Some((name, "eml")) => format!("tests/repair/{name}.in.eml"),
        Some((_, "toml")) => format!("tests/config/{proof}"),
        _ => return false,
    };
    root().join(file).exists()
}

fn check(list: &str, count: u32, without: &[u32]) {
    let cases = cases(list);
    let numbers: Vec<u32> = cases.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u32> = (1..=count).filter(|number| !without.contains(number)).collect();
    assert_eq!(numbers, expected, "{list}: each number once");
    let mut wrong = Vec::new();
    for (number, case) in &cases {
        let (proven, reason) = match case {
            Case::Proven(proven) => (proven.as_slice(), ""),
            Case::Instead { instead, proven } => (proven.as_slice(), instead.as_str()),
            Case::Missing { missing } => (&[][..], missing.as_str()),
        };
        if proven.is_empty() && reason.is_empty() {
            wrong.push(format!("{list}: {number} says nothing"));
        }
        wrong.extend(proven.iter().filter(|proof| !exists(proof)).map(|proof| format!("{list}: {number}: no {proof}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_case_of_old_clients_is_proven() {
    check("legacy_clients.toml", 152, &[]);
}

/// The list has no number 119.
#[test]
fn every_case_of_reliability_and_security_is_proven() {
    check("reliability_security.toml", 124, &[119]);
}
