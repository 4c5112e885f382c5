//! A sealed row opens to exactly what was sealed, or not at all. What rides behind it is sealed under its own key.

use super::keys::{damaged, tenant_keys};
use geoseal_keys::row_version;
use std::sync::OnceLock;

const KIND: u8 = b'o';
const ROW_KEY: &[u8] = b"o/0123456789abcdef";
const PLAIN: &[u8] = b"what the row says";
const TRAILING: &[u8] = b"a sealed segment";

/// `data` is tried as a row, and as damage to a real one.
pub fn check(data: &[u8]) {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    let rows = tenant_keys().directory();
    let real = REAL.get_or_init(|| rows.seal(KIND, ROW_KEY, PLAIN, TRAILING));
    let _ = row_version(data);
    assert!(rows.open(KIND, ROW_KEY, data).is_err(), "bytes that nobody sealed were opened");
    let bytes = damaged(real, data);
    let own = real.len() - TRAILING.len();
    match rows.open(KIND, ROW_KEY, &bytes) {
        Ok(row) => {
            assert!(bytes[..own] == real[..own] && row.plain == PLAIN, "a damaged row was opened");
            assert_eq!(row.trailing.len(), TRAILING.len());
        }
        Err(_) => assert!(bytes != *real, "an untouched row was refused"),
    }
}
