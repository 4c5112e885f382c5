//! Both ends of a link to a key service: [`RemoteAuthority`] asks, [`answer`] answers. What carries the bytes (a Unix
//! socket, TLS) and who may be at the other end is the caller's to say.
//!
//! One request is under way on a link at a time; links are kept and used again. A link that failed is dropped, and for a
//! moment nobody tries another: whoever asks then learns at once that the service is out of reach.

use crate::authority::{KeyAuthority, Reply, Request};
use crate::context::Id;
use crate::error::KeyError;
use crate::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use parking_lot::Mutex;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One link.
pub trait Link: Read + Write + Send {}

impl<T: Read + Write + Send> Link for T {}

/// Makes links to one key service. Both ends have proved who they are when it returns. It sets the link's deadlines:
/// `patience` is how long an answer may take.
pub trait Connector: Send + Sync {
    /// A new link.
    fn connect(&self, patience: Duration) -> io::Result<Box<dyn Link>>;
}

/// How long an act may take that clients wait for: a call of a slow provider, and a disk's.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long an act on many keys may take: a provider that is slow, over every root of a step.
const PATIENCE_LONG: Duration = Duration::from_secs(60);
/// Beyond the time that a poll asked to wait.
const POLL_MARGIN: Duration = Duration::from_secs(10);
/// After a failure nobody tries for this long.
const PAUSE: Duration = Duration::from_millis(500);
/// Links kept for the next request.
const IDLE_MAX: usize = 8;

/// The key service of one geo at the other end of a link.
pub struct RemoteAuthority {
    geo: Id,
    connector: Box<dyn Connector>,
    idle: Mutex<Vec<Box<dyn Link>>>,
    pause: Mutex<Option<Instant>>,
}

impl RemoteAuthority {
    /// The service of `geo` behind `connector`. Does not connect yet.
    pub fn new(geo: Id, connector: Box<dyn Connector>) -> Self {
        Self { geo, connector, idle: Mutex::default(), pause: Mutex::default() }
    }

    fn exchange(&self, link: &mut dyn Link, body: &[u8]) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
        wire::write_frame(link, body)?;
        wire::read_frame(link, REPLY_BYTES_MAX)?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    /// An answer over a kept link, or over a new one when the kept one turns out to be closed.
    fn ask(&self, body: &[u8], way: Way) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
        let Way { patience, is_kept, is_repeatable } = way;
        while let Some(mut link) = if is_kept && is_repeatable { self.take_idle() } else { None } {
            match self.exchange(&mut *link, body) {
                Ok(answer) => {
                    self.keep(link);
                    return Ok(answer);
                }
                // It is there and does not answer: the next link would wait as long, and so on.
                Err(error) if is_silence(&error) => return Err(error),
                Err(_) => {}
            }
        }
        let mut link = self.connector.connect(patience)?;
        let answer = self.exchange(&mut *link, body)?;
        if is_kept {
            self.keep(link);
        }
        Ok(answer)
    }

    fn take_idle(&self) -> Option<Box<dyn Link>> {
        self.idle.lock().pop()
    }

    fn keep(&self, link: Box<dyn Link>) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }
}

/// Over which link a request goes.
#[derive(Clone, Copy)]
struct Way {
    patience: Duration,
    /// Over one that is kept for the next request, which has this patience, too.
    is_kept: bool,
    /// Whether it may go over a link that was kept: what must not be done twice goes over a new one.
    is_repeatable: bool,
}

impl Way {
    fn of(request: &Request) -> Self {
        let is_repeatable = request.is_repeatable();
        match request {
            // A poll's deadline is its own.
            Request::Revocations { wait_ms, .. } => {
                let patience = Duration::from_millis(u64::from(*wait_ms)) + POLL_MARGIN;
                Self { patience, is_kept: false, is_repeatable }
            }
            _ if request.is_long() => Self { patience: PATIENCE_LONG, is_kept: false, is_repeatable },
            _ => Self { patience: PATIENCE, is_kept: true, is_repeatable },
        }
    }
}

/// Nothing came within the link's patience.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl KeyAuthority for RemoteAuthority {
    #[allow(
        clippy::disallowed_methods,
        reason = "how long to leave a dead link alone is real time, as its time-outs are"
    )]
    fn call(&self, request: Request) -> Result<Reply, KeyError> {
        // The pause is for those who would wait in vain; a poll has nobody waiting for it.
        let (way, is_poll) = (Way::of(&request), matches!(request, Request::Revocations { .. }));
        if !is_poll && self.pause.lock().is_some_and(|until| Instant::now() < until) {
            return Err(KeyError::Unreachable);
        }
        match self.ask(&wire::request_to_bytes(self.geo, request), way) {
            Ok(answer) => {
                *self.pause.lock() = None;
                wire::answer_from_bytes(&answer)
            }
            Err(_) => {
                self.idle.lock().clear();
                *self.pause.lock() = Some(Instant::now() + PAUSE);
                Err(KeyError::Unreachable)
            }
        }
    }
}

/// Answers one request from `link` by the authority that `of` gives for its geo; false when the link has ended. A
/// request that cannot be read, or is for a geo that is not here, is answered so.
pub fn answer(link: &mut dyn Link, of: impl FnOnce(&Id) -> Option<Arc<dyn KeyAuthority>>) -> io::Result<bool> {
    let Some(body) = wire::read_frame(link, REQUEST_BYTES_MAX)? else { return Ok(false) };
    let answer = wire::request_from_bytes(&body).and_then(|asked| match of(&asked.geo) {
        Some(authority) => authority.call(asked.request),
        None => Err(KeyError::Unknown),
    });
    let fits = wire::answer_to_bytes(answer);
    wire::write_frame(link, &fits)?;
    Ok(true)
}
