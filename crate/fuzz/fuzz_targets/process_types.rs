//! `cargo fuzz run process_types`.

#![no_main]
#![allow(unsafe_code, reason = "the name libFuzzer calls")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gomapscope_fuzz::run("process_types", data));
