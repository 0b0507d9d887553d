//! The properties that are fuzzed. All but `decoded` are those of `tests/fuzz.rs` too.

pub mod decoded;
#[path = "properties/mod.rs"]
pub mod properties;
