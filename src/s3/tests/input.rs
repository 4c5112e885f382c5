//! docs/threat-cases.md, cases PX: hostile input, on the wire.

use super::world::{HOST, World, refused, split};
use geoseal_support::signer::{Body, object_path};

#[tokio::test]
async fn px_01_names_are_opaque() {
    let world = World::new().await;
    world.put("/other", b"").await;
    world.put("/other/k", b"other's").await;
    // Signed as SDKs spell the name, sent in another spelling of the same name.
    let spelt = |method: &str, name: &str, sent: &str| {
        let mut request = split(method, &object_path("records", name));
        request = request.body(if method == "PUT" { sent.as_bytes() } else { b"" });
        let mut request = request.signed(&world.alice, HOST, Body::Hashed);
        request.path = format!("/records/{sent}");
        request
    };
    let names = [
        ("../other/k", "%2e%2e%2fother%2fk"),
        ("../other/k", "../other/k"),
        ("..\\other", "..%5cother"),
        ("%2e%2e/other/k", "%252e%252e/other/k"),
        ("\0", "%00"),
    ];
    for (name, sent) in names {
        assert_eq!(world.send(spelt("PUT", name, sent)).await.status, 200, "{sent}");
        assert_eq!(world.send(spelt("GET", name, sent)).await.body, sent.as_bytes(), "{sent}");
    }
    assert_eq!(world.get("/other/k").await.body, b"other's");
    let paths = ["..", "/", "//", ".", "/lead", "a//b", "./a"];
    for path in paths {
        let at = format!("/records/{path}");
        assert_eq!(world.put(&at, path.as_bytes()).await.status, 200, "{path}");
    }
    assert_eq!(world.get("/other/k").await.body, b"other's");
    assert_eq!(world.get("/other?list-type=2").await.elements("Key"), ["k"]);
    for path in paths {
        assert_eq!(world.get(&format!("/records/{path}")).await.body, path.as_bytes(), "{path}");
    }
    // `../other/k` was put in two spellings: one name.
    let listed = world.get("/records?list-type=2").await.elements("Key").len();
    assert_eq!(listed, paths.len() + names.len() - 1);
}

#[tokio::test]
async fn px_02_a_copy_source_is_an_exact_name() {
    let world = World::new().await;
    world.put("/records/a/b", b"slash").await;
    world.put("/records/a%252Fb", b"percent").await;
    let copy = async |source: &str| {
        let copied = world.call(split("PUT", "/records/to").header("x-amz-copy-source", source)).await;
        (copied.status, world.get("/records/to").await.body)
    };
    assert_eq!(copy("records/a%2Fb").await, (200, b"slash".to_vec()));
    assert_eq!(copy("records/a/b").await, (200, b"slash".to_vec()));
    assert_eq!(copy("records/a%252Fb").await, (200, b"percent".to_vec()));
    for bad in ["records", "records/", "/", "", "records/..%2F..%2Fa/b", "RECORDS/a/b", "records/a%ffb"] {
        let status = world.call(split("PUT", "/records/to").header("x-amz-copy-source", bad)).await.status;
        assert!((400..500).contains(&status), "{bad}: {status}");
    }
}

#[tokio::test]
async fn px_04_metadata_cannot_become_a_header() {
    let world = World::new().await;
    let put = |name: &str, value: &str| split("PUT", "/records/k").header(name, value).body(&b"x"[..]);
    assert_eq!(world.call(put("x-amz-meta-a", "plain")).await.status, 200);
    let long = "v".repeat(2048);
    assert_eq!(world.call(put("x-amz-meta-a", &long)).await.code(), refused(400, "MetadataTooLarge"));
    assert_eq!(world.call(put("x-amz-meta-a", &long[1..])).await.status, 200);
    // RFC 2047 can smuggle a line break past the parser of headers; it must not come out as one.
    let encoded = "=?UTF-8?B?YQ0KeC1ldmlsOiAx?=";
    let answer = world.call(put("x-amz-meta-a", encoded)).await;
    if answer.status == 200 {
        let got = world.get("/records/k").await;
        assert_eq!(got.header("x-evil"), "");
        assert!(!got.header("x-amz-meta-a").contains('\n'));
    }
    for value in ["text/plain\r\nx-evil: 1", "text/plain\nx-evil: 1"] {
        let got = world.call(split("GET", "/records/k").query("response-content-type", value)).await;
        assert_eq!((got.status, got.header("x-evil")), (400, ""), "{value:?}");
    }
}

#[tokio::test]
async fn px_05_hostile_xml() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\"><!ENTITY c \"&b;&b;&b;\">]>\
                <Delete><Object><Key>&c;</Key></Object></Delete>";
    let external = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>\
                    <Delete><Object><Key>&b;</Key></Object></Delete>";
    for xml in [bomb, external] {
        assert_eq!(world.post("/records?delete", xml.as_bytes()).await.code(), refused(400, "MalformedXML"));
    }
    for xml in ["", "<", "<Delete>", "<Delete/>", "<Delete><Object><Key>&b;</Key></Object></Delete>", "\u{0}", "<a/>"] {
        let answer = world.post("/records?delete", xml.as_bytes()).await;
        assert_eq!(answer.status, 400, "{xml:?}: {}", answer.text());
    }
    let of = |objects: usize| {
        let objects = "<Object><Key>none</Key></Object>".repeat(objects);
        format!("<Delete>{objects}</Delete>")
    };
    assert_eq!(world.post("/records?delete", of(1000).as_bytes()).await.status, 200);
    assert_eq!(world.post("/records?delete", of(1001).as_bytes()).await.code(), refused(400, "MalformedXML"));
    let huge = format!("{}{}", of(1), " ".repeat(1 << 20));
    assert_eq!(world.post("/records?delete", huge.as_bytes()).await.code(), refused(400, "MaxMessageLengthExceeded"));
    let wrong = split("POST", "/records?delete").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").body(of(1));
    assert_eq!(world.call(wrong).await.code(), refused(400, "BadDigest"));
    let wrong = split("POST", "/records?delete").header("x-amz-checksum-crc32", "AAAAAA==").body(of(1));
    assert_eq!(world.call(wrong).await.code(), refused(400, "BadDigest"));
    assert_eq!(world.get("/records/k").await.body, b"x");
}

#[tokio::test]
async fn px_07_no_origin_is_reflected() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let get = world.call(split("GET", "/records/k").header("origin", "https://evil.test")).await;
    let preflight = split("OPTIONS", "/records/k").header("origin", "https://evil.test").header("host", HOST);
    let preflight = world.send(preflight.header("access-control-request-method", "GET")).await;
    assert_eq!((get.status, preflight.code()), (200, refused(403, "AccessForbidden")));
    for answer in [get, preflight] {
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    for (method, path) in [
        ("PUT", "/records?accelerate"),
        ("GET", "/records?policy"),
        ("PUT", "/records?replication"),
        ("GET", "/records/k?acl"),
        ("DELETE", "/records/k?acl"),
        ("GET", "/records/k?attributes"),
        ("POST", "/records/k?restore"),
        ("PUT", "/records/k?legal-hold"),
    ] {
        assert_eq!(world.call(split(method, path)).await.code(), refused(501, "NotImplemented"), "{method} {path}");
    }
    let locked = split("PUT", "/records/k").header("x-amz-object-lock-mode", "GOVERNANCE").body(&b"y"[..]);
    assert_eq!(world.call(locked).await.code(), refused(501, "NotImplemented"));
    let sse_c = split("PUT", "/records/k").header("x-amz-server-side-encryption-customer-algorithm", "AES256");
    assert_eq!(world.call(sse_c.body(&b"y"[..])).await.code(), refused(501, "NotImplemented"));
    let form = split("POST", "/records").header("content-type", "multipart/form-data; boundary=x").body(&b"--x--"[..]);
    assert_eq!(world.send(form.signed(&world.alice, HOST, Body::Hashed)).await.status, 501);
    assert_eq!(world.get("/records/k").await.body, b"x");
}

#[tokio::test]
async fn an_answer_says_no_name_back() {
    let world = World::new().await;
    for answer in [world.get("/records/jane.doe").await, world.get("/missing-bucket/jane.doe").await] {
        assert!(answer.status == 404 && !answer.text().contains("jane") && !answer.text().contains("missing-bucket"));
    }
}
