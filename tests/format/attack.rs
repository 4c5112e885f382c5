//! What the attacks share: objects whose files are known, and what it means to be refused.

use geoseal_support::{
    records::bytes,
    server::Server,
    signer::{Body, Credentials, Request, object_path},
    wire::{Response, Wire, client_config},
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Sealed bytes before the first chunk.
pub(super) const HEADER: usize = 192;
/// Plaintext bytes of a chunk.
pub(super) const CHUNK: usize = 65_536;
/// Sealed bytes of a full chunk: with its tag.
pub(super) const SEALED_CHUNK: usize = CHUNK + 16;

/// An object in a file of its own, and what it holds.
pub(super) struct Stored {
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) body: Vec<u8>,
    /// Its blobs, in the order in which they were written.
    pub(super) files: Vec<PathBuf>,
}

/// A tenant's connection.
pub(super) struct Caller {
    wire: Wire,
    who: Credentials,
    address: std::net::SocketAddr,
    authority: Vec<u8>,
}

impl Caller {
    /// The demo tenant.
    pub(super) fn demo(server: &Server) -> Self {
        Self::new(server, server.credentials())
    }

    pub(super) fn new(server: &Server, who: Credentials) -> Self {
        let (address, authority) = (server.s3(), server.authority());
        Self { wire: connect(address, &authority), who, address, authority }
    }

    /// A new tenant of the demo's geo.
    pub(super) fn of_another_tenant(server: &Server) -> Self {
        let who = crate::life::tenant(server, "contoso");
        Self::new(server, who)
    }

    /// The same tenant on a new connection, after a restart.
    pub(super) fn again(&self, server: &Server) -> Self {
        Self::new(server, self.who.clone())
    }

    pub(super) fn call(&mut self, request: Request) -> Response {
        self.try_call(request).expect("the server answers")
    }

    /// An answer whose body ends before its length is an error, and costs the connection.
    pub(super) fn try_call(&mut self, request: Request) -> io::Result<Response> {
        let signed = self.sign(request);
        let answer = self.wire.exchange(&signed);
        if answer.as_ref().map_or(true, |answer| answer.header("connection") == Some("close")) {
            self.wire = connect(self.address, &self.authority);
        }
        answer
    }

    /// Everything that comes back until the connection ends: head, and as much of the body as there was.
    pub(super) fn raw(&mut self, request: Request) -> Vec<u8> {
        let signed = self.sign(request);
        self.wire.send(&signed.bytes()).expect("the server listens");
        let all = self.wire.rest();
        self.wire = connect(self.address, &self.authority);
        all
    }

    fn sign(&self, request: Request) -> Request {
        request.signed(&self.who, &self.address.to_string(), Body::Unsigned)
    }

    pub(super) fn make_bucket(&mut self, bucket: &str) {
        assert_eq!(self.call(Request::new("PUT", &format!("/{bucket}"))).status, 200);
    }

    /// Puts an object of `len` bytes and finds the file that it went to.
    pub(super) fn store(&mut self, server: &Server, bucket: &str, name: &str, len: usize) -> Stored {
        let body = body_of(name, len);
        let before = blobs(server);
        let put = self.call(Request::new("PUT", &object_path(bucket, name)).body(body.clone()));
        assert_eq!(put.status, 200, "{}", put.text());
        let files: Vec<_> = blobs(server).difference(&before).cloned().collect();
        Stored { bucket: bucket.into(), name: name.into(), body, files }
    }

    /// The same in parts, one after the other.
    pub(super) fn store_parts(&mut self, server: &Server, bucket: &str, name: &str, parts: &[usize]) -> Stored {
        let path = object_path(bucket, name);
        let upload = text_of(&self.call(Request::new("POST", &path).query("uploads", "")), "UploadId");
        let (mut body, mut files, mut list) = (vec![], vec![], String::new());
        for (number, len) in (1..).zip(parts) {
            let before = blobs(server);
            let part = body_of(&format!("{name}/{number}"), *len);
            let put = Request::new("PUT", &path).query("partNumber", &format!("{number}")).query("uploadId", &upload);
            let put = self.call(put.body(part.clone()));
            let etag = put.header("etag").expect("a part has an ETag").to_owned();
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
            body.extend(part);
            files.extend(blobs(server).difference(&before).cloned());
        }
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let done = self.call(Request::new("POST", &path).query("uploadId", &upload).body(list));
        assert_eq!(done.status, 200, "{}", done.text());
        Stored { bucket: bucket.into(), name: name.into(), body, files }
    }

    /// The object is served, whole.
    pub(super) fn assert_served(&mut self, stored: &Stored, when: &str) {
        let got = self.call(get(stored));
        assert!(got.status == 200 && got.body == stored.body, "{when}: {} {}", got.status, got.code());
    }

    /// The object is refused before anything of it was sent: 500, and the one code for all such faults.
    pub(super) fn assert_refused(&mut self, stored: &Stored, when: &str) {
        let got = self.call(get(stored));
        assert_eq!((got.status, got.code().as_str()), (500, "IntegrityFailure"), "{when}");
        assert_no_plaintext(&got.body, stored, when);
    }

    /// The bytes `from..=to` are refused.
    pub(super) fn assert_range_refused(&mut self, stored: &Stored, (from, to): (usize, usize), when: &str) {
        let got = self.call(get(stored).header("range", &format!("bytes={from}-{to}")));
        assert_eq!((got.status, got.code().as_str()), (500, "IntegrityFailure"), "{when}, {from}-{to}");
        assert_no_plaintext(&got.body, stored, when);
    }

    /// The bytes `from..=to` are served.
    pub(super) fn assert_range_served(&mut self, stored: &Stored, (from, to): (usize, usize), when: &str) {
        let got = self.call(get(stored).header("range", &format!("bytes={from}-{to}")));
        assert!(got.status == 206 && got.body == stored.body[from..=to], "{when}, {from}-{to}: {}", got.status);
    }

    /// The answer begins, and breaks off before the bytes from `until` on: never a clean end, and nothing wrong before.
    pub(super) fn assert_cut_off(&mut self, stored: &Stored, until: usize, when: &str) {
        let broken = self.try_call(get(stored)).err().unwrap_or_else(|| panic!("{when}: the answer ended well"));
        assert_eq!(broken.kind(), io::ErrorKind::UnexpectedEof, "{when}: {broken}");
        let raw = self.raw(get(stored));
        let head = raw.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        assert!(raw.starts_with(b"HTTP/1.1 200 "), "{when}");
        let sent = &raw[head..];
        assert!(sent.len() <= until && stored.body.starts_with(sent), "{when}: {} bytes of {until}", sent.len());
    }
}

/// Bytes that no other object has, the same in every run.
fn body_of(name: &str, len: usize) -> Vec<u8> {
    bytes(name.bytes().fold(len as u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into())), len)
}

pub(super) fn get(stored: &Stored) -> Request {
    Request::new("GET", &object_path(&stored.bucket, &stored.name))
}

/// Every 16 bytes of random plaintext are a needle that is not found by chance.
fn assert_no_plaintext(answer: &[u8], stored: &Stored, when: &str) {
    let needles: BTreeSet<&[u8]> = stored.body.windows(16).step_by(97).collect();
    let leaked = answer.windows(16).any(|window| needles.contains(window));
    assert!(answer.len() < 2_000 && !leaked, "{when}: plaintext in an error");
}

fn connect(address: std::net::SocketAddr, authority: &[u8]) -> Wire {
    Wire::connect(address, client_config(authority, &[&rustls::version::TLS13])).expect("the server accepts")
}

/// The text of the first such element of an answer.
pub(super) fn text_of(answer: &Response, element: &str) -> String {
    let text = answer.text();
    let inner =
        text.split_once(&format!("<{element}>")).and_then(|(_, rest)| rest.split_once(&format!("</{element}>")));
    inner.unwrap_or_else(|| panic!("no {element} in {text}")).0.to_owned()
}

/// All blob files of the server's first region.
pub(crate) fn blobs(server: &Server) -> BTreeSet<PathBuf> {
    files_under(&server.data().join("data/region/westeurope/blobs"))
}

/// All files below a directory.
pub(super) fn files_under(directory: &Path) -> BTreeSet<PathBuf> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("it can be read").path();
            if path.is_dir() { folders.push(path) } else { _ = files.insert(path) }
        }
    }
    files
}

/// Copies a directory as it is.
pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the scratch directory is writable");
    for entry in fs::read_dir(from).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() { copy_tree(&path, &target) } else { _ = fs::copy(&path, &target).expect("copied") }
    }
}

/// Puts `from` in the place of `to`.
pub(super) fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("the data directory is ours");
    copy_tree(from, to);
}
