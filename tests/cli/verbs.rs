//! Every noun and verb, for people and with `--json`: one story of a tenant, told twice. A rehearsal comes before every
//! act and changes nothing. The list of verbs is taken from `--help`, so that a new one cannot go untested.

use super::{consent, create};
use geoseal_support::{
    clients::Ran,
    server::{Launch, Server, binary},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, process::Command, thread, time::Duration};

/// Verbs that other tests show: those that prepare or serve, and those whose story is longer than this one.
const ELSEWHERE: &[&str] = &[
    "init",
    "serve",
    "keys init",
    "keys serve",
    // tests/evidence
    "compliance record export",
    // tests/life
    "admin list",
    "admin revoke",
    "tenant cancel-early",
    "tenant purge-early",
    // tests/subjects
    "contact opt-in",
    "contact opt-out",
    "contact show",
    "dsr erase",
    "dsr export",
    "dsr lift",
    "dsr link",
    "dsr list",
    "dsr open",
    "dsr certificate",
    "dsr rectify",
    "dsr refuse",
    "dsr restrict",
    "dsr show",
    "export",
    // tests/features
    "tenant quota",
    "follow add",
    "follow remove",
    "follow capture",
    "grant create",
    "grant list",
    "grant revoke",
    // tests/epoch
    "backup create",
    "backup list",
    "backup restore",
    "key epoch abort",
    "key epoch certificate",
    "key epoch close",
    "key epoch status",
    // tests/life/holds.rs
    // tests/life/attest.rs
    "clock attest",
    "hold approve",
    "hold list",
    "hold place",
    "hold release",
    "hold show",
    // tests/life
    "key cancel-destroy",
    "key destroy",
    "key exposure",
    "key reencrypt",
    "key report-compromise",
    "key rotate directory",
    "key rotate index-key",
    "key rotate index-root",
    "key rotate subject-root",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    People,
    Programs,
}

struct Teller<'a> {
    server: &'a Server,
    readers: For,
    told: BTreeSet<String>,
}

impl Teller<'_> {
    /// A verb that only looks: `says` stands in the output.
    fn looks(&mut self, verb: &str, flags: &[&str], says: &str) -> String {
        self.told.insert(verb.to_owned());
        let said = self.run(verb, flags).ok();
        assert!(said.contains(says), "{verb}: {says:?} is not in:\n{said}");
        match self.readers {
            For::Programs => drop(document(verb, &said)),
            // A certificate is a document for people, too.
            For::People => assert!(verb.starts_with("certificate get") || is_text(&said), "{verb}:\n{said}"),
        }
        said
    }

    /// A verb that acts: rehearsed twice, then done.
    fn acts(&mut self, verb: &str, flags: &[&str], says: &str) -> String {
        let before = state(self.server);
        let rehearsal = [flags, &["--dry-run"]].concat();
        let plans: Vec<_> = (0..2).map(|_| self.run(verb, &rehearsal).ok()).collect();
        match self.readers {
            For::People => assert!(plans[0].contains("nothing was changed; plan "), "{verb}:\n{}", plans[0]),
            For::Programs => assert!(document(verb, &plans[0])["plan_id"].is_string(), "{verb}:\n{}", plans[0]),
        }
        assert_eq!(plans[0], plans[1], "{verb}: equal plans have equal ids");
        assert_eq!(state(self.server), before, "{verb}: a rehearsal changes nothing");
        self.looks(verb, flags, says)
    }

    fn run(&self, verb: &str, flags: &[&str]) -> Ran {
        let mut arguments: Vec<_> = verb.split(' ').chain(flags.iter().copied()).collect();
        if self.readers == For::Programs {
            arguments.push("--json");
        }
        self.server.geoseal(&arguments)
    }
}

fn document(verb: &str, said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|e| panic!("{verb}: not one JSON document: {e}\n{said}"))
}

fn is_text(said: &str) -> bool {
    !said.trim().is_empty() && serde_json::from_str::<Value>(said).is_err()
}

/// All that an act could change, and the head of the log in which every act leaves its mark.
fn state(server: &Server) -> Vec<String> {
    let looks: [&[&str]; 4] = [
        &["tenant", "list", "--json"],
        &["key", "status", "--json"],
        &["audit", "verify", "--json"],
        &["sweep", "status"],
    ];
    let demo = server.geoseal(&["credential", "list", "--tenant", "demo", "--json"]).ok();
    looks.iter().map(|look| server.geoseal(look).ok()).chain([demo]).collect()
}

/// The verbs that `--help` knows.
fn verbs(prefix: &str) -> Vec<String> {
    let mut command = Command::new(binary());
    let help = Ran::of(command.args(prefix.split_whitespace()).arg("--help")).ok();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let named: Vec<_> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    if named.is_empty() {
        return vec![prefix.trim().to_owned()];
    }
    named.iter().flat_map(|name| verbs(&format!("{prefix} {name}"))).collect()
}

#[test]
fn every_verb_speaks_to_people_and_to_programs() {
    let server = Launch::default().flag("--simulated-clock").start();
    let mut told = BTreeSet::new();
    for (readers, name) in [(For::People, "contoso"), (For::Programs, "fabrikam")] {
        let mut teller = Teller { server: &server, readers, told };
        story(&mut teller, name);
        told = teller.told;
    }
    let known: BTreeSet<_> = verbs("").into_iter().filter(|verb| !ELSEWHERE.contains(&verb.as_str())).collect();
    assert_eq!(told, known, "every verb of --help is told, and no other");
}

fn story(teller: &mut Teller<'_>, name: &str) {
    let server = teller.server;
    let terms = consent(server);
    teller.looks("region list", &[], "japanwest");
    teller.acts("tenant create", &[name, "--geo", "europe", "--home", "westeurope", "--consent", &terms], "ACTIVE");
    teller.looks("tenant show", &[name], "westeurope");
    teller.looks("tenant list", &[], name);
    let id = server.geoseal(&["tenant", "show", name, "--json"]).json()["id"].as_str().unwrap().to_owned();

    teller.acts("credential create", &["--tenant", name, "--role", "read-only"], "westeurope");
    let listed = server.geoseal(&["credential", "list", "--tenant", name, "--json"]).json();
    let login = listed["credentials"][0]["access_id"].as_str().unwrap().to_owned();
    let shown = teller.looks("credential list", &["--tenant", name], &login);
    assert!(!shown.to_lowercase().contains("secret"), "{shown}");
    teller.acts("credential revoke", &[&login, "--tenant", name, "--yes"], &login);

    teller.looks("key status", &["--tenant", name], "tdk/");
    teller.acts("key suspend tenant", &[name, "--reason", "lost-laptop"], "suspended");
    teller.acts("key resume tenant", &[name], "current");
    teller.acts("key rotate tenant", &[name], "/2");
    teller.acts("key rotate master", &["--geo", "europe"], "mk/europe/");
    teller.looks("clock show", &[], "simulated");
    teller.looks("audit tail", &["-n", "3"], "master-rotation-ended");
    teller.looks("audit verify", &[], "intact");
    teller.looks("audit show", &["0", "--geo", "europe"], "europe");
    teller.looks("compliance controls", &[], "RET-1");
    teller.looks("compliance subprocessors", &[], "processor");
    teller.looks("compliance restores", &[], "restores");
    teller.looks("compliance population", &["terminated", "--period", "2026"], "2026");
    teller.looks("residency prove", &["--tenant", name], "westeurope");
    teller.looks("key inventory", &[], "tdk");
    teller.looks("sweep history", &[], "europe");

    let email = ["email-engagement", "--tenant", name];
    teller.acts("feature enable", &[&email[..], &["--consent", &terms]].concat(), "enabled");
    teller.looks("feature show", &email, "tracked-activity");
    teller.acts("feature disable", &[&email[..], &["--reason", "uninstalled"]].concat(), "0");
    teller.acts("bucket set", &["interactions", "--tenant", "demo", "--purpose", "kpi"], "kpi");
    teller.looks("bucket show", &["interactions", "--tenant", "demo"], "kpi");

    teller.acts("tenant disable", &[name, "--reason", "uninstalled"], "DISABLED");
    teller.acts("tenant enable", &[name, "--consent", &terms], "ACTIVE");
    teller.acts("tenant terminate", &[name, "--reason", "contract-end", "--confirm", name], "TERMINATED");
    teller.acts("tenant reinstate", &[name, "--consent", &terms], "DISABLED");
    server.geoseal(&["tenant", "terminate", name, "--reason", "contract-end", "--confirm", name]).ok();
    teller.acts("dev clock advance", &["91d"], "simulated");
    // The clock that moved wakes the scheduled sweeper, too: whoever comes second finds nothing due.
    until_purged(server, &id);
    teller.looks("sweep status", &[], "3600");
    teller.acts(
        "sweep run",
        &[],
        if teller.readers == For::People { "nothing was due" } else { "\"tenants_purged\": 0" },
    );

    let certificate = teller.looks("certificate get", &[&id], "geoseal/certificate/v2");
    let file = server.home().join("certificate.json");
    fs::write(&file, certificate).unwrap();
    let file = file.to_str().unwrap();
    let key = teller.looks("audit log-key", &["--geo", "europe"], "");
    let key =
        document("audit log-key", &server.geoseal(&["audit", "log-key", "--geo", "europe", "--json"]).ok())["public"]
            .as_str()
            .filter(|public| key.contains(*public))
            .expect("both outputs have the key")
            .to_owned();
    teller.looks("certificate verify", &[file, "--log-key", &key], "valid");
    teller.looks("certificate verify", &[file], "taken from");
    teller.looks("audit checkpoint", &["--geo", "europe"], "geoseal/audit/europe/");
    teller.looks("audit prove", &["--geo", "europe", "--entry", "0"], "c2sp.org/tlog-proof@v1");
    let log = server.home().join(format!("log-of-{name}"));
    teller.looks("audit export", &["--geo", "europe", "--out", log.to_str().unwrap()], "root");
}

/// Until it is purged, and whoever did it, we or the scheduled sweeper whom the clock woke, has told so.
fn until_purged(server: &Server, id: &str) {
    let (mut told, mut waited) = (false, 0);
    for _ in 0..100 {
        let said = server.geoseal(&["sweep", "run"]).ok() + &server.geoseal(&["sweep", "status"]).ok();
        told |= said.contains("1 tenants purged");
        if server.geoseal(&["tenant", "show", id, "--json"]).json()["state"] == "PURGED" {
            // What it told may have been overwritten before we looked.
            waited += 1;
            if (told || waited > 10) && said.matches("nothing was due").count() == 2 {
                return;
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("nobody purged it\n{}", server.log());
}

/// What goes to standard output is the result and nothing else, so that it can be piped.
#[test]
fn standard_output_holds_results_only() {
    let server = Server::shared();
    create(server, "piper").ok();
    let made = server.geoseal(&["credential", "create", "--tenant", "piper"]);
    assert!(made.ok().lines().any(|line| line.starts_with("export AWS_SECRET_ACCESS_KEY=")));
    assert_eq!(made.stderr(), "", "no note where nobody watches");
    let out = server.home().join("login.env");
    let out = out.to_str().unwrap();
    let kept = server.geoseal(&["credential", "create", "--tenant", "piper", "--out", out]).ok();
    let text = fs::read_to_string(out).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("export AWS_SECRET_ACCESS_KEY=")).unwrap();
    assert!(!kept.contains(secret), "a secret that went to a file is not printed, too");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.geoseal(&["credential", "create", "--tenant", "piper", "--out", out]).code(), Some(2));
    assert_eq!(fs::read_to_string(out).unwrap(), text, "it is not overwritten");
}
