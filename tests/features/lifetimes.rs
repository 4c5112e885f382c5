//! Lifetimes that run behind a watermark, and only while their feature is on.

use super::{BUCKET, advance, ask, call, clock, feature, put, refused, said, sweep, text, watermark};
use crate::life::tenant;
use geoseal_support::server::Launch;
use geoseal_support::signer::Request;
use serde_json::json;

#[test]
fn r32_x1_p17_lifetimes_run_behind_the_watermark_while_the_feature_is_on() {
    let server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent, "--ttl-days", "2"]);
    let there = |name: &str| ask(&server, &who, "GET", name).0 == 200;
    for name in ["first", "second"] {
        assert_eq!(put(&server, &who, name, Some("interaction")).0, 200);
    }
    assert_eq!(put(&server, &who, "plain", None).0, 200);

    // Without a watermark nothing is over, however old.
    advance(&server, "40d");
    sweep(&server);
    assert!(there("first") && there("second"));

    let (now, hour) = clock(&server);
    for (until, seen, class) in [
        ("2026-11-20T11:30:00Z", &now[..], "kpi"),
        ("9999-01-01T00:00:00Z", &now, "kpi"),
        ("soon", &now, "kpi"),
        (&hour, "never", "kpi"),
        (&hour, &now, "contact"),
    ] {
        let said = watermark(&server, &who, until, seen, class);
        assert_eq!(said, refused(422, "InvalidWatermark"), "{until} {seen} {class}");
    }
    assert_eq!(put(&server, &who, "later", Some("interaction")).0, 200);
    assert_eq!(watermark(&server, &who, &hour, &now, "kpi").0, 200);
    let shown = server.geoseal(&["bucket", "show", BUCKET, "--tenant", "contoso", "--json"]).json();
    assert_eq!((&shown["watermark"], &shown["ttl_days"]), (&json!(hour), &json!(2)));

    // A day of two; then 400 days that do not count; then the rest of the second, but for some minutes.
    advance(&server, "1d");
    feature(&server, "disable", &["--reason", "r"]);
    advance(&server, "400d");
    sweep(&server);
    let back = feature(&server, "enable", &["--consent", &consent]);
    assert_eq!((&back["compared"]["missing"], &back["compared"]["same"]), (&json!(0), &json!(true)), "{back}");
    sweep(&server);
    advance(&server, "23h30m");
    sweep(&server);
    assert!(there("first") && there("second"), "its lifetime is not over");

    advance(&server, "1h");
    let mut gone = false;
    for _ in 0..100 {
        sweep(&server);
        gone = !there("first") && !there("second");
        if gone {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(gone, "two days behind their watermark\n{}", server.log());
    assert!(there("later"), "no watermark covers what came after the job looked");
    assert!(there("plain") && there("kpi/v1/watermark.json"));
    assert!(server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok().contains("watermark-committed"));
}
