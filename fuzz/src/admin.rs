//! A body of the admin API that is understood says the same when it is written and read again.

use geoseal::admin::wire;
use serde::{Serialize, de::DeserializeOwned};

/// `data` is tried as every body that a caller sends.
pub fn check(data: &[u8]) {
    round_trip::<wire::Advance>(data);
    round_trip::<wire::Consent>(data);
    round_trip::<wire::CreateCredential>(data);
    round_trip::<wire::CreateTenant>(data);
    round_trip::<wire::Disable>(data);
    round_trip::<wire::Enable>(data);
    round_trip::<wire::Nothing>(data);
    round_trip::<wire::Reinstate>(data);
    round_trip::<wire::Terminate>(data);
}

fn round_trip<T: DeserializeOwned + Serialize + PartialEq>(data: &[u8]) {
    let Ok(body) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&body).expect("a body can be written");
    assert!(serde_json::from_slice::<T>(&written).is_ok_and(|again| again == body), "a body changed on its way");
}
