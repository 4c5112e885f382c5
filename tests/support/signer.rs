//! SigV4 for hand-made requests: header form and presigned form. The request stays open to any change after it was
//! signed, which is what the negative tests need.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s_sigv4::{AmzDate, Payload};
use sha2::{Digest, Sha256};

/// A login and the region it signs for.
#[derive(Clone)]
pub struct Credentials {
    /// The access id.
    pub access_id: String,
    /// The secret. Test data of a throw-away server.
    pub secret: String,
    /// The region in the signature's scope.
    pub region: String,
}

/// How the body is vouched for, as `x-amz-content-sha256` says it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Its SHA-256.
    Hashed,
    /// `UNSIGNED-PAYLOAD`: left to TLS, as stock clients do over HTTPS.
    Unsigned,
}

/// One HTTP request, path already percent-encoded, query not yet.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The raw path, as it goes on the wire.
    pub path: String,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// Headers in wire order; `content-length` is added on the way out unless it is already here.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Everything except the unreserved characters of RFC 3986 and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The same with the slash escaped, for query parameters.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// `/bucket/name`, percent-encoded.
pub fn object_path(bucket: &str, name: &str) -> String {
    format!("/{bucket}/{}", utf8_percent_encode(name, PATH))
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), query: vec![], headers: vec![], body: vec![] }
    }

    /// One more query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Signs in header form for `host`: adds `host`, `x-amz-date`, `x-amz-content-sha256` and `authorization`, all
    /// headers so far signed.
    pub fn signed(self, who: &Credentials, host: &str, body: Body) -> Self {
        self.signed_at(who, host, body, Timestamp::now())
    }

    /// [`signed`](Self::signed) with a time of the test's choosing.
    pub fn signed_at(mut self, who: &Credentials, host: &str, body: Body, at: Timestamp) -> Self {
        let date = amz_date(at);
        let hash = match body {
            Body::Hashed => hex::encode(Sha256::digest(&self.body)),
            Body::Unsigned => "UNSIGNED-PAYLOAD".into(),
        };
        self = self.header("host", host).header("x-amz-date", &date.fmt_iso8601());
        self = self.header("x-amz-content-sha256", &hash);
        let headers = self.sorted_headers();
        let canonical = s3s_sigv4::create_canonical_request_with_raw_uri_path(
            &self.method,
            &self.path,
            &self.query,
            borrowed(&headers),
            match body {
                Body::Hashed => Payload::SingleChunk(&hash),
                Body::Unsigned => Payload::Unsigned,
            },
        );
        let names: Vec<&str> = headers.iter().map(|(n, _)| n.as_str()).collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={},Signature={}",
            who.access_id,
            scope(&date, who),
            names.join(";"),
            signature(&canonical, &date, who),
        );
        self.header("authorization", &authorization)
    }

    /// Signs in query form: a presigned URL for `host`, good for `seconds` from `at`. Headers so far are signed too.
    pub fn presigned_at(mut self, who: &Credentials, host: &str, seconds: u32, at: Timestamp) -> Self {
        let date = amz_date(at);
        self = self.header("host", host);
        let headers = self.sorted_headers();
        let names: Vec<&str> = headers.iter().map(|(n, _)| n.as_str()).collect();
        self = self
            .query("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
            .query("X-Amz-Credential", &format!("{}/{}", who.access_id, scope(&date, who)))
            .query("X-Amz-Date", &date.fmt_iso8601())
            .query("X-Amz-Expires", &seconds.to_string())
            .query("X-Amz-SignedHeaders", &names.join(";"));
        let canonical = s3s_sigv4::create_presigned_canonical_request_with_raw_uri_path(
            &self.method,
            &self.path,
            &self.query,
            borrowed(&headers),
        );
        let signature = signature(&canonical, &date, who);
        self.query("X-Amz-Signature", &signature)
    }

    /// Replaces the value of a header, wherever it stands; adds it when there is none. For spoiling signed requests.
    pub fn replace(mut self, name: &str, value: &str) -> Self {
        match self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some(header) => header.1 = value.into(),
            None => self.headers.push((name.into(), value.into())),
        }
        self
    }

    /// The path with its query, as the request line has it.
    pub fn target(&self) -> String {
        let encode = |s: &str| utf8_percent_encode(s, QUERY).to_string();
        let query: Vec<String> = self.query.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    /// Request line and headers, up to and with the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target());
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let announced = ["content-length", "transfer-encoding"];
        let has_length = self.headers.iter().any(|(n, _)| announced.contains(&n.to_ascii_lowercase().as_str()));
        if !has_length && (!self.body.is_empty() || matches!(self.method.as_str(), "PUT" | "POST")) {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        head.into_bytes()
    }

    /// The whole request as it goes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn sorted_headers(&self) -> Vec<(String, String)> {
        let mut headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())).collect();
        headers.sort();
        headers
    }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

fn amz_date(at: Timestamp) -> AmzDate {
    AmzDate::parse(&at.strftime("%Y%m%dT%H%M%SZ").to_string()).expect("a formatted time parses")
}

fn scope(date: &AmzDate, who: &Credentials) -> String {
    format!("{}/{}/s3/aws4_request", date.fmt_date(), who.region)
}

fn signature(canonical: &str, date: &AmzDate, who: &Credentials) -> String {
    let to_sign = s3s_sigv4::create_string_to_sign(canonical, date, &who.region, "s3");
    s3s_sigv4::calculate_signature(&to_sign, &who.secret, date, &who.region, "s3")
}
