//! Request headers that ask for something that is not built, or not like that. Refused rather than ignored: a client
//! that asked for a lock, a reader or a key of its own must not believe that it got one.
//!
//! Part of the pre-check, pure. SSE headers that only say "encrypt it" are granted: everything is.

use super::refusal::Refusal;
use http::HeaderMap;

/// Errors: 501 for what is not built, 400 `InvalidStorageClass` for a storage class other than `STANDARD`.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("x-amz-") else { continue };
        if NEVER.iter().any(|start| name.starts_with(start)) {
            return Err(NOT_BUILT);
        }
        let Some((_, allowed)) = ONLY.iter().find(|(known, _)| *known == name) else { continue };
        let given = value.to_str().unwrap_or("");
        if !allowed.iter().any(|one| one.eq_ignore_ascii_case(given)) {
            return Err(if name == "storage-class" { STORAGE_CLASS } else { NOT_BUILT });
        }
    }
    Ok(())
}

const NOT_BUILT: Refusal = Refusal::not_built("A header you provided implies functionality that is not implemented.");
const STORAGE_CLASS: Refusal = Refusal::bad("InvalidStorageClass", "The storage class you specified is not valid.");

/// Beginnings of header names, after `x-amz-`, that are refused with any value.
const NEVER: [&str; 17] = [
    "bypass-governance-retention",
    "checksum-md5",
    "checksum-sha512",
    "checksum-xxhash",
    "copy-source-server-side-encryption-customer-",
    "grant-",
    "if-match-",
    "mfa",
    "object-lock-",
    "optional-object-attributes",
    "rename-source",
    "request-route",
    "request-token",
    "server-side-encryption-aws-kms-key-id",
    "server-side-encryption-context",
    "server-side-encryption-customer-",
    "write-offset-bytes",
];

/// Header names, after `x-amz-`, with the values that change nothing here.
const ONLY: [(&str, &[&str]); 8] = [
    ("acl", &["private", "bucket-owner-full-control"]),
    ("bucket-object-lock-enabled", &["false"]),
    ("checksum-algorithm", ALGORITHMS),
    ("object-ownership", &["BucketOwnerEnforced"]),
    ("sdk-checksum-algorithm", ALGORITHMS),
    ("server-side-encryption", &["AES256", "aws:kms"]),
    ("server-side-encryption-bucket-key-enabled", &["true", "false"]),
    ("storage-class", &["STANDARD"]),
];

const ALGORITHMS: &[&str] = &["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn code(name: &str, value: &str) -> Option<&'static str> {
        let name: HeaderName = name.parse().unwrap();
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        check(&headers).err().map(|refusal| refusal.code)
    }

    #[test]
    fn what_is_granted_and_what_is_not() {
        for (name, value, refused) in [
            ("x-amz-acl", "private", None),
            ("x-amz-acl", "public-read", Some("NotImplemented")),
            ("x-amz-grant-read", "id=1", Some("NotImplemented")),
            ("x-amz-server-side-encryption", "AES256", None),
            ("x-amz-server-side-encryption", "aws:kms", None),
            ("x-amz-server-side-encryption", "aws:kms:dsse", Some("NotImplemented")),
            ("x-amz-server-side-encryption-customer-key", "a", Some("NotImplemented")),
            ("x-amz-copy-source-server-side-encryption-customer-key", "a", Some("NotImplemented")),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k", Some("NotImplemented")),
            ("x-amz-storage-class", "STANDARD", None),
            ("x-amz-storage-class", "GLACIER", Some("InvalidStorageClass")),
            ("x-amz-object-lock-mode", "GOVERNANCE", Some("NotImplemented")),
            ("x-amz-bucket-object-lock-enabled", "true", Some("NotImplemented")),
            ("x-amz-sdk-checksum-algorithm", "CRC64NVME", None),
            ("x-amz-sdk-checksum-algorithm", "MD5", Some("NotImplemented")),
            ("x-amz-checksum-sha256", "x", None),
            ("x-amz-checksum-sha512", "x", Some("NotImplemented")),
            ("x-amz-meta-grant-", "x", None),
            ("content-type", "x", None),
        ] {
            assert_eq!(code(name, value), refused, "{name}: {value}");
        }
    }
}
