//! The matrix: PUT and GET at three sizes, LIST 1000, each at three concurrencies, ours and nginx's turn by turn.

use std::{io, time::Duration};

use geoseal_support::records::bytes;

use crate::{
    loader::{Measured, Until, Work},
    process::{cpu, memory_mib},
    target::{PAGE, Target},
};

/// How many connections are busy at once.
const CONCURRENCIES: [usize; 3] = [1, 16, 64];

/// One size of object.
struct Size {
    label: &'static str,
    bytes: usize,
    /// How many objects a GET chooses from.
    stored: usize,
    /// How many new names a PUT has; used again only when a run gets through all of them.
    fresh: usize,
}

const SIZES: [Size; 3] = [
    Size { label: "1 KiB", bytes: 1 << 10, stored: 10_000, fresh: 100_000 },
    Size { label: "64 KiB", bytes: 64 << 10, stored: 1_000, fresh: 10_000 },
    Size { label: "64 MiB", bytes: 64 << 20, stored: 4, fresh: 64 },
];

impl Size {
    fn stored(&self) -> impl Iterator<Item = String> {
        (0..self.stored).map(|n| self.stored_name(n))
    }

    fn stored_name(&self, n: usize) -> String {
        format!("get/{}/{n:06}", self.bytes)
    }
}

/// What is asked for on the command line.
pub(crate) struct Plan {
    /// How long each cell is measured.
    pub(crate) seconds: f64,
    /// Only cells whose label contains this, such as `GET 1 KiB`.
    pub(crate) only: String,
}

impl Plan {
    fn wants(&self, label: &str) -> bool {
        label.contains(&self.only)
    }
}

/// Measures the cells that `plan` asks for, of the first target and of its peer if there is one, and prints the table.
pub(crate) fn run(plan: &Plan, targets: &[Target<'_>]) -> io::Result<()> {
    let columns: String = targets.iter().map(|t| format!(" {} | p50 | p99 | CPU/request |", t.name)).collect();
    let ratio = if targets.len() == 2 { " ratio |" } else { "" };
    println!("| work | clients |{columns}{ratio}");
    println!("|---|---|{}", "---|".repeat(4 * targets.len() + targets.len() / 2));
    for size in &SIZES {
        objects(plan, size, targets)?;
    }
    listing(plan, &targets[..1])?;
    println!("\n`*`: the loader's core was busy for more than nine tenths of the run, so the server could do more.");
    for target in targets {
        println!("{}: peak memory {:.0} MiB", target.name, memory_mib(target.pid, "VmHWM"));
    }
    Ok(())
}

fn objects(plan: &Plan, size: &Size, targets: &[Target<'_>]) -> io::Result<()> {
    let body = bytes(1, size.bytes);
    let (get, put) = (format!("GET {}", size.label), format!("PUT {}", size.label));
    if plan.wants(&get) {
        for target in targets {
            target.fill(size.stored(), &body)?;
        }
        // Every seventh name after another: all of them in turn, neighbours apart.
        let names = || (0..size.stored).map(|n| size.stored_name(n * 7 % size.stored));
        rows(plan, &get, size.bytes, targets, &[], |target, _| target.gets(names()))?;
    }
    if plan.wants(&put) {
        let names = |clients| (0..size.fresh).map(move |n| format!("put/{}/{clients}/{n:06}", size.bytes));
        rows(plan, &put, size.bytes, targets, &body, |target, clients| target.puts(names(clients), size.bytes))?;
    }
    Ok(())
}

/// LIST 1000 from anywhere among the names that GET 1 KiB uses.
fn listing(plan: &Plan, ours: &[Target<'_>]) -> io::Result<()> {
    let (label, size) = (format!("LIST {PAGE}"), &SIZES[0]);
    if !plan.wants(&label) || !ours[0].lists_names() {
        return Ok(());
    }
    ours[0].fill(size.stored(), &bytes(1, size.bytes))?;
    let names = || (0..500).map(|n| size.stored_name(n * 7919 % (size.stored - PAGE)));
    rows(plan, &label, 0, ours, &[], |target, _| target.lists(names()))
}

/// One row of the table for each concurrency.
fn rows(
    plan: &Plan,
    label: &str,
    size: usize,
    targets: &[Target<'_>],
    body: &[u8],
    heads: impl Fn(&Target<'_>, usize) -> Vec<Vec<u8>>,
) -> io::Result<()> {
    for clients in CONCURRENCIES {
        let mut row = format!("| {label} | {clients} |");
        let mut speeds = vec![];
        for target in targets {
            let for_seconds = |seconds| Until::Elapsed(Duration::from_secs_f64(seconds));
            let mut work = Work { heads: heads(target, clients), body: body.to_vec(), until: for_seconds(0.5) };
            target.run(clients, &work)?; // warm
            let half = work.heads.len() / 2;
            work.heads.rotate_left(half); // on with names that the warm-up did not write
            work.until = for_seconds(plan.seconds);
            let before = cpu(std::process::id());
            let (measured, spent) = target.run(clients, &work)?;
            let loader = (cpu(std::process::id()) - before).as_secs_f64() / measured.elapsed.as_secs_f64();
            row += &columns(&measured, spent, size, if loader > 0.9 { "*" } else { "" });
            speeds.push(measured.mib_per_s());
        }
        if let [ours, theirs] = speeds[..] {
            row += &format!(" {:.2} |", ours / theirs);
        }
        println!("{row}");
    }
    Ok(())
}

/// Speed, latencies and CPU. A large object may take longer than the run, so its requests are counted by their bytes.
fn columns(measured: &Measured, cpu: Duration, size: usize, mark: &str) -> String {
    let large = size >= 1 << 20;
    let requests = if large { measured.bytes as f64 / size as f64 } else { measured.answers as f64 };
    let speed = if large { format!("{:.0} MiB/s", measured.mib_per_s()) } else { format!("{:.0}/s", measured.rate()) };
    let (p50, p99) = (measured.percentile(0.5), measured.percentile(0.99));
    format!(" {speed}{mark} | {} | {} | {} |", short(p50), short(p99), short(cpu.div_f64(requests.max(1.0))))
}

/// A duration as a reader of a table wants it.
pub(crate) fn short(d: Duration) -> String {
    match d.as_micros() {
        0 => "-".into(),
        1..100 => format!("{:.1} us", d.as_nanos() as f64 / 1000.0),
        100..10_000 => format!("{} us", d.as_micros()),
        10_000..10_000_000 => format!("{} ms", d.as_millis()),
        _ => format!("{:.1} s", d.as_secs_f64()),
    }
}
