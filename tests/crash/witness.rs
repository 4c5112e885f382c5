//! What a writer was answered for, and what it asked for and never heard of: after a crash the store may hold the one or
//! the other, never anything else, and its listing must agree with its objects.

use geoseal_support::{
    server::Server,
    signer::{Body, Credentials, Request, object_path},
    wire::{Response, Wire, client_config},
};
use rustls::ClientConfig;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The content of a name; none: there is no such object.
pub(super) type Content = Option<Arc<Vec<u8>>>;

/// One write of one name: what it becomes if it goes through.
pub(super) struct Act {
    pub(super) name: String,
    pub(super) becomes: Content,
    /// The requests that it takes, one after the other; answers whether the store did it.
    pub(super) run: Run,
}

/// Asks the store; `Ok(false)`: refused for a good reason, nothing was changed.
pub(super) type Run = Box<dyn FnOnce(&mut Client) -> io::Result<bool> + Send>;

/// A connection that never retries.
pub(super) struct Client {
    wire: Wire,
    who: Credentials,
    host: String,
}

/// How to connect, also while the server is being killed.
#[derive(Clone)]
pub(super) struct Address {
    socket: SocketAddr,
    config: Arc<ClientConfig>,
    who: Credentials,
}

impl Address {
    pub(super) fn of(server: &Server) -> Self {
        let config = client_config(&server.authority(), &[&rustls::version::TLS13]);
        Self { socket: server.s3(), config, who: server.credentials() }
    }

    pub(super) fn connect(&self) -> io::Result<Client> {
        let wire = Wire::connect(self.socket, self.config.clone())?;
        Ok(Client { wire, who: self.who.clone(), host: self.socket.to_string() })
    }
}

impl Client {
    /// An answer, also a refusal; an error when the connection broke before it was whole.
    pub(super) fn call(&mut self, request: Request) -> io::Result<Response> {
        self.wire.exchange(&request.signed(&self.who, &self.host, Body::Unsigned))
    }

    /// The same, for a request that can only go well.
    pub(super) fn ok(&mut self, request: Request) -> io::Result<Response> {
        let answer = self.call(request)?;
        assert!(answer.status < 300, "{} {}", answer.status, answer.text());
        Ok(answer)
    }
}

/// What there must be in one bucket.
pub(super) struct Witness {
    bucket: String,
    /// What each name held when it was last looked at, or was acknowledged since.
    known: BTreeMap<String, Content>,
    /// What was asked of a name and never answered.
    pending: BTreeMap<String, Content>,
}

impl Witness {
    pub(super) fn new(bucket: &str) -> Self {
        Self { bucket: bucket.into(), known: BTreeMap::new(), pending: BTreeMap::new() }
    }

    pub(super) fn known(&self) -> &BTreeMap<String, Content> {
        &self.known
    }

    /// Has eight writers do `acts`, each name in one of them at most, and kills the server once `after` are
    /// acknowledged and `later` has passed. Answers how many were acknowledged.
    pub(super) fn write_until_killed(
        &mut self,
        server: &mut Server,
        acts: Vec<Act>,
        after: usize,
        later: Duration,
    ) -> usize {
        let (address, total) = (Address::of(server), acts.len());
        let queue = Mutex::new(VecDeque::from(acts));
        let (acknowledged, idle) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcomes = Mutex::new(vec![]);
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    let Ok(mut client) = address.connect() else { return };
                    loop {
                        let Some(act) = queue.lock().expect("no writer panics").pop_front() else { break };
                        let done = (act.run)(&mut client);
                        let broken = done.is_err();
                        acknowledged.fetch_add(usize::from(!broken), Ordering::Relaxed);
                        outcomes.lock().expect("no writer panics").push((act.name, act.becomes, done.ok()));
                        if broken {
                            break;
                        }
                    }
                    idle.fetch_add(1, Ordering::Relaxed);
                });
            }
            let begun = Instant::now();
            while acknowledged.load(Ordering::Relaxed) < after && idle.load(Ordering::Relaxed) < WRITERS {
                assert!(begun.elapsed() < Duration::from_secs(120), "the writers stand still\n{}", server.log());
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(later);
            server.kill();
        });
        for (name, becomes, done) in outcomes.into_inner().expect("no writer panics") {
            match done {
                Some(true) => _ = self.known.insert(name, becomes),
                Some(false) => {}
                None => _ = self.pending.insert(name, becomes),
            }
        }
        let acknowledged = acknowledged.into_inner();
        assert!(acknowledged >= after.min(total), "a writer stopped by itself\n{}", server.log());
        acknowledged
    }

    /// After a restart: every name that was written holds what was acknowledged, or what was never answered for; the
    /// listing has every name once, in order, and no other. From here on, what is there is known.
    pub(super) fn check(&mut self, server: &Server, when: &str) {
        let mut client = Address::of(server).connect().expect("the server accepts");
        for (name, asked) in std::mem::take(&mut self.pending) {
            let found = self.fetch(&mut client, &name, when);
            let before = self.known.get(&name).cloned().flatten();
            assert!(found == before || found == asked, "{when}: {name} holds neither of what it may");
            self.known.insert(name, found);
        }
        let expected: Vec<_> = self.known.iter().filter(|(_, content)| content.is_some()).collect();
        let listed = self.list(&mut client);
        assert!(listed.is_sorted_by(|a, b| a.0 < b.0), "{when}: listed twice or out of order");
        let expected: Vec<_> =
            expected.into_iter().map(|(name, c)| (name.clone(), c.as_ref().map_or(0, |c| c.len()))).collect();
        assert!(listed == expected, "{when}: {} names are listed, {} are there", listed.len(), expected.len());
    }

    /// Reads every name, or those that `which` picks, byte for byte.
    pub(super) fn read_back(&self, server: &Server, when: &str, which: impl Fn(&str) -> bool) {
        let mut client = Address::of(server).connect().expect("the server accepts");
        for (name, content) in self.known.iter().filter(|(name, _)| which(name)) {
            assert!(self.fetch(&mut client, name, when) == *content, "{when}: {name} is not what was acknowledged");
        }
    }

    fn fetch(&self, client: &mut Client, name: &str, when: &str) -> Content {
        let got = client.call(Request::new("GET", &object_path(&self.bucket, name))).expect("the server answers");
        match got.status {
            200 => Some(Arc::new(got.body)),
            404 => None,
            other => panic!("{when}: {name}: {other} {}", got.text()),
        }
    }

    /// Names and sizes, page by page.
    fn list(&self, client: &mut Client) -> Vec<(String, usize)> {
        let (mut listed, mut token) = (vec![], None::<String>);
        loop {
            let mut page = Request::new("GET", &format!("/{}", self.bucket)).query("list-type", "2");
            if let Some(token) = &token {
                page = page.query("continuation-token", token);
            }
            let text = client.ok(page).expect("the server answers").text();
            for entry in text.split("<Contents>").skip(1) {
                let size = inner(entry, "Size").and_then(|size| size.parse().ok()).expect("a size");
                listed.push((inner(entry, "Key").expect("a name").to_owned(), size));
            }
            token = inner(&text, "NextContinuationToken").map(str::to_owned);
            if token.is_none() {
                return listed;
            }
        }
    }
}

const WRITERS: usize = 8;

/// The text of the first such element.
pub(super) fn inner<'a>(text: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(inner, _)| inner)
}
