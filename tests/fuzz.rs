//! The properties of `fuzz/properties`, without a fuzzer: over the committed corpus of each target, and over simple
//! mutations of it. `fuzz/README.md` says how to look further.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, wherever in it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/properties/mod.rs"]
mod properties;

/// Longer mutations only take longer.
const INPUT_BYTES_MAX: usize = 8 * 1024;

/// Shows the input with which a property did not hold.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} does not hold for b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(fuzz().join("corpus").join(name)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Rounds with seeds from 0.
fn check(name: &str, rounds: u64) {
    let (_, holds) = properties::ALL.iter().find(|(known, _)| *known == name).expect("a property of this name");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    for input in &corpus {
        let _shown = Shown(name, input);
        holds(input);
    }
    for seed in 0..rounds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut input = corpus[random.usize(..corpus.len())].clone();
        let other = &corpus[random.usize(..corpus.len())];
        (0..random.usize(1..5)).for_each(|_| mutate(&mut input, other, &mut random));
        input.truncate(INPUT_BYTES_MAX);
        let _shown = Shown(name, &input);
        holds(&input);
    }
}

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    let end = random.usize(at..=input.len().min(at + 100));
    let from = random.usize(..=other.len());
    let piece = &other[from..random.usize(from..=other.len().min(from + 100))];
    match random.u8(..6) {
        0 => drop(input.drain(at..end)),
        1 => drop(input.splice(at..at, piece.iter().copied())),
        2 => drop(input.splice(at..end, piece.iter().copied())),
        3 => drop(input.splice(at..at, vec![b"a \r.-\xfc"[random.usize(..6)]; random.usize(..1100)])),
        4 => drop(input.splice(at..end.min(at + 1), [b"\r\n\0\t .:;,<>()\"=@-\xff"[random.usize(..18)]])),
        _ => drop(input.splice(at..end.min(at + 1), [random.u8(..)])),
    }
}

#[test]
fn batch() {
    check("batch", 20_000);
}

#[test]
fn command() {
    check("command", 2000);
}

#[test]
fn config() {
    check("config", 2000);
}

#[test]
fn lines() {
    check("lines", 2000);
}

#[test]
fn mail() {
    check("mail", 2000);
}

#[test]
fn repair() {
    check("repair", 2000);
}

#[test]
fn replies() {
    check("replies", 1000);
}

#[test]
fn session() {
    check("session", 1500);
}

/// A property without a target or without a corpus would go unnoticed.
#[test]
fn every_property_has_a_target_and_a_corpus() {
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(fuzz().join(folder)).unwrap();
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let known: BTreeSet<String> = properties::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("targets"), known);
    assert_eq!(names("corpus"), known);
    for name in &known {
        let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not built");
    }
}
