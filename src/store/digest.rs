//! One pass over a body: its MD5 (the ETag) and the checksums that S3 clients ask for, and the verdict on what they
//! claimed.
//!
//! Called by `store` while a body streams through. Promises that large bodies are hashed on a blocking thread, one
//! batch at a time, while the next batch is being received and sealed: MD5 is slower than everything else here
//! together. No thread is held while the client is slow. Must not know where the bytes go.

use super::types::{Expected, StoreError};
use crate::model::object::{Checksum, ChecksumAlgorithm, ChecksumType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::Digest as _;
use subtle::ConstantTimeEq as _;
use tokio::task::JoinHandle;

/// Up to this many bytes a body is hashed where it stands: a hop to another thread would cost more.
const INLINE_BYTES_MAX: u64 = 1 << 20;
/// Bytes handed to the hashing thread at a time. Two batches are in memory at most.
const BATCH_BYTES: usize = 512 * 1024;

/// MD5 and checksums of a body in the making.
pub struct Hashing {
    state: State,
    length: u64,
    batch: Vec<Bytes>,
    batch_bytes: usize,
}

enum State {
    /// Here, between two updates.
    Here(Box<Hashers>),
    /// On a blocking thread, chewing on the batch before.
    Away(JoinHandle<Box<Hashers>>),
    /// Only while one of the two changes into the other.
    Moving,
}

struct Hashers {
    md5: md5::Md5,
    sums: Vec<(ChecksumAlgorithm, Sum)>,
}

enum Sum {
    Crc(crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// What a body hashed to.
pub struct Digests {
    /// Bytes in all.
    pub length: u64,
    /// The MD5.
    pub md5: [u8; 16],
    /// The checksums that were computed, big-endian, each algorithm once.
    pub sums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

impl Hashing {
    /// Computes MD5 and each of `algorithms`; twice the same counts once.
    pub fn new(algorithms: impl IntoIterator<Item = ChecksumAlgorithm>) -> Self {
        let mut wanted: Vec<_> = algorithms.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let sums = wanted.into_iter().map(|algorithm| (algorithm, Sum::new(algorithm))).collect();
        let hashers = Box::new(Hashers { md5: md5::Md5::new(), sums });
        Self { state: State::Here(hashers), length: 0, batch: Vec::new(), batch_bytes: 0 }
    }

    /// Computes what `expected` needs for its verdict; CRC-64/NVME when the client named nothing, as S3 does.
    pub fn of(expected: &Expected) -> Self {
        let named = expected.checksums.iter().map(|(algorithm, _)| *algorithm).chain(expected.compute.iter().copied());
        let mut named = named.peekable();
        if named.peek().is_none() { Self::new([ChecksumAlgorithm::Crc64Nvme]) } else { Self::new(named) }
    }

    /// Takes the next bytes. Waits only when the hashing thread is a whole batch behind: that is the back-pressure.
    pub async fn update(&mut self, bytes: &Bytes) {
        self.length += bytes.len() as u64;
        if self.length <= INLINE_BYTES_MAX
            && let State::Here(hashers) = &mut self.state
        {
            hashers.update(bytes);
            return;
        }
        self.batch.push(bytes.clone());
        self.batch_bytes += bytes.len();
        if self.batch_bytes >= BATCH_BYTES {
            self.send_batch().await;
        }
    }

    /// The digests of everything taken.
    pub async fn finish(mut self) -> Digests {
        if self.batch_bytes > 0 {
            self.send_batch().await;
        }
        self.come_back().await.finish(self.length)
    }

    async fn send_batch(&mut self) {
        let mut hashers = self.come_back().await;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.state = State::Away(tokio::task::spawn_blocking(move || {
            batch.iter().for_each(|bytes| hashers.update(bytes));
            hashers
        }));
    }

    async fn come_back(&mut self) -> Box<Hashers> {
        match std::mem::replace(&mut self.state, State::Moving) {
            State::Here(hashers) => hashers,
            State::Away(handle) => handle.await.expect("hashing never panics and is never cancelled"),
            State::Moving => unreachable!("a future of ours was dropped in the middle and then used again"),
        }
    }
}

impl Hashers {
    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        for (_, sum) in &mut self.sums {
            match sum {
                Sum::Crc(crc) => crc.update(bytes),
                Sum::Sha1(sha) => sha.update(bytes),
                Sum::Sha256(sha) => sha.update(bytes),
            }
        }
    }

    fn finish(self, length: u64) -> Digests {
        let sums = self.sums.into_iter().map(|(algorithm, sum)| (algorithm, sum.finish(algorithm))).collect();
        Digests { length, md5: self.md5.finalize().into(), sums }
    }
}

impl Sum {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match (crc(algorithm), algorithm) {
            (Some(crc), _) => Self::Crc(crc_fast::Digest::new(crc)),
            (None, ChecksumAlgorithm::Sha1) => Self::Sha1(sha1::Sha1::new()),
            (None, _) => Self::Sha256(sha2::Sha256::new()),
        }
    }

    fn finish(self, algorithm: ChecksumAlgorithm) -> Vec<u8> {
        match self {
            Self::Crc(crc) => crc_bytes(algorithm, crc.finalize()),
            Self::Sha1(sha) => sha.finalize().to_vec(),
            Self::Sha256(sha) => sha.finalize().to_vec(),
        }
    }
}

impl Digests {
    /// The ETag of a body that was sent in one piece: its MD5 in hex.
    pub fn etag(&self) -> String {
        hex::encode(self.md5)
    }

    /// Holds the client's claims against what arrived. Returns the checksums to keep.
    ///
    /// Call it only after the body has ended cleanly: trailers can be read only then. Errors: `BadDigest` when a claim
    /// differs, `InvalidChecksum` when a declared trailer is missing or malformed.
    pub fn check(&self, expected: Expected) -> Result<Vec<Checksum>, StoreError> {
        if expected.md5.is_some_and(|md5| !bool::from(md5.ct_eq(&self.md5))) {
            return Err(StoreError::BadDigest);
        }
        let mut claims = expected.checksums;
        if let Some(trailers) = expected.trailers {
            claims.extend(trailers().map_err(|_| StoreError::InvalidChecksum)?);
        }
        for (algorithm, claimed) in &claims {
            match self.sums.iter().find(|(have, _)| have == algorithm) {
                Some((_, sum)) if bool::from(sum.as_slice().ct_eq(claimed)) => {}
                Some(_) => return Err(StoreError::BadDigest),
                None => return Err(StoreError::InvalidChecksum),
            }
        }
        Ok(self.checksums())
    }

    /// Everything that was computed, as it is kept.
    pub fn checksums(&self) -> Vec<Checksum> {
        let keep = |(algorithm, value): &(ChecksumAlgorithm, Vec<u8>)| Checksum {
            algorithm: *algorithm,
            kind: ChecksumType::FullObject,
            value: STANDARD.encode(value),
        };
        self.sums.iter().map(keep).collect()
    }
}

/// Bytes of a value of this algorithm.
pub fn value_bytes(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    }
}

/// Decodes a base64 value of this algorithm; `None` when it is not one.
pub fn decode_value(algorithm: ChecksumAlgorithm, base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64).ok().filter(|value| value.len() == value_bytes(algorithm))
}

/// The ETag of an object that was completed from parts: the MD5 of the parts' MD5s, and their number.
///
/// `etags` are the parts' ETags in hex, without quotes, in order. `None` when one is not an MD5. Source: the S3 user
/// guide, "Checking object integrity".
pub fn multipart_etag<'a>(etags: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut all = md5::Md5::new();
    let mut parts = 0_u32;
    for etag in etags {
        let mut md5 = [0; 16];
        hex::decode_to_slice(etag, &mut md5).ok()?;
        all.update(md5);
        parts += 1;
    }
    Some(format!("{}-{parts}", hex::encode(all.finalize())))
}

/// The checksum of an object that was completed from parts, out of the parts' checksums.
///
/// `parts` are (base64 value, bytes) in order. A full-object checksum can be combined for the CRCs only; a composite
/// one is the checksum of the values, and their number. `None` when a value is malformed or the type does not fit the
/// algorithm. Source: the S3 user guide, "Full object and composite checksum types".
pub fn multipart_checksum(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumType,
    parts: &[(String, u64)],
) -> Option<Checksum> {
    let value = match kind {
        ChecksumType::FullObject => {
            let crc = crc(algorithm)?;
            let mut whole = crc_fast::Digest::new(crc).finalize();
            for (value, bytes) in parts {
                let part = crc_number(&decode_value(algorithm, value)?);
                whole = crc_fast::checksum_combine(crc, whole, part, *bytes);
            }
            STANDARD.encode(crc_bytes(algorithm, whole))
        }
        ChecksumType::Composite if algorithm == ChecksumAlgorithm::Crc64Nvme => return None,
        ChecksumType::Composite => {
            let mut sum = Hashers { md5: md5::Md5::new(), sums: vec![(algorithm, Sum::new(algorithm))] };
            for (value, _) in parts {
                sum.update(&decode_value(algorithm, value)?);
            }
            let sum = sum.finish(0).sums.remove(0).1;
            format!("{}-{}", STANDARD.encode(sum), parts.len())
        }
    };
    Some(Checksum { algorithm, kind, value })
}

fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - value_bytes(algorithm)..].to_vec()
}

fn crc_number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

    const ALL: [ChecksumAlgorithm; 5] = [Crc32, Crc32c, Crc64Nvme, Sha1, Sha256];

    async fn hash(pieces: &[&[u8]]) -> Digests {
        let mut hashing = Hashing::new(ALL);
        for piece in pieces {
            hashing.update(&Bytes::copy_from_slice(piece)).await;
        }
        hashing.finish().await
    }

    /// The catalogue's check values for "123456789" (RevEng for the CRCs, RFC 1321, FIPS 180-4).
    #[tokio::test]
    async fn check_values() {
        let digests = hash(&[b"1234", b"", b"56789"]).await;
        assert_eq!(digests.etag(), "25f9e794323b453885f5181f1b624d0b");
        let hex: Vec<_> = digests.sums.iter().map(|(_, value)| hex::encode(value)).collect();
        assert_eq!(hex[..3], ["cbf43926", "e3069283", "ae8b14860a799888"]);
        assert_eq!(hex[3], "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(hex[4], "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    }

    #[tokio::test]
    async fn a_large_body_on_the_other_thread_hashes_the_same() {
        let body: Vec<u8> = (0..3_500_001_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let small: Vec<&[u8]> = body.chunks(65_537).collect();
        let (many, one) = (hash(&small).await, hash(&[&body]).await);
        assert_eq!((many.length, many.md5), (3_500_001, one.md5));
        assert_eq!(many.md5, <[u8; 16]>::from(md5::Md5::digest(&body)));
        assert_eq!(many.sums, one.sums);
    }

    #[tokio::test]
    async fn every_wrong_claim_is_refused() {
        let digests = hash(&[b"record"]).await;
        let claim = |algorithm, value: Vec<u8>| Expected { checksums: vec![(algorithm, value)], ..Default::default() };
        for (algorithm, value) in &digests.sums {
            assert_eq!(digests.check(claim(*algorithm, value.clone())).unwrap().len(), 5);
            let mut wrong = value.clone();
            wrong[0] ^= 1;
            assert!(matches!(digests.check(claim(*algorithm, wrong)), Err(StoreError::BadDigest)));
            assert!(matches!(digests.check(claim(*algorithm, value[1..].to_vec())), Err(StoreError::BadDigest)));
        }
        let md5 = Expected { md5: Some([0; 16]), ..Default::default() };
        assert!(matches!(digests.check(md5), Err(StoreError::BadDigest)));
        let late = |value| Expected { trailers: Some(Box::new(move || value)), ..Default::default() };
        assert!(digests.check(late(Ok(vec![digests.sums[0].clone()]))).is_ok());
        assert!(matches!(digests.check(late(Ok(vec![(Crc32, vec![0; 4])]))), Err(StoreError::BadDigest)));
        assert!(matches!(digests.check(late(Err(super::super::types::BadTrailer))), Err(StoreError::InvalidChecksum)));
    }

    #[tokio::test]
    async fn parts_combine_to_the_checksum_of_the_whole() {
        let (a, b, c) = (vec![7; 70_000], vec![1; 5], b"tail".to_vec());
        let whole = hash(&[&a, &b, &c]).await;
        let parts = [hash(&[&a]).await, hash(&[&b]).await, hash(&[&c]).await];
        for (i, algorithm) in [Crc32, Crc32c, Crc64Nvme].into_iter().enumerate() {
            let values: Vec<_> = parts.iter().map(|p| (p.checksums()[i].value.clone(), p.length)).collect();
            let combined = multipart_checksum(algorithm, ChecksumType::FullObject, &values).unwrap();
            assert_eq!(combined.value, whole.checksums()[i].value, "{algorithm:?}");
        }
        let values: Vec<_> = parts.iter().map(|p| (p.checksums()[4].value.clone(), p.length)).collect();
        assert!(multipart_checksum(Sha256, ChecksumType::FullObject, &values).is_none());
        let composite = multipart_checksum(Sha256, ChecksumType::Composite, &values).unwrap();
        let joined: Vec<u8> = parts.iter().flat_map(|p| p.sums[4].1.clone()).collect();
        assert_eq!(composite.value, format!("{}-3", STANDARD.encode(sha2::Sha256::digest(&joined))));
        let etags: Vec<_> = parts.iter().map(Digests::etag).collect();
        let joined: Vec<u8> = parts.iter().flat_map(|p| p.md5).collect();
        let etag = multipart_etag(etags.iter().map(String::as_str)).unwrap();
        assert_eq!(etag, format!("{}-3", hex::encode(md5::Md5::digest(&joined))));
    }
}
