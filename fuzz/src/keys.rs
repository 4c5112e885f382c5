//! Real keys to judge sealed bytes with, made once per process, and damage to be done to those bytes.

use geoseal_keys::{Clock, GeoKeyService, LocalKeyring, ObjectContext, TenantKeys, Unlock};
use std::sync::{Arc, OnceLock};

/// Whose bytes they are.
pub const CONTEXT: ObjectContext =
    ObjectContext { tenant: [1; 16], geo: [2; 16], bucket: [3; 16], object: [4; 16], version: [5; 16] };

struct Still;

impl Clock for Still {
    fn cc_lo(&self) -> i64 {
        1_795_000_000
    }
}

/// A tenant's keys, from a key service over an embedded keyring.
pub fn tenant_keys() -> &'static TenantKeys {
    static KEYS: OnceLock<(Arc<TenantKeys>, GeoKeyService)> = OnceLock::new();
    let (keys, _) = KEYS.get_or_init(|| {
        let home = tempfile::tempdir().expect("a scratch directory");
        let file = home.path().join("unlock");
        LocalKeyring::create_key_file(&file).expect("a key file");
        let keyring = LocalKeyring::create(&home.path().join("keyring"), CONTEXT.geo, &Unlock::KeyFile(file));
        let keyring = Box::new(keyring.expect("a keyring"));
        let service = GeoKeyService::open(&home.path().join("keystore"), CONTEXT.geo, keyring, Arc::new(Still));
        let service = service.expect("a key service");
        service.create_tenant(CONTEXT.tenant).expect("a tenant");
        (service.tenant(CONTEXT.tenant).expect("its keys"), service)
    });
    keys
}

/// `original` after the edits that `script` describes: its first byte, signed, is how many bytes are cut off or added
/// at the end; then each three bytes are a place and what is flipped there.
pub fn damaged(original: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let Some((change, edits)) = script.split_first() else {
        return bytes;
    };
    bytes.resize(bytes.len().saturating_add_signed(isize::from(change.cast_signed())), *change);
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        let length = bytes.len();
        if let Some(byte) = bytes.get_mut(place % length.max(1)) {
            *byte ^= edit[2];
        }
    }
    bytes
}
