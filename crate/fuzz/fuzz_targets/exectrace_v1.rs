//! `cargo fuzz run exectrace_v1`.

#![no_main]
#![allow(unsafe_code, reason = "the name libFuzzer calls")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gomapscope_fuzz::run("exectrace_v1", data));
