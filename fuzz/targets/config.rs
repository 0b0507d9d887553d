#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::config;

fuzz_target!(|input: &[u8]| config::holds(input));
