//! Lifetimes that run behind a watermark, and only while their feature is on.

use super::{BUCKET, FIGURES, advance, ask, call, clock, feature, job, put, refused, said, sweep, text, watermark};
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
    feature(&server, "enable", &["--consent", &consent, "--ttl-days", "2", "--follow-only", "false"]);
    server.geoseal(&["bucket", "set", BUCKET, "--tenant", "contoso", "--purpose", "kpi"]).ok();
    let there = |name: &str| ask(&server, &who, "GET", name).0 == 200;
    let before = "dt=2019-12-31/hr=23/before";
    for name in ["first", "second", before] {
        assert_eq!(put(&server, &who, name, Some("interaction")).0, 200);
    }
    assert_eq!(put(&server, &who, "plain", None).0, 200);

    // Without a watermark nothing is over, however old.
    advance(&server, "40d");
    sweep(&server);
    assert!(there("first") && there("second"));

    let (now, hour) = clock(&server);
    let from = "2020-01-01T00:00:00Z";
    let figures = job(&server, &FIGURES);
    for (from, until, seen) in [
        (from, "2026-11-20T11:30:00Z", &now[..]),
        ("2020-01-01T00:00:01Z", &hour, &now),
        (from, "9999-01-01T00:00:00Z", &now),
        (from, "soon", &now),
        ("soon", &hour, &now),
        (&hour, &hour, &now),
        (&hour, from, &now),
        (from, &hour, "never"),
    ] {
        let said = watermark(&server, &figures, (from, until), seen, "kpi");
        assert_eq!(said, refused(422, "InvalidWatermark"), "{from} {until} {seen}");
    }
    assert_eq!(watermark(&server, &figures, (from, &hour), &now, "contact"), refused(403, "AccessDenied"));
    // Whoever is no job, and whoever is another job, has consumed nothing.
    server.geoseal(&["bucket", "set", BUCKET, "--tenant", "contoso", "--purpose", "kpi", "--purpose", "scoring"]).ok();
    let scoring = job(&server, &["--purpose", "scoring", "--class", "interaction", "--class", "kpi"]);
    for who in [&who, &scoring] {
        assert_eq!(watermark(&server, who, (from, &hour), &now, "kpi"), refused(403, "AccessDenied"));
    }
    assert_eq!(ask(&server, &who, "GET", "kpi/v1/watermark.json").0, 404, "nothing of it is stored");
    assert_eq!(put(&server, &who, "later", Some("interaction")).0, 200);
    assert_eq!(watermark(&server, &figures, (from, &hour), &now, "kpi").0, 200);
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
    assert!(there(before), "nor what is older than the first window");
    assert!(there("plain") && there("kpi/v1/watermark.json"));
    assert!(server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok().contains("watermark-committed"));
}
