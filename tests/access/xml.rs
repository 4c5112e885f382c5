//! PX-05: XML that wants more than to be read.

use super::{Caller, elements, refusal};
use geoseal_support::signer::Request;
use std::fs;

/// Kilobytes that the server holds in memory.
fn resident(caller: &Caller) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", caller.server.pid())).expect("our own child");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn delete(names: usize) -> String {
    format!("<Delete>{}</Delete>", "<Object><Key>none</Key></Object>".repeat(names))
}

#[test]
fn px_05_declarations_entities_and_bombs_are_400() {
    let mut caller = Caller::new("px-05");
    caller.put("k", b"x");
    let lol: String = (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    let bodies = [
        format!("<!DOCTYPE d [<!ENTITY l0 \"lol\">{lol}]><Delete><Object><Key>&l9;</Key></Object></Delete>"),
        "<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&x;</Key></Object></Delete>"
            .into(),
        "<!DOCTYPE d SYSTEM \"http://127.0.0.1:1/x.dtd\"><Delete><Object><Key>k</Key></Object></Delete>".into(),
        "<!DOCTYPE d [<!ENTITY % p SYSTEM \"http://127.0.0.1:1/\">%p;]><Delete/>".into(),
        format!("<!DOCTYPE d [<!ENTITY a \"{}\">]><Delete>{}</Delete>", "A".repeat(50_000), "&a;".repeat(50_000)),
        "<Delete><Object><Key><![CDATA[k]]></Key></Object></Delete>".into(),
        "<Delete><Object><Key>&unknown;</Key></Object></Delete>".into(),
        "<Delete><Object><Key>k</Key></Object>".into(),
        "<Delete><Object><Key>k</Object></Key></Delete>".into(),
        "<Delete></Delete><Delete><Object><Key>k</Key></Object></Delete>".into(),
        "<Delete/>".into(),
        "<Other><Object><Key>k</Key></Object></Other>".into(),
        String::new(),
        "\0".into(),
        "{\"Delete\":1}".into(),
        "<".repeat(100_000),
        "<a>".repeat(300_000),
        delete(1001),
    ];
    let before = resident(&caller);
    for xml in &bodies {
        let answer = caller.call(Request::new("POST", "/px-05").query("delete", "").body(xml.as_str()));
        assert_eq!(refusal(&answer).0, 400, "{}: {}", &xml[..xml.len().min(80)], answer.text());
        assert!(!answer.text().contains("root:") && !answer.text().contains("lollol"));
    }
    // Other tests use the same server meanwhile; one of the bombs alone would be gigabytes.
    assert!(resident(&caller) < before + 256 * 1024, "from {before} to {} kB", resident(&caller));
    assert!(caller.has("k"));
    // The same for the other bodies that are XML.
    let dtd = "<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>";
    let upload = elements(&caller.call(caller.of("POST", "m").query("uploads", "")), "UploadId").remove(0);
    for (request, xml) in [
        (
            caller.of("PUT", "k").query("tagging", ""),
            "<Tagging><TagSet><Tag><Key>a</Key><Value>&x;</Value></Tag></TagSet></Tagging>",
        ),
        (
            caller.of("POST", "m").query("uploadId", &upload),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&x;</ETag></Part></CompleteMultipartUpload>",
        ),
        (
            Request::new("PUT", "/px-05-new"),
            "<CreateBucketConfiguration><LocationConstraint>&x;</LocationConstraint></CreateBucketConfiguration>",
        ),
    ] {
        let answer = caller.call(request.body(format!("{dtd}{xml}")));
        assert_eq!(refusal(&answer).0, 400, "{xml}");
        assert!(!answer.text().contains("root:"));
    }
}

#[test]
fn px_05_a_megabyte_and_a_thousand_are_the_bounds() {
    let mut caller = Caller::new("px-05-bounds");
    let post = |body: String| Request::new("POST", "/px-05-bounds").query("delete", "").body(body);
    let answer = caller.call(post(delete(1000)));
    assert_eq!((answer.status, elements(&answer, "Deleted").len()), (200, 1000));
    let padded = |bytes: usize| {
        let xml = delete(1);
        format!("{}{xml}", " ".repeat(bytes - xml.len()))
    };
    assert_eq!(caller.call(post(padded(1 << 20))).status, 200);
    let answer = caller.call(post(padded((1 << 20) + 1)));
    assert_eq!(refusal(&answer), (400, "MaxMessageLengthExceeded".to_owned()));
}
