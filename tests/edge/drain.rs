//! How the process stops: what is in flight ends well, nothing new begins, and the next start finds everything in order.

use super::{once, until, within};
use geoseal_support::{
    daemon::{Daemon, REGION},
    signer::{Body, Credentials, Request},
    wire::{Wire, client_config},
};
use rustix::process::Signal;
use rustls::ClientConfig;
use std::{net::TcpStream, sync::Arc, time::Duration};

/// More than sockets and buffers hold, so that an answer is still in flight while nobody reads it.
const LARGE: usize = 24 << 20;

struct Rig {
    daemon: Daemon,
    login: Credentials,
    config: Arc<ClientConfig>,
    large: Vec<u8>,
}

impl Rig {
    fn new(limits: &str) -> Self {
        let mut daemon = Daemon::prepare();
        daemon.edit(|text| format!("{text}\n[limits]\n{limits}\n"));
        daemon.serve();
        let login = daemon.tenant("contoso");
        let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
        let large: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        let rig = Self { daemon, login, config, large };
        assert_eq!(rig.ask(Request::new("PUT", "/drain")).status, 200);
        assert_eq!(rig.ask(Request::new("PUT", "/drain/large").body(rig.large.clone())).status, 200);
        rig
    }

    fn signed(&self, request: Request) -> Request {
        request.signed(&self.login, &self.daemon.s3().to_string(), Body::Unsigned)
    }

    fn wire(&self) -> Wire {
        Wire::connect(self.daemon.s3(), self.config.clone()).expect("the listener accepts")
    }

    fn ask(&self, request: Request) -> geoseal_support::wire::Response {
        self.wire().exchange(&self.signed(request)).expect("an answer")
    }

    /// A GET whose answer has begun and is not read.
    fn stalled(&self) -> Wire {
        let mut wire = self.wire();
        let begun = self.daemon.log().matches("GetObject").count();
        wire.send(&self.signed(Request::new("GET", "/drain/large")).bytes()).unwrap();
        let mut first = [0; 1];
        until("the answer begins", || wire.socket().peek(&mut first).is_ok_and(|count| count > 0));
        assert_eq!(self.daemon.log().matches("GetObject").count(), begun, "it has not ended");
        wire
    }

    fn draining(&self) {
        until("it drains", || self.daemon.log().contains("\"draining\""));
    }
}

#[test]
fn what_is_in_flight_ends_well_and_the_next_start_needs_no_recovery() {
    let mut rig = Rig::new("drain_s = 60");
    let mut reader = rig.stalled();
    let put = rig.signed(Request::new("PUT", "/drain/put").header("content-length", &LARGE.to_string()));
    let mut writer = rig.wire();
    writer.send(&put.head()).unwrap();
    writer.send(&rig.large[..LARGE / 2]).unwrap();
    let _idle = {
        let mut idle = rig.wire();
        idle.exchange(&rig.signed(Request::new("GET", "/"))).unwrap();
        idle
    };
    let _greeted = rig.wire();
    let _silent = TcpStream::connect(rig.daemon.s3()).unwrap();

    rig.daemon.signal(Signal::TERM);
    rig.draining();
    for address in [rig.daemon.s3(), rig.daemon.admin()] {
        until("no new connection", || TcpStream::connect(address).is_err());
    }
    assert!(rig.daemon.ended().is_none(), "it waits for what is in flight");
    let answer = reader.answer("GET").unwrap();
    assert!(answer.status == 200 && answer.body == rig.large, "the answer ends whole");
    writer.send(&rig.large[LARGE / 2..]).unwrap();
    assert_eq!(writer.answer("PUT").unwrap().status, 200);
    assert_eq!(rig.daemon.wait().code(), Some(0));
    assert!(rig.daemon.log().contains("\"cut\":0"), "{}", rig.daemon.log());

    let before = rig.daemon.log().len();
    rig.daemon.serve();
    let log = rig.daemon.log()[before..].to_lowercase();
    for word in ["recover", "torn", "half written", "warn", "error"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    assert_eq!(rig.ask(Request::new("GET", "/drain/put")).body, rig.large);
    let entries = rig.daemon.geoseal(&["audit", "tail", "-n", "3", "--json"]).json();
    let events: Vec<_> = entries["entries"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events[events.len() - 2..], ["server-stopped", "server-started"]);
    assert_eq!(rig.daemon.geoseal(&["audit", "verify"]).code(), Some(0));
}

#[test]
fn what_does_not_end_is_cut_after_its_time() {
    let mut rig = Rig::new("drain_s = 1\nbody_window_s = 600");
    let _reader = rig.stalled();
    assert_eq!(rig.daemon.terminate().code(), Some(0));
    assert!(rig.daemon.log().contains("\"cut\":1"), "{}", rig.daemon.log());
}

#[test]
fn a_second_signal_cuts_at_once_and_still_stops_in_order() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let mut rig = Rig::new("drain_s = 3600\nbody_window_s = 600");
        let _reader = rig.stalled();
        rig.daemon.signal(first);
        rig.draining();
        assert!(rig.daemon.ended().is_none());
        rig.daemon.signal(second);
        let mut status = None;
        within(Duration::from_secs(30), "it stops at once", || {
            status = rig.daemon.ended();
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        assert!(rig.daemon.wait().success());
        rig.daemon.serve();
        let entries = rig.daemon.geoseal(&["audit", "tail", "--json"]).json();
        let stopped = entries["entries"].as_array().unwrap().iter().any(|e| e["event"] == "server-stopped");
        assert!(stopped, "it stopped in good order: {entries}");
    }
}

/// A process that was just started is told to stop: it does, whatever it was at.
#[test]
fn a_signal_at_any_moment_of_a_start_loses_nothing() {
    let mut daemon = Daemon::start();
    daemon.tenant("contoso");
    daemon.terminate();
    for _ in 0..3 {
        daemon.serve();
        daemon.signal(Signal::INT);
        assert_eq!(daemon.wait().code(), Some(0));
    }
    daemon.serve();
    let shown = daemon.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    assert_eq!((&shown["state"], &shown["home"]), (&"ACTIVE".into(), &REGION.into()));
    let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
    assert_eq!(once(daemon.admin(), config, &Request::new("GET", "/readyz")).unwrap().status, 200);
}
