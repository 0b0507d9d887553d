//! What must hold for every input, whoever made it: a fuzzer (`fuzz/targets`), or the simple mutations of
//! `tests/fuzz.rs`, which needs no fuzzer. Each property panics where it does not hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a property says no")]

pub mod batch;
pub mod command;
pub mod config;
pub mod lines;
pub mod mail;
pub mod repair;
pub mod replies;
pub mod session;

/// A property by the name of its target and of its folder in `fuzz/corpus`.
pub type Property = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Property; 8] = [
    ("batch", batch::holds),
    ("command", command::holds),
    ("config", config::holds),
    ("lines", lines::holds),
    ("mail", mail::holds),
    ("repair", repair::holds),
    ("replies", replies::holds),
    ("session", session::holds),
];

/// The first bytes of an input choose settings, cuts and answers; what follows is the text under test. Where there are
/// too few, the rest is zero.
fn choices<const N: usize>(input: &[u8]) -> ([u8; N], &[u8]) {
    let mut chosen = [0; N];
    let (first, rest) = input.split_at(N.min(input.len()));
    chosen[..first.len()].copy_from_slice(first);
    (chosen, rest)
}

/// Cuts `bytes` into pieces that depend on `seed` alone, most of them short; empty ones happen.
fn cut(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        // xorshift, for which any seed but zero will do.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let length = match state % 16 {
            0 => 0,
            1..12 => 1 + state as usize / 16 % 7,
            _ => 1 + state as usize / 16 % 400,
        };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Fit for a log line and a terminal: one line, and no control character.
fn assert_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} cannot be shown");
}

/// A folder in memory, where that can be had and `TMPDIR` does not say otherwise. A fuzzer that found something leaves it
/// behind; `tests/run` gives it a `TMPDIR` of its own.
fn folder() -> tempfile::TempDir {
    let wanted = std::env::var_os("TMPDIR").unwrap_or_else(|| "/dev/shm".into());
    tempfile::tempdir_in(wanted).or_else(|_| tempfile::tempdir()).unwrap()
}
