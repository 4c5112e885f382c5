//! The story: a service writes interaction records all day; the machine loses its power at the worst moment, again and
//! again. Whatever was answered with 200 must be there afterwards, byte for byte; whatever was not may be there or not,
//! but never in part, and never as a row without bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    thread,
};

use geoseal_support::{
    clients::{aws, python, python_command},
    records::{Mix, Record, Records},
    server::Server,
    signer::{Request, object_path},
    wire::Wire,
};

use crate::clients::{BUCKET, write_to};

const RECORDS: usize = 10_000;
const ROUNDS: usize = 20;
/// Records that a round's writer has at hand: more than it gets to write before it is stopped.
const ROUND: usize = 1_000;

#[test]
fn p10_every_acknowledged_object_survives_twenty_kills() {
    let mut server = Server::start();
    let mut records = Records::new(20_261_120, Mix::Small);
    let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();

    aws(&server, &["s3", "mb", &format!("s3://{BUCKET}")]).ok();
    upload_with_stock_clients(&server, records.by_ref().take(RECORDS).collect(), &mut stored);
    assert_listed(&server, &stored, &BTreeSet::new());

    for round in 0..ROUNDS {
        let batch: Vec<Record> = records.by_ref().take(ROUND).collect();
        let folder = server.home().join(format!("round-{round}"));
        write_to(&folder, &batch);
        let acknowledged = write_until_killed(&mut server, &folder, 25 + round * 13);
        server.restart();

        let mut wire = Wire::to(&server);
        let mut maybe = BTreeSet::new();
        for record in batch {
            let got = wire.call(&server, Request::new("GET", &object_path(BUCKET, &record.name)));
            match got.status {
                200 => assert!(got.body == record.body, "round {round}: {} is not what was sent", record.name),
                404 => assert!(!acknowledged.contains(&record.name), "round {round}: {} is lost", record.name),
                other => panic!("round {round}: {other} {}", got.text()),
            }
            if got.status == 200 {
                stored.insert(record.name, record.body);
            } else {
                maybe.insert(record.name);
            }
        }
        assert!(!maybe.is_empty(), "round {round}: the kill came after all writes, not in the middle of them");
        assert_listed(&server, &stored, &maybe);
    }

    // And at the end all of them once more, not only those of the last round.
    let mut wire = Wire::to(&server);
    for (name, body) in &stored {
        let got = wire.call(&server, Request::new("GET", &object_path(BUCKET, name)));
        assert!(got.status == 200 && got.body == *body, "{name}: {}", got.status);
    }
}

/// Half by boto3 and half by the AWS command line, each read back by the other.
fn upload_with_stock_clients(server: &Server, records: Vec<Record>, stored: &mut BTreeMap<String, Vec<u8>>) {
    let (by_boto3, by_aws) = records.split_at(records.len() / 2);
    let folder = |name: &str| server.home().join(name);
    write_to(&folder("boto3"), by_boto3);
    write_to(&folder("aws"), by_aws);
    let text = |name: &str| folder(name).to_str().expect("UTF-8").to_owned();

    thread::scope(|scope| {
        scope.spawn(|| python(server, include_str!("writer.py"), &[BUCKET, &text("boto3")]).ok());
        let bucket = format!("s3://{BUCKET}/");
        scope.spawn(move || aws(server, &["s3", "sync", "--only-show-errors", &text("aws"), &bucket]).ok());
    });
    assert_eq!(python(server, include_str!("reader.py"), &[BUCKET, &text("aws")]).ok(), format!("{}\n", by_aws.len()));
    let (bucket, back) = (format!("s3://{BUCKET}/"), text("back"));
    aws(server, &["s3", "sync", "--only-show-errors", &bucket, &back]).ok();
    for record in by_boto3 {
        let body = std::fs::read(Path::new(&back).join(&record.name)).unwrap_or_default();
        assert!(body == record.body, "{} came back different", record.name);
    }
    stored.extend(records.into_iter().map(|r| (r.name, r.body)));
}

/// Starts a boto3 writer with several threads and kills the server once so many of its writes were acknowledged.
/// Returns the names of all that were, also those acknowledged between the decision and the kill.
fn write_until_killed(server: &mut Server, folder: &Path, after: usize) -> BTreeSet<String> {
    let errors = folder.with_extension("errors");
    let folder = folder.to_str().expect("UTF-8");
    let mut writer = python_command(server, include_str!("writer.py"), &[BUCKET, folder])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).expect("a file for the writer's errors"))
        .spawn()
        .expect("python starts");
    let mut lines = BufReader::new(writer.stdout.take().expect("piped")).lines().map(|l| l.expect("UTF-8"));
    let mut acknowledged: BTreeSet<String> = lines.by_ref().take(after).collect();
    server.kill();
    acknowledged.extend(lines);
    let _ = writer.wait();
    if acknowledged.len() < after {
        let errors = std::fs::read_to_string(&errors).unwrap_or_default();
        panic!("the writer stopped by itself after {} of {after} writes: {errors}", acknowledged.len());
    }
    acknowledged
}

/// The listing has every stored name, in order, and beside them at most some of `maybe`.
fn assert_listed(server: &Server, stored: &BTreeMap<String, Vec<u8>>, maybe: &BTreeSet<String>) {
    let listed = python(server, include_str!("lister.py"), &[BUCKET]).ok();
    let listed: Vec<&str> = listed.lines().collect();
    assert!(listed.is_sorted_by(|a, b| a < b), "the listing is out of order");
    let stored: BTreeSet<&str> = stored.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = listed.into_iter().collect();
    assert!(stored.is_subset(&listed), "{} stored names are not listed", stored.difference(&listed).count());
    let extra = listed.difference(&stored).filter(|name| !maybe.contains(**name)).count();
    assert_eq!(extra, 0, "names are listed that nobody wrote");
    let hollow = listed.difference(&stored).count();
    assert_eq!(hollow, 0, "names are listed that cannot be read");
}
