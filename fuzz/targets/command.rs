#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::command;

fuzz_target!(|input: &[u8]| command::holds(input));
