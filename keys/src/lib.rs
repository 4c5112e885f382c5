//! The key boundary of geoseal: the only code that can read key bytes.
