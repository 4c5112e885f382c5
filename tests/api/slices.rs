//! FX-18 in number: 10,000 random ranges over one connection, each compared with a slice of what was uploaded, and not one
//! sealed chunk opened that holds no byte of its range. (`ranges.py` asks the same of boto3, and of odd headers.)

use fastrand::Rng;
use geoseal_support::{
    server::Server,
    signer::{Request, object_path},
    wire::{Response, Wire, client_config},
};

const BUCKET: &str = "slices";
const RANGES: usize = 10_000;
const CHUNK: usize = 65_536;
const PART: usize = 5 << 20;

/// An object as it was uploaded, and the lengths of the segments that it is stored in.
struct Stored {
    name: &'static str,
    bytes: Vec<u8>,
    segments: Vec<usize>,
}

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    FromTo(usize, usize),
    From(usize),
    Last(usize),
}

impl Asked {
    fn header(self) -> String {
        match self {
            Self::FromTo(first, last) => format!("bytes={first}-{last}"),
            Self::From(first) => format!("bytes={first}-"),
            Self::Last(count) => format!("bytes=-{count}"),
        }
    }

    /// The slice, half open; none: 416. Source: RFC 9110, 14.1.2.
    fn of(self, len: usize) -> Option<(usize, usize)> {
        let (from, to) = match self {
            Self::FromTo(first, last) => (first, len.min(last + 1)),
            Self::From(first) => (first, len),
            Self::Last(count) => (len.saturating_sub(count), len),
        };
        (from < to).then_some((from, to))
    }
}

impl Stored {
    /// How many chunks hold a byte of `from..to`: chunks are counted from the start of each segment.
    fn chunks(&self, from: usize, to: usize) -> u64 {
        let (mut start, mut chunks) = (0, 0);
        for len in &self.segments {
            let (first, behind) = (from.max(start), to.min(start + len));
            if first < behind {
                chunks += (behind - 1 - start) / CHUNK - (first - start) / CHUNK + 1;
            }
            start += len;
        }
        chunks as u64
    }

    /// Where mistakes live: borders of chunks and of parts.
    fn borders(&self) -> Vec<usize> {
        let mut start = 0;
        let of_segment = self.segments.iter().flat_map(|len| {
            start += len;
            (start - len..=start).step_by(CHUNK).chain([start])
        });
        of_segment.collect()
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn ok(answer: Response) -> Response {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> &'a str {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(behind));
    found.unwrap_or_else(|| panic!("no {before} in {text}")).0
}

fn put(server: &Server, wire: &mut Wire, name: &'static str, len: usize) -> Stored {
    let bytes = noise(len, len as u64);
    ok(wire.call(server, Request::new("PUT", &object_path(BUCKET, name)).body(bytes.clone())));
    Stored { name, bytes, segments: vec![len] }
}

fn multipart(server: &Server, wire: &mut Wire, name: &'static str, segments: &[usize]) -> Stored {
    let (path, mut bytes, mut list) = (object_path(BUCKET, name), vec![], String::new());
    let begun = ok(wire.call(server, Request::new("POST", &path).query("uploads", ""))).text();
    let upload = between(&begun, "<UploadId>", "</UploadId>");
    for (number, len) in (1..).zip(segments) {
        let part = noise(*len, number);
        let request = Request::new("PUT", &path).query("partNumber", &number.to_string()).query("uploadId", upload);
        let answer = ok(wire.call(server, request.body(part.clone())));
        let etag = answer.header("etag").expect("a part has an ETag");
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        bytes.extend(part);
    }
    let whole = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    ok(wire.call(server, Request::new("POST", &path).query("uploadId", upload).body(whole)));
    Stored { name, bytes, segments: segments.to_vec() }
}

/// A range like those that clients ask for, half of them at a border.
fn any(rng: &mut Rng, stored: &Stored, borders: &[usize]) -> Asked {
    let len = stored.bytes.len();
    let first = match rng.u8(..8) {
        0..3 => (borders[rng.usize(..borders.len())] + rng.usize(..5)).saturating_sub(2),
        3 => {
            let parts = rng.usize(1..=stored.segments.len());
            stored.segments[..parts].iter().sum::<usize>().saturating_sub(rng.usize(..CHUNK))
        }
        _ => rng.usize(..len + 3),
    };
    let count = [1, 2, 100, 4_096, CHUNK - 1, CHUNK, CHUNK + 1, 200_000][rng.usize(..8)];
    match rng.u8(..20) {
        0..14 => Asked::FromTo(first, first + count - 1),
        14..17 => Asked::Last([0, 1, 2, count, len / 50, len + 1][rng.usize(..5 + usize::from(len < PART))]),
        17 if len < PART => Asked::From(0),
        _ => Asked::From(first.max(len.saturating_sub(300_000))),
    }
}

/// How many chunks were opened since the server started.
fn opened(server: &Server) -> u64 {
    let config = client_config(&server.authority(), &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(server.admin(), config).expect("the admin listener accepts");
    let bearer = format!("Bearer {}", server.admin_token());
    let host = server.admin().to_string();
    let request = Request::new("GET", "/metrics").header("host", &host).header("authorization", &bearer);
    let text = wire.exchange(&request).expect("metrics are served").text();
    let line = text.lines().find_map(|line| line.strip_prefix("geoseal_chunks_opened_total "));
    line.unwrap_or_else(|| panic!("no count in {text}")).parse().expect("a number")
}

#[test]
fn fx18_ten_thousand_ranges_are_slices_and_open_only_their_chunks() {
    let server = Server::start();
    let mut wire = Wire::to(&server);
    ok(wire.call(&server, Request::new("PUT", &format!("/{BUCKET}"))));
    let all = [
        multipart(&server, &mut wire, "parts", &[PART, PART + 1, PART + CHUNK, 12_345]),
        put(&server, &mut wire, "whole", 3 << 20 | 17),
        put(&server, &mut wire, "one-more", CHUNK + 1),
        put(&server, &mut wire, "inline", CHUNK),
        put(&server, &mut wire, "small", 777),
    ];
    let borders: Vec<_> = all.iter().map(Stored::borders).collect();
    let (mut rng, before) = (Rng::with_seed(18), opened(&server));
    let (mut least, mut refused, mut across, mut suffixes) = (0, 0, 0, 0);
    for number in 1..=RANGES {
        let at = [0, 0, 0, 0, 1, 1, 2, 3, 3, 4][rng.usize(..10)];
        let stored = &all[at];
        let asked = any(&mut rng, stored, &borders[at]);
        let request = Request::new("GET", &object_path(BUCKET, stored.name)).header("range", &asked.header());
        let answer = wire.call(&server, request);
        let (len, what) = (stored.bytes.len(), format!("range {number}, {} of {}", asked.header(), stored.name));
        suffixes += u32::from(matches!(asked, Asked::Last(_)));
        match asked.of(len) {
            Some((from, to)) => {
                let said = answer.header("content-range").map(str::to_owned);
                assert_eq!((answer.status, said), (206, Some(format!("bytes {from}-{}/{len}", to - 1))), "{what}");
                assert!(answer.body == stored.bytes[from..to], "{what}: other bytes");
                least += stored.chunks(from, to);
                across +=
                    u32::from(at == 0 && [PART, 2 * PART + 1].iter().any(|border| from < *border && to > *border));
            }
            None => {
                assert_eq!((answer.status, answer.code().as_str()), (416, "InvalidRange"), "{what}");
                assert_eq!(answer.header("content-range"), Some(format!("bytes */{len}").as_str()), "{what}");
                refused += 1;
            }
        }
        // A range cannot be answered with fewer than its chunks, so an equal sum means that each one was exact.
        if number % 500 == 0 {
            assert_eq!(opened(&server) - before, least, "chunks opened by {number} ranges");
        }
    }
    assert!(
        refused >= 500 && across >= 100 && suffixes >= 1_000,
        "{refused} refused, {across} across, {suffixes} suffixes"
    );
    assert!(least > RANGES as u64 / 2, "{least} chunks");
}
