//! Events in batches, and the same events one upload each, turn by turn on one server: how many are stored a second, as a
//! ratio of the same run.

use std::{error::Error, fmt::Write, time::Duration};

use geoseal_support::{
    server::{BUCKET, Launch, Server},
    signer::{Request, object_path},
};

use crate::{
    LOADER_CORE, SERVER_CORE,
    cells::short,
    loader::{Until, Work},
    process::{cpu, memory_mib, pin},
    target::Target,
};

/// Events of a batch: as many as one may have.
const BATCH: usize = 1000;
/// Contacts that the events are of, each with a key of its own.
const CONTACTS: usize = 1000;
/// How often each way has its turn.
const ROUNDS: usize = 3;

/// A way in, and how many events one request of it brings.
struct Way {
    label: &'static str,
    clients: usize,
    events: usize,
    /// Requests of a turn.
    requests: usize,
}

const WAYS: [Way; 4] = [
    Way { label: "a batch of 1,000 after the other", clients: 1, events: BATCH, requests: 20 },
    Way { label: "batches of 1,000, 4 at a time", clients: 4, events: BATCH, requests: 20 },
    Way { label: "an upload after the other", clients: 1, events: 1, requests: 2_000 },
    Way { label: "uploads, 16 at a time", clients: 16, events: 1, requests: 20_000 },
];

/// Sends new events each way, each way's turns apart, and prints what came of them.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    pin(SERVER_CORE)?;
    let server = Launch::default().start();
    pin(LOADER_CORE)?;
    enable(&server)?;
    let ours = Target::ours(&server);
    let mut events = Events::default();
    // Everybody's key is made before anything is measured.
    ours.run(1, &work(&ours, &WAYS[0], &mut events))?;

    let mut seen = [(0.0, Duration::ZERO, Duration::ZERO); WAYS.len()];
    for _ in 0..ROUNDS {
        for (way, (stored, took, spent)) in WAYS.iter().zip(&mut seen) {
            let work = work(&ours, way, &mut events);
            let before = cpu(ours.pid);
            let (measured, _) = ours.run(way.clients, &work)?;
            *stored += (measured.answers as usize * way.events) as f64;
            *took += measured.elapsed;
            *spent += cpu(ours.pid) - before;
        }
    }
    let speed = |at: usize| seen[at].0 / seen[at].1.as_secs_f64();
    println!(
        "| {CONTACTS} contacts, events of about {} B | events/s | CPU/event | of the uploads, 16 at a time |",
        EVENT
    );
    println!("|---|---|---|---|");
    for (at, way) in WAYS.iter().enumerate() {
        let ratio = speed(at) / speed(WAYS.len() - 1);
        println!("| {} | {:.0} | {} | {ratio:.2} |", way.label, speed(at), short(seen[at].2.div_f64(seen[at].0)));
    }
    println!("\npeak memory {:.0} MiB", memory_mib(server.pid(), "VmHWM"));
    Ok(())
}

/// About how long an event is.
const EVENT: usize = 400;

/// The feature is on for the tenant that the server begins with, and its bucket is for interactions.
fn enable(server: &Server) -> Result<(), Box<dyn Error>> {
    let consent = server.home().join("consent.txt");
    std::fs::write(&consent, "we agree\n")?;
    let consent = consent.to_str().ok_or("a temporary directory's name is UTF-8")?;
    let flags = ["--tenant", "demo", "--consent", consent, "--follow-only", "false"];
    server.geoseal(&[&["feature", "enable", "email-engagement"], &flags[..]].concat()).ok();
    server.geoseal(&["bucket", "set", BUCKET, "--tenant", "demo", "--default-class", "interaction"]).ok();
    Ok(())
}

fn work(ours: &Target<'_>, way: &Way, events: &mut Events) -> Work {
    let requests = (0..way.requests).map(|_| match way.events {
        1 => ours.whole(events.upload()),
        many => ours.whole(events.batch(many)),
    });
    // Each request has a body of its own, so it stands behind its head.
    Work { heads: requests.collect(), body: Vec::new(), until: Until::AllSent }
}

/// Events, none twice.
#[derive(Default)]
struct Events(usize);

impl Events {
    fn next(&mut self) -> (usize, String) {
        self.0 += 1;
        let (n, contact) = (self.0, self.0 * 7919 % CONTACTS);
        let event = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{n:012}\",\"source\":\"urn:bench\",\"type\":\"email.interaction.opened\",\
             \"time\":\"2026-11-20T11:30:00Z\",\"subject\":\"somebody-{contact}@example.com\",\"datacontenttype\":\"application/json\",\
             \"data\":{{\"message_id\":\"m-{contact}\",\"contact_kind\":\"contact\",\"contact_id\":\"{contact}\",\"machine\":false,\
             \"ip\":\"192.0.2.1\",\"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64)\",\"provider\":\"bench\",\"provider_id\":\"{n}\"}}}}"
        );
        (contact, event)
    }

    fn batch(&mut self, events: usize) -> Request {
        let mut body = String::from("[");
        for at in 0..events {
            let comma = if at == 0 { "" } else { "," };
            _ = write!(body, "{comma}{}", self.next().1);
        }
        let post = Request::new("POST", "/ingest/v1/events").query("bucket", BUCKET);
        post.header("content-type", "application/cloudevents-batch+json").body(body + "]")
    }

    /// The same as an upload: class, subject and message in its metadata, and only if nothing has the name.
    fn upload(&mut self) -> Request {
        let (contact, event) = self.next();
        let name = format!("interactions/dt=2026-11-20/hr=11/{:064x}.json", self.0);
        let put = Request::new("PUT", &object_path(BUCKET, &name)).header("if-none-match", "*");
        let put = put.header("x-amz-meta-geoseal-class", "interaction");
        let put = put.header("x-amz-meta-geoseal-subject", &format!("contact:{contact}"));
        let put = put.header("x-amz-meta-geoseal-message", &format!("m-{contact}"));
        let put = put.header("x-amz-meta-geoseal-occurred", "2026-11-20T11:30:00Z");
        put.header("content-type", "application/cloudevents+json").body(event)
    }
}
