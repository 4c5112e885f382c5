//! A wrapped key unwraps as it was wrapped, or not at all.

use super::keys::{CONTEXT, damaged, tenant_keys};
use geoseal_keys::{KeyKind, Unverified};
use std::sync::OnceLock;

/// `data` is tried as a record, and as damage to a real one.
pub fn check(data: &[u8]) {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    let real = REAL.get_or_init(|| tenant_keys().new_dek(&CONTEXT).expect("a data key").1.to_vec());
    let _ = Unverified::parse(data);
    assert!(tenant_keys().open_dek(data, &CONTEXT).is_err(), "bytes that nobody wrapped were unwrapped");
    let bytes = damaged(real, data);
    let opened = tenant_keys().open_dek(&bytes, &CONTEXT).is_ok();
    assert_eq!(opened, bytes == *real, "a damaged record was unwrapped, or an untouched one refused");
    if opened {
        assert_eq!(Unverified::parse(&bytes).map(|r| r.kind).ok(), Some(KeyKind::Dek));
    }
}
