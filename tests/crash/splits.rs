//! NX-05 on the running product: thousands of names in one bucket, so that leaves are rewritten and split all the time,
//! and a SIGKILL at any moment of it. (`src/index/tests/crash.rs` stops at every single commit, in one process.)
//!
//! The loss it guards against: a name that was acknowledged and is in no leaf, or in two; one that is listed and cannot
//! be read; leaves out of order.

use super::witness::{Act, Address, Witness};
use fastrand::Rng;
use geoseal_support::{
    server::Server,
    signer::{Request, object_path},
};
use std::{sync::Arc, time::Duration};

const BUCKET: &str = "splits";
const KILLS: u64 = 40;
/// At most so many acts between two kills.
const ACTS: usize = 600;
/// Names there may be: far more than a leaf holds.
const NAMES: usize = 20_000;

#[test]
fn no_name_is_lost_doubled_or_out_of_order_when_leaves_split() {
    let mut server = Server::start();
    let mut witness = Witness::new(BUCKET);
    let mut rng = Rng::with_seed(5);
    Address::of(&server)
        .connect()
        .and_then(|mut client| client.ok(Request::new("PUT", &format!("/{BUCKET}"))))
        .expect("the bucket is made");
    let mut all = 0;
    for kill in 0..KILLS {
        let when = format!("kill {kill}");
        let mut numbers: Vec<usize> = (0..ACTS).map(|_| rng.usize(..NAMES)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        rng.shuffle(&mut numbers);
        let touched: Vec<String> = numbers.into_iter().map(|number| format!("name-{number:05}")).collect();
        let acts = touched.iter().map(|name| act(&witness, &mut rng, name.clone())).collect();
        // Early in a start's life, where the journal is replayed and fences are read, and late, where leaves split.
        let after = if kill % 4 == 0 { 1 } else { rng.usize(50..ACTS * 3 / 4) };
        all += witness.write_until_killed(&mut server, acts, after, Duration::from_micros(rng.u64(..8_000)));
        server.restart();
        witness.check(&server, &when);
        witness.read_back(&server, &when, |name| touched.iter().any(|one| one == name));
    }
    let there = witness.known().values().filter(|content| content.is_some()).count();
    assert!(all > 4_000 && there > 3_000, "{all} writes, {there} names: too few for leaves to split");
    witness.read_back(&server, "at the end", |_| true);
}

/// Puts a name, or deletes one in ten of those that are there.
fn act(witness: &Witness, rng: &mut Rng, name: String) -> Act {
    let there = witness.known().get(&name).cloned().flatten().is_some();
    let path = object_path(BUCKET, &name);
    if there && rng.u8(..10) == 0 {
        let run =
            Box::new(move |client: &mut super::witness::Client| client.ok(Request::new("DELETE", &path)).map(|_| true));
        return Act { name, becomes: None, run };
    }
    let body = vec![b'.'; rng.usize(..200)];
    let put = Request::new("PUT", &path).body(body.clone());
    Act { name, becomes: Some(Arc::new(body)), run: Box::new(move |client| client.ok(put).map(|_| true)) }
}
