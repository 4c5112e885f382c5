//! A tenant with a million objects leaves: how fast it is destroyed, how soon nothing of it can be read, and what another
//! tenant's readers notice of it, as a ratio of the same run.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use geoseal_support::{
    records::bytes,
    server::{BUCKET, Launch, Server},
    signer::{Body, Credentials, Request},
    wire::Wire,
};
use serde_json::Value;

use crate::{
    LOADER_CORE, SERVER_CORE,
    cells::short,
    loader::{Measured, Until, Work},
    process::{memory_mib, pin},
    target::Target,
};

/// Names that are signed and sent at a time: signatures age, and heads take memory.
const BATCH: usize = 20_000;
/// Bytes of each object: an interaction record.
const SIZE: usize = 512;
/// Objects of the tenant that stays, and who reads them.
const STORED: usize = 10_000;
const READERS: usize = 16;
/// Between two looks at where the tenant stands.
const LOOK: Duration = Duration::from_millis(250);

/// The tenant is gone, or will not be: the readers may stop.
static DONE: AtomicBool = AtomicBool::new(false);

/// When it was seen in which state, counted from the moment that it was due.
#[derive(Default)]
struct Seen {
    purging: Option<Duration>,
    purged: Option<Duration>,
}

/// Fills a tenant with `count` objects, terminates it, lets 90 days pass and watches.
pub(crate) fn run(count: usize, seconds: f64) -> Result<(), Box<dyn Error>> {
    pin(SERVER_CORE)?;
    let server = Launch::default().flag("--simulated-clock").start();
    pin(LOADER_CORE)?;
    let stays = Target::ours(&server);
    let leaver = leaver(&server)?;
    let leaves = Target::of(&server, leaver);

    println!("| a tenant of {count} objects of {SIZE} B leaves | |\n|---|---|");
    let begun = Instant::now();
    for from in (0..count).step_by(BATCH) {
        let names = (from..count.min(from + BATCH)).map(|n| format!("interactions/{:05}/{n:09}.json", n * 7919 % 9973));
        let heads = leaves.puts(names, SIZE);
        leaves.run(64, &Work { heads, body: bytes(2, SIZE), until: Until::AllSent })?;
    }
    println!("| filled, 64 clients | {} ({:.0}/s) |", short(begun.elapsed()), rate(count, begun.elapsed()));
    stays.fill((0..STORED).map(name), &bytes(1, 1 << 10))?;

    let id = json(&server, &["tenant", "show", "leaver", "--json"])["id"].as_str().ok_or("it has an id")?.to_owned();
    let read = |until| {
        let heads = stays.gets((0..STORED).map(|n| name(n * 7 % STORED)));
        stays.run(READERS, &Work { heads, body: vec![], until }).map(|(measured, _)| measured)
    };
    read(Until::Elapsed(Duration::from_secs(1)))?; // warm
    let before = read(Until::Elapsed(Duration::from_secs_f64(seconds)))?;

    server.geoseal(&["tenant", "terminate", "leaver", "--reason", "bench", "--confirm", "leaver"]).ok();
    server.geoseal(&["dev", "clock", "advance", "90d"]).ok();
    let due = Instant::now();
    let (during, seen) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&server, &id, due));
        let during = read(Until::Told(&DONE));
        // If the readers failed there is nothing to wait for.
        DONE.store(true, Ordering::Relaxed);
        (during, watch.join())
    });
    let (during, seen) = (during?, seen.map_err(|_| "the watcher failed")?);
    let purged = seen.purged.ok_or_else(|| format!("it is not purged:\n{}", server.log()))?;
    let cert: Value = serde_json::from_str(&server.geoseal(&["certificate", "get", &id]).ok())?;
    let cert = &cert["certificate"];

    println!("| destroyed, manifest to certificate | {} ({:.0} objects/s) |", short(purged), rate(count, purged));
    println!("| first seen PURGING, after it was due | {} |", seen.purging.map_or_else(|| "-".into(), short));
    println!("| purge begun at, S1 (keys destroyed) at | {}, {} |", cert["purge_begun_at"], cert["reached"]["s1"]);
    println!("| deleted, by the certificate | {} |", cert["deleted"]);
    tell("before", &before);
    tell("during", &during);
    let ratio = during.percentile(0.99).as_secs_f64() / before.percentile(0.99).as_secs_f64();
    println!("| another tenant's GET p99, during / before | {ratio:.2} |");
    println!("| memory, at most | {:.0} MiB |", memory_mib(server.pid(), "VmHWM"));
    Ok(())
}

fn tell(when: &str, seen: &Measured) {
    let (p50, p99, worst) = (seen.percentile(0.5), seen.percentile(0.99), seen.percentile(1.0));
    let (p50, p99, worst) = (short(p50), short(p99), short(worst));
    println!(
        "| another tenant's GET 1 KiB, {READERS} clients, {when} | {:.0}/s, p50 {p50}, p99 {p99}, worst {worst} |",
        seen.rate()
    );
}

fn watch(server: &Server, id: &str, due: Instant) -> Seen {
    let mut seen = Seen::default();
    while !DONE.load(Ordering::Relaxed) {
        match json(server, &["tenant", "show", id, "--json"])["state"].as_str() {
            Some("PURGING") => drop(seen.purging.get_or_insert(due.elapsed())),
            Some("PURGED") => {
                seen.purged = Some(due.elapsed());
                DONE.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        thread::sleep(LOOK);
    }
    seen
}

/// A tenant with a login and a bucket, named as the other tenant's is.
fn leaver(server: &Server) -> Result<Credentials, Box<dyn Error>> {
    let consent = server.home().join("consent.txt");
    std::fs::write(&consent, "we agree\n")?;
    let consent = consent.to_str().ok_or("a temporary directory's name is UTF-8")?;
    let create = ["tenant", "create", "leaver", "--geo", "europe", "--home", "westeurope", "--consent", consent];
    server.geoseal(&create).ok();
    let login = json(server, &["credential", "create", "--tenant", "leaver", "--json"]);
    let field = |name: &str| login[name].as_str().map(str::to_owned).ok_or("a login has an id and a secret");
    let who = Credentials { access_id: field("access_id")?, secret: field("secret")?, region: "westeurope".to_owned() };
    let mut wire = Wire::to(server);
    let host = wire.host().to_owned();
    let made = wire.exchange(&Request::new("PUT", &format!("/{BUCKET}")).signed(&who, &host, Body::Hashed))?;
    if made.status == 200 { Ok(who) } else { Err(format!("{}: {}", made.status, made.text()).into()) }
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    server.geoseal(arguments).json()
}

fn name(n: usize) -> String {
    format!("stays/{n:06}")
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
