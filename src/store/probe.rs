//! Whether what verifies uploads does: bodies that are what they claim, and bodies that are not, go the way of every
//! upload's bytes, and the verdicts are looked at. Nothing is stored.

use super::digest::Hashing;
use super::types::{Expected, StoreError};
use crate::model::object::ChecksumAlgorithm;
use bytes::Bytes;
use md5::Digest as _;

/// Every algorithm that a client may name.
const ALGORITHMS: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];
/// Two pieces, so that a body is more than its first.
const BODY: [&[u8]; 2] = [b"what was sent, ", b"and all of it"];

/// The verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestsProbed {
    /// Claims that were judged.
    pub claims: u32,
    /// Of these, judged wrongly.
    pub failed: u32,
}

/// Has every kind of claim judged: over the right body, and over one with a flipped bit.
pub async fn probe() -> DigestsProbed {
    let mut probed = DigestsProbed { claims: 0, failed: 0 };
    let mut judged = |as_it_should: bool| {
        probed.claims += 1;
        probed.failed += u32::from(!as_it_should);
    };
    let md5 = || Expected { md5: Some(md5::Md5::digest(BODY.concat()).into()), ..Default::default() };
    judged(verdict(md5(), Body::Right).await.is_ok());
    judged(matches!(verdict(md5(), Body::Flipped).await, Err(StoreError::BadDigest)));
    for algorithm in ALGORITHMS {
        let value = Hashing::new([algorithm]);
        let digests = hashed(value, Body::Right).await;
        let claim = || Expected { checksums: digests.sums.clone(), ..Default::default() };
        judged(digests.sums.len() == 1 && verdict(claim(), Body::Right).await.is_ok());
        judged(matches!(verdict(claim(), Body::Flipped).await, Err(StoreError::BadDigest)));
    }
    probed
}

#[derive(Clone, Copy)]
enum Body {
    Right,
    Flipped,
}

async fn verdict(claim: Expected, body: Body) -> Result<(), StoreError> {
    hashed(Hashing::of(&claim), body).await.check(claim).map(drop)
}

async fn hashed(mut hashing: Hashing, body: Body) -> super::digest::Digests {
    for piece in BODY {
        let mut piece = piece.to_vec();
        if let (Body::Flipped, Some(last)) = (body, piece.last_mut()) {
            *last ^= 1;
        }
        hashing.update(&Bytes::from(piece)).await;
    }
    hashing.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn r23_every_kind_of_claim_is_judged_both_ways() {
        assert_eq!(probe().await, DigestsProbed { claims: 12, failed: 0 });
    }
}
