//! A bucket of a million names: how fast it fills, what LIST 1000 costs anywhere in it, what the daemon holds in memory
//! with it open, how long a restart takes and what the first listing after it costs.

use std::{fs, io, path::Path, time::Instant};

use geoseal_support::{
    records::{Mix, Records},
    server::Server,
};

use crate::{
    LOADER_CORE, SERVER_CORE,
    cells::short,
    loader::{Until, Work},
    process::{memory_mib, pin},
    target::Target,
};

/// Names that are signed and sent at a time: signatures age, and heads take memory.
const BATCH: usize = 20_000;

/// Fills the bucket with `count` names in random order and prints what it is to live with.
pub(crate) fn run(count: usize, server: &mut Server) -> io::Result<()> {
    let (body, mut names) = sample(count);
    fastrand::Rng::with_seed(1).shuffle(&mut names);

    println!("| a bucket of {count} names | |\n|---|---|");
    let begun = Instant::now();
    for batch in names.chunks(BATCH) {
        let ours = Target::ours(server);
        let heads = ours.puts(batch.iter().cloned(), body.len());
        ours.run(64, &Work { heads, body: body.clone(), until: Until::AllSent })?;
    }
    let filling = begun.elapsed();
    let rate = count as f64 / filling.as_secs_f64();
    println!("| filled in random order, {} B each, 64 clients | {} ({rate:.0}/s) |", body.len(), short(filling));
    memory(server, "after filling");
    println!("| data directory | {:.0} MiB |", disk_bytes(server.data())? as f64 / f64::from(1 << 20));
    for clients in [1, 16] {
        list(server, &names, clients)?;
    }
    memory(server, "after listing");

    let begun = Instant::now();
    server.terminate();
    println!("| stops on SIGTERM | {} |", short(begun.elapsed()));
    restart(server, &names, "after SIGTERM")?;
    server.kill();
    restart(server, &names, "after SIGKILL")?;
    memory(server, "restarted, bucket open");
    list(server, &names, 1)
}

fn restart(server: &mut Server, names: &[String], when: &str) -> io::Result<()> {
    pin(SERVER_CORE)?;
    let begun = Instant::now();
    server.restart();
    println!("| serves again {when} | {} |", short(begun.elapsed()));
    pin(LOADER_CORE)?;
    let ours = Target::ours(server);
    let heads = ours.lists(names.iter().take(1).cloned());
    let (first, _) = ours.run(1, &Work { heads, body: vec![], until: Until::AllSent })?;
    println!("| first listing {when}, opens the bucket | {} |", short(first.percentile(1.0)));
    Ok(())
}

fn list(server: &Server, names: &[String], clients: usize) -> io::Result<()> {
    let ours = Target::ours(server);
    let heads = ours.lists(names.iter().take(2_000).cloned());
    let pages = heads.len();
    let (seen, cpu) = ours.run(clients, &Work { heads, body: vec![], until: Until::AllSent })?;
    println!(
        "| LIST 1000 from {pages} random places, {clients} client(s) | {:.0} pages/s, p50 {}, p99 {}, worst {}, CPU {} |",
        seen.rate(),
        short(seen.percentile(0.5)),
        short(seen.percentile(0.99)),
        short(seen.percentile(1.0)),
        short(cpu / pages as u32),
    );
    Ok(())
}

fn memory(server: &Server, when: &str) {
    let (now, peak) = (memory_mib(server.pid(), "VmRSS"), memory_mib(server.pid(), "VmHWM"));
    println!("| memory {when} | {now:.0} MiB, at most {peak:.0} MiB |");
}

/// Names of generated records, and one typical body for all of them.
fn sample(count: usize) -> (Vec<u8>, Vec<String>) {
    let mut records = Records::new(5, Mix::Small);
    let body = records.next().expect("the sequence is endless").body;
    (body, records.take(count).map(|r| r.name).collect())
}

fn disk_bytes(path: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}
