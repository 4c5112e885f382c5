//! See `geoseal_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| geoseal_fuzz::record::check(data));
