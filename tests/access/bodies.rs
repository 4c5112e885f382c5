//! bodies that are not what was signed, in every framing; nothing of them may become visible. And an
//! upload that is refused early still gets its answer.

use super::{Caller, refusal};
use base64::Engine as _;
use geoseal_support::signer::{Body, Credentials, Request};
use geoseal_support::wire::{Response, Wire};
use jiff::Timestamp;
use s3s_sigv4::{AmzDate, Payload};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Signed,
    SignedTrailer,
    UnsignedTrailer,
}

const FORMS: [Form; 3] = [Form::Signed, Form::SignedTrailer, Form::UnsignedTrailer];
const TRAILER: &str = "x-amz-checksum-crc32";

fn crc32(data: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, data);
    base64::engine::general_purpose::STANDARD.encode(&crc.to_be_bytes()[4..])
}

/// Everything that a signer of chunks puts together, open to lies before it is signed.
#[derive(Clone)]
struct Chunked {
    form: Form,
    data: Vec<u8>,
    decoded: String,
    declared: Option<String>,
    trailer: String,
}

impl Chunked {
    fn new(form: Form, data: &[u8]) -> Self {
        let declared = (form != Form::Signed).then(|| TRAILER.to_owned());
        let trailer = format!("{TRAILER}:{}", crc32(data));
        Self { form, data: data.to_vec(), decoded: data.len().to_string(), declared, trailer }
    }

    /// Signs for `who` as the SDKs do it.
    fn signed(&self, who: &Credentials, host: &str, path: &str) -> Request {
        let date = AmzDate::parse(&Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()).expect("a time");
        let (hash, payload) = match self.form {
            Form::Signed => ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Payload::MultipleChunks),
            Form::SignedTrailer => ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Payload::MultipleChunksWithTrailer),
            Form::UnsignedTrailer => ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Payload::UnsignedMultipleChunksWithTrailer),
        };
        let mut request = Request::new("PUT", path)
            .header("content-encoding", "aws-chunked")
            .header("host", host)
            .header("x-amz-content-sha256", hash)
            .header("x-amz-date", &date.fmt_iso8601())
            .header("x-amz-decoded-content-length", &self.decoded);
        if let Some(declared) = &self.declared {
            request = request.header("x-amz-trailer", declared);
        }
        let headers: Vec<(&str, &str)> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let canonical = s3s_sigv4::create_canonical_request_with_raw_uri_path(
            "PUT",
            path,
            &request.query,
            headers.clone(),
            payload,
        );
        let to_sign = s3s_sigv4::create_string_to_sign(&canonical, &date, &who.region, "s3");
        let sign = |text: &str| s3s_sigv4::calculate_signature(text, &who.secret, &date, &who.region, "s3");
        let seed = sign(&to_sign);
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/{}/s3/aws4_request,SignedHeaders={},Signature={seed}",
            who.access_id,
            date.fmt_date(),
            who.region,
            names.join(";"),
        );
        let mut previous = seed;
        let mut body = vec![];
        for chunk in self.data.chunks(8192).chain([&b""[..]]) {
            body.extend(format!("{:x}", chunk.len()).into_bytes());
            if self.form != Form::UnsignedTrailer {
                let piece = [bytes::Bytes::copy_from_slice(chunk)];
                previous = sign(&s3s_sigv4::create_chunk_string_to_sign(&date, &who.region, "s3", &previous, &piece));
                body.extend(format!(";chunk-signature={previous}").into_bytes());
            }
            body.extend(b"\r\n");
            body.extend(chunk);
            if !chunk.is_empty() || self.form == Form::Signed {
                body.extend(b"\r\n");
            }
        }
        if self.form != Form::Signed {
            body.extend(format!("{}\r\n", self.trailer).into_bytes());
            if self.form == Form::SignedTrailer {
                let canonical = format!("{}\n", self.trailer.replace("\r\n", "\n"));
                let text =
                    s3s_sigv4::create_trailer_string_to_sign(&date, &who.region, "s3", &previous, canonical.as_bytes());
                body.extend(format!("x-amz-trailer-signature:{}\r\n", sign(&text)).into_bytes());
            }
            body.extend(b"\r\n");
        }
        request.header("authorization", &authorization).body(body)
    }
}

struct Uploads(Caller);

impl Uploads {
    fn make(&self, chunked: &Chunked) -> Request {
        chunked.signed(&self.0.who, &self.0.host(), &self.0.path("k"))
    }

    /// Sends a spoilt upload: a 4xx, and the object is not there.
    fn refused(&mut self, what: &str, request: &Request) -> (u16, String) {
        let answer = self.0.send(request);
        assert_ne!(answer.status, 200, "{what}");
        let told = refusal(&answer);
        assert!(matches!(told.0, 400 | 403 | 411), "{what}: {told:?}");
        assert!(!self.0.has("k"), "{what}: refused, and yet visible");
        told
    }
}

fn replace(body: &mut Vec<u8>, from: &str, to: &str) {
    let at = body.windows(from.len()).rposition(|window| window == from.as_bytes()).expect("it is there");
    body.splice(at..at + from.len(), to.bytes());
}

#[test]
fn a_07_the_right_forms_are_taken() {
    let mut uploads = Uploads(Caller::new("a-07-right"));
    for form in FORMS {
        for size in [0, 1, 8192, 100_000] {
            let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let request = uploads.make(&Chunked::new(form, &data));
            let answer = uploads.0.send(&request);
            assert_eq!(answer.status, 200, "{form:?} {size}: {}", answer.text());
            let got = uploads.0.get("k");
            assert!(got.body == data && got.header("content-encoding").is_none(), "{form:?} {size}");
        }
    }
}

#[test]
fn r47_a_07_cut_flipped_and_stretched_chunks_are_refused() {
    let mut uploads = Uploads(Caller::new("a-07-spoilt"));
    for form in FORMS {
        let good = uploads.make(&Chunked::new(form, &[5; 20_000]));
        let whole = good.body.len();
        let spoilt = |spoil: &dyn Fn(&mut Vec<u8>)| {
            let mut request = good.clone();
            spoil(&mut request.body);
            request
        };
        // Behind the last byte that means something only line ends follow: those may be missing.
        for keep in [0, 1, 10, 90, 8192, whole / 2, whole - 90, whole - 6, whole - 5] {
            uploads.refused(&format!("{form:?} cut at {keep}"), &spoilt(&|body| body.truncate(keep)));
        }
        for after in [&b"x"[..], b"\r\n\r\nmore", b"5\r\nhello\r\n0\r\n\r\n"] {
            uploads.refused(&format!("{form:?} bytes after the end"), &spoilt(&|body| body.extend(after)));
        }
        for size in ["2001", "1fff", "0", "", "-2000", "0x2000", "ffffffffffffffff", "10000000000000000"] {
            let what = format!("{form:?} chunk size {size}");
            uploads.refused(&what, &spoilt(&|body| body.splice(0..4, size.bytes()).for_each(drop)));
        }
        uploads.refused(&format!("{form:?} a flipped bit"), &spoilt(&|body| body[9000] ^= 1));
        // The lengths lie in the chunk headers and in the signed header; both have to be true.
        for decoded in ["19999", "20001", "0", "99999999999999999999", "-1", "", "5368709121"] {
            let mut lying = Chunked::new(form, &[5; 20_000]);
            lying.decoded = decoded.to_owned();
            let request = uploads.make(&lying);
            uploads.refused(&format!("{form:?} decoded length {decoded:?}"), &request);
        }
        let mut missing = uploads.make(&Chunked::new(form, &[5; 20_000]));
        missing.headers.retain(|(name, _)| name != "x-amz-decoded-content-length");
        uploads.refused(&format!("{form:?} no decoded length"), &missing);
    }
    // A wrong signature in the first, a middle and the last chunk, and chunks in another order.
    for form in [Form::Signed, Form::SignedTrailer] {
        let good = uploads.make(&Chunked::new(form, &[5; 40_000]));
        let mark = b"chunk-signature=";
        let places: Vec<_> = (0..good.body.len() - 16).filter(|at| &good.body[*at..*at + 16] == mark).collect();
        assert_eq!(places.len(), 6);
        for at in places {
            let mut wrong = good.clone();
            wrong.body[at + 16] = if wrong.body[at + 16] == b'0' { b'1' } else { b'0' };
            let told = uploads.refused(&format!("{form:?} signature at {at}"), &wrong);
            assert_eq!(told, (403, "SignatureDoesNotMatch".to_owned()));
        }
        let chunk = 4 + 1 + 16 + 64 + 2 + 8192 + 2;
        let mut swapped = good.clone();
        let second = swapped.body[chunk..2 * chunk].to_vec();
        swapped.body.splice(..chunk, second);
        uploads.refused(&format!("{form:?} a chunk in another's place"), &swapped);
    }
}

#[test]
fn r47_a_07_trailers_are_the_declared_ones_and_right() {
    let mut uploads = Uploads(Caller::new("a-07-trailers"));
    let data = [7; 20_000];
    let right = crc32(&data);
    for form in [Form::SignedTrailer, Form::UnsignedTrailer] {
        for trailer in [
            format!("{TRAILER}:AAAAAA=="),
            format!("{TRAILER}:AAAA"),
            format!("{TRAILER}:"),
            format!("{TRAILER}:!!"),
            format!("x-amz-checksum-crc64nvme:{right}"),
            format!("x-amz-checksum-crc32c:{right}"),
            "x-amz-meta-a:1".to_owned(),
            format!("x-amz-meta-a:1\r\n{TRAILER}:{right}"),
            format!("{TRAILER}:{right}\r\nx-amz-acl:public-read"),
            format!("{TRAILER}:AAAAAA==\r\n{TRAILER}:{right}"),
        ] {
            let mut lying = Chunked::new(form, &data);
            lying.trailer = trailer.clone();
            let request = uploads.make(&lying);
            uploads.refused(&format!("{form:?} {trailer:?}"), &request);
        }
        for declared in
            ["x-amz-checksum-sha256", "x-amz-meta-a", "content-type", "", "x-amz-checksum-crc32,x-amz-meta-a"]
        {
            let mut lying = Chunked::new(form, &data);
            lying.declared = Some(declared.to_owned());
            let request = uploads.make(&lying);
            uploads.refused(&format!("{form:?} declared {declared:?}"), &request);
        }
        let mut undeclared = Chunked::new(form, &data);
        undeclared.declared = None;
        let request = uploads.make(&undeclared);
        uploads.refused(&format!("{form:?} undeclared"), &request);
        let mut silent = uploads.make(&Chunked::new(form, &data));
        let at = silent.body.windows(TRAILER.len()).rposition(|w| w == TRAILER.as_bytes()).expect("it is there");
        silent.body.splice(at.., *b"\r\n");
        uploads.refused(&format!("{form:?} declared, and never came"), &silent);
    }
    let mut forged = uploads.make(&Chunked::new(Form::SignedTrailer, &data));
    let at = forged.body.windows(24).rposition(|w| w == b"x-amz-trailer-signature:").expect("it is there") + 24;
    forged.body[at] = if forged.body[at] == b'0' { b'1' } else { b'0' };
    uploads.refused("a wrong signature under the trailer", &forged);
    let mut exchanged = uploads.make(&Chunked::new(Form::SignedTrailer, &data));
    replace(&mut exchanged.body, &right, "AAAAAA==");
    uploads.refused("a trailer changed after it was signed", &exchanged);
}

#[test]
fn a_08_chunks_with_a_wrong_secret_are_refused() {
    let mut uploads = Uploads(Caller::new("a-08"));
    let wrong = Credentials { secret: "A".repeat(43), ..uploads.0.who.clone() };
    let unknown = Credentials { access_id: "GSAAAAAAAAAAAAAAAAAA".to_owned(), ..wrong.clone() };
    for form in FORMS {
        for who in [&wrong, &unknown] {
            let request = Chunked::new(form, &[5; 20_000]).signed(who, &uploads.0.host(), &uploads.0.path("k"));
            let told = uploads.refused(&format!("{form:?}"), &request);
            assert_eq!(told, (403, "SignatureDoesNotMatch".to_owned()));
        }
        // And without any signature at all (CVE-2025-31489 took the trailer form for its own authentication).
        let mut anonymous = Chunked::new(form, &[5; 20_000]).signed(&wrong, &uploads.0.host(), &uploads.0.path("k"));
        anonymous.headers.retain(|(name, _)| name != "authorization");
        assert_eq!(uploads.refused(&format!("{form:?}"), &anonymous).0, 403);
    }
}

#[test]
fn r47_a_09_a_body_that_is_not_the_signed_one_is_refused() {
    let mut uploads = Uploads(Caller::new("a-09"));
    for size in [1, 10, 65_536, 200_000, 3_000_000] {
        let put = uploads.0.of("PUT", "k").body(vec![1; size]);
        let mut other = put.clone().signed(&uploads.0.who, &uploads.0.host(), Body::Hashed);
        *other.body.last_mut().expect("not empty") ^= 1;
        assert_eq!(uploads.refused("a flipped bit", &other), (400, "XAmzContentSHA256Mismatch".to_owned()));
        let mut shorter = put.clone().signed(&uploads.0.who, &uploads.0.host(), Body::Hashed);
        shorter.body.pop();
        uploads.refused("one byte less", &shorter);
        let mut longer = put.signed(&uploads.0.who, &uploads.0.host(), Body::Hashed);
        longer.body.push(1);
        uploads.refused("one byte more", &longer);
    }
    // Announced more than comes: the client goes away in the middle, and nothing is there.
    for size in [100, 300_000] {
        let put =
            uploads.0.of("PUT", "k").body(vec![1; size]).signed(&uploads.0.who, &uploads.0.host(), Body::Unsigned);
        let bytes = put.header("content-length", &(size + 1).to_string()).bytes();
        let mut wire = Wire::to(uploads.0.server);
        wire.send(&bytes).expect("the server reads");
        wire.socket().shutdown(std::net::Shutdown::Write).expect("our own socket");
        let rest = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(!rest.contains(" 200 "), "{rest}");
        assert!(!uploads.0.has("k"));
    }
}

/// R47: what does not arrive as it was sent is told by its name, and nothing of it is seen: not the object, not in a
/// listing, not as a part.
#[test]
fn r47_a_wrong_digest_or_a_body_that_is_cut_off_leaves_nothing() {
    let mut uploads = Uploads(Caller::new("r47"));
    let (bad, cut) = ((400, "BadDigest".to_owned()), (400, "IncompleteBody".to_owned()));
    let wrong_crc = crc32(b"something else");
    let begun = uploads.0.call(uploads.0.of("POST", "k").query("uploads", ""));
    let upload = super::element(&begun, "UploadId");
    for size in [1_000, 20_000, 300_000] {
        let body = vec![9; size];
        for (header, value) in [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), (TRAILER, &*wrong_crc)] {
            let signed = |request: Request, uploads: &Uploads| {
                let request = request.header(header, value).body(body.clone());
                request.signed(&uploads.0.who, &uploads.0.host(), Body::Hashed)
            };
            let put = signed(uploads.0.of("PUT", "k"), &uploads);
            assert_eq!(uploads.refused(header, &put), bad, "{header}, {size}");
            let part = uploads.0.of("PUT", "k").query("partNumber", "1").query("uploadId", &upload);
            let part = signed(part, &uploads);
            assert_eq!(uploads.refused(header, &part), bad, "{header} of a part, {size}");
        }
        for form in FORMS {
            let whole = uploads.make(&Chunked::new(form, &body));
            // All data is there; the chunk that says so is not. Or not even all data is there.
            let last = whole.body.windows(3).rposition(|three| three == b"\r\n0").expect("a last chunk") + 2;
            let mut keeps = vec![whole.body.len() / 2];
            keeps.extend((form == Form::Signed).then_some(last));
            for keep in keeps {
                let mut short = whole.clone();
                short.body.truncate(keep);
                assert_eq!(uploads.refused("cut off", &short), cut, "{form:?}, {size}, {keep}");
            }
        }
        for form in [Form::SignedTrailer, Form::UnsignedTrailer] {
            let mut lying = Chunked::new(form, &body);
            lying.trailer = format!("{TRAILER}:{wrong_crc}");
            let lying = uploads.make(&lying);
            assert_eq!(uploads.refused("a trailer", &lying), bad, "{form:?}, {size}");
        }
    }
    let listed = uploads.0.call(Request::new("GET", "/r47").query("list-type", "2"));
    assert_eq!((super::element(&listed, "KeyCount").as_str(), listed.status), ("0", 200));
    let parts = uploads.0.call(uploads.0.of("GET", "k").query("uploadId", &upload));
    assert_eq!((parts.status, super::elements(&parts, "PartNumber").len()), (200, 0));
    // The control: the same with nothing wrong.
    uploads.0.put("k", &[9; 20_000]);
}

/// RFC 9112, 9.6: the answer must not be lost in a reset because the client was still sending, and a connection that
/// will not go on says so.
#[test]
fn an_upload_that_is_refused_early_gets_its_answer() {
    let caller = Caller::new("refused-early");
    let wrong = Credentials { secret: "A".repeat(43), ..caller.who.clone() };
    for expects in [false, true] {
        let put = caller.of("PUT", "k").body(vec![1; 300_000]);
        let mut put = put.signed(&wrong, &caller.host(), Body::Unsigned);
        if expects {
            put = put.header("expect", "100-continue");
        }
        let mut wire = Wire::to(caller.server);
        wire.send(&put.head()).expect("the server reads");
        if !expects {
            for piece in put.body.chunks(30_000) {
                std::thread::sleep(std::time::Duration::from_millis(5));
                wire.send(piece).expect("the server still reads");
            }
        }
        let answer: Response = wire.answer("PUT").expect("the answer arrives");
        assert_eq!((answer.status, answer.header("connection")), (403, Some("close")), "expects: {expects}");
        assert!(wire.rest().is_empty());
    }
}
