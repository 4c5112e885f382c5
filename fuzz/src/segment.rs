//! A sealed segment opens to exactly what was sealed, or not at all.

use super::keys::{CONTEXT, damaged, tenant_keys};
use geoseal_keys::{Dek, SegmentInfo, SegmentKind};
use std::sync::OnceLock;

/// Two chunks, the second short.
static PLAIN: [u8; 65_636] = [7; 65_636];

/// `data` is tried as a segment, and as damage to a real one.
pub fn check(data: &[u8]) {
    static REAL: OnceLock<(Dek, SegmentInfo, Vec<u8>)> = OnceLock::new();
    let (dek, info, sealed) = REAL.get_or_init(|| {
        let (dek, _) = tenant_keys().new_dek(&CONTEXT).expect("a data key");
        let (kind, segment_id, dek_id) = (SegmentKind::Whole, [6; 16], dek.id());
        let info = SegmentInfo { kind, part: 0, context: CONTEXT, segment_id, dek_id };
        let sealed = dek.seal_whole(&info, &PLAIN);
        (dek, info, sealed)
    });
    for plain_len in [0, data.len() as u64, (data.len() as u64).saturating_sub(208)] {
        assert!(dek.open_whole(info, data, plain_len).is_err(), "bytes that nobody sealed were opened");
    }
    let bytes = damaged(sealed, data);
    match dek.open_whole(info, &bytes, PLAIN.len() as u64) {
        Ok(plain) => assert!(bytes == *sealed && plain == PLAIN, "a damaged segment was opened"),
        Err(_) => assert!(bytes != *sealed, "an untouched segment was refused"),
    }
}
