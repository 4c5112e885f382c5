//! The loader: many keep-alive TLS connections driven by one thread over epoll, with requests that were signed before
//! the clock started. It must cost less than what it measures, so it reads large, copies little, and leaves HTTP to the
//! few lines of [`Answer`].

use std::{
    io::{self, BufRead, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{Timespec, epoll};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::answer::Answer;

/// What to send: one of `heads` after another, each followed by `body`.
pub(crate) struct Work {
    /// Signed request heads, up to and with the empty line.
    pub(crate) heads: Vec<Vec<u8>>,
    /// The body that follows each; its length is what the heads announce.
    pub(crate) body: Vec<u8>,
    /// When to stop.
    pub(crate) until: Until,
}

/// When a run ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After this long, whatever is in flight; the heads are used again when they run out.
    Elapsed(Duration),
    /// When every head has been sent once and answered.
    AllSent,
    /// When somebody says so, whatever is in flight; the heads are used again when they run out.
    Told(&'static AtomicBool),
}

/// What a run saw.
#[derive(Default)]
pub(crate) struct Measured {
    /// Answers that came back whole, all of them 2xx.
    pub(crate) answers: u64,
    /// Body bytes, both ways, of answered and of still running requests.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// From the first byte sent to the last byte received, one for each answer, sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Measured {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// Body bytes per second, in MiB.
    pub(crate) fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64() / f64::from(1 << 20)
    }

    /// The latency that this share of all answers did not exceed; zero when there was no answer.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Open connections to one server.
pub(crate) struct Loader {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

impl Loader {
    /// Opens `count` connections and finishes their handshakes, so that no run pays for them.
    pub(crate) fn connect(address: SocketAddr, tls: &Arc<ClientConfig>, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = vec![];
        for number in 0..count {
            let connection = Connection::open(address, tls)?;
            epoll::add(&epoll, &connection.socket, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self { epoll, connections, buffer: vec![0; 256 * 1024] })
    }

    /// Keeps every connection busy with `work` until it is done. After [`Until::Elapsed`] requests are left in flight,
    /// so the loader is used up.
    ///
    /// Fails on the first answer that is not 2xx, with that answer's head: a rate of errors is not a rate.
    pub(crate) fn run(mut self, work: &Work) -> io::Result<Measured> {
        let mut measured = Measured::default();
        let mut next = 0;
        let mut busy = 0;
        let begun = Instant::now();
        for number in 0..self.connections.len() {
            busy += usize::from(self.begin(number, work, &mut next, &mut measured)?);
        }
        let mut events = Vec::with_capacity(self.connections.len());
        while busy > 0 {
            let over = match work.until {
                Until::Elapsed(limit) => begun.elapsed() >= limit,
                Until::Told(over) => over.load(Ordering::Relaxed),
                Until::AllSent => false,
            };
            if over {
                break;
            }
            let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&tick))?;
            for event in events.drain(..) {
                let (flags, data) = (event.flags, event.data); // copied: the kernel's struct is packed
                let number = data.u64() as usize;
                if flags.contains(epoll::EventFlags::OUT) {
                    self.write(number, work, &mut measured)?;
                }
                let readable = epoll::EventFlags::IN | epoll::EventFlags::ERR | epoll::EventFlags::HUP;
                if flags.intersects(readable)
                    && self.connections[number].read(&mut self.buffer, &mut measured)?
                    && !self.begin(number, work, &mut next, &mut measured)?
                {
                    busy -= 1;
                }
            }
        }
        measured.elapsed = begun.elapsed();
        measured.latencies.sort_unstable();
        Ok(measured)
    }

    /// Starts the next request on a connection; false when there is none left.
    fn begin(&mut self, number: usize, work: &Work, next: &mut usize, measured: &mut Measured) -> io::Result<bool> {
        if *next >= work.heads.len() {
            match work.until {
                Until::Elapsed(_) | Until::Told(_) => *next = 0,
                Until::AllSent => return Ok(false),
            }
        }
        let connection = &mut self.connections[number];
        connection.head = *next;
        connection.sent = 0;
        connection.begun = Instant::now();
        *next += 1;
        self.write(number, work, measured)?;
        Ok(true)
    }

    /// Sends as much as the socket takes, and asks to be told when it takes more.
    fn write(&mut self, number: usize, work: &Work, measured: &mut Measured) -> io::Result<()> {
        let connection = &mut self.connections[number];
        let blocked = connection.write(&work.heads[connection.head], &work.body, measured)?;
        if blocked != connection.wants_out {
            connection.wants_out = blocked;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            epoll::modify(&self.epoll, &connection.socket, epoll::EventData::new_u64(number as u64), flags)?;
        }
        Ok(())
    }
}

/// One connection and the request that is under way on it.
struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    wants_out: bool,
    head: usize,
    sent: usize,
    begun: Instant,
    answer: Answer,
}

impl Connection {
    fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        tls.complete_io(&mut socket)?;
        tls.set_buffer_limit(Some(256 * 1024));
        socket.set_nonblocking(true)?;
        let answer = Answer::default();
        Ok(Self { socket, tls, wants_out: false, head: 0, sent: 0, begun: Instant::now(), answer })
    }

    /// True when the socket is full.
    fn write(&mut self, head: &[u8], body: &[u8], measured: &mut Measured) -> io::Result<bool> {
        let end = head.len() + body.len();
        loop {
            if self.sent < head.len() {
                self.sent += self.tls.writer().write(&head[self.sent..])?;
            }
            if (head.len()..end).contains(&self.sent) {
                let count = self.tls.writer().write(&body[self.sent - head.len()..])?;
                self.sent += count;
                measured.bytes += count as u64;
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(e) => return Err(e),
                }
            }
            if self.sent == end {
                return Ok(false);
            }
        }
    }

    /// True when the answer is complete.
    fn read(&mut self, buffer: &mut [u8], measured: &mut Measured) -> io::Result<bool> {
        let count = match self.socket.read(buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection")),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        };
        let mut sealed = &buffer[..count];
        let mut complete = false;
        while !sealed.is_empty() {
            self.tls.read_tls(&mut sealed)?;
            self.tls.process_new_packets().map_err(io::Error::other)?;
            let mut reader = self.tls.reader();
            loop {
                let plain = match reader.fill_buf() {
                    Ok(plain) if !plain.is_empty() => plain,
                    Ok(_) => break,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                };
                let length = plain.len();
                complete |= self.answer.take(plain, &mut measured.bytes)?;
                reader.consume(length);
            }
        }
        if complete {
            measured.answers += 1;
            measured.latencies.push(self.begun.elapsed());
        }
        Ok(complete)
    }
}
