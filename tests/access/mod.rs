//! docs/threat-cases.md, cases A, NX and PX, against the running binary: a raw client over TLS sends what no SDK would send.
//! `src/s3/tests` tries more variants of the same without a socket; here counts what really comes through all rooms.

mod bodies;
mod clocks;
mod isolation;
mod malformed;
mod names;
mod presigned;
mod signatures;
mod smuggling;
mod tokens;
mod xml;

use geoseal_support::server::Server;
use geoseal_support::signer::{Body, Credentials, Request};
use geoseal_support::wire::{Response, Wire};

/// One caller against the shared server, in a bucket of its own. Opens a new connection whenever the old one ended.
struct Caller {
    server: &'static Server,
    who: Credentials,
    bucket: String,
    wire: Option<Wire>,
}

impl Caller {
    /// The demo tenant.
    fn new(bucket: &str) -> Self {
        let server = Server::shared();
        Self::with(server, server.credentials(), bucket)
    }

    /// Anybody; makes the bucket.
    fn with(server: &'static Server, who: Credentials, bucket: &str) -> Self {
        let mut caller = Self { server, who, bucket: bucket.to_owned(), wire: None };
        assert_eq!(caller.call(Request::new("PUT", &format!("/{bucket}"))).status, 200);
        caller
    }

    /// A tenant of its own, in the same geo.
    fn other_tenant(tenant: &str, bucket: &str) -> Self {
        let server = Server::shared();
        let consent = server.home().join(format!("{tenant}.consent"));
        std::fs::write(&consent, "agreed").expect("the scratch directory is writable");
        let consent = consent.to_str().expect("a temporary directory's name is UTF-8");
        let made = ["tenant", "create", tenant, "--geo", "europe", "--home", "westeurope", "--consent", consent];
        server.geoseal(&made).ok();
        Self::with(server, login(server, tenant, "service"), bucket)
    }

    /// Where requests go.
    fn host(&self) -> String {
        self.server.s3().to_string()
    }

    /// `/bucket/NAME`, percent-encoded.
    fn path(&self, name: &str) -> String {
        geoseal_support::signer::object_path(&self.bucket, name)
    }

    /// A request for an object of the bucket.
    fn of(&self, method: &str, name: &str) -> Request {
        Request::new(method, &self.path(name))
    }

    /// Signs and sends.
    fn call(&mut self, request: Request) -> Response {
        let signed = request.signed(&self.who, &self.host(), Body::Hashed);
        self.send(&signed)
    }

    /// Signs as somebody else and sends.
    fn call_as(&mut self, who: &Credentials, request: Request) -> Response {
        let signed = request.signed(who, &self.host(), Body::Hashed);
        self.send(&signed)
    }

    /// Sends as it stands.
    fn send(&mut self, request: &Request) -> Response {
        self.send_bytes(&request.method, &request.bytes())
    }

    /// Sends bytes as they stand and reads the answer.
    fn send_bytes(&mut self, method: &str, bytes: &[u8]) -> Response {
        let mut wire = self.wire.take().unwrap_or_else(|| Wire::to(self.server));
        // A refusal may come, and the connection end, before the last byte was sent: only the answer counts.
        let _ = wire.send(bytes);
        let answer = wire.answer(method).expect("the server answers");
        if answer.header("connection") != Some("close") {
            self.wire = Some(wire);
        }
        answer
    }

    /// Stores an object.
    fn put(&mut self, name: &str, body: &[u8]) {
        let request = self.of("PUT", name).body(body);
        let answer = self.call(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Reads an object.
    fn get(&mut self, name: &str) -> Response {
        self.call(self.of("GET", name))
    }

    /// Whether an object is there.
    fn has(&mut self, name: &str) -> bool {
        self.call(self.of("HEAD", name)).status == 200
    }
}

/// A new login of a tenant.
fn login(server: &Server, tenant: &str, role: &str) -> Credentials {
    let made = server.geoseal(&["credential", "create", "--tenant", tenant, "--role", role, "--json"]).json();
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| made[*name].as_str());
        found.unwrap_or_else(|| panic!("no {} in the answer", names[0])).to_owned()
    };
    Credentials {
        access_id: text(["access_id", "login"]),
        secret: text(["secret", "secret_access_key"]),
        region: server.credentials().region,
    }
}

/// Status and code of a refusal, in one comparable piece; what a refusal must never carry is checked on the way.
fn refusal(answer: &Response) -> (u16, String) {
    assert!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.text());
    assert!(answer.header("x-amz-request-id").is_some(), "{}", answer.text());
    (answer.status, answer.code())
}

/// The text of the first element of this name.
fn element(answer: &Response, name: &str) -> String {
    elements(answer, name).into_iter().next().unwrap_or_default()
}

/// The texts of all elements of this name.
fn elements(answer: &Response, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = answer.text();
    text.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap_or_default().to_owned()).collect()
}
