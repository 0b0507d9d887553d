#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::batch;

fuzz_target!(|input: &[u8]| batch::holds(input));
