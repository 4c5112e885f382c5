//! T-07: peers that take their time. Every kind is cut by its own deadline while honest clients notice nothing.

use super::{admin_get, metric, within};
use geoseal_support::{
    daemon::Daemon,
    signer::{Body, Request},
    wire::{Wire, client_config},
};
use rustls::ClientConfig;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const LIMITS: &str = "
[limits]
handshake_s = 1
first_byte_s = 1
header_s = 2
idle_s = 3
body_window_s = 2
body_window_bytes_min = 8192
";
/// Peers of the kinds that cost a socket only.
const MANY: usize = 300;
/// Peers of the kinds that cost a handshake.
const SOME: usize = 40;
/// Bytes of the object that slow readers ask for: more than sockets hold.
const LARGE: usize = 24 << 20;
/// Far above every deadline, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn slow_peers_of_every_kind_are_cut_and_others_are_served() {
    let mut daemon = Daemon::prepare();
    daemon.edit(|text| text + LIMITS);
    daemon.serve();
    let login = daemon.tenant("contoso");
    let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
    let host = daemon.s3().to_string();
    let ask = |request: Request| {
        let mut wire = Wire::connect(daemon.s3(), config.clone()).expect("a new connection");
        wire.exchange(&request.signed(&login, &host, Body::Unsigned)).expect("an answer")
    };
    assert_eq!(ask(Request::new("PUT", "/drip")).status, 200);
    assert_eq!(ask(Request::new("PUT", "/drip/large").body(vec![7; LARGE])).status, 200);
    assert_eq!(ask(Request::new("PUT", "/drip/small").body("small")).status, 200);

    let (over, served) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = ask(Request::new("GET", "/drip/small"));
                assert_eq!((answer.status, answer.body.as_slice()), (200, &b"small"[..]));
                assert!(begun.elapsed() < Duration::from_secs(10), "an honest client waited {:?}", begun.elapsed());
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _over = Over(&over);
        let socket = || TcpStream::connect(daemon.s3()).expect("the listener accepts");
        let tls = |config: &Arc<ClientConfig>| Wire::connect(daemon.s3(), config.clone()).expect("a handshake");
        // Silent from the first moment on, silent in the middle of the handshake, silent after it.
        let mut peers: Vec<Peer> = (0..MANY).map(|_| Peer::silent(socket())).collect();
        peers.extend(
            (0..MANY).map(|_| Peer::dripping(Link::Bare(socket()), [&[0x16, 3, 1, 2, 0][..], &[0; 512]].concat())),
        );
        peers.extend((0..SOME).map(|_| Peer::dripping(Link::Tls(Box::new(tls(&config))), vec![])));
        // A header section and a body, a byte at a time.
        let header = format!("GET /drip/small HTTP/1.1\r\nhost: {host}\r\nx-pad: {}", "x".repeat(4096));
        peers.extend((0..SOME).map(|_| Peer::dripping(Link::Tls(Box::new(tls(&config))), header.clone().into_bytes())));
        for number in 0..SOME {
            let request = Request::new("PUT", &format!("/drip/slow-{number}")).header("content-length", "1048576");
            let mut wire = tls(&config);
            wire.send(&request.signed(&login, &host, Body::Unsigned).head()).expect("a header section goes through");
            peers.push(Peer::dripping(Link::Tls(Box::new(wire)), vec![b'x'; 4096]));
        }
        // Asks for much and reads nothing.
        let readers: Vec<Wire> = (0..SOME)
            .map(|_| {
                let mut wire = tls(&config);
                let request = Request::new("GET", "/drip/large").signed(&login, &host, Body::Unsigned);
                wire.send(&request.bytes()).expect("a request goes through");
                wire
            })
            .collect();
        // Asks once, is answered, and stays.
        let mut idle = tls(&config);
        idle.exchange(&Request::new("GET", "/drip/small").signed(&login, &host, Body::Unsigned)).expect("an answer");
        peers.push(Peer::silent(idle.socket().try_clone().expect("a socket can be cloned")));

        let begun = Instant::now();
        while !peers.is_empty() {
            peers.retain_mut(Peer::is_open);
            assert!(begun.elapsed() < PATIENCE, "{} slow peers are still connected", peers.len());
            thread::sleep(Duration::from_millis(100));
        }
        let refused = |reason: &str| {
            let mut wire = Wire::connect(daemon.admin(), config.clone()).expect("the admin listener answers");
            let request = admin_get(&daemon, "/metrics").header("host", "localhost");
            let metrics = wire.exchange(&request).expect("metrics").text();
            let label = format!("reason=\"{reason}\"");
            metric(&metrics, "geoseal_connections_refused_total", &["listener=\"s3\"", &label])
        };
        within(PATIENCE, "slow readers are cut", || refused("ReaderSlow") >= SOME as f64);
        assert!(refused("HandshakeSlow") >= 2.0 * MANY as f64);
        for reason in ["FirstByteSlow", "HeaderSlow", "BodySlow"] {
            assert!(refused(reason) >= SOME as f64, "{reason}: {}", refused(reason));
        }
        drop(readers);
    });
    assert!(served.load(Ordering::Relaxed) >= 20, "honest clients were served all the while");
    // What was begun slowly never became an object.
    let listing = ask(Request::new("GET", "/drip").query("list-type", "2").query("prefix", "slow-"));
    assert!(!listing.text().contains("<Key>"), "{}", listing.text());
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

enum Link {
    Bare(TcpStream),
    Tls(Box<Wire>),
}

/// A peer that sends one byte of its text at each look, and no more when it has none left.
struct Peer {
    link: Link,
    text: Vec<u8>,
    sent: usize,
}

impl Peer {
    fn silent(socket: TcpStream) -> Self {
        Self::dripping(Link::Bare(socket), vec![])
    }

    fn dripping(link: Link, text: Vec<u8>) -> Self {
        let socket = match &link {
            Link::Bare(socket) => socket,
            Link::Tls(wire) => wire.socket(),
        };
        socket.set_nonblocking(true).expect("a socket setting");
        Self { link, text, sent: 0 }
    }

    fn is_open(&mut self) -> bool {
        if let Some(byte) = self.text.get(self.sent..=self.sent) {
            self.sent += 1;
            // A write to a closed connection fails; the read below tells the same.
            let _ = match &mut self.link {
                Link::Bare(socket) => socket.write_all(byte),
                Link::Tls(wire) => wire.send(byte),
            };
        }
        let mut socket = match &self.link {
            Link::Bare(socket) => socket,
            Link::Tls(wire) => wire.socket(),
        };
        // Tickets, alerts and answers are read past; only the end counts.
        let mut buffer = [0; 4096];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }
}
