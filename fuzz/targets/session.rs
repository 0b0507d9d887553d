#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::session;

fuzz_target!(|input: &[u8]| session::holds(input));
