#![no_main]

use libfuzzer_sys::fuzz_target;
use smarthost_fuzz::decoded;
use smarthost_fuzz::properties::repair;

fuzz_target!(|input: &[u8]| {
    repair::holds(input);
    decoded::holds(input);
});
