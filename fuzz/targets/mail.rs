#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::properties::mail;

fuzz_target!(|input: &[u8]| mail::holds(input));
