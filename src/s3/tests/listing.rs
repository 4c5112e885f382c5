//! Listings on the wire: order, pages, spelling, and tokens that tell nothing (NX-06, NX-07).

use super::world::{World, refused, split};
use base64::Engine as _;
use geoseal_support::signer::object_path;

#[tokio::test]
async fn pages_prefixes_and_markers() {
    let world = World::new().await;
    let names = ["a", "a/1", "a/2", "b", "b/x/1", "b/x/2", "c", "ä", "Z"];
    for name in names {
        world.call(split("PUT", &object_path("records", name)).body(name.as_bytes())).await;
    }
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    for version in ["list-type=2&", ""] {
        let all = world.get(&format!("/records?{version}max-keys=1000")).await;
        assert_eq!(all.elements("Key"), sorted);
        assert_eq!(all.element("IsTruncated"), "false");
        let mut walked = vec![];
        let mut next = String::new();
        loop {
            let page = world.get(&format!("/records?{version}max-keys=2{next}")).await;
            assert!(page.elements("Key").len() <= 2);
            walked.extend(page.elements("Key"));
            if page.element("IsTruncated") == "false" {
                break;
            }
            next = match version {
                "" => format!("&marker={}", page.element("NextMarker")),
                _ => format!("&continuation-token={}", page.element("NextContinuationToken")),
            };
        }
        assert_eq!(walked, sorted);
    }
    let folded = world.get("/records?list-type=2&delimiter=/").await;
    assert_eq!(folded.elements("Key"), ["Z", "a", "b", "c", "ä"]);
    let prefixes: Vec<_> = folded.elements("CommonPrefixes");
    assert_eq!(prefixes, ["<Prefix>a/</Prefix>", "<Prefix>b/</Prefix>"]);
    assert_eq!(folded.element("KeyCount"), "7");
    let inside = world.get("/records?list-type=2&prefix=b/&delimiter=/").await;
    assert_eq!(inside.elements("CommonPrefixes"), ["<Prefix>b/x/</Prefix>"]);
    assert_eq!(world.get("/records?list-type=2&start-after=b/x/2").await.elements("Key"), ["c", "ä"]);
    let none = world.get("/records?list-type=2&max-keys=0").await;
    assert_eq!((none.elements("Key").len(), none.element("IsTruncated")), (0, "false".to_owned()));
    assert_eq!(world.get("/records?max-keys=-1").await.code(), refused(400, "InvalidArgument"));
    let owner = world.tenant.to_string();
    assert_eq!(world.get("/records?list-type=2&fetch-owner=true&max-keys=1").await.element("ID"), owner);
    assert!(!world.get("/records?list-type=2&max-keys=1").await.text().contains("<Owner>"));
}

#[tokio::test]
async fn px_03_odd_names_stay_apart_and_the_xml_well_formed() {
    let world = World::new().await;
    let names =
        ["e\u{301}", "\u{e9}", "\u{202e}txt", "a\u{1}b", "<&>\"'", "\u{ffff}", "line\nbreak", "%2e%2e", "a b+c"];
    for name in names {
        assert_eq!(world.call(split("PUT", &object_path("records", name)).body(name.as_bytes())).await.status, 200);
    }
    let mut sorted = names.to_vec();
    sorted.sort();
    for path in ["/records?list-type=2", "/records?list-type=2&encoding-type=url", "/records?encoding-type=url"] {
        let page = world.get(path).await;
        assert_eq!((page.status, page.element("EncodingType")), (200, "url".to_owned()), "{path}");
        let decode = |key: &String| percent_encoding::percent_decode_str(key).decode_utf8().unwrap().into_owned();
        assert_eq!(page.elements("Key").iter().map(decode).collect::<Vec<_>>(), sorted);
    }
    for name in names {
        assert_eq!(world.call(split("GET", &object_path("records", name))).await.body, name.as_bytes());
    }
    assert_eq!(world.put(&format!("/records/{}", "x".repeat(1024)), b"").await.status, 200);
    assert_eq!(world.put(&format!("/records/{}", "x".repeat(1025)), b"").await.code(), refused(400, "KeyTooLongError"));
}

#[tokio::test]
async fn nx_06_nx_07_tokens_tell_nothing_and_take_no_change() {
    let world = World::new().await;
    for name in ["jane.doe@example.com/1", "jane.doe@example.com/2"] {
        world.put(&format!("/records/{name}"), b"").await;
    }
    let list = |token: &str| format!("/records?list-type=2&max-keys=1&continuation-token={token}");
    let token = world.get("/records?list-type=2&max-keys=1").await.element("NextContinuationToken");
    assert_eq!(world.get(&list(&token)).await.elements("Key").len(), 1);
    let upload = world.post("/records/jane.doe@example.com/3?uploads", b"").await.element("UploadId");
    let engines = [base64::engine::general_purpose::URL_SAFE_NO_PAD, base64::engine::general_purpose::STANDARD_NO_PAD];
    for text in [&token, &upload] {
        let mut forms = vec![text.as_bytes().to_vec()];
        forms.extend(engines.iter().filter_map(|engine| engine.decode(text).ok()));
        forms.extend(hex::decode(text));
        for form in forms {
            let lossy = String::from_utf8_lossy(&form).into_owned();
            assert!(!["jane", "doe", "example"].iter().any(|part| lossy.contains(part)), "{lossy}");
        }
    }
    for i in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).unwrap();
        let answer = world.get(&list(&altered)).await;
        // The last character of base64 may have bits that decode to nothing.
        assert!(answer.code() == refused(400, "InvalidArgument") || i + 1 == token.len(), "{i}");
    }
    for bad in ["", "x", "%00", &token[1..], &token[..token.len() - 2]] {
        assert!(world.get(&list(bad)).await.status == 400 || bad.is_empty(), "{bad}");
    }
    world.clock.advance(86_401_000).unwrap();
    assert_eq!(world.get(&list(&token)).await.code(), refused(400, "InvalidArgument"), "expired");
}
