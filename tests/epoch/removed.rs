//! The story: customers stay, and delete what they have to delete: letters, a whole bucket, a person. Somebody has
//! yesterday's full backup, and today every key that lives. After the close of the epoch he reads none of it, however he
//! puts old copies and today's keys together; and what nobody deleted is as it was.

use super::{Client, LETTERS, backup, body, close, files, restore, tenant, text, verify};
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Request, object_path};
use std::fs;
use std::path::Path;

const ACCEPT: [&str; 4] = ["--accept-rollback", "westeurope", "--reason", "a thief's word"];

/// Names of what is deleted: small enough for the row, for a row of its own, and blobs.
fn gone() -> Vec<String> {
    (0..24).map(|n| format!("gone/{n}")).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(file.strip_prefix(from).expect("it lies below"));
        fs::create_dir_all(to.parent().expect("it has a folder")).expect("our own directory");
        fs::copy(&file, to).expect("our own file");
    }
}

/// Puts a folder of `from` in the place of the one that the server's data directory has.
fn swap(server: &Server, from: &Path, folder: &str) {
    let at = server.data().join("data").join(folder);
    fs::remove_dir_all(&at).expect("our own directory");
    copy(&from.join(folder), &at);
}

/// What the server answers to the thief for everything that was deleted: never the object, and no name of one.
fn reads_nothing(server: &Server, who: &Client, what: &str) {
    let mut client = Client::of(server, who.who.clone());
    for name in gone().iter().map(String::as_str).chain(["over", "kept/1"]) {
        let got = client.get(name);
        assert_ne!(got.status, 200, "{what}: {name}");
        assert!(!got.text().contains("invoice"), "{what}: {name}");
        client = Client::of(server, who.who.clone());
    }
    let listed = client.call(Request::new("GET", &format!("/{LETTERS}")).query("list-type", "2"));
    assert!(listed.status != 200 && !listed.text().contains("gone/"), "{what}: {} {}", listed.status, listed.text());
}

#[test]
fn k15_of_what_living_tenants_removed_no_old_copy_is_worth_anything() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let (mut removes, mut keeps) = (tenant(&server, "contoso"), tenant(&server, "fabrikam"));
    let mut forgets = tenant(&server, "northwind");
    for client in [&mut removes, &mut keeps] {
        for name in gone() {
            let put = Request::new("PUT", &object_path(LETTERS, &name)).body(body(&name));
            let answer = client.call(put.header("x-amz-meta-note", "invoice 4711"));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        (0..8).for_each(|n| client.put(&format!("kept/{n}")));
        client.put("over");
    }
    for (name, subject) in [("of/a", "subject-4711"), ("of/b", "subject-1")] {
        let put = Request::new("PUT", &object_path(LETTERS, name)).body(body(name));
        let answer = forgets.call(put.header("x-amz-meta-geoseal-subject", subject));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    forgets.put("of/nobody");
    let yesterday = backup(&server, "yesterday");

    for name in gone() {
        assert_eq!(removes.call(Request::new("DELETE", &object_path(LETTERS, &name))).status, 204);
    }
    let again = Request::new("PUT", &object_path(LETTERS, "over")).body(b"another text".to_vec());
    assert_eq!(removes.call(again).status, 200);
    let file = server.home().join("subject.txt");
    fs::write(&file, "subject-4711").expect("our own file");
    let erase = [
        "dsr",
        "erase",
        "--tenant",
        "northwind",
        "--subject-file",
        text(&file),
        "--confirm",
        "northwind",
        "--basis",
        "art17",
    ];
    server.geoseal(&erase).ok();

    let plan = server.geoseal(&["key", "epoch", "close", "--geo", "europe", "--dry-run", "--json"]).json();
    // The demo tenant's first upload is removed by the tests themselves.
    assert_eq!((&plan["counts"]["tenants_with_removals"], &plan["counts"]["shreds"]), (&3.into(), &1.into()), "{plan}");
    close(&server);
    let certificate = server.geoseal(&["key", "epoch", "certificate", "--geo", "europe", "1"]).json();
    let said = verify(&server, &certificate);
    assert_eq!((&said["schema"], &said["subjects"]), (&"geoseal/epoch/v2".into(), &1.into()), "{said}");
    let id = |name: &str| server.geoseal(&["tenant", "show", name, "--json"]).json()["id"].clone();
    let of = |name: &str| {
        let id = id(name);
        let all = said["keys_replaced"].as_array().expect("a list");
        all.iter().find(|of| of["tenant"] == id).cloned().unwrap_or_default()
    };
    assert_eq!((&of("contoso")["buckets"], &of("contoso")["index_root"]["to"]), (&1.into(), &2.into()), "{said}");
    assert!(of("contoso")["left_out"].is_null() && of("contoso")["subject_root"].is_null(), "{said}");
    assert_eq!(of("northwind")["subject_root"]["to"], 2, "{said}");
    assert!(of("northwind")["left_out"].is_null(), "{said}");
    assert!(of("fabrikam").is_null(), "nothing was removed there: {said}");
    let status = server.geoseal(&["key", "status", "--tenant", "contoso", "--json"]).json();
    assert!(status.to_string().contains("destroyed"), "the old index root: {status}");

    let intact = |server: &Server, who: &Client, names: &[String]| {
        let mut client = Client::of(server, who.who.clone());
        for name in names {
            let got = client.get(name);
            assert!(got.status == 200 && got.body == body(name), "{name}: {} {}", got.status, got.text());
        }
    };
    let kept: Vec<_> = (0..8).map(|n| format!("kept/{n}")).collect();
    intact(&server, &removes, &kept);
    intact(&server, &keeps, &[kept.clone(), gone(), vec!["over".into()]].concat());
    intact(&server, &forgets, &["of/nobody".into(), "of/b".into()]);
    assert_eq!(removes.get("over").body, b"another text");
    assert_eq!((removes.get("gone/1").status, forgets.get("of/a").status), (404, 404));
    server.geoseal(&["audit", "verify"]).ok();
    server.terminate();

    // Yesterday's whole backup, today's keyring: its key store is noise.
    let today = server.home().join("today");
    fs::rename(server.data().join("data"), &today).expect("our own directory");
    fs::create_dir_all(server.data().join("data/geo/europe")).expect("our own directory");
    for kept in ["keyring", "keyring.witness", "keystore.shreds"] {
        copy_file(&today, server.data().join("data").as_path(), &format!("geo/europe/{kept}"));
    }
    restore(&server, &yesterday);
    assert!(server.refuses_to_restart().contains("version 1 of the master key, which is destroyed"));
    let old = server.home().join("old");
    fs::rename(server.data().join("data"), &old).expect("our own directory");

    // Today's key store, every key that lives is in it; yesterday's indexes and blobs.
    copy(&today, &server.data().join("data"));
    swap(&server, &old, "region/westeurope/index");
    swap(&server, &old, "region/westeurope/blobs");
    server.restart_with(&ACCEPT);
    reads_nothing(&server, &removes, "old index");
    // It would open: what nobody removed anything from does.
    intact(&server, &keeps, &[kept, gone(), vec!["over".into()]].concat());
    assert_ne!(Client::of(&server, forgets.who.clone()).get("of/a").status, 200);
    server.kill();
}

fn copy_file(from: &Path, to: &Path, file: &str) {
    if from.join(file).exists() {
        fs::copy(from.join(file), to.join(file)).expect("our own file");
    }
}
