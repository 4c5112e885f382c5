//! another tenant's things, through the whole product: two tenants made by the admin API.

use super::{Caller, element, elements, login};
use geoseal_support::signer::Request;

const PART: &str = "<Delete><Object><Key>secret</Key></Object></Delete>";
const EMPTY: &str =
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"x\"</ETag></Part></CompleteMultipartUpload>";

/// A request from `METHOD /path?query`, with plain values.
fn split(method: &str, path: &str) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    query.split('&').filter(|pair| !pair.is_empty()).fold(Request::new(method, path), |request, pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.query(name, value)
    })
}

#[test]
fn a_13_another_tenants_bucket_is_as_if_it_were_not() {
    let mut alice = Caller::new("a-13-alices");
    alice.put("secret", b"alice's");
    let upload = element(&alice.call(alice.of("POST", "secret").query("uploads", "")), "UploadId");
    assert!(!upload.is_empty());
    let mut bob = Caller::other_tenant("a13-bob", "a-13-bobs");
    let part = format!("uploadId={upload}&partNumber=1");
    let calls = [
        ("HEAD", String::new()),
        ("GET", String::new()),
        ("GET", "?list-type=2".into()),
        ("GET", "?location".into()),
        ("GET", "?versioning".into()),
        ("GET", "?uploads".into()),
        ("DELETE", String::new()),
        ("POST", "?delete".into()),
        ("GET", "/secret".into()),
        ("GET", "/secret?versionId=null".into()),
        ("GET", "/secret?partNumber=1".into()),
        ("HEAD", "/secret".into()),
        ("GET", "/secret?tagging".into()),
        ("PUT", "/secret".into()),
        ("PUT", "/secret?tagging".into()),
        ("DELETE", "/secret".into()),
        ("DELETE", "/secret?versionId=null".into()),
        ("DELETE", "/secret?tagging".into()),
        ("POST", "/secret?uploads".into()),
        ("PUT", format!("/secret?{part}")),
        ("GET", format!("/secret?uploadId={upload}")),
        ("POST", format!("/secret?uploadId={upload}")),
        ("DELETE", format!("/secret?uploadId={upload}")),
    ];
    for (method, rest) in calls {
        let body = match (method, rest.as_str()) {
            ("POST", "?delete") => PART,
            ("PUT", "/secret?tagging") => "<Tagging><TagSet></TagSet></Tagging>",
            ("POST", rest) if rest.contains("uploadId") => EMPTY,
            ("PUT", _) => "bob's",
            _ => "",
        };
        let mut ask = |bucket: &str| {
            let answer = bob.call(split(method, &format!("/{bucket}{rest}")).body(body));
            let id = answer.header("x-amz-request-id").expect("every answer has one").to_owned();
            let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
            (answer.status, names, answer.text().replace(&id, ""))
        };
        let (theirs, nobodys) = (ask("a-13-alices"), ask("a-13-nobodys"));
        assert_eq!(theirs, nobodys, "{method} {rest}");
        assert_eq!(theirs.0, 404, "{method} {rest}: {}", theirs.2);
    }
    // An upload of alice's, under a bucket and name of bob's own.
    for (method, body) in [("PUT", "bob's"), ("GET", ""), ("POST", EMPTY), ("DELETE", "")] {
        let query = if method == "PUT" { part.clone() } else { format!("uploadId={upload}") };
        let answer = bob.call(split(method, &format!("/a-13-bobs/secret?{query}")).body(body));
        assert_eq!((answer.status, answer.code().as_str()), (404, "NoSuchUpload"), "{method}");
    }
    assert_eq!(elements(&bob.call(Request::new("GET", "/")), "Name"), ["a-13-bobs"]);
    // The same name can be bob's too, and is another bucket.
    assert_eq!(bob.call(Request::new("PUT", "/a-13-alices")).status, 200);
    assert_eq!(bob.call(split("PUT", "/a-13-alices/secret").body("bob's")).status, 200);
    assert_eq!(alice.get("secret").body, b"alice's");
    assert_eq!(bob.call(split("DELETE", "/a-13-alices/secret")).status, 204);
    assert_eq!(alice.get("secret").body, b"alice's");
    let listed = alice.call(alice.of("GET", "secret").query("uploadId", &upload));
    assert_eq!((listed.status, elements(&listed, "PartNumber").len()), (200, 0), "nothing of bob's got into it");
}

#[test]
fn a_13_a_login_that_only_reads_writes_nothing() {
    let mut alice = Caller::new("a-13-roles");
    alice.put("k", b"x");
    let reader = login(alice.server, "demo", "read-only");
    assert_eq!(alice.call_as(&reader, alice.of("GET", "k")).body, b"x");
    let upload = element(&alice.call(alice.of("POST", "k").query("uploads", "")), "UploadId");
    for (method, rest, body) in [
        ("PUT", "/k".to_owned(), "y"),
        ("DELETE", "/k".to_owned(), ""),
        ("PUT", "/k?tagging".to_owned(), "<Tagging><TagSet></TagSet></Tagging>"),
        ("DELETE", "/k?tagging".to_owned(), ""),
        ("POST", "?delete".to_owned(), "<Delete><Object><Key>k</Key></Object></Delete>"),
        ("POST", "/k?uploads".to_owned(), ""),
        ("PUT", format!("/k?partNumber=1&uploadId={upload}"), "y"),
        ("POST", format!("/k?uploadId={upload}"), EMPTY),
        ("DELETE", format!("/k?uploadId={upload}"), ""),
        ("DELETE", String::new(), ""),
    ] {
        let answer = alice.call_as(&reader, split(method, &format!("/a-13-roles{rest}")).body(body));
        assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"), "{method} {rest}");
    }
    let copy = alice.of("PUT", "copy").header("x-amz-copy-source", "a-13-roles/k");
    assert_eq!(alice.call_as(&reader, copy).status, 403);
    assert_eq!(alice.call_as(&reader, Request::new("PUT", "/a-13-new")).status, 403);
    assert_eq!(alice.get("k").body, b"x");
    assert!(!alice.has("copy"));
}

#[test]
fn a_14_nothing_is_copied_out_of_another_tenants_bucket() {
    let mut alice = Caller::new("a-14-alices");
    alice.put("secret", b"alice's");
    let mut bob = Caller::other_tenant("a14-bob", "a-14-bobs");
    bob.put("own", b"bob's");
    let upload = element(&bob.call(bob.of("POST", "k").query("uploads", "")), "UploadId");
    for source in [
        "a-14-alices/secret",
        "/a-14-alices/secret",
        "a-14-alices/secret?versionId=null",
        "a-14-alices/secret?versionId=00000000000000000000000000000000",
        "a-14-alices%2Fsecret",
        "a-14-bobs/../a-14-alices/secret",
        "a-14-bobs%2F..%2Fa-14-alices%2Fsecret",
        "//a-14-alices/secret",
        "arn:aws:s3:::a-14-alices/secret",
        "arn:aws:s3:westeurope:123456789012:accesspoint/a-14-alices/object/secret",
        "https://localhost/a-14-alices/secret",
    ] {
        let copy = bob.of("PUT", "k").header("x-amz-copy-source", source);
        let copy = bob.call(copy);
        let part = bob.of("PUT", "k").query("partNumber", "1").query("uploadId", &upload);
        let part = bob.call(part.header("x-amz-copy-source", source).header("x-amz-copy-source-range", "bytes=0-2"));
        for answer in [copy, part] {
            assert!((400..500).contains(&answer.status) || answer.status == 501, "{source}: {}", answer.status);
            assert!(!answer.text().contains("alice's"));
        }
        assert!(!bob.has("k"), "{source}");
    }
    // A version id injected behind a name of one's own stays in one's own bucket.
    let injected = bob.of("PUT", "k").header("x-amz-copy-source", "a-14-bobs/own?versionId=../../a-14-alices/secret");
    assert!((400..500).contains(&bob.call(injected).status));
    let listed = bob.call(bob.of("GET", "k").query("uploadId", &upload));
    assert_eq!((listed.status, elements(&listed, "PartNumber").len()), (200, 0));
    // The owner of a bucket can be asked for, and is the tenant.
    let owner = alice.of("GET", "secret").header("x-amz-expected-bucket-owner", "123456789012");
    assert_eq!(alice.call(owner).status, 403);
}
