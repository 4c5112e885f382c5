//! docs/threat-cases.md: bodies in chunks, signed and with trailers, right and spoilt in every way.

use super::world::{HOST, World, now, refused, split};
use base64::Engine as _;
use geoseal_support::signer::{Credentials, Request};
use s3s_sigv4::{AmzDate, Payload};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Signed,
    SignedTrailer,
    UnsignedTrailer,
}

/// A PUT in chunks, signed as the SDKs do it; `body` is what goes on the wire.
struct Chunked {
    request: Request,
    body: Vec<u8>,
}

fn crc32(data: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, data) as u32;
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

fn chunked(who: &Credentials, form: Form, data: &[u8]) -> Chunked {
    let date = AmzDate::parse(&now().strftime("%Y%m%dT%H%M%SZ").to_string()).unwrap();
    let (hash, payload) = match form {
        Form::Signed => ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Payload::MultipleChunks),
        Form::SignedTrailer => ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Payload::MultipleChunksWithTrailer),
        Form::UnsignedTrailer => ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Payload::UnsignedMultipleChunksWithTrailer),
    };
    let mut request = split("PUT", "/records/k")
        .header("content-encoding", "aws-chunked")
        .header("host", HOST)
        .header("x-amz-content-sha256", hash)
        .header("x-amz-date", &date.fmt_iso8601())
        .header("x-amz-decoded-content-length", &data.len().to_string());
    if form != Form::Signed {
        request = request.header("x-amz-trailer", "x-amz-checksum-crc32");
    }
    let headers: Vec<(&str, &str)> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let canonical = s3s_sigv4::create_canonical_request_with_raw_uri_path(
        "PUT",
        &request.path,
        &request.query,
        headers.clone(),
        payload,
    );
    let to_sign = s3s_sigv4::create_string_to_sign(&canonical, &date, &who.region, "s3");
    let seed = s3s_sigv4::calculate_signature(&to_sign, &who.secret, &date, &who.region, "s3");
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}/{}/s3/aws4_request,SignedHeaders={},Signature={seed}",
        who.access_id,
        date.fmt_date(),
        who.region,
        names.join(";"),
    );
    let mut body = vec![];
    let mut previous = seed;
    for chunk in data.chunks(8192).chain([&b""[..]]) {
        body.extend(format!("{:x}", chunk.len()).into_bytes());
        if form != Form::UnsignedTrailer {
            let piece = [bytes::Bytes::copy_from_slice(chunk)];
            let to_sign = s3s_sigv4::create_chunk_string_to_sign(&date, &who.region, "s3", &previous, &piece);
            previous = s3s_sigv4::calculate_signature(&to_sign, &who.secret, &date, &who.region, "s3");
            body.extend(format!(";chunk-signature={previous}").into_bytes());
        }
        body.extend(b"\r\n");
        body.extend(chunk);
        if !chunk.is_empty() || form == Form::Signed {
            body.extend(b"\r\n");
        }
    }
    if form != Form::Signed {
        let trailer = format!("x-amz-checksum-crc32:{}", crc32(data));
        body.extend(format!("{trailer}\r\n").into_bytes());
        if form == Form::SignedTrailer {
            let canonical = format!("{trailer}\n");
            let to_sign =
                s3s_sigv4::create_trailer_string_to_sign(&date, &who.region, "s3", &previous, canonical.as_bytes());
            let signature = s3s_sigv4::calculate_signature(&to_sign, &who.secret, &date, &who.region, "s3");
            body.extend(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
        }
        body.extend(b"\r\n");
    }
    Chunked { request: request.header("authorization", &authorization), body }
}

impl Chunked {
    async fn send(self, world: &World) -> (u16, String) {
        let answer = world.send(self.request.body(self.body)).await;
        if answer.status != 200 {
            assert_eq!(world.head("/records/k").await.status, 404, "refused, and yet visible");
        }
        answer.code()
    }

    fn spoil(mut self, spoil: impl FnOnce(&mut Vec<u8>)) -> Self {
        spoil(&mut self.body);
        self
    }
}

fn replace(body: &mut Vec<u8>, from: &str, to: &str) {
    let at = body.windows(from.len()).rposition(|window| window == from.as_bytes()).unwrap();
    body.splice(at..at + from.len(), to.bytes());
}

const FORMS: [Form; 3] = [Form::Signed, Form::SignedTrailer, Form::UnsignedTrailer];

#[tokio::test]
async fn all_three_forms_are_taken() {
    let world = World::new().await;
    for form in FORMS {
        for size in [0, 1, 8192, 100_000] {
            let data = vec![5; size];
            assert_eq!(chunked(&world.alice, form, &data).send(&world).await, refused(200, ""), "{size}");
            let got = world.get("/records/k").await;
            assert!(got.body == data && got.header("content-encoding").is_empty());
            world.delete("/records/k").await;
        }
    }
}

#[tokio::test]
async fn a_07_spoilt_chunks_are_refused_and_nothing_is_visible() {
    let world = World::new().await;
    for form in FORMS {
        for size in [20_000, 200_000] {
            let data = vec![5; size];
            let make = || chunked(&world.alice, form, &data);
            let cut = make().body.len();
            for keep in [0, 10, cut / 2, cut - 90, cut - 5] {
                let (status, code) = make().spoil(|body| body.truncate(keep)).send(&world).await;
                assert!(matches!(status, 400 | 403), "cut at {keep} of {cut}: {code}");
            }
            let after = make().spoil(|body| body.extend(b"more bytes after the end")).send(&world).await;
            assert_eq!(after.0, 400, "bytes after the end: {}", after.1);
            let size = make().spoil(|body| replace(body, "2000", "2001")).send(&world).await;
            assert!(matches!(size.0, 400 | 403), "a chunk's size: {}", size.1);
            let huge = make().spoil(|body| body.splice(0..4, *b"ffffffffff").for_each(drop)).send(&world).await;
            assert_eq!(huge.0, 400, "an overflowing size: {}", huge.1);
            let flipped = make().spoil(|body| body[9000] ^= 1).send(&world).await;
            assert!(matches!(flipped.0, 400 | 403), "a flipped bit: {}", flipped.1);
            for length in [data.len() - 1, data.len() + 1] {
                // The length is signed, so a wrong one has to come from a client that signs nonsense.
                let mut wrong = make();
                wrong.request = wrong.request.replace("x-amz-decoded-content-length", &length.to_string());
                assert_eq!(wrong.send(&world).await, refused(403, "SignatureDoesNotMatch"));
            }
        }
    }
    let data = vec![5; 20_000];
    let wrong = chunked(&world.alice, Form::Signed, &data).spoil(|body| {
        let at = body.windows(16).position(|w| w == b"chunk-signature=").unwrap() + 16;
        body[at] = if body[at] == b'0' { b'1' } else { b'0' };
    });
    assert_eq!(wrong.send(&world).await, refused(403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_07_the_last_chunk_must_be_there() {
    let world = World::new().await;
    for size in [0, 8192, 100_000] {
        let body = chunked(&world.alice, Form::Signed, &vec![5; size]);
        let last = 1 + 17 + 64 + 4;
        let cut = body.spoil(|body| body.truncate(body.len() - last));
        assert_eq!(cut.send(&world).await, refused(400, "IncompleteBody"), "{size}");
    }
}

#[tokio::test]
async fn a_07_trailers_are_the_declared_ones_and_right() {
    let world = World::new().await;
    let data = vec![5; 20_000];
    let right = crc32(&data);
    let make = || chunked(&world.alice, Form::UnsignedTrailer, &data);
    assert_eq!(make().spoil(|body| replace(body, &right, "AAAAAA==")).send(&world).await, refused(400, "BadDigest"));
    for (from, to) in [
        (right.as_str(), "AAAA"),
        (right.as_str(), "!!"),
        ("x-amz-checksum-crc32:", "x-amz-checksum-crc64nvme:"),
        ("x-amz-checksum-crc32:", "x-amz-meta-a:"),
        ("x-amz-checksum-crc32:", "x-amz-meta-a:1\r\nx-amz-checksum-crc32:"),
        ("x-amz-checksum-crc32:", "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:"),
    ] {
        let answer = make().spoil(|body| replace(body, from, to)).send(&world).await;
        assert_eq!(answer.0, 400, "{to}: {}", answer.1);
    }
    let none = make().spoil(|body| {
        let at = body.windows(20).rposition(|w| w == b"x-amz-checksum-crc32").unwrap();
        body.splice(at.., *b"\r\n").for_each(drop);
    });
    assert_eq!(none.send(&world).await.0, 400, "declared, but it never came");
}

#[tokio::test]
async fn a_08_chunks_with_a_wrong_secret() {
    let world = World::new().await;
    let wrong = Credentials { secret: "A".repeat(43), ..world.alice.clone() };
    for form in FORMS {
        let answer = chunked(&wrong, form, &[5; 20_000]).send(&world).await;
        assert_eq!(answer, refused(403, "SignatureDoesNotMatch"));
    }
}
