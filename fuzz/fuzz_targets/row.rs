//! See `geoseal_fuzz::row`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| geoseal_fuzz::row::check(data));
