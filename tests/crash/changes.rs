//! The story: objects do not only come. They are overwritten, deleted, created only where there is none, copied, put
//! together from parts, with bodies that lie in a row, beside it and in files; and again and again somebody pulls the
//! plug. What was acknowledged is so; a delete stays a delete; what was not acknowledged happened whole or not at all.

use super::witness::{Act, Client, Content, Run, Witness, inner};
use fastrand::Rng;
use geoseal_support::{
    records::bytes,
    server::Server,
    signer::{Request, object_path},
};
use std::{io, sync::Arc, time::Duration};

const BUCKET: &str = "changes";
const ROUNDS: u64 = 20;
const ACTS: usize = 150;
/// Names that acts are about: few, so that most acts change something that is there.
const NAMES: usize = 400;
/// Trailing its row, in a row of its own, in a file, in a file of several chunks.
const SIZES: [usize; 4] = [300, 20_000, 70_000, 200_000];
const PART: usize = 5 << 20;

#[test]
fn p10_changes_survive_twenty_kills_whole_or_not_at_all() {
    let mut server = Server::start();
    let mut witness = Witness::new(BUCKET);
    let mut rng = Rng::with_seed(2);
    super::witness::Address::of(&server)
        .connect()
        .and_then(|mut client| client.ok(Request::new("PUT", &format!("/{BUCKET}"))))
        .expect("the bucket is made");
    for round in 0..ROUNDS {
        let when = format!("round {round}");
        let mut names: Vec<String> = (0..NAMES).map(|n| format!("{:03}/{n}", n * 37 % NAMES)).collect();
        rng.shuffle(&mut names);
        // What is copied in this round is not written in it.
        let mut sources = witness.known().iter().filter(|(name, _)| !name.starts_with("joined/"));
        let source = sources.find_map(|(name, content)| Some((name.clone(), content.clone()?)));
        names.retain(|name| source.as_ref().is_none_or(|(source, _)| source != name));
        let mut acts: Vec<Act> =
            names.into_iter().take(ACTS).map(|name| act(&mut rng, &witness, name, &source)).collect();
        acts.insert(rng.usize(..ACTS / 2), in_parts(&mut rng, format!("joined/{}", round % 3)));
        let after = rng.usize(10..ACTS * 3 / 4);
        let acknowledged =
            witness.write_until_killed(&mut server, acts, after, Duration::from_micros(rng.u64(..3_000)));
        assert!(acknowledged < ACTS, "{when}: the kill came after all writes, not in the middle of them");
        server.restart();
        witness.check(&server, &when);
        witness.read_back(&server, &when, |_| true);
    }
    let there = witness.known().values().filter(|content| content.is_some()).count();
    assert!(there > NAMES / 4 && there < witness.known().len(), "{there} objects: some came, some went");
}

/// A write of `name`, of a kind by chance.
fn act(rng: &mut Rng, witness: &Witness, name: String, source: &Option<(String, Arc<Vec<u8>>)>) -> Act {
    let there = witness.known().get(&name).cloned().flatten().is_some();
    let body = bytes(rng.u64(..), rng.choice(SIZES).expect("some") + rng.usize(..100));
    let request = Request::new("PUT", &object_path(BUCKET, &name));
    match (rng.u8(..10), source) {
        (0..3, _) => {
            let delete = Request { method: "DELETE".into(), ..request };
            Act { name, becomes: None, run: plain(delete) }
        }
        (3..5, _) => {
            let put = request.header("if-none-match", "*").body(body.clone());
            let run: Run = Box::new(move |client| {
                let answer = client.call(put)?;
                assert_eq!(answer.status, if there { 412 } else { 200 }, "{}", answer.text());
                Ok(!there)
            });
            Act { name, becomes: content(body), run }
        }
        (5, Some((from, copied))) => {
            let copy = request.header("x-amz-copy-source", &object_path(BUCKET, from));
            Act { name, becomes: Some(copied.clone()), run: plain(copy) }
        }
        _ => Act { name, becomes: content(body.clone()), run: plain(request.body(body)) },
    }
}

/// An upload of two parts: visible once it is complete, and before that not at all.
fn in_parts(rng: &mut Rng, name: String) -> Act {
    let body = bytes(rng.u64(..), PART + 100_000);
    let (path, whole) = (object_path(BUCKET, &name), body.clone());
    let run = move |client: &mut Client| -> io::Result<bool> {
        let begun = client.ok(Request::new("POST", &path).query("uploads", ""))?.text();
        let upload = inner(&begun, "UploadId").expect("an upload has an id");
        let mut list = String::new();
        for (number, part) in (1..).zip([&whole[..PART], &whole[PART..]]) {
            let put = Request::new("PUT", &path).query("partNumber", &format!("{number}")).query("uploadId", upload);
            let done = client.ok(put.body(part))?;
            let etag = done.header("etag").expect("a part has an ETag");
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let done = client.ok(Request::new("POST", &path).query("uploadId", upload).body(list))?;
        assert!(done.text().contains("CompleteMultipartUploadResult"), "{}", done.text());
        Ok(true)
    };
    Act { name, becomes: content(body), run: Box::new(run) }
}

fn plain(request: Request) -> Run {
    Box::new(move |client| client.ok(request).map(|_| true))
}

fn content(body: Vec<u8>) -> Content {
    Some(Arc::new(body))
}
