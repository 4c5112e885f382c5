//! D5 as it is typed and read: what a rehearsal says is what the run does, whatever holds keep; and nobody is taken for somebody
//! else.

use super::requests::{ask, body, dsr, open, put};
use super::subject_file;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use serde_json::Value;

const ADA: &str = "contact:ada-6t3m";
const BOB: &str = "contact:bob-1r8q";

/// What is counted by a rehearsal and by a run.
const COUNTED: [&str; 5] = ["objects", "versions", "batches", "kpi_hours", "uploads"];

fn figures(of: &Value) -> [u64; 5] {
    COUNTED.map(|name| of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}")))
}

/// A batch of records of both, of a class.
fn batch(server: &Server, name: &str, class: &str) {
    let lines = [ADA, BOB].map(|who| format!("{{\"geosealsubject\":\"{who}\",\"opens\":3}}\n")).concat();
    let put =
        Request::new("PUT", &object_path(BUCKET, name)).header("content-type", "application/x-ndjson").body(lines);
    let put = put.header("x-amz-meta-geoseal-subjects", "records").header("x-amz-meta-geoseal-class", class);
    assert_eq!(ask(server, put).status, 200, "{name}");
}

#[test]
fn d5_p20_a_rehearsal_says_what_the_run_does_in_one_line() {
    let server = Server::start();
    let keep = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                </VersioningConfiguration>";
    let asked = Request::new("PUT", &format!("/{BUCKET}")).query("versioning", "").body(keep);
    assert_eq!(ask(&server, asked).status, 200);
    for (name, versions) in [("once", 1), ("thrice", 3), ("kept", 2)] {
        for n in 0..versions {
            assert_eq!(put(&server, name, ADA, &body(&format!("{name} {n}"), 300)).status, 200);
        }
        assert_eq!(put(&server, &format!("of-bob/{name}"), BOB, b"his").status, 200);
    }
    let upload = Request::new("POST", &object_path(BUCKET, "parts")).query("uploads", "");
    assert_eq!(ask(&server, upload.header("x-amz-meta-geoseal-subject", ADA)).status, 200);
    // Figures of two hours, one of them in two files; and of a third that a hold keeps. And a batch of another class.
    for name in ["hr=09/recipient", "hr=09/message", "hr=10/recipient", "hr=11/recipient"] {
        batch(&server, &format!("kpi/v1/dt=2026-11-20/{name}.ndjson"), "kpi");
    }
    batch(&server, "activities.ndjson", "activity");
    for (id, name) in [("M-9", "kept"), ("M-10", "kpi/v1/dt=2026-11-20/hr=11/recipient.ndjson")] {
        let scope = format!("object:{BUCKET}/{name}");
        let place = ["hold", "place", id, "--tenant", "demo", "--scope", &scope, "--matter", "A v. B"];
        assert!(server.geoseal(&place).ok().contains("in_force"));
    }

    let id = open(&server, ADA, "erase", &[]);
    let rehearse = ["dsr", "erase", &id, "--tenant", "demo", "--dry-run"];
    let said = server.geoseal(&rehearse).ok();
    let line = "2 objects, 4 versions, 0 collaboration copies, 2 KPI hours, 4 batches written anew, 1 upload; \
                2 objects under holds M-10, M-9 → deferred\nnothing was changed; plan ";
    assert!(said.starts_with(line), "{said}");
    let plan = server.geoseal(&[&rehearse[..], &["--json"]].concat()).json();
    assert_eq!(plan, server.geoseal(&[&rehearse[..], &["--json"]].concat()).json(), "to look changes nothing");
    let done = dsr(&server, &["erase", &id, "--confirm", "demo"]).json();
    let part = &done["result"]["request"];
    assert_eq!((figures(&plan["counts"]), &plan["counts"]["deferred"]), (figures(part), &part["deferred"]), "{done}");
    let mut matters = part["holds"].clone();
    matters.as_array_mut().expect("a list").sort_by_key(Value::to_string);
    assert_eq!(plan["holds"], matters, "{done}");

    // Of two holds one is released; then the rest is what a second rehearsal says.
    let released = server.geoseal(&["hold", "release", "M-10"]).ok();
    assert_eq!(released.trim(), "M-10 released; no deferred act resumes", "another hold keeps it");
    let said = server.geoseal(&rehearse).ok();
    let line = "0 objects, 0 versions, 0 collaboration copies, 1 KPI hour, 1 batch written anew; 1 object under hold \
                M-9 → deferred\n";
    assert!(said.starts_with(line), "{said}");
    let by_file = subject_file(&server, BOB);
    let by_file = ["dsr", "erase", "--tenant", "demo", "--subject-file", by_file.to_str().expect("UTF-8")];
    let by_file = [&by_file[..], &["--basis", "art17"]].concat();
    let rehearsed = server.geoseal(&[&by_file[..], &["--dry-run", "--json"]].concat()).json();
    let erased = server.geoseal(&[&by_file[..], &["--confirm", "demo", "--json"]].concat()).json();
    let erased = &erased["result"]["subject_erasure"];
    assert_eq!(figures(&rehearsed["counts"]), figures(erased), "{erased}");
    assert_eq!(figures(erased), [3, 3, 5, 3, 0], "{erased}");
    let shown = dsr(&server, &["show", &id]).json();
    assert_eq!((&shown["state"], figures(&shown)), (&"deferred".into(), [2, 4, 4, 2, 1]), "{shown}");

    // A copy counts all of it, held or not.
    let access = open(&server, ADA, "access", &[]);
    let out = server.home().join("ada.zip");
    let export = ["export", &access, "--out", out.to_str().expect("UTF-8")];
    assert_eq!(dsr(&server, &[&export[..], &["--dry-run"]].concat()).json()["counts"]["objects"], 3);

    // 4711 is nobody while a contact and a lead have that id: only their kinds are told.
    for name in ["contact:4711", "lead:4711", "contact:4712", "4713", "contact:4713"] {
        assert_eq!(put(&server, &format!("of/{name}"), name, b"x").status, 200);
    }
    let file = |name: &str| subject_file(&server, name).to_str().expect("UTF-8").to_owned();
    for (name, kinds) in [("4711", &["contact", "lead"][..]), ("4712", &["contact"])] {
        let opened = ["open", "--subject-file", &file(name), "--kind", "access", "--basis", "art15"];
        let erased = ["erase", "--subject-file", &file(name), "--basis", "art17", "--confirm", "demo"];
        for refused in
            [dsr(&server, &opened), dsr(&server, &erased), dsr(&server, &[&erased[..], &["--dry-run"]].concat())]
        {
            assert_eq!(refused.code(), Some(3), "{}", refused.stdout());
            let problem: Value = serde_json::from_str(&refused.stdout()).expect("a problem");
            assert_eq!((&problem["code"], &problem["valid"]), (&"AmbiguousSubject".into(), &kinds.into()), "{problem}");
            assert!(!problem.to_string().contains(name), "{problem}");
        }
    }
    // A name that is somebody's own, and one that is nobody's, mean what they say.
    for name in ["4713", "4714", "contact:4711"] {
        open(&server, name, "access", &[]);
    }
    server.geoseal(&["audit", "verify"]).ok();
}
