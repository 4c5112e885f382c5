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

/// How long an act may take: a provider that is slow, over every root of a step.
const PATIENCE: Duration = Duration::from_secs(60);
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

    /// An answer over a kept link, or over a new one when the kept one turns out to be closed. What must not be done
    /// twice goes over a new one, which is not tried twice.
    fn ask(
        &self,
        body: &[u8],
        patience: Duration,
        is_fresh: bool,
        is_poll: bool,
    ) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
        if !is_fresh {
            while let Some(mut link) = self.take_idle() {
                if let Ok(answer) = self.exchange(&mut *link, body) {
                    self.keep(link);
                    return Ok(answer);
                }
            }
        }
        let mut link = self.connector.connect(patience)?;
        let answer = self.exchange(&mut *link, body)?;
        if !is_poll {
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

impl KeyAuthority for RemoteAuthority {
    #[allow(
        clippy::disallowed_methods,
        reason = "how long to leave a dead link alone is real time, as its time-outs are"
    )]
    fn call(&self, request: Request) -> Result<Reply, KeyError> {
        // A poll's deadline is its own; the pause is for those who would wait in vain.
        let (patience, is_poll) = match &request {
            Request::Revocations { wait_ms, .. } => (Duration::from_millis(u64::from(*wait_ms)) + POLL_MARGIN, true),
            _ => (PATIENCE, false),
        };
        let is_fresh = is_poll || !request.is_repeatable();
        if !is_poll && self.pause.lock().is_some_and(|until| Instant::now() < until) {
            return Err(KeyError::Unreachable);
        }
        match self.ask(&wire::request_to_bytes(self.geo, request), patience, is_fresh, is_poll) {
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
