//! PX-01 to PX-04 and PX-07: names, copy sources, metadata and origins that want to be something else.

use super::{Caller, elements, refusal};
use geoseal_support::signer::{Body, Request};
use std::collections::BTreeMap;

/// Signed as SDKs spell the name, sent in another spelling of the same name.
fn spelt(caller: &Caller, method: &str, name: &str, sent: &str) -> Request {
    let body = if method == "PUT" { sent.as_bytes() } else { b"" };
    let mut request = caller.of(method, name).body(body).signed(&caller.who, &caller.host(), Body::Hashed);
    request.path = format!("/{}/{sent}", caller.bucket);
    request
}

#[test]
fn px_01_names_are_opaque() {
    let mut other = Caller::new("px-01-other");
    other.put("k", b"other's");
    let mut caller = Caller::new("px-01");
    let before = files(caller.server);
    let names = [
        ("..", ".."),
        ("../px-01-other/k", "../px-01-other/k"),
        ("../px-01-other/k", "%2e%2e%2fpx-01-other%2fk"),
        ("../px-01-other/k", "%2E%2E/px-01-other/k"),
        ("../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd"),
        ("..\\px-01-other\\k", "..%5cpx-01-other%5ck"),
        ("%2e%2e/px-01-other/k", "%252e%252e/px-01-other/k"),
        ("%2e%2e%2f", "%252e%252e%252f"),
        ("\0", "%00"),
        ("a\0.jpg", "a%00.jpg"),
        (".", "."),
        ("./a", "./a"),
        ("/", "/"),
        ("//", "//"),
        ("///etc/passwd", "///etc/passwd"),
        ("/lead", "/lead"),
        ("a//b", "a//b"),
        ("a/../b", "a/../b"),
        ("a/./b", "a/%2e/b"),
        ("C:\\x", "C:%5Cx"),
        ("name.", "name."),
        ("con", "con"),
        (" ", "%20"),
        ("a;b=c", "a%3Bb%3Dc"),
    ];
    let mut want = BTreeMap::new();
    for (name, sent) in names {
        let answer = caller.send(&spelt(&caller, "PUT", name, sent));
        assert_eq!(answer.status, 200, "{sent}: {}", answer.text());
        want.insert(name.to_owned(), sent.as_bytes().to_vec());
    }
    for (name, sent) in names {
        assert_eq!(caller.send(&spelt(&caller, "GET", name, sent)).body, want[name], "{sent}");
        assert_eq!(caller.get(name).body, want[name], "{name:?}");
    }
    let list = Request::new("GET", "/px-01").query("list-type", "2").query("encoding-type", "url");
    let listed = elements(&caller.call(list), "Key");
    let decode = |key: &String| percent_encoding::percent_decode_str(key).decode_utf8().expect("UTF-8").into_owned();
    assert_eq!(listed.iter().map(decode).collect::<Vec<_>>(), want.keys().cloned().collect::<Vec<_>>());
    // Nobody else was touched, and no file has a name that a client chose.
    let listed = other.call(Request::new("GET", "/px-01-other").query("list-type", "2"));
    assert_eq!((elements(&listed, "Key"), other.get("k").body), (vec!["k".to_owned()], b"other's".to_vec()));
    for file in files(caller.server) {
        let ours = file.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.#".contains(&b)) && !file.contains("passwd");
        assert!(ours || before.contains(&file), "{file}");
    }
    for (name, _) in names {
        assert_eq!(caller.call(caller.of("DELETE", name)).status, 204, "{name:?}");
    }
    assert_eq!(other.get("k").body, b"other's");
    // As a bucket, the same texts are nothing.
    for path in
        ["/..", "/../px-01-other/k", "/%2e%2e/px-01-other/k", "/.", "/px-01%2f..%2fpx-01-other/k", "/%00", "//k"]
    {
        let answer = caller.call(Request::new("GET", path));
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
}

/// The names of all files of the server.
fn files(server: &geoseal_support::server::Server) -> Vec<String> {
    let mut found = vec![];
    let mut todo = vec![server.home().to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            found.push(entry.file_name().to_string_lossy().into_owned());
            // What other tests keep beside the data is their own.
            if entry.path().is_dir() && entry.path().starts_with(server.data()) || entry.path() == server.data() {
                todo.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn px_02_a_copy_source_is_an_exact_name_or_refused() {
    let mut caller = Caller::new("px-02");
    caller.put("a/b", b"slash");
    caller.put("a%2Fb", b"percent");
    caller.put("../x", b"dots");
    caller.put("a b+c", b"space");
    let mut copy = |source: &str| {
        let copied = caller.call(caller.of("PUT", "to").header("x-amz-copy-source", source));
        let got = caller.get("to");
        (copied.status, if copied.status == 200 { got.body } else { vec![] })
    };
    for (source, body) in [
        ("px-02/a/b", "slash"),
        ("/px-02/a/b", "slash"),
        ("px-02/a%2Fb", "slash"),
        ("px-02%2Fa%2Fb", "slash"),
        ("px-02/a%252Fb", "percent"),
        ("px-02/../x", "dots"),
        ("px-02/%2e%2e%2fx", "dots"),
        ("px-02/a%20b%2Bc", "space"),
    ] {
        assert_eq!(copy(source), (200, body.as_bytes().to_vec()), "{source}");
    }
    for bad in [
        "px-02",
        "px-02/",
        "/",
        "",
        "px-02/..%2F..%2Fa/b",
        "PX-02/a/b",
        "px-02/a%ffb",
        "../px-02/a/b",
        "px-02/a%25252Fb",
        "px-02//a/b",
        "px-02/a/b?versionId=x",
        "px-02/a/b?x=y",
        "%",
    ] {
        let (status, _) = copy(bad);
        assert!((400..500).contains(&status), "{bad}: {status}");
    }
}

#[test]
fn px_03_lookalikes_stay_apart_and_listings_stay_well_formed() {
    let mut caller = Caller::new("px-03");
    let names = [
        "e\u{301}",
        "\u{e9}",
        "\u{202e}gpj.exe",
        "\u{200b}zero",
        "a\u{1}b",
        "<&>\"'",
        "]]>",
        "\u{ffff}",
        "\u{fffe}",
        "line\nbreak",
        "cr\rlf\n",
        "tab\t",
        "%2e%2e",
        "a b+c",
        "\u{1f600}",
        "\u{feff}bom",
        "\u{85}",
        "\u{7f}",
        "&amp;",
        "&#0;",
        "</Key>",
    ];
    for name in names {
        caller.put(name, name.as_bytes());
    }
    for name in names {
        assert_eq!(caller.get(name).body, name.as_bytes(), "{name:?}");
    }
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    for query in
        [&[("list-type", "2")][..], &[("list-type", "2"), ("encoding-type", "url")], &[], &[("encoding-type", "url")]]
    {
        let request =
            query.iter().fold(Request::new("GET", "/px-03"), |request, (name, value)| request.query(name, value));
        let page = caller.call(request);
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(
            !text.chars().any(|c| c < ' ' && c != '\n' && c != '\t' || c > '\u{fffd}' && c < '\u{10000}'),
            "{text:?}"
        );
        let decode =
            |key: &String| percent_encoding::percent_decode_str(key).decode_utf8().expect("UTF-8").into_owned();
        assert_eq!(elements(&page, "EncodingType"), ["url"], "it cannot be said otherwise");
        assert_eq!(elements(&page, "Key").iter().map(decode).collect::<Vec<_>>(), sorted, "{query:?}");
    }
    // 1,024 bytes, not characters, and one more.
    for (name, status) in
        [("x".repeat(1024), 200), ("x".repeat(1025), 400), ("\u{e9}".repeat(512), 200), ("\u{e9}".repeat(513), 400)]
    {
        let answer = caller.call(caller.of("PUT", &name).body("x"));
        assert_eq!(answer.status, status, "{} bytes", name.len());
        assert!(status == 200 || answer.code() == "KeyTooLongError", "{}", answer.code());
    }
    // What is no UTF-8 is no name: overlong forms, lone surrogates, cut sequences, NUL's long spelling.
    for raw in [
        "%c0%ae%c0%ae",
        "%e0%80%af",
        "%ed%a0%80",
        "%ed%b0%80",
        "%ff",
        "%f5%80%80%80",
        "%e6%97",
        "%80",
        "a%c0%80b",
        "%f4%90%80%80",
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            let signed =
                Request::new(method, &format!("/px-03/{raw}")).signed(&caller.who, &caller.host(), Body::Hashed);
            assert_eq!(caller.send(&signed).status, 400, "{method} {raw}");
        }
        let listed = Request::new("GET", "/px-03").signed(&caller.who, &caller.host(), Body::Hashed);
        let line = format!("GET /px-03?list-type=2&prefix={raw} HTTP/1.1");
        let bytes = String::from_utf8(listed.bytes()).expect("ASCII").replacen("GET /px-03 HTTP/1.1", &line, 1);
        assert_eq!(caller.send_bytes("GET", bytes.as_bytes()).status, 400, "prefix {raw}");
    }
}

#[test]
fn px_04_metadata_and_overrides_cannot_become_headers() {
    let mut caller = Caller::new("px-04");
    caller.put("k", b"x");
    let put = |caller: &Caller, name: &str, value: &str| caller.of("PUT", "k").header(name, value).body("x");
    let long = "v".repeat(2048);
    let answer = caller.call(put(&caller, "x-amz-meta-a", &long));
    assert_eq!(refusal(&answer), (400, "MetadataTooLarge".to_owned()));
    assert_eq!(caller.call(put(&caller, "x-amz-meta-a", &long[1..])).status, 200);
    // A bare line break ends a header for some parser: refused before anybody parses, and the connection with it.
    for (name, value) in [
        ("x-amz-meta-a", "a\rx-evil: 1"),
        ("x-amz-meta-a", "a\nx-evil: 1"),
        ("x-amz-meta-a", "a\0b"),
        ("content-type", "text/plain\rx-evil: 1"),
        ("content-disposition", "a\nx-evil: 1"),
    ] {
        let request = put(&caller, name, value).signed(&caller.who, &caller.host(), Body::Hashed);
        assert_eq!(caller.send(&request).status, 400, "{value:?}");
        caller.wire = None;
    }
    // RFC 2047 could carry one past the parser; it must not come out as one. 8-bit values neither.
    for value in [
        "=?UTF-8?B?YQ0KeC1ldmlsOiAx?=",
        "=?UTF-8?Q?a=0D=0Ax-evil:_1?=",
        "a%0d%0ax-evil: 1",
        "\u{fc}\u{65e5}",
        "\u{85}\u{2028}x-evil: 1",
    ] {
        let answer = caller.call(put(&caller, "x-amz-meta-a", value));
        assert!(matches!(answer.status, 200 | 400 | 403), "{value:?}: {}", answer.status);
        let got = caller.get("k");
        assert!(got.status == 200 && got.header("x-evil").is_none(), "{value:?}");
    }
    for name in [
        "response-content-type",
        "response-content-disposition",
        "response-cache-control",
        "response-content-language",
        "response-content-encoding",
        "response-expires",
    ] {
        for value in ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\rx-evil: 1", "a\0b", "a\u{1}"] {
            let answer = caller.call(caller.of("GET", "k").query(name, value));
            assert!(
                answer.status == 400 && answer.header("x-evil").is_none(),
                "{name} {value:?}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    assert_eq!(caller.get("k").body, b"x");
}

#[test]
fn px_07_no_origin_is_reflected() {
    let mut caller = Caller::new("px-07");
    caller.put("k", b"x");
    let get = caller.call(caller.of("GET", "k").header("origin", "https://evil.example"));
    assert_eq!((get.status, &get.body[..]), (200, &b"x"[..]));
    let preflight = caller.of("OPTIONS", "k").header("host", &caller.host()).header("origin", "https://evil.example");
    let preflight = caller.send(&preflight.header("access-control-request-method", "PUT"));
    assert_eq!(refusal(&preflight).0, 403);
    let denied = caller.of("GET", "k").header("host", &caller.host()).header("origin", "null");
    let denied = caller.send(&denied);
    for answer in [get, preflight, denied] {
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{:?}", answer.headers);
    }
}
