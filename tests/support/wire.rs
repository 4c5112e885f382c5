//! A bare HTTPS client for wire tests: it sends exactly the bytes it is given and reads one HTTP/1.1 answer at a time.
//! Blocking, one connection, no pool, no retry, no redirect, so that a test sees what the server really did.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::{
    server::Server,
    signer::{Body, Request},
};

/// An open connection.
pub struct Wire {
    stream: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
    host: String,
}

/// What came back.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in wire order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding undone.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `<Code>` of an S3 error body; empty when there is none.
    pub fn code(&self) -> String {
        let text = self.text();
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        code.map_or(String::new(), |(code, _)| code.to_owned())
    }
}

/// A client configuration that trusts exactly one authority (PEM) and speaks exactly these versions.
pub fn client_config(authority: &[u8], versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.expect("the authority is PEM")).expect("the authority is a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    Arc::new(config.expect("ring speaks them").with_root_certificates(roots).with_no_client_auth())
}

impl Wire {
    /// Connects to a server's S3 listener with TLS 1.3.
    pub fn to(server: &Server) -> Self {
        let config = client_config(&server.authority(), &[&rustls::version::TLS13]);
        Self::connect(server.s3(), config).expect("the server accepts TLS 1.3")
    }

    /// Connects to `address` and finishes the handshake. Reads time out after a minute, so a test never hangs.
    pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        socket.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        connection.complete_io(&mut socket)?;
        Ok(Self { stream: StreamOwned::new(connection, socket), unread: vec![], host: address.to_string() })
    }

    /// `HOST:PORT`, as the `host` header has it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The raw socket below TLS, for tests that stall or cut it.
    pub fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// The TLS session, for tests that ask what was negotiated.
    pub fn session(&self) -> &ClientConnection {
        &self.stream.conn
    }

    /// Signs as the server's demo tenant, sends, and reads the answer.
    pub fn call(&mut self, server: &Server, request: Request) -> Response {
        let request = request.signed(&server.credentials(), &self.host, Body::Hashed);
        self.exchange(&request).expect("the server answers")
    }

    /// Sends a request as it stands and reads the answer.
    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        self.answer(&request.method)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one answer to a request with that method (an answer to HEAD has no body).
    pub fn answer(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let head = self.until(b"\r\n\r\n")?;
            let (status, headers) = parse_head(&head).ok_or_else(|| broken("not an HTTP/1.1 answer"))?;
            if (100..200).contains(&status) {
                continue; // 100 Continue
            }
            let mut response = Response { status, headers, body: vec![] };
            if method != "HEAD" && !matches!(status, 204 | 304) {
                response.body = self.body(&response)?;
            }
            return Ok(response);
        }
    }

    /// Reads the head of an answer and gives its status; its body is still to come.
    pub fn head(&mut self) -> io::Result<u16> {
        let head = self.until(b"\r\n\r\n")?;
        parse_head(&head).map(|(status, _)| status).ok_or_else(|| broken("not an HTTP/1.1 answer"))
    }

    /// Everything the server still sends until it closes; an abrupt close is an end like any other.
    pub fn rest(&mut self) -> Vec<u8> {
        while matches!(self.fill(), Ok(n) if n > 0) {}
        std::mem::take(&mut self.unread)
    }

    fn body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return self.chunked();
        }
        match response.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| broken("a content-length that is no number"))?;
                self.exactly(length)
            }
            None => Ok(self.rest()),
        }
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = vec![];
        loop {
            let line = self.until(b"\r\n")?;
            let size = std::str::from_utf8(&line).ok().and_then(|l| l.split(';').next()).map(str::trim);
            let size =
                size.and_then(|s| usize::from_str_radix(s, 16).ok()).ok_or_else(|| broken("a bad chunk size"))?;
            if size == 0 {
                while self.until(b"\r\n")? != b"\r\n" {} // trailers
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.exactly(2)?;
        }
    }

    /// Takes bytes up to and with `end`.
    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|w| w == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            self.fill_some()?;
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.fill_some()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn fill_some(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

fn parse_head(head: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    Some((status, headers))
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
