//! NX-02, NX-03, FX-09, and the anchor: somebody writes to the index engine of a stopped server, or puts an older copy of
//! it back. The rows that were touched are refused, the others served, and an older copy is not served at all.

use super::attack::{Caller, copy_tree, get, put_back, text_of};
use super::blobs::recorded;
use futures::executor::block_on;
use geoseal::index::{Batch, Direction, Engine, FjallEngine, FjallOptions, KeyRange};
use geoseal_support::{
    server::{BUCKET, Server},
    signer::{Request, object_path},
    wire::Response,
};
use std::path::PathBuf;

type Row = (Vec<u8>, Vec<u8>);
/// What it is called, and what it does.
type Attack<'a> = (&'a str, &'a dyn Fn(&Rows));

/// The index of the stopped server's first region, in an attacker's hands.
struct Rows(FjallEngine);

impl Rows {
    fn of(server: &Server) -> Self {
        Self(FjallEngine::open(&index_of(server), FjallOptions::default()).expect("nobody else has it open"))
    }

    /// All rows of that kind, in order.
    fn of_kind(&self, kind: u8) -> Vec<Row> {
        let rows = block_on(self.0.scan(KeyRange::prefix(&[kind]), usize::MAX, Direction::Ascending));
        rows.expect("it can be read").into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
    }

    /// The same of one bucket.
    fn of_bucket(&self, kind: u8, bucket: &[u8]) -> Vec<Row> {
        let mut rows = self.of_kind(kind);
        rows.retain(|(row_key, _)| &row_key[1..17] == bucket);
        rows
    }

    fn set(&self, row_key: &[u8], value: &[u8]) {
        let mut batch = Batch::new();
        batch.put(row_key.to_vec(), value.to_vec());
        block_on(self.0.commit(batch)).expect("it can be written");
    }

    fn remove(&self, row_key: &[u8]) {
        let mut batch = Batch::new();
        batch.delete(row_key.to_vec());
        block_on(self.0.commit(batch)).expect("it can be written");
    }

    fn swap(&self, a: &Row, b: &Row) {
        self.set(&a.0, &b.1);
        self.set(&b.0, &a.1);
    }
}

fn index_of(server: &Server) -> PathBuf {
    server.data().join("data/region/westeurope/index")
}

/// Stops the server, hands its rows over, and starts it again.
fn attack<T>(server: &mut Server, act: impl FnOnce(&Rows) -> T) -> T {
    server.terminate();
    let done = act(&Rows::of(server));
    server.restart();
    done
}

fn put(caller: &mut Caller, bucket: &str, name: &str, body: &str) -> Response {
    caller.call(Request::new("PUT", &object_path(bucket, name)).body(body))
}

fn fetch(caller: &mut Caller, bucket: &str, name: &str) -> Response {
    caller.call(Request::new("GET", &object_path(bucket, name)))
}

fn list(caller: &mut Caller, bucket: &str) -> Response {
    caller.call(Request::new("GET", &format!("/{bucket}")).query("list-type", "2"))
}

fn refused(answer: &Response) -> bool {
    (answer.status, answer.code().as_str()) == (500, "IntegrityFailure")
}

/// A bucket with these objects, each of which holds its own name; answers the bucket's id, which row keys begin with.
fn bucket_with(server: &mut Server, caller: &mut Caller, bucket: &str, names: &[&str]) -> Vec<u8> {
    let ids = |rows: &Rows| -> Vec<Vec<u8>> { rows.of_kind(b'o').iter().map(|(k, _)| k[1..17].to_vec()).collect() };
    let before = attack(server, ids);
    *caller = caller.again(server);
    caller.make_bucket(bucket);
    for name in names {
        assert_eq!(put(caller, bucket, name, name).status, 200);
    }
    let after = attack(server, ids);
    *caller = caller.again(server);
    after.into_iter().find(|id| !before.contains(id)).expect("its rows are there")
}

#[test]
fn r48_p13_rows_that_were_swapped_or_altered_are_refused() {
    let mut server = Server::start();
    let mut caller = Caller::demo(&server);
    let first = bucket_with(&mut server, &mut caller, "first-bucket", &["a", "b"]);
    let second = bucket_with(&mut server, &mut caller, "second-bucket", &["a"]);
    bucket_with(&mut server, &mut caller, "third-bucket", &["a", "b"]);
    let originals = attack(&mut server, |rows| [rows.of_bucket(b'o', &first), rows.of_bucket(b'o', &second)].concat());
    let [a, b, foreign] = &originals[..] else { panic!("three objects, {} rows", originals.len()) };

    let mut check = |server: &mut Server, when: &str, act: &dyn Fn(&Rows), refuses: [bool; 3]| {
        attack(server, act);
        caller = caller.again(server);
        // Which of the first bucket's rows is whose is a secret of the tokens: count them.
        let got = ["a", "b"].map(|name| fetch(&mut caller, "first-bucket", name));
        for (name, answer) in ["a", "b"].iter().zip(&got) {
            assert!(refused(answer) || answer.body == name.as_bytes(), "{when}: {} {}", answer.status, answer.code());
        }
        let of_first = got.iter().filter(|answer| refused(answer)).count();
        assert_eq!(of_first, refuses[..2].iter().filter(|r| **r).count(), "{when}");
        assert_eq!(refused(&fetch(&mut caller, "second-bucket", "a")), refuses[2], "{when}");
        for name in ["a", "b"] {
            assert_eq!(fetch(&mut caller, "third-bucket", name).body, name.as_bytes(), "{when}: bystanders are served");
        }
        // What does not open is neither overwritten nor deleted as if nothing were wrong.
        if refuses == [true, true, false] {
            assert!(refused(&put(&mut caller, "first-bucket", "a", "new")), "{when}");
            assert!(refused(&caller.call(Request::new("DELETE", "/first-bucket/a"))), "{when}");
        }
        attack(server, |rows: &Rows| originals.iter().for_each(|(row_key, value)| rows.set(row_key, value)));
    };
    check(&mut server, "nothing was done", &|_| {}, [false; 3]);
    check(&mut server, "two rows of a bucket swapped", &|rows| rows.swap(a, b), [true, true, false]);
    check(&mut server, "rows of two buckets swapped", &|rows| rows.swap(a, foreign), [true, false, true]);
    check(&mut server, "one row copied over another", &|rows| rows.set(&b.0, &a.1), [false, true, false]);
    // Magic, suite, flags, key version, lengths, salt, commitment, ciphertext, tag, and the segment that trails it.
    let places = [0, 4, 5, 6, 7, 8, 15, 16, 40, 72, a.1.len() / 2, a.1.len() - 210, a.1.len() - 100, a.1.len() - 1];
    for place in places {
        let mut altered = a.1.clone();
        altered[place] ^= 0x20;
        check(&mut server, &format!("byte {place} altered"), &|rows| rows.set(&a.0, &altered), [true, false, false]);
    }
    check(&mut server, "a row cut", &|rows| rows.set(&a.0, &a.1[..a.1.len() - 1]), [true, false, false]);
    check(&mut server, "a row empty", &|rows| rows.set(&a.0, &[]), [true, false, false]);
}

#[test]
fn a_listing_with_a_swapped_altered_or_missing_delta_is_refused() {
    let mut server = Server::start();
    let mut caller = Caller::demo(&server);
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let bucket = bucket_with(&mut server, &mut caller, "deltas", &names);
    let deltas = attack(&mut server, |rows| rows.of_bucket(b'l', &bucket));
    assert!(deltas.len() >= names.len(), "{} rows: each put was to leave a delta", deltas.len());
    let (x, y) = (&deltas[1], &deltas[2]);
    let mut altered = x.1.clone();
    *altered.last_mut().expect("not empty") ^= 1;
    let attacks: [Attack<'_>; 3] = [
        ("swapped", &|rows| rows.swap(x, y)),
        ("altered", &|rows| rows.set(&x.0, &altered)),
        ("missing", &|rows| rows.remove(&x.0)),
    ];
    for (what, act) in attacks {
        attack(&mut server, act);
        caller = caller.again(&server);
        let listed = list(&mut caller, "deltas");
        assert!(refused(&listed), "{what}: {} {}", listed.status, listed.text());
        assert_eq!(fetch(&mut caller, "deltas", "n3").body, b"n3", "{what}: objects are found without the listing");
        attack(&mut server, |rows: &Rows| deltas.iter().for_each(|(row_key, value)| rows.set(row_key, value)));
        caller = caller.again(&server);
        let listed = list(&mut caller, "deltas").text();
        assert!(names.iter().all(|name| listed.contains(&format!("<Key>{name}</Key>"))), "{what}: {listed}");
    }
    assert!(!recorded(&server).is_empty(), "the audit log tells of it");
}

#[test]
fn a_bucket_with_an_altered_fence_stays_closed() {
    let mut server = Server::start();
    let mut caller = Caller::demo(&server);
    let bucket = bucket_with(&mut server, &mut caller, "fenced", &["a", "b"]);
    bucket_with(&mut server, &mut caller, "bystander", &["a"]);
    let fences = attack(&mut server, |rows| rows.of_bucket(b'f', &bucket));
    assert!(!fences.is_empty());
    for place in [3, 20, 50, 75, fences[0].1.len() - 1] {
        let mut altered = fences[0].1.clone();
        altered[place] ^= 0x04;
        attack(&mut server, |rows| rows.set(&fences[0].0, &altered));
        caller = caller.again(&server);
        assert!(refused(&list(&mut caller, "fenced")), "byte {place}: the listing");
        assert!(refused(&put(&mut caller, "fenced", "c", "c")), "byte {place}: a put");
        assert!(list(&mut caller, "bystander").text().contains("<Key>a</Key>"), "byte {place}: another bucket");
    }
    attack(&mut server, |rows| rows.set(&fences[0].0, &fences[0].1));
    caller = caller.again(&server);
    assert_eq!(put(&mut caller, "fenced", "c", "c").status, 200);
    assert_eq!(list(&mut caller, "fenced").text().matches("<Key>").count(), 3);
}

/// FX-09: which parts an object has, and in which order, stands in rows. They are sealed at their place.
#[test]
fn an_edited_list_of_parts_is_refused() {
    let mut server = Server::start();
    let mut caller = Caller::demo(&server);
    let stored = caller.store_parts(&server, BUCKET, "joined", &[5 << 20, 5 << 20, 7]);
    let path = object_path(BUCKET, "open");
    let upload = text_of(&caller.call(Request::new("POST", &path).query("uploads", "")), "UploadId");
    let mut named = String::new();
    for number in ["1", "2"] {
        let part = Request::new("PUT", &path).query("partNumber", number).query("uploadId", &upload);
        let etag = caller.call(part.body(vec![7; 5 << 20])).header("etag").expect("a part has an ETag").to_owned();
        named += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let complete = Request::new("POST", &path).query("uploadId", &upload);
    let complete = complete.body(format!("<CompleteMultipartUpload>{named}</CompleteMultipartUpload>"));

    let (objects, parts) = attack(&mut server, |rows| (rows.of_kind(b'o'), rows.of_kind(b'p')));
    let [object] = &objects[..] else { panic!("one object") };
    let [one, two] = &parts[..] else { panic!("two parts") };
    // The list is inside the ciphertext: any byte of it.
    for place in (72..object.1.len()).step_by(object.1.len() / 9) {
        let mut edited = object.1.clone();
        edited[place] ^= 1;
        attack(&mut server, |rows| rows.set(&object.0, &edited));
        caller = caller.again(&server);
        assert!(refused(&caller.call(get(&stored))), "byte {place}");
    }
    attack(&mut server, |rows| rows.set(&object.0, &object.1));
    caller = caller.again(&server);
    caller.assert_served(&stored, "the row put back");

    let attacks: [Attack<'_>; 2] =
        [("swapped", &|rows| rows.swap(one, two)), ("doubled", &|rows| rows.set(&two.0, &one.1))];
    for (what, act) in attacks {
        attack(&mut server, act);
        caller = caller.again(&server);
        let completed = caller.call(complete.clone());
        assert!(refused(&completed), "{what}: {} {}", completed.status, completed.text());
        assert_eq!(fetch(&mut caller, BUCKET, "open").status, 404, "{what}: nothing became visible");
        attack(&mut server, |rows| [one, two].iter().for_each(|(row_key, value)| rows.set(row_key, value)));
        caller = caller.again(&server);
    }
    assert_eq!(caller.call(complete).status, 200);
    assert_eq!(fetch(&mut caller, BUCKET, "open").body.len(), 10 << 20);
}

/// The key service remembers how far the index was: yesterday's copy is not served as if it were today's.
#[test]
fn an_older_index_is_refused() {
    let mut server = Server::start();
    let mut caller = Caller::demo(&server);
    assert_eq!(put(&mut caller, BUCKET, "kept", "kept").status, 200);
    server.terminate();
    let (yesterday, today) = (server.home().join("yesterday"), server.home().join("today"));
    copy_tree(&index_of(&server), &yesterday);
    server.restart();
    caller = caller.again(&server);
    assert_eq!(put(&mut caller, BUCKET, "lost", "lost").status, 200);
    assert_eq!(caller.call(Request::new("DELETE", &object_path(BUCKET, "kept"))).status, 204);
    server.terminate();
    copy_tree(&index_of(&server), &today);

    put_back(&yesterday, &index_of(&server));
    let said = server.refuses_to_restart();
    assert!(said.contains("index of westeurope") && said.contains("rolled back"), "{said}");
    std::fs::remove_dir_all(index_of(&server)).expect("the data directory is ours");
    let said = server.refuses_to_restart();
    assert!(said.contains("index of westeurope") && said.contains("rolled back"), "{said}");

    put_back(&today, &index_of(&server));
    server.restart();
    caller = caller.again(&server);
    assert_eq!(fetch(&mut caller, BUCKET, "lost").body, b"lost");
    assert_eq!(fetch(&mut caller, BUCKET, "kept").status, 404);
}
