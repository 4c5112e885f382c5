//! The answering end: one thread for each link, a bounded number of links, and an end in good order.
//!
//! Threads, not tasks: an act on keys blocks on disks and providers, and there are as many links as daemons have, a few.

use super::tls;
use super::unix::Admitted;
use crate::seal::{self, Id, KeyAuthority, Link};
use parking_lot::{Condvar, Mutex};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

/// Links at one time. A daemon keeps a handful, and one for its poll.
const LINKS_MAX: usize = 256;
/// After an accept that failed for want of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests by the authority of the geo that they name.
#[derive(Clone)]
pub struct Answerer {
    authorities: Arc<HashMap<Id, Arc<dyn KeyAuthority>>>,
    links: Arc<Mutex<Links>>,
    none_busy: Arc<Condvar>,
}

#[derive(Default)]
struct Links {
    open: usize,
    busy: usize,
    closing: bool,
}

/// What became of the links when the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Acts that were under way and did not end in time. Each is safe to be cut.
    pub cut: usize,
}

impl Answerer {
    /// Over the authorities of the geos that are served.
    pub fn new(authorities: HashMap<Id, Arc<dyn KeyAuthority>>) -> Self {
        Self { authorities: Arc::new(authorities), links: Arc::default(), none_busy: Arc::new(Condvar::new()) }
    }

    /// No further act begins; waits for those under way, `patience` at most.
    pub fn close(&self, patience: Duration) -> Served {
        let mut links = self.links.lock();
        links.closing = true;
        self.none_busy.wait_while_for(&mut links, |links| links.busy > 0, patience);
        Served { cut: links.busy }
    }

    /// Answers on `link` until it ends.
    fn answer(&self, link: &mut dyn Link) -> io::Result<()> {
        while seal::answer(link, |geo| {
            let authority = self.authorities.get(geo)?;
            Some(Arc::new(Busy::new(self.clone(), authority.clone())) as Arc<dyn KeyAuthority>)
        })? {}
        Ok(())
    }

    /// A thread for one link, if there is room.
    fn spawn(&self, work: impl FnOnce(&Self) -> io::Result<()> + Send + 'static) {
        {
            let mut links = self.links.lock();
            if links.open >= LINKS_MAX || links.closing {
                tracing::warn!(open = links.open, "a link was refused: there are too many, or the service ends");
                return;
            }
            links.open += 1;
        }
        let this = self.clone();
        let spawned = std::thread::Builder::new().name("key link".into()).spawn(move || {
            // An error is the peer's end or its silence; what it was refused for was said where it was refused.
            if let Err(error) = work(&this) {
                tracing::debug!(%error, "a link ended early");
            }
            this.links.lock().open -= 1;
        });
        if spawned.is_err() {
            self.links.lock().open -= 1;
        }
    }
}

/// An authority whose acts are counted while they run.
struct Busy {
    answerer: Answerer,
    authority: Arc<dyn KeyAuthority>,
}

impl Busy {
    fn new(answerer: Answerer, authority: Arc<dyn KeyAuthority>) -> Self {
        Self { answerer, authority }
    }
}

impl KeyAuthority for Busy {
    fn call(&self, request: seal::Request) -> Result<seal::Reply, seal::KeyError> {
        // A poll is nothing that has to be waited for.
        if matches!(request, seal::Request::Revocations { .. }) {
            return self.authority.call(request);
        }
        {
            let mut links = self.answerer.links.lock();
            if links.closing {
                return Err(seal::KeyError::Unreachable);
            }
            links.busy += 1;
        }
        let reply = self.authority.call(request);
        let mut links = self.answerer.links.lock();
        links.busy -= 1;
        if links.busy == 0 {
            self.answerer.none_busy.notify_all();
        }
        reply
    }
}

/// Accepts on a Unix socket, for ever, in a thread of its own.
pub fn serve_unix(listener: UnixListener, admitted: Admitted, answerer: Answerer) -> io::Result<()> {
    let accept = move || loop {
        match listener.accept() {
            Ok((mut socket, _)) if admitted.admits(&socket) => {
                answerer.spawn(move |this| this.answer(&mut socket));
            }
            Ok(_) => tracing::warn!("a process of another user asked for keys and was refused"),
            Err(error) => pause(&error),
        }
    };
    std::thread::Builder::new().name("key socket".into()).spawn(accept).map(drop)
}

/// Accepts on a TCP socket, for ever, in a thread of its own. `config` is asked for each connection.
pub fn serve_tls(
    listener: TcpListener,
    config: impl Fn() -> Arc<ServerConfig> + Send + 'static,
    answerer: Answerer,
) -> io::Result<()> {
    let accept = move || loop {
        match listener.accept() {
            Ok((tcp, peer)) => {
                let config = config();
                answerer.spawn(move |this| {
                    let accepted = tls::accept(tcp, config);
                    let mut link = accepted.inspect_err(|error| {
                        tracing::warn!(%peer, %error, "a link was refused: no TLS 1.3, or no certificate that holds");
                    })?;
                    this.answer(&mut link)
                });
            }
            Err(error) => pause(&error),
        }
    };
    std::thread::Builder::new().name("key listener".into()).spawn(accept).map(drop)
}

#[allow(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to wait for")]
fn pause(error: &io::Error) {
    tracing::error!(%error, "cannot accept links");
    std::thread::sleep(PAUSE);
}
