//! R40, R41: who may administer a server is listed, and taken away again, at once and for good; the last one is not.

use super::audit;
use super::holds::Deputy;
use geoseal_support::server::Launch;

#[test]
fn r41_a_revoked_administrator_is_refused_at_the_next_request_and_the_last_one_stays() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let only = server.geoseal(&["admin", "list", "--json"]).json();
    let first = only["admins"][0]["id"].as_str().expect("an id").to_owned();
    let last = server.geoseal(&["admin", "revoke", &first, "--yes"]);
    assert!(last.code() == Some(4) && last.stderr().contains("LastAdmin"), "{}", last.stderr());

    let deputy = Deputy::demanded_by(&mut server);
    let listed = deputy.run(&server, &["admin", "list", "--json"]).json();
    let listed = listed["admins"].as_array().expect("a list");
    let second = listed.iter().filter_map(|one| one["id"].as_str()).find(|id| id.ends_with("-deputy"));
    let second = second.expect("the deputy is listed").to_owned();
    assert_eq!(server.geoseal(&["admin", "revoke", "admin-00000000", "--yes"]).code(), Some(3));
    assert_eq!(server.geoseal(&["admin", "revoke", &second]).code(), Some(2), "not without a word");
    server.geoseal(&["admin", "revoke", &second, "--dry-run"]).ok();
    deputy.run(&server, &["clock", "show"]).ok();

    // From the next request on, again after a restart, and not undone by being asked twice.
    assert!(server.geoseal(&["admin", "revoke", &second, "--yes"]).ok().contains("revoked"));
    let refused = deputy.run(&server, &["clock", "show"]);
    assert!(refused.code() == Some(5) && refused.stderr().contains("Unauthenticated"), "{}", refused.stderr());
    server.geoseal(&["admin", "revoke", &second, "--yes"]).ok();
    server.kill();
    server.restart();
    assert_eq!(deputy.run(&server, &["clock", "show"]).code(), Some(5));
    let listed = server.geoseal(&["admin", "list", "--json"]).json();
    let of = |id: &str| {
        listed["admins"].as_array().expect("a list").iter().find(|one| one["id"] == id).expect("listed").clone()
    };
    assert_eq!(of(&second)["revoked_by"], first.as_str());
    assert!(of(&first)["revoked_at"].is_null());
    let last = server.geoseal(&["admin", "revoke", &first, "--yes"]);
    assert!(last.code() == Some(4) && last.stderr().contains("LastAdmin"), "{}", last.stderr());
    assert_eq!(audit(&server).iter().filter(|line| line["event"] == "admin-revoked").count(), 1, "once in the log");
}
