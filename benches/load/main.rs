//! The load bench: drives the shipped binary over TLS 1.3 with signed requests, one core for the server and one for this
//! loader, with nginx beside it on the server's core as the practical ceiling. Prints markdown for docs/performance.md.
//!
//! ```text
//! cargo bench --ignore-rust-version --bench load                              the whole matrix, a few minutes
//! cargo bench --ignore-rust-version --bench load -- --only "GET 1 KiB" --seconds 10 --alone
//! cargo bench --ignore-rust-version --bench load -- million [--names 1000000]
//! cargo bench --ignore-rust-version --bench load -- ingest
//! cargo bench --ignore-rust-version --bench load -- purge [--names 1000000] [--seconds 10]
//! ```
//!
//! `--alone` leaves nginx out; `--peer-only` leaves us out, to see what the loader itself can do.

#![allow(clippy::disallowed_methods, reason = "measures a real process in real time")]

mod answer;
mod cells;
mod ingest;
mod loader;
mod million;
mod peer;
mod process;
mod purge;
mod target;

use std::{
    error::Error,
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

use geoseal_support::{server::Server, signer::Credentials, tools::scratch};

use crate::{cells::Plan, peer::Nginx, target::Target};

/// The servers' core.
const SERVER_CORE: usize = 0;
/// This process's core.
const LOADER_CORE: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut plan = Plan { seconds: 3.0, only: String::new() };
    let (mut ours, mut peer, mut names) = (true, true, 1_000_000);
    let (mut million, mut purge, mut ingest) = (false, false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--bench" => {} // cargo says this to every bench
            "--seconds" => plan.seconds = value()?.parse()?,
            "--only" => plan.only = value()?,
            "--alone" => peer = false,
            "--peer-only" => ours = false,
            "--names" => names = value()?.parse()?,
            "million" => million = true,
            "purge" => purge = true,
            "ingest" => ingest = true,
            other => return Err(format!("what is {other}?").into()),
        }
    }

    println!("{}; an append of 4 KiB with fdatasync takes {}\n", process::machine(), cells::short(fdatasync()?));
    if purge {
        return purge::run(names, plan.seconds);
    }
    if ingest {
        return ingest::run();
    }
    process::pin(SERVER_CORE)?;
    let mut server = ours.then(Server::start);
    let nginx = (peer && !million).then(Nginx::start);
    process::pin(LOADER_CORE)?;
    if million {
        return Ok(million::run(names, server.as_mut().ok_or("million is about our server")?)?);
    }
    let nobody = || Credentials { access_id: "nobody".into(), secret: "none".into(), region: "nowhere".into() };
    let who = server.as_ref().map_or_else(nobody, Server::credentials);
    let ours = server.as_ref().map(Target::ours);
    let theirs = nginx.as_ref().map(|nginx| Target::nginx(nginx, who));
    let targets: Vec<Target<'_>> = ours.into_iter().chain(theirs).collect();
    Ok(cells::run(&plan, &targets)?)
}

/// What the disk under the data directory takes to make a small append durable, on average: the floor under every PUT
/// that is not committed together with others.
fn fdatasync() -> std::io::Result<Duration> {
    let home = scratch();
    let mut file = File::create(home.path().join("append"))?;
    let begun = Instant::now();
    for _ in 0..100 {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
    }
    Ok(begun.elapsed() / 100)
}
