#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::replies;

fuzz_target!(|input: &[u8]| replies::holds(input));
