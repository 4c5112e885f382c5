//! The pre-check never panics, and what it passes has one meaning.

use geoseal::model::atlas::Region;
use geoseal::s3::{hosts::Hosts, precheck};
use http::request::{Parts, Request};
use std::sync::OnceLock;

/// `data` is a request's head as text, the version left out: `METHOD TARGET`, then `name: value` lines.
pub fn check(data: &[u8]) {
    static RULES: OnceLock<precheck::Rules> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let region = Region::find("westeurope").expect("in the atlas").1;
        precheck::Rules { hosts: Hosts::new(["s3.test"]), regions: vec![region] }
    });
    let Some(parts) = parts(data) else { return };
    let Ok(passed) = precheck::check(rules, &parts) else { return };
    let count = |name: &str| parts.headers.get_all(name).iter().count();
    assert_eq!(passed.region.id, "westeurope");
    assert_eq!(count("host"), 1, "one host");
    assert!(count("content-length") + count("transfer-encoding") <= 1, "one length");
    assert!(count("x-amz-date") <= 1 && count("x-amz-content-sha256") <= 1, "every security header once");
    let query = percent_encoding::percent_decode_str(parts.uri.query().unwrap_or_default()).collect::<Vec<u8>>();
    let in_query = query.windows(15).any(|w| w == b"X-Amz-Signature");
    assert!((count("authorization") == 1) != in_query, "one way of authentication");
}

fn parts(data: &[u8]) -> Option<Parts> {
    let mut lines = data.split(|b| *b == b'\n');
    let mut line = lines.next()?.splitn(2, |b| *b == b' ');
    let mut request = Request::builder().method(line.next()?).uri(line.next()?);
    for line in lines {
        let mut header = line.splitn(2, |b| *b == b':');
        request = request.header(header.next()?, header.next()?.trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}
