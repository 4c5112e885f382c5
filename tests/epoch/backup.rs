//! The story: a backup is made while clients write, overwrite and delete; the machine dies; what was acknowledged before
//! the backup began is there again, whatever is listed can be read, and what was destroyed since is destroyed again.

use super::{Client, LETTERS, advance, backup, body, destroy, files, restore, tenant, text};
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Request, object_path};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const ACCEPT: [&str; 4] = ["--accept-restore", "europe", "--reason", "disk lost, ticket 4711"];

/// Writes, overwrites and deletes until told to stop; every body follows from its name.
fn load(client: &mut Client, id: usize, stop: &AtomicBool, done: &AtomicU64) {
    let mut turn = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("load/{id}/{}", turn % 40);
        if turn % 3 == 2 {
            let gone = client.call(Request::new("DELETE", &object_path(LETTERS, &name)));
            assert_eq!(gone.status, 204, "{}", gone.text());
        } else {
            client.put(&name);
        }
        turn += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn listed(client: &mut Client) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let request = Request::new("GET", &format!("/{LETTERS}")).query("list-type", "2").query("start-after", &after);
        let page = client.call(request);
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.text();
        let found = page.split("<Key>").skip(1).filter_map(|part| part.split("</Key>").next());
        let found: Vec<_> = found.map(str::to_owned).collect();
        match found.last() {
            Some(last) => after.clone_from(last),
            None => return names,
        }
        names.extend(found);
    }
}

#[test]
fn what_was_acknowledged_before_a_backup_under_load_is_there_after_its_restore() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let mut client = tenant(&server, "contoso");
    let before: Vec<_> = (0..120).map(|n| format!("before/{n}")).collect();
    before.iter().for_each(|name| client.put(name));
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let out = thread::scope(|scope| {
        for id in 0..3 {
            let mut client = Client::of(&server, client.who.clone());
            let (stop, done) = (&stop, &done);
            scope.spawn(move || load(&mut client, id, stop, done));
        }
        while done.load(Ordering::Relaxed) < 100 {
            thread::yield_now();
        }
        let begun = done.load(Ordering::Relaxed);
        let out = backup(&server, "monday");
        assert!(done.load(Ordering::Relaxed) > begun, "nobody was kept waiting until the end of it");
        stop.store(true, Ordering::Relaxed);
        out
    });
    let mut client = Client::of(&server, client.who.clone());
    client.put("after/the-backup");
    // Something that the key store holds, so that the backup's is an older one.
    tenant(&server, "later");
    let known = server.geoseal(&["backup", "list", "--json"]).json();
    let id = known["backups"][0]["id"].as_str().expect("an id").to_owned();
    server.geoseal(&["audit", "verify"]).ok();
    let logged = server.geoseal(&["audit", "tail", "--json"]).json();
    let entries = logged["entries"].as_array().expect("entries");
    server.geoseal(&["tenant", "show", "later"]).ok();
    assert!(entries.iter().any(|e| e["event"] == "backup-made" && e["detail"]["backup"] == id.as_str()), "{logged}");
    server.kill();

    // No master key is in it, and no name.
    let keyring = fs::read(server.data().join("data/geo/europe/keyring")).expect("the keyring");
    for file in files(&out) {
        let bytes = fs::read(&file).expect("our own file");
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(&keyring[64..128]), "{} holds a piece of the keyring", file.display());
        assert!(!holds(b"before/7") && !holds(b"contoso"), "{} holds a name", file.display());
    }

    restore(&server, &out);
    let said = server.refuses_to_restart();
    assert!(said.contains("older than its witness"), "{said}");
    server.restart_with(&ACCEPT);
    let mut client = Client::of(&server, client.who.clone());
    for name in &before {
        let got = client.get(name);
        assert!(got.status == 200 && got.body == body(name), "{name}: {}", got.status);
    }
    assert_eq!(client.get("after/the-backup").status, 404);
    server.geoseal(&["tenant", "show", "later"]).refused();
    let all = listed(&mut client);
    assert!(all.len() >= before.len(), "{all:?}");
    for name in &all {
        let got = client.get(name);
        assert!(got.status == 200 && got.body == body(name), "{name} is listed: {} {}", got.status, got.text());
    }
    client.put("after/the-restore");
    server.geoseal(&["audit", "verify"]).ok();
    let logged = server.geoseal(&["audit", "tail", "--json"]).json();
    let restored = logged["entries"].as_array().expect("entries").iter().find(|e| e["event"] == "keys-restored");
    assert_eq!(restored.expect("it is in the log")["detail"]["tenants"], "0");
    assert!(!server.log().contains("disk lost"), "the reason itself is nowhere");
    server.terminate();
    server.restart();
    assert_eq!(Client::of(&server, client.who.clone()).get("after/the-restore").status, 200);
}

#[test]
fn what_was_destroyed_since_the_backup_is_destroyed_again_before_anything_is_served() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let (mut leaves, mut stays) = (tenant(&server, "contoso"), tenant(&server, "fabrikam"));
    for n in 0..40 {
        leaves.put(&format!("of-contoso/{n}"));
        stays.put(&format!("of-fabrikam/{n}"));
    }
    let of_subject = |name: &str| {
        let request = Request::new("PUT", &object_path(LETTERS, name)).body(body(name));
        request.header("x-amz-meta-geoseal-subject", "subject-4711")
    };
    for name in ["of-subject/a", "of-subject/b"] {
        assert_eq!(stays.call(of_subject(name)).status, 200);
    }
    let out = backup(&server, "monday");
    let blobs_of_both = files(&server.data().join("data/region/westeurope/blobs")).len();
    let file = server.home().join("subject.txt");
    fs::write(&file, "subject-4711").expect("our own file");
    let erase = [
        "dsr",
        "erase",
        "--tenant",
        "fabrikam",
        "--subject-file",
        text(&file),
        "--confirm",
        "fabrikam",
        "--basis",
        "art17",
    ];
    server.geoseal(&erase).ok();
    assert_eq!(stays.get("of-subject/a").status, 404);
    let id = destroy(&server, "contoso");
    let blobs_of_one = files(&server.data().join("data/region/westeurope/blobs")).len();
    assert!(0 < blobs_of_one && blobs_of_one < blobs_of_both);
    server.terminate();

    restore(&server, &out);
    let log = server.data().join("data/geo/europe/keystore.shreds");
    let newest = fs::read(&log).expect("something was destroyed");
    assert_eq!(files(&server.data().join("data/region/westeurope/blobs")).len(), blobs_of_both, "as it was then");
    // Without the newest log nothing is served: contoso could come back.
    fs::remove_file(&log).expect("our own file");
    let said = server.refuses_to_restart_with(&ACCEPT);
    assert!(said.contains("the shred log is older than its anchor"), "{said}");
    fs::write(&log, &newest).expect("our own file");
    let said = server.refuses_to_restart();
    assert!(said.contains("older than its witness"), "{said}");

    server.restart_with(&ACCEPT);
    let shown = server.geoseal(&["tenant", "show", &id, "--json"]).json();
    assert_eq!((&shown["state"], &shown["name"]), (&"PURGED".into(), &serde_json::Value::Null), "{shown}");
    server.geoseal(&["tenant", "show", "contoso"]).refused();
    let mut leaves = Client::of(&server, leaves.who.clone());
    assert_eq!(leaves.get("of-contoso/1").status, 410);
    let mut stays = Client::of(&server, stays.who.clone());
    for n in 0..40 {
        let name = format!("of-fabrikam/{n}");
        let got = stays.get(&name);
        assert!(got.status == 200 && got.body == body(&name), "{name}: {}", got.status);
    }
    assert_eq!(files(&server.data().join("data/region/westeurope/blobs")).len(), blobs_of_one, "its blobs went again");
    let names = listed(&mut stays);
    assert_eq!(names.len(), 40, "no name of the erased subject's came back: {names:?}");
    assert_eq!(stays.get("of-subject/a").status, 404);
    let logged = server.geoseal(&["audit", "tail", "-n", "50", "--json"]).json();
    let has = |event: &str| logged["entries"].as_array().expect("entries").iter().any(|entry| entry["event"] == event);
    assert!(has("keys-restored") && has("tenant-redeleted") && has("subject-erased"), "{logged}");
    // The report of the restore lists what was erased again, by opaque ids and counts.
    let told = server.geoseal(&["compliance", "restores", "--json"]).json();
    let restore = &told["restores"][0];
    assert_eq!((told["restores"].as_array().map(Vec::len), &restore["geo"]), (Some(1), &"europe".into()), "{told}");
    assert_eq!(restore["tenants"], serde_json::json!([id]), "{told}");
    assert_eq!(restore["subjects"].as_array().map(Vec::len), Some(1), "{told}");
    let subject = &restore["subjects"][0];
    let ids = subject["subject"].as_str().map(str::len);
    assert_eq!((ids, &subject["objects"]), (Some(32), &2.into()), "{told}");
    assert_eq!((&restore["keys"]["tenants"], &restore["keys"]["subjects"]), (&1.into(), &1.into()), "{told}");
    assert!(restore["served_at"].is_string() && !told.to_string().contains("4711"), "{told}");
    let said = server.geoseal(&["compliance", "restores"]).ok();
    assert!(said.contains("erased again: 2 objects") && said.contains(&format!("tenant {id} deleted again")), "{said}");
    // And the name is free again.
    tenant(&server, "contoso");
    advance(&server, "2d");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(stays.get("of-fabrikam/3").status, 200);
}

#[test]
fn a_backup_that_was_changed_and_a_target_that_is_not_empty_are_refused() {
    let server = Server::start();
    let mut client = tenant(&server, "contoso");
    (0..30).for_each(|n| client.put(&format!("letter/{n}")));
    let out = backup(&server, "monday");
    let again = server.geoseal(&["backup", "create", "--out", text(&out)]);
    assert!(again.refused().contains("it is not empty"));
    let inside = server.data().join("data/backup");
    let again = server.geoseal(&["backup", "create", "--out", text(&inside)]);
    assert!(again.refused().contains("it lies in the data directory"));
    let plan = server.geoseal(&["backup", "create", "--out", text(&server.home().join("tuesday")), "--dry-run"]);
    assert!(plan.ok().contains("no master key") && !server.home().join("tuesday").exists());

    let to = server.home().join("restored");
    let refuse = |what: &str, says: &str, flags: &[&str]| {
        let arguments = [&["backup", "restore", "--from", text(&out), "--to", text(&to)], flags].concat();
        let said = server.geoseal(&arguments).refused();
        assert!(said.contains(says), "{what}: {said}");
        assert!(!to.exists(), "{what}: nothing was written");
    };
    let wrong_key = "ab".repeat(32);
    refuse("another log key", "another key than the given log key", &["--log-key", &wrong_key]);
    let mut listed = files(&out);
    listed.sort();
    assert!(listed.iter().any(|file| text(file).contains("/blobs/")), "some objects are blobs");
    for file in &listed {
        let whole = fs::read(file).expect("our own file");
        let mut changed = whole.clone();
        match changed.last_mut() {
            Some(last) => *last ^= 1,
            None => changed.push(1),
        }
        fs::write(file, &changed).expect("our own file");
        refuse(text(file), text(&out), &[]);
        let checked = server.geoseal(&["backup", "restore", "--from", text(&out), "--dry-run"]).refused();
        assert!(checked.contains(text(&out)), "{checked}");
        fs::remove_file(file).expect("our own file");
        let missing = server.geoseal(&["backup", "restore", "--from", text(&out), "--to", text(&to)]);
        missing.refused();
        assert!(!to.exists(), "{}", file.display());
        fs::write(file, &whole).expect("our own file");
    }
    let key = server.geoseal(&["audit", "log-key", "--geo", "europe"]).ok();
    let arguments = ["backup", "restore", "--from", text(&out), "--to", text(&to), "--log-key", key.trim()];
    let checked = server.geoseal(&["backup", "restore", "--from", text(&out), "--dry-run"]).ok();
    assert!(checked.contains("whole and unaltered") && !to.exists(), "{checked}");
    let said = server.geoseal(&arguments).ok();
    assert!(said.contains("the keyring") && said.contains("--accept-restore"), "{said}");
    assert!(server.geoseal(&arguments).refused().contains("it is not empty"));
}
