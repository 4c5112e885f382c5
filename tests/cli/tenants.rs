//! Tenants and logins as an S3 client at work sees them: what is refused at creation, and what each act on a tenant
//! does to the next request. Source: docs/retention.md, "State and operation".

use super::{call, code, consent, create};
use geoseal_support::{
    daemon::login_of,
    server::Server,
    signer::{Body, Credentials, Request},
    wire::Wire,
};

#[test]
fn creation_refuses_what_cannot_be_and_says_what_can() {
    let server = Server::shared();
    let terms = consent(server);
    let create = |name: &str, flags: &[&str]| {
        server.geoseal(&[&["tenant", "create", name, "--json", "--consent", &terms], flags].concat())
    };
    let unknown = create("refused", &["--geo", "unitedstates", "--home", "us-east-1"]);
    assert_eq!((unknown.code(), code(&unknown).as_str()), (Some(2), "UnknownRegion"));
    let problem: serde_json::Value = serde_json::from_str(&unknown.stdout()).unwrap();
    let valid: Vec<_> = problem["valid"].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
    assert_eq!(valid.len(), 18);
    assert_eq!((valid[0], valid[17], problem["status"].as_u64()), ("westeurope", "japanwest", Some(422)));
    for (flags, why) in [
        (&["--geo", "eu", "--home", "westeurope"][..], "UnknownGeo"),
        (&["--geo", "europe", "--home", "eastus"], "RegionNotInGeo"),
        (&["--geo", "europe"], "HomeRequired"),
        (&["--geo", "brazil", "--home", "brazilsouth", "--replication", "geo"], "NoInGeoReplica"),
        (&["--geo", "brazil", "--replication", "geo"], "NoInGeoReplica"),
        (&["--geo", "brazil"], "GeoNotServed"),
    ] {
        let ran = create("refused", flags);
        assert_eq!((ran.code(), code(&ran).as_str()), (Some(2), why), "{flags:?}");
    }
    for name in ["", "-", "UPPER", "with space", "under_score", &"x".repeat(64), "ünï", "a/b", ".."] {
        let ran = create(name, &["--geo", "europe", "--home", "westeurope"]);
        assert_eq!((ran.code(), code(&ran).as_str()), (Some(2), "BadField"), "{name:?}");
    }
    let taken = create("demo", &["--geo", "europe", "--home", "westeurope"]);
    assert_eq!((taken.code(), code(&taken).as_str()), (Some(4), "NameTaken"));
    assert_eq!(server.geoseal(&["tenant", "show", "refused"]).code(), Some(3), "nothing is left behind");
}

/// A client with one connection, as a service has it.
struct Service<'a> {
    server: &'a Server,
    login: Credentials,
    wire: Wire,
}

impl<'a> Service<'a> {
    fn new(server: &'a Server, tenant: &str, role: &str) -> Self {
        let made = server.geoseal(&["credential", "create", "--tenant", tenant, "--role", role, "--json"]).json();
        Self { server, login: login_of(&made), wire: Wire::to(server) }
    }

    /// Status and error code of the next request on the same connection.
    fn does(&mut self, request: Request) -> (u16, String) {
        let (host, body) = (self.wire.host().to_owned(), Body::Hashed);
        let answer = self.wire.exchange(&request.signed(&self.login, &host, body)).expect("the server answers");
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.wire = Wire::to(self.server);
        }
        (answer.status, answer.code())
    }

    fn puts(&mut self, name: &str) -> (u16, String) {
        self.does(Request::new("PUT", &format!("/letters/{name}")).body("a letter"))
    }

    fn gets(&mut self, name: &str) -> (u16, String) {
        self.does(Request::new("GET", &format!("/letters/{name}")))
    }
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn no(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_tenants_states_are_felt_by_the_next_request() {
    let server = Server::start();
    create(&server, "contoso").ok();
    let mut service = Service::new(&server, "contoso", "service");
    let mut reader = Service::new(&server, "contoso", "read-only");
    assert_eq!(service.does(Request::new("PUT", "/letters")), ok());
    assert_eq!((service.puts("one"), service.gets("one"), reader.gets("one")), (ok(), ok(), ok()));
    assert_eq!(reader.puts("two").0, 403, "a reader writes nothing");

    server.geoseal(&["tenant", "disable", "contoso", "--reason", "uninstalled"]).ok();
    assert_eq!(service.puts("two"), no(409, "TenantDisabled"));
    assert_eq!(service.gets("one"), no(403, "TenantDisabled"));
    assert_eq!(reader.gets("one"), no(403, "TenantDisabled"));
    assert_eq!(service.does(Request::new("DELETE", "/letters/one")), no(409, "TenantDisabled"));
    assert_eq!(service.does(Request::new("GET", "/letters").query("list-type", "2")), no(403, "TenantDisabled"));
    // Others are served all the while.
    assert_eq!(call(&server, &server.credentials(), Request::new("GET", "/interactions")).status, 200);
    let again = server.geoseal(&["tenant", "disable", "contoso", "--reason", "again"]).ok();
    assert!(again.contains("no change"), "{again}");

    let asked = server.geoseal(&["tenant", "enable", "contoso"]);
    assert!(asked.code() == Some(5) && asked.stderr().contains("--consent"), "{}", asked.stderr());
    let terms = consent(&server);
    server.geoseal(&["tenant", "enable", "contoso", "--consent", &terms]).ok();
    assert_eq!((service.gets("one"), service.puts("two")), (ok(), ok()), "what was there is there again");
    let twice = server.geoseal(&["tenant", "enable", "contoso", "--consent", &terms]).ok();
    assert!(twice.contains("no change"), "{twice}");

    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"]).ok();
    let shown = server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    assert_eq!((&shown["state"], &shown["days_left"]), (&"TERMINATED".into(), &90.into()));
    assert_eq!(service.puts("three"), no(403, "TenantTerminated"));
    assert_eq!(service.gets("one"), no(403, "TenantTerminated"));
    assert_eq!(reader.gets("one"), no(403, "TenantTerminated"));
    let twice = server.geoseal(&["tenant", "terminate", "contoso", "--reason", "again", "--confirm", "contoso"]).ok();
    assert!(twice.contains("no change"), "{twice}");
    let unmoved = server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    assert_eq!(unmoved["terminated_at"], shown["terminated_at"], "the second changes nothing");
    assert_eq!(server.geoseal(&["tenant", "enable", "contoso", "--consent", &terms]).code(), Some(4));

    server.geoseal(&["tenant", "reinstate", "contoso", "--consent", &terms]).ok();
    assert_eq!(reader.gets("one"), no(403, "TenantDisabled"), "reinstated, and not yet in service");
    server.geoseal(&["tenant", "enable", "contoso"]).ok();
    assert_eq!((reader.gets("one"), reader.gets("two"), reader.gets("three").0), (ok(), ok(), 404));
    assert_eq!(
        service.puts("three"),
        no(403, "SignatureDoesNotMatch"),
        "writers' logins ended with the termination, and are nobody's since the tenant is back"
    );
    let mut service = Service::new(&server, "contoso", "service");
    assert_eq!(service.puts("three"), ok());
    assert_eq!(server.geoseal(&["audit", "verify"]).code(), Some(0));
}

#[test]
fn a_revoked_login_is_refused_on_the_next_request() {
    let server = Server::start();
    create(&server, "contoso").ok();
    let mut first = Service::new(&server, "contoso", "service");
    let mut second = Service::new(&server, "contoso", "service");
    assert_eq!(
        (first.does(Request::new("PUT", "/letters")), first.puts("one"), second.puts("two")),
        (ok(), ok(), ok())
    );
    let login = first.login.access_id.clone();
    assert_eq!(server.geoseal(&["credential", "revoke", &login, "--tenant", "demo", "--yes"]).code(), Some(3));
    assert_eq!(first.gets("one"), ok(), "another tenant's administrator command revokes nothing here");
    server.geoseal(&["credential", "revoke", &login, "--tenant", "contoso", "--yes"]).ok();
    let refused = first.gets("one");
    assert_eq!(refused.0, 403, "on the connection that was open");
    let unknown = Credentials { access_id: login.replace("GS", "GT"), ..first.login.clone() };
    let answer = call(&server, &unknown, Request::new("GET", "/letters/one"));
    assert_eq!((answer.status, answer.code()), refused, "as one that never was");
    assert_eq!((second.gets("one"), second.puts("three")), (ok(), ok()));
    let listed = server.geoseal(&["credential", "list", "--tenant", "contoso", "--json"]).json();
    let listed = listed["credentials"].as_array().unwrap();
    let revoked = |id: &str| listed.iter().find(|c| c["access_id"] == id).unwrap()["revoked_at"].is_string();
    assert!(revoked(&login) && !revoked(&second.login.access_id));
}
