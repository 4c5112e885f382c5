//! See `geoseal_fuzz::segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| geoseal_fuzz::segment::check(data));
