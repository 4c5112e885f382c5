//! The door of the shipped binary, from outside: which TLS it speaks, what it says to anything else, how certificates
//! change under load, who is cut and when, and how it stops. Source: threats T-01 to T-05 and T-07.

pub(crate) mod authority;
mod certificates;
pub(crate) mod clients;
mod deadlines;
mod drain;
mod hello;
mod swarm;
mod versions;

use geoseal_support::{
    daemon::Daemon,
    signer::Request,
    wire::{Response, Wire},
};
use rustls::ClientConfig;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// One request on a connection of its own.
fn once(address: SocketAddr, config: Arc<ClientConfig>, request: &Request) -> io::Result<Response> {
    Wire::connect(address, config)?.exchange(&request.clone().header("host", &address.to_string()))
}

/// A route of the admin listener, with the administrator's token.
fn admin_get(daemon: &Daemon, path: &str) -> Request {
    Request::new("GET", path).header("authorization", &format!("Bearer {}", daemon.admin_token()))
}

/// The sum of a counter's samples whose line has all of `labels`.
fn metric(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let of = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until something is so.
fn until(what: &str, is_so: impl FnMut() -> bool) {
    within(Duration::from_secs(60), what, is_so);
}

fn within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
