//! The story: the bucket keeps versions, and somebody is written about more than once. To put an entry right, or to forget
//! somebody, is to do so in every version: what was superseded or marked as deleted is as readable as what is current.

use super::requests::{ask, blobs, dsr, get, open, put, wait_until};
use super::{files, subject_file};
use geoseal_support::clients::Ran;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use std::fs;

const ADA: &str = "contact:ada-5v1k";
const BOB: &str = "contact:bob-2w9d";

/// What the bucket has under a name: ids, the newest first, and whether each is a mark of a deletion.
fn versions(server: &Server, name: &str) -> Vec<(String, bool)> {
    let page = ask(server, Request::new("GET", &format!("/{BUCKET}")).query("versions", "").query("prefix", name));
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    let entries = text.split("<Version>").flat_map(|part| {
        let marks = part.split("<DeleteMarker>").enumerate().map(|(n, part)| (part, n > 0));
        marks.map(|(part, mark)| (part.to_owned(), mark)).collect::<Vec<_>>()
    });
    let id = |part: &str| {
        part.split("<VersionId>").nth(1).and_then(|rest| rest.split("</VersionId>").next().map(str::to_owned))
    };
    entries.filter_map(|(part, mark)| Some((id(&part)?, mark))).collect()
}

fn delete(server: &Server, name: &str) {
    assert_eq!(ask(server, Request::new("DELETE", &object_path(BUCKET, name))).status, 204);
}

fn correct(server: &Server, id: &str, object: &str, content: &[u8]) -> Ran {
    let (named, right) = (subject_file(server, object), server.home().join("right"));
    fs::write(&right, content).expect("a scratch file");
    let (named, right) = (named.to_str().expect("UTF-8"), right.to_str().expect("UTF-8"));
    dsr(server, &["rectify", id, "--bucket", BUCKET, "--object-file", named, "--content", right])
}

fn body(what: u8, len: usize) -> Vec<u8> {
    vec![what; len]
}

#[test]
fn r43_r44_every_version_and_every_mark_of_a_deletion() {
    let mut server = Server::start();
    let keep = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                </VersioningConfiguration>";
    let asked = Request::new("PUT", &format!("/{BUCKET}")).query("versioning", "").body(keep);
    assert_eq!(ask(&server, asked).status, 200);
    for (name, of) in [("right", ADA), ("gone", ADA), ("shared", ADA), ("held", ADA), ("other", BOB)] {
        for what in [1, 2] {
            assert_eq!(put(&server, name, of, &body(what, 200_000)).status, 200, "{name}");
        }
    }
    assert_eq!(put(&server, "shared", BOB, b"of somebody else").status, 200);
    for name in ["gone", "shared", "other"] {
        delete(&server, name);
    }
    assert_eq!((versions(&server, "gone").len(), versions(&server, "shared").len()), (3, 4));

    // Put right: nothing of what it was before is left, in no version.
    let before = versions(&server, "right");
    let stored = blobs(&server).len();
    let id = open(&server, ADA, "rectify", &[]);
    correct(&server, &id, "right", &body(3, 200_000)).ok();
    let now = versions(&server, "right");
    assert!(now.len() == 1 && before.iter().all(|old| !now.contains(old)), "{before:?} {now:?}");
    for (old, _) in &before {
        let asked = Request::new("GET", &object_path(BUCKET, "right")).query("versionId", old);
        assert_eq!(ask(&server, asked).status, 404);
    }
    assert_eq!(get(&server, "right").body, body(3, 200_000));
    wait_until("the bytes of both are gone", || blobs(&server).len() == stored - 1);

    // A hold over an older version delays all of it.
    let scope = format!("object:{BUCKET}/held");
    server.geoseal(&["hold", "place", "M-3", "--tenant", "demo", "--scope", &scope, "--matter", "A v. B"]).ok();
    let waits = open(&server, ADA, "rectify", &[]);
    assert_eq!(correct(&server, &waits, "held", &body(4, 200_000)).code(), Some(7));
    assert_eq!((versions(&server, "held").len(), get(&server, "held").body), (2, body(2, 200_000)));
    server.kill();
    server.restart();
    server.geoseal(&["hold", "release", "M-3"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    let state = |id: &str| dsr(&server, &["show", id]).json()["state"].as_str().expect("a state").to_owned();
    wait_until("it goes on", || state(&waits) == "done");
    assert_eq!((versions(&server, "held").len(), get(&server, "held").body), (1, body(4, 200_000)));

    // Erased: no version, no mark, no name; of a name that is somebody else's too, what is theirs stays.
    let id = open(&server, ADA, "erase", &[]);
    let plan = dsr(&server, &["erase", &id, "--dry-run"]).json();
    assert_eq!((&plan["counts"]["objects"], &plan["counts"]["versions"]), (&4.into(), &6.into()), "{plan}");
    dsr(&server, &["erase", &id, "--confirm", "demo"]).ok();
    for name in ["right", "gone", "held"] {
        assert!(versions(&server, name).is_empty(), "{name}");
    }
    let left = versions(&server, "shared");
    assert_eq!(left.iter().map(|(_, mark)| *mark).collect::<Vec<_>>(), [true, false]);
    let of_bob = Request::new("GET", &object_path(BUCKET, "shared")).query("versionId", &left[1].0);
    assert_eq!(ask(&server, of_bob).body, b"of somebody else");
    assert_eq!(versions(&server, "other").len(), 3);
    wait_until("no sealed byte of hers is left", || blobs(&server).len() == 2);
    assert!(files(&server.data().join("data")).len() > 2, "the disk was looked at");
    server.geoseal(&["audit", "verify"]).ok();
}
