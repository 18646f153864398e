#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| redsync::fuzz::link(input));
