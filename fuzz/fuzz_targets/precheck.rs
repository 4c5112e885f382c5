//! See `geoseal_fuzz::precheck`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| geoseal_fuzz::precheck::check(data));
