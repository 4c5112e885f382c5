//! Followed messages, and users who are not captured.

use super::{BUCKET, ask, call, contains, denied, feature, files, refused, said, text};
use crate::life::tenant;
use geoseal_support::server::Server;
use geoseal_support::signer::{Request, object_path};
use serde_json::json;
use std::fs;

#[test]
fn r24_r27_r34_r35_only_followed_messages_are_collected_and_users_can_opt_out() {
    let server = Server::start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let (canary, later) = ("canary-message-91c4", "canary-message-5577");
    let messages = text(&server, "messages.txt", &format!("{canary}\n"));
    let later_file = text(&server, "later.txt", later);
    let add = ["follow", "add", "--tenant", "contoso", "--message-file", &messages];
    let event = |name: &str, more: &[(&str, &str)]| {
        let put = Request::new("PUT", &object_path(BUCKET, name)).body("{}");
        let put = put.header("x-amz-meta-geoseal-class", "interaction");
        let put = more.iter().fold(put, |put, (name, value)| put.header(&format!("x-amz-meta-geoseal-{name}"), value));
        said(&call(&server, &who, put))
    };

    // While the feature is off a message is followed by none of the three ways; there is no force.
    assert_eq!(denied(&server, &add), (409, "FeatureDisabled".into()));
    assert_eq!(event("sent", &[("message", canary), ("follow", "true")]), refused(409, "FeatureDisabled"));
    assert_eq!(server.geoseal(&[&add[..], &["--force"]].concat()).code(), Some(2));
    let mut admin = crate::life::admin(&server);
    let post = Request::new("POST", "/admin/v1/tenants/contoso/follows").header("host", "localhost");
    let post = post.header("authorization", &format!("Bearer {}", server.admin_token()));
    let post = post.header("content-type", "application/json").body(json!({ "messages": [canary] }).to_string());
    let answer = admin.exchange(&post).expect("the admin listener answers");
    assert!(answer.status == 409 && answer.text().contains("FeatureDisabled"), "{}", answer.text());
    let consent = text(&server, "agreed.txt", "yes\n");
    let on = feature(&server, "enable", &["--consent", &consent]);
    assert_eq!(on["follow_only"], json!(true), "unless an administrator says otherwise, on record");
    for choice in ["false", "true"] {
        assert_eq!(feature(&server, "enable", &["--follow-only", choice])["follow_only"], json!(choice == "true"));
        let logged = server.geoseal(&["audit", "tail", "-n", "1", "--json"]).ok();
        assert!(
            logged.contains("feature-enabled") && logged.contains(&format!("\"follow_only\": \"{choice}\"")),
            "{logged}"
        );
    }

    let occurred = || ("occurred", "2999-01-01T00:00:00Z");
    assert_eq!(event("open", &[("message", canary), occurred()]), refused(422, "NotFollowed"));
    assert_eq!(event("open", &[]), refused(422, "NotFollowed"));
    assert_eq!(ask(&server, &who, "GET", "open").0, 404, "nothing is stored");
    assert!(server.geoseal(&add).ok().contains("1 messages are followed, 1 new"));
    assert!(server.geoseal(&add).ok().contains("0 new"));
    assert_eq!(event("open", &[("message", canary), occurred()]).0, 200);
    // The flag came after the event.
    let before = ("occurred", "2020-01-01T00:00:00Z");
    assert_eq!(event("early", &[("message", canary), before]), refused(422, "NotFollowed"));
    assert_eq!(event("open-2", &[("message", later), occurred()]), refused(422, "NotFollowed"));
    // The record of the sending registers it, too.
    assert_eq!(event("sent", &[("message", later), ("follow", "true")]).0, 200);
    assert_eq!(event("open-2", &[("message", later), occurred()]).0, 200);

    // Followed no more.
    let remove = ["follow", "remove", "--tenant", "contoso", "--message-file", &messages];
    assert!(server.geoseal(&remove).ok().contains("1 messages are followed no more"));
    assert!(server.geoseal(&remove).ok().contains("0 messages"));
    assert_eq!(event("open-3", &[("message", canary), occurred()]), refused(422, "NotFollowed"));
    assert_eq!(ask(&server, &who, "GET", "open").0, 200, "what was collected stays");

    // A user who does not want to be captured.
    let user = text(&server, "user.txt", "user:7\n");
    let track = || {
        let put = Request::new("PUT", &object_path(BUCKET, "tracked")).header("x-amz-meta-geoseal-actor", "user:7");
        said(&call(&server, &who, put.header("x-amz-meta-geoseal-class", "tracked-activity").body("t")))
    };
    let capture = ["follow", "capture", "--tenant", "contoso", "--user-file", &user, "--on"];
    assert_eq!(track().0, 200);
    server.geoseal(&[&capture[..], &["false"]].concat()).ok();
    assert_eq!(track(), refused(409, "OptedOut"));
    server.geoseal(&[&capture[..], &["true"]].concat()).ok();
    assert_eq!(track().0, 200);

    // Only tokens of the ids are kept.
    for file in [&messages, &later_file, &user] {
        fs::remove_file(file).expect("our own file");
    }
    for (path, bytes) in files(server.home()) {
        for id in [canary, later, "user:7"] {
            assert!(!contains(&bytes, id), "{id} in {path}");
        }
    }
    feature(&server, "disable", &["--reason", "r"]);
    let messages = text(&server, "messages.txt", canary);
    let add = ["follow", "add", "--tenant", "contoso", "--message-file", &messages];
    assert_eq!(denied(&server, &add), (409, "FeatureDisabled".into()));
    assert_eq!(event("sent-3", &[("message", "m"), ("follow", "true")]), refused(409, "FeatureDisabled"));
}
