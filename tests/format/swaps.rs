//! FX-08: whole blobs in the place of others: of another object, bucket, tenant or part; as they are, with the names in
//! their headers rewritten to fit, and with the whole header of the right one. All of it is refused, and after
//! everything was put back in its place, served.

use super::attack::{Caller, HEADER, Stored};
use geoseal_support::server::{BUCKET, Server};
use std::fs;

/// More than rides in a row, so that each has a file; all of one length, so that nothing gives a swap away but its seal.
const LEN: usize = 150_000;
const PART: usize = 5 << 20;
/// Where a header says whose it is: kind and part (up to 16), the context, segment and data key.
const NAMES: std::ops::Range<usize> = 8..128;

struct Swap {
    what: &'static str,
    a: (usize, usize),
    b: (usize, usize),
}

#[test]
fn r48_p13_a_blob_in_the_place_of_another_is_refused() {
    let mut server = Server::start();
    let mut demo = Caller::demo(&server);
    let mut other = Caller::of_another_tenant(&server);
    demo.make_bucket("second");
    other.make_bucket(BUCKET);
    // By whom, and what. The two tenants' objects have the same bucket and name.
    let stored: Vec<(bool, Stored)> = vec![
        (true, demo.store(&server, BUCKET, "one", LEN)),
        (true, demo.store(&server, BUCKET, "two", LEN)),
        (true, demo.store(&server, "second", "one", LEN)),
        (false, other.store(&server, BUCKET, "one", LEN)),
        (true, demo.store_parts(&server, BUCKET, "parts", &[PART, PART, 100])),
        (true, demo.store_parts(&server, BUCKET, "more parts", &[PART, PART, 100])),
    ];
    let swaps = [
        Swap { what: "another object", a: (0, 0), b: (1, 0) },
        Swap { what: "another bucket", a: (0, 0), b: (2, 0) },
        Swap { what: "another tenant", a: (0, 0), b: (3, 0) },
        Swap { what: "another part", a: (4, 0), b: (4, 1) },
        Swap { what: "the same part of another object", a: (4, 0), b: (5, 0) },
    ];
    let file = |(object, part): (usize, usize)| &stored[object].1.files[part];
    for swap in &swaps {
        let [a, b] = [swap.a, swap.b].map(|at| fs::read(file(at)).expect("a blob can be read"));
        assert_eq!(a.len(), b.len());
        let fit = |sealed: &[u8], like: &[u8], range: std::ops::Range<usize>| {
            let mut sealed = sealed.to_vec();
            sealed[range.clone()].copy_from_slice(&like[range]);
            sealed
        };
        let forgeries = [
            ("as it is", b.clone(), a.clone()),
            ("names rewritten", fit(&b, &a, NAMES), fit(&a, &b, NAMES)),
            ("under the right header", fit(&b, &a, 0..HEADER), fit(&a, &b, 0..HEADER)),
        ];
        for (how, in_a, in_b) in forgeries {
            server.terminate();
            fs::write(file(swap.a), &in_a).expect("the data directory is ours");
            fs::write(file(swap.b), &in_b).expect("the data directory is ours");
            server.restart();
            let mut demo = demo.again(&server);
            let mut other = other.again(&server);
            for (number, (is_demo, stored)) in stored.iter().enumerate() {
                let when = format!("{}, {how}: object {number}", swap.what);
                let caller = if *is_demo { &mut demo } else { &mut other };
                if number == swap.a.0 || number == swap.b.0 {
                    caller.assert_refused(stored, &when);
                } else {
                    caller.assert_served(stored, &when);
                }
            }
        }
        fs::write(file(swap.a), &a).expect("the data directory is ours");
        fs::write(file(swap.b), &b).expect("the data directory is ours");
    }
    let mut demo = demo.again(&server);
    let mut other = other.again(&server);
    for (is_demo, stored) in &stored {
        if *is_demo { &mut demo } else { &mut other }.assert_served(stored, "everything back in its place");
    }
}
