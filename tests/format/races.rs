//! An object that is overwritten while others read it: its old bytes go away under them, and that is no fault of what is
//! stored. A reader gets the old object or the new one, whole, or is cut off and asks again; nobody rings an alarm.

use super::attack::{Caller, get};
use super::blobs::recorded;
use geoseal_support::{
    records::bytes,
    server::{BUCKET, Server},
    signer::Request,
};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// Several fetches long, so that a reader is often in the middle of it.
const LEN: usize = 5 << 20;
const OVERWRITES: u64 = 60;

#[test]
fn an_overwrite_under_a_reader_is_no_integrity_failure() {
    let server = Server::start();
    let stored = Caller::demo(&server).store(&server, BUCKET, "busy", LEN);
    let (over, whole) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut caller = Caller::demo(&server);
                while !over.load(Ordering::Relaxed) {
                    let Ok(got) = caller.try_call(get(&stored)) else { continue };
                    assert_eq!(got.status, 200, "{}", got.text());
                    let version = u64::from_le_bytes(got.body[..8].try_into().expect("8 bytes"));
                    let expected = if got.body == stored.body { stored.body.clone() } else { body(version) };
                    assert!(got.body == expected, "a body of two objects");
                    whole.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut caller = Caller::demo(&server);
        for version in 0..OVERWRITES {
            let put = Request { method: "PUT".into(), ..get(&stored) };
            assert_eq!(caller.call(put.body(body(version))).status, 200);
            let copy = Request::new("PUT", &format!("/{BUCKET}/copy"));
            let copied = caller.call(copy.header("x-amz-copy-source", &format!("/{BUCKET}/busy")));
            assert_eq!(copied.status, 200, "{}", copied.text());
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(whole.into_inner() > 0, "nobody read anything");
    assert_eq!(recorded(&server), [""; 0]);
}

/// A body that says which it is.
fn body(version: u64) -> Vec<u8> {
    [&version.to_le_bytes()[..], &bytes(version, LEN)].concat()
}
