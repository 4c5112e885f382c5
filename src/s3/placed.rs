//! What the answer to a write says beyond S3: where the bytes lie and under which key, and a warning where the object's
//! name says what names should not.
//!
//! Called by the operations that store an object. Promises that no header repeats the name.

use crate::gate::Admitted;
use crate::gate::act::Write;
use crate::model::names::ObjectName;
use http::{HeaderMap, HeaderName, HeaderValue};

const REGION: HeaderName = HeaderName::from_static("x-geoseal-region");
const KEY_VERSION: HeaderName = HeaderName::from_static("x-geoseal-key-version");
const WARNING: HeaderName = HeaderName::from_static("x-geoseal-warning");

/// The headers of a write's answer: the bucket's region, the version of the tenant's data key that wraps the object's,
/// and `object-name-has-email-address` if that is so: names are sealed, and yet end up in clients' logs and URLs.
pub(super) fn headers(at: &Admitted<Write>, name: &str, key_version: u32) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(REGION, HeaderValue::from_static(at.bucket().region.id));
    headers.insert(KEY_VERSION, key_version.into());
    if ObjectName::parse(name.to_owned()).is_ok_and(|name| name.has_email_address()) {
        headers.insert(WARNING, HeaderValue::from_static("object-name-has-email-address"));
    }
    headers
}
