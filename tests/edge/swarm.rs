//! T-07 in number: 10,000 peers of each kind, one kind after the other, from addresses enough to stay below the cap of
//! each. They are cut by the deadline of their kind, all of them, while honest clients are served. And 10,000 from one
//! address get no further than that address' cap.

use super::{admin_get, metric, within};
use geoseal_support::{
    daemon::Daemon,
    signer::{Body, Credentials, Request},
    wire::{Wire, client_config},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PEERS: usize = 10_000;
/// Open files that are neither a peer's nor to be missed: other tests run beside this one.
const OTHER_FILES: u64 = 4_000;
/// Peers of one address: below the default cap of 1,024.
const PER_ADDRESS: usize = 1_000;
/// What production runs with but for the deadlines; the caps are the default ones.
const LIMITS: &str = "
[limits]
handshake_s = 6
first_byte_s = 6
header_s = 6
body_window_s = 4
body_window_bytes_min = 8192
";
/// Default `connections_per_address_max`.
const PER_ADDRESS_MAX: usize = 1_024;
/// More than the kernel takes for a peer who does not read.
const LARGE: usize = 160 << 10;
/// Far above every deadline, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads that open peers.
const OPENERS: usize = 4;

#[test]
fn t07_ten_thousand_slow_peers_of_each_kind_are_cut_and_others_are_served() {
    let files = raise_open_files();
    assert!(files > OTHER_FILES + PEERS as u64, "10,000 peers need {} open files", OTHER_FILES + PEERS as u64);
    let mut daemon = Daemon::prepare();
    daemon.edit(|text| text + LIMITS);
    daemon.serve();
    let house = House { login: daemon.tenant("contoso"), daemon: &daemon };
    let ask = |request: Request| {
        let mut wire = Wire::connect(daemon.s3(), house.config()).expect("a new connection");
        wire.exchange(&house.signed(request)).expect("an answer")
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
                // As often as people click; not a load of its own.
                thread::sleep(Duration::from_millis(20));
            }
        });
        let _over = Over(&over);
        let all = |kind: &str, cut: &[&str], peer: &(dyn Fn(usize) -> io::Result<Peer> + Sync)| {
            let (before, honest) = (house.refused(cut), served.load(Ordering::Relaxed));
            let begun = Instant::now();
            let mut peers = open(peer);
            let (most, opened) = (house.connections(), begun.elapsed());
            within(PATIENCE, &format!("every peer of the kind {kind} is cut as {cut:?}"), || {
                peers.iter_mut().for_each(Peer::drip);
                house.refused(cut) - before >= PEERS as f64
            });
            within(PATIENCE, "every peer sees that it was cut", || {
                peers.retain_mut(|peer| !peer.is_closed());
                peers.is_empty()
            });
            let honest = served.load(Ordering::Relaxed) - honest;
            eprintln!("{kind}: {most} open after {opened:?}, all cut after {:?}, {honest} served", begun.elapsed());
            assert!(honest > 0, "honest clients were served beside {kind}");
        };
        all("silent", &["HandshakeSlow"], &|number| Peer::bare(&daemon, address(number)));
        let header = format!("GET /drip/small HTTP/1.1\r\nhost: {}\r\nx-pad: ", daemon.s3());
        all("header drip", &["HeaderSlow"], &|number| Peer::greeted(&house, address(number), header.as_bytes()));
        let slow = Request::new("PUT", "/drip/slow").header("content-length", "1048576");
        let slow = house.signed(slow).head();
        all("body drip", &["BodySlow"], &|number| Peer::greeted(&house, address(number), &slow));
        let much = house.signed(Request::new("GET", "/drip/large")).bytes();
        all("slow reader", &["ReaderSlow"], &|number| {
            Ok(Peer { drips: false, ..Peer::greeted(&house, address(number), &much)? })
        });
        // One address only: what is beyond its cap is closed at once, what is within by its deadline.
        let crowded = house.refused(&["TooManyFromAddress"]);
        let one = Ipv4Addr::new(127, 0, 2, 1);
        all("one address", &["HandshakeSlow", "TooManyFromAddress"], &|_| Peer::bare(&daemon, one));
        let crowded = house.refused(&["TooManyFromAddress"]) - crowded;
        // Places that were given back while peers still arrived were taken again.
        assert!(crowded >= (PEERS - 4 * PER_ADDRESS_MAX) as f64, "{crowded} of one address were refused at once");
    });
    // What was begun slowly never became an object.
    assert_eq!(ask(Request::new("GET", "/drip/slow")).status, 404);
}

/// The daemon raises its own limit the same way. Answers how many files this process may open.
fn raise_open_files() -> u64 {
    let wanted = OTHER_FILES + PEERS as u64 + 1;
    let files = getrlimit(Resource::Nofile);
    let most = files.maximum.map_or(wanted, |maximum| maximum.max(wanted));
    // Above the hard limit only root may go; below it everybody.
    for maximum in [most, files.maximum.unwrap_or(wanted)] {
        if setrlimit(Resource::Nofile, Rlimit { current: Some(maximum), maximum: Some(maximum) }).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Where the nth peer comes from.
fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number / PER_ADDRESS).expect("ten addresses"))
}

/// The daemon and who may ask it.
struct House<'a> {
    daemon: &'a Daemon,
    login: Credentials,
}

impl House<'_> {
    fn config(&self) -> Arc<ClientConfig> {
        client_config(&self.daemon.authority(), &[&rustls::version::TLS13])
    }

    fn signed(&self, request: Request) -> Request {
        request.signed(&self.login, &self.daemon.s3().to_string(), Body::Unsigned)
    }

    fn metrics(&self) -> String {
        let mut wire = Wire::connect(self.daemon.admin(), self.config()).expect("the admin listener answers");
        wire.exchange(&admin_get(self.daemon, "/metrics").header("host", "localhost")).expect("metrics").text()
    }

    fn connections(&self) -> f64 {
        metric(&self.metrics(), "geoseal_connections{", &["listener=\"s3\""])
    }

    /// Connections cut for one of the reasons.
    fn refused(&self, reasons: &[&str]) -> f64 {
        let metrics = self.metrics();
        let of = |reason: &&str| {
            let labels = ["listener=\"s3\"", &format!("reason=\"{reason}\"")];
            metric(&metrics, "geoseal_connections_refused_total", &labels)
        };
        reasons.iter().map(of).sum()
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All peers of a kind, opened side by side.
fn open(peer: &(dyn Fn(usize) -> io::Result<Peer> + Sync)) -> Vec<Peer> {
    let mine = |opener: usize| move || (opener..PEERS).step_by(OPENERS).map(peer).collect::<io::Result<Vec<_>>>();
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS).map(|opener| scope.spawn(mine(opener))).collect();
        let opened = openers.into_iter().flat_map(|opener| opener.join().expect("no panic").expect("peers connect"));
        opened.collect()
    })
}

/// A slow peer: a socket, perhaps with TLS over it.
struct Peer {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    drips: bool,
    dripped: Instant,
}

impl Peer {
    /// Connected, and silent.
    fn bare(daemon: &Daemon, from: Ipv4Addr) -> io::Result<Self> {
        let socket = connected(daemon.s3(), from)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls: None, drips: false, dripped: Instant::now() })
    }

    /// Through with the handshake; has said `first`, and goes on byte by byte.
    fn greeted(house: &House<'_>, from: Ipv4Addr, first: &[u8]) -> io::Result<Self> {
        thread_local! {
            static CONFIG: std::cell::OnceCell<Arc<ClientConfig>> = const { std::cell::OnceCell::new() };
        }
        let config = CONFIG.with(|config| config.get_or_init(|| house.config()).clone());
        let mut socket = connected(house.daemon.s3(), from)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(house.daemon.s3().ip().into());
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        tls.complete_io(&mut socket)?;
        tls.writer().write_all(first)?;
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls: Some(Box::new(tls)), drips: true, dripped: Instant::now() })
    }

    /// One more byte a second. That the connection is cut already is told by `is_closed`.
    fn drip(&mut self) {
        if let Some(tls) = self.tls.as_mut().filter(|_| self.drips && self.dripped.elapsed() > Duration::from_secs(1)) {
            self.dripped = Instant::now();
            let _ = tls.writer().write_all(b"x");
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Whether the server has closed it. Tickets, alerts and answers are read past; only the end counts.
    fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }
}

/// A connection from an address of our choice, that takes little from the server before the peer reads.
fn connected(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&to.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}
