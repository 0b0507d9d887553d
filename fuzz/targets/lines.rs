#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::lines;

fuzz_target!(|input: &[u8]| lines::holds(input));
