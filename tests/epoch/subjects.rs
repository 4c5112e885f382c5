//! The story: on Monday a backup is made. By Friday one person was erased, one opted out, one had the use of their data
//! restricted; then the disk dies, and Monday comes back. The people must not notice.

use super::{Client, LETTERS, backup, body, restore, tenant, text};
use geoseal_support::clients::Ran;
use geoseal_support::server::Server;
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Response;
use std::fs;

const ACCEPT: [&str; 4] = ["--accept-restore", "europe", "--reason", "disk lost, ticket 4711"];

fn about(server: &Server, who: &str, arguments: &[&str], flag: &str) -> Ran {
    let file = server.home().join("who");
    fs::write(&file, who).expect("our own file");
    server.geoseal(&[arguments, &["--tenant", "contoso", flag, text(&file), "--json"]].concat())
}

fn told(response: &Response) -> (u16, String) {
    (response.status, if response.status < 300 { String::new() } else { response.code() })
}

/// R44, P7 and P8 through a restore: what people were promised outlives the machine that promised it.
#[test]
fn r44_a_restore_forgets_no_erasure_no_opt_out_and_no_restriction() {
    let mut server = Server::start();
    let who = tenant(&server, "contoso").who.clone();
    // A refusal may end a connection: each request has its own.
    let call = |server: &Server, request: Request| Client::of(server, who.clone()).call(request);
    let of = |name: &str, who: &str| {
        let put = Request::new("PUT", &object_path(LETTERS, name)).body(body(name));
        put.header("x-amz-meta-geoseal-subject", who)
    };
    for name in ["erased", "let-alone", "restricted", "untouched"] {
        assert_eq!(call(&server, of(name, &format!("contact:{name}"))).status, 200);
    }
    // Of two people: one of them is forgotten, and what the other did stays.
    let line = |who: &str| format!("{{\"subject\":\"contact:{who}\",\"n\":1.50}}\n");
    let both = Request::new("PUT", &object_path(LETTERS, "both")).body(line("erased") + &line("untouched"));
    let both = both.header("content-type", "application/x-ndjson").header("x-amz-meta-geoseal-subjects", "records");
    assert_eq!(call(&server, both).status, 200);
    let out = backup(&server, "monday");
    let ledger = server.data().join("data/geo/europe/keystore.shreds");
    let older = fs::read(&ledger).ok();

    let erase = ["dsr", "erase", "--basis", "art17", "--confirm", "contoso"];
    about(&server, "contact:erased", &erase, "--subject-file").ok();
    // Somebody of whom nothing is stored can be promised the same.
    about(&server, "contact:never-seen", &erase, "--subject-file").ok();
    about(&server, "let-alone", &["contact", "opt-out"], "--contact-file").ok();
    about(&server, "unknown", &["contact", "opt-out", "--kind", "lead"], "--contact-file").ok();
    let open = ["dsr", "open", "--kind", "restrict", "--basis", "art18"];
    let opened = about(&server, "contact:restricted", &open, "--subject-file").json();
    let id = opened["id"].as_str().expect("an id").to_owned();
    server.geoseal(&["dsr", "restrict", &id, "--tenant", "contoso"]).ok();
    let promised = |server: &Server| {
        let get = |name: &str| call(server, Request::new("GET", &object_path(LETTERS, name)));
        let again = |who: &str| told(&call(server, of("again", who)));
        assert_eq!(get("erased").status, 404);
        assert_eq!(again("contact:erased"), (409, "SubjectErased".into()));
        assert_eq!(again("contact:never-seen"), (409, "SubjectErased".into()));
        assert_eq!(again("contact:let-alone"), (409, "OptedOut".into()));
        assert_eq!(again("lead:unknown"), (409, "OptedOut".into()));
        assert_eq!(told(&get("restricted")), (403, "SubjectRestricted".into()));
        assert_eq!((get("let-alone").status, get("untouched").status), (200, 200));
        let page = call(server, Request::new("GET", &format!("/{LETTERS}")).query("list-type", "2")).text();
        assert_eq!(page.matches("<Key>").count(), 4, "{page}");
        assert_eq!(get("both").text(), line("untouched"), "a batch is written anew again before anything is served");
    };
    promised(&server);
    server.terminate();

    restore(&server, &out);
    let newest = fs::read(&ledger).expect("much was promised");
    // With Monday's ledger nothing is served.
    match &older {
        Some(older) => fs::write(&ledger, older).expect("our own file"),
        None => fs::remove_file(&ledger).expect("our own file"),
    }
    let said = server.refuses_to_restart_with(&ACCEPT);
    assert!(said.contains("the shred log is older than its anchor"), "{said}");
    fs::write(&ledger, &newest).expect("our own file");
    server.restart_with(&ACCEPT);
    promised(&server);
    server.terminate();
    server.restart();
    promised(&server);
}
