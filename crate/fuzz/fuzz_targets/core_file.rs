//! `cargo fuzz run core_file`.

#![no_main]
#![allow(unsafe_code, reason = "the name libFuzzer calls")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gomapscope_fuzz::run("core_file", data));
