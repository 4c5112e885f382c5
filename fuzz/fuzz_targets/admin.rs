//! See `geoseal_fuzz::admin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| geoseal_fuzz::admin::check(data));
