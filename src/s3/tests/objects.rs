//! Single objects: what was put comes back, in whole and in part, under every condition.

use super::world::{World, refused, split};

#[tokio::test]
async fn bytes_headers_metadata_and_tags_come_back() {
    let world = World::new().await;
    for size in [0, 1, 4096, 65_535, 65_536, 65_537, 300_000] {
        let body: Vec<u8> = (0..size).map(|i: u32| (i.wrapping_mul(31) >> 3) as u8).collect();
        let put = split("PUT", "/records/2026/a%20b.eml")
            .header("content-type", "message/rfc822")
            .header("cache-control", "no-store")
            .header("x-amz-meta-geoseal-class", "interaction")
            .header("x-amz-tagging", "a=1&b=2")
            .body(body.clone());
        let put = world.call(put).await;
        assert_eq!((put.status, put.header("x-amz-server-side-encryption")), (200, "aws:kms"));
        assert!(put.header("x-amz-server-side-encryption-aws-kms-key-id").starts_with("tdk/"));
        assert!(!put.header("x-amz-checksum-crc64nvme").is_empty());
        let etag = put.header("etag").to_owned();
        assert_eq!(etag, format!("\"{}\"", hex::encode(<md5::Md5 as md5::Digest>::digest(&body))));
        for answer in [world.get("/records/2026/a%20b.eml").await, world.head("/records/2026/a%20b.eml").await] {
            assert_eq!((answer.status, answer.header("etag")), (200, etag.as_str()));
            assert_eq!(answer.header("content-type"), "message/rfc822");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("x-amz-meta-geoseal-class"), "interaction");
            assert_eq!(answer.header("x-amz-tagging-count"), "2");
            assert_eq!(answer.header("content-length"), size.to_string());
            assert_eq!(answer.header("accept-ranges"), "bytes");
        }
        assert_eq!(world.get("/records/2026/a%20b.eml").await.body, body);
    }
}

#[tokio::test]
async fn ranges_as_rfc_9110_has_them() {
    let world = World::new().await;
    let body: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    world.put("/records/k", &body).await;
    for (range, want) in [
        ("bytes=0-0", Some((0, 0))),
        ("bytes=65535-65536", Some((65_535, 65_536))),
        ("bytes=199999-", Some((199_999, 199_999))),
        ("bytes=100000-999999", Some((100_000, 199_999))),
        ("bytes=-1", Some((199_999, 199_999))),
        ("bytes=-999999", Some((0, 199_999))),
        ("bytes=200000-", None),
        ("bytes=-0", None),
    ] {
        let get = world.call(split("GET", "/records/k").header("range", range)).await;
        match want {
            Some((first, last)) => {
                assert_eq!((get.status, &get.body[..]), (206, &body[first..=last]), "{range}");
                assert_eq!(get.header("content-range"), format!("bytes {first}-{last}/200000"));
            }
            None => {
                assert_eq!(get.code(), refused(416, "InvalidRange"), "{range}");
                assert_eq!(get.header("content-range"), "bytes */200000");
            }
        }
    }
}

#[tokio::test]
async fn conditions_on_reads_and_writes() {
    let world = World::new().await;
    let etag = world.put("/records/k", b"one").await.header("etag").to_owned();
    let with = |method, name, value: &str| split(method, "/records/k").header(name, value);
    assert_eq!(world.call(with("GET", "if-match", &etag)).await.status, 200);
    assert_eq!(world.call(with("GET", "if-match", "\"x\"")).await.code(), refused(412, "PreconditionFailed"));
    let unchanged = world.call(with("GET", "if-none-match", &etag)).await;
    assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.body.len()), (304, etag.as_str(), 0));
    let since = world.call(with("GET", "if-modified-since", "Sat, 01 Jan 2050 00:00:00 GMT")).await;
    assert_eq!(since.status, 304);
    let before = world.call(with("GET", "if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT")).await;
    assert_eq!(before.status, 412);
    let create = |path| split("PUT", path).header("if-none-match", "*").body(&b"two"[..]);
    assert_eq!(world.call(create("/records/k")).await.code(), refused(412, "PreconditionFailed"));
    assert_eq!(world.call(create("/records/new")).await.status, 200);
    assert_eq!(world.call(with("PUT", "if-match", "\"x\"").body(&b"two"[..])).await.status, 412);
    assert_eq!(world.call(with("PUT", "if-match", &etag).body(&b"two"[..])).await.status, 200);
    assert_eq!(world.get("/records/k").await.body, b"two");
}

#[tokio::test]
async fn wrong_digests_leave_nothing_behind() {
    let world = World::new().await;
    for (name, wrong) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-crc32c", "AAAAAA=="),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        for size in [10, 200_000] {
            let put = split("PUT", "/records/k").header(name, wrong).body(vec![7; size]);
            assert_eq!(world.call(put).await.code(), refused(400, "BadDigest"), "{name}");
            assert_eq!(world.get("/records/k").await.code(), refused(404, "NoSuchKey"), "{name}");
        }
        let malformed = split("PUT", "/records/k").header(name, "AA").body(&b"x"[..]);
        assert_eq!(world.call(malformed).await.status, 400, "{name}");
    }
}

#[tokio::test]
async fn a_checksum_is_kept_and_given_back_on_request() {
    let world = World::new().await;
    let put = split("PUT", "/records/k").header("x-amz-checksum-crc32", "y/Q5Jg==").body(&b"123456789"[..]);
    assert_eq!(world.call(put).await.header("x-amz-checksum-crc32"), "y/Q5Jg==");
    let get = || split("GET", "/records/k").header("x-amz-checksum-mode", "ENABLED");
    let got = world.call(get()).await;
    assert_eq!((got.header("x-amz-checksum-crc32"), got.header("x-amz-checksum-type")), ("y/Q5Jg==", "FULL_OBJECT"));
    assert_eq!(world.get("/records/k").await.header("x-amz-checksum-crc32"), "");
    assert_eq!(world.call(get().header("range", "bytes=0-1")).await.header("x-amz-checksum-crc32"), "");
}

#[tokio::test]
async fn copies_carry_or_replace_what_stands_beside() {
    let world = World::new().await;
    let put =
        split("PUT", "/records/from").header("x-amz-meta-a", "1").header("content-type", "text/x").body(&b"bytes"[..]);
    let etag = world.call(put).await.header("etag").to_owned();
    let copy = |to: &str| split("PUT", to).header("x-amz-copy-source", "records/from");
    let copied = world.call(copy("/records/to")).await;
    assert_eq!(
        (copied.status, copied.element("ETag").replace("&quot;", "\"")),
        (200, etag.clone()),
        "{}",
        copied.text()
    );
    let got = world.get("/records/to").await;
    assert_eq!((got.header("x-amz-meta-a"), got.header("content-type"), &got.body[..]), ("1", "text/x", &b"bytes"[..]));
    let replaced = copy("/records/to").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-b", "2");
    assert_eq!(world.call(replaced).await.status, 200);
    let got = world.get("/records/to").await;
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), ("", "2"));
    assert_eq!(world.call(copy("/records/from")).await.code(), refused(400, "InvalidRequest"), "onto itself");
    let conditional = copy("/records/to").header("x-amz-copy-source-if-none-match", &etag);
    assert_eq!(world.call(conditional).await.status, 412);
    let missing = split("PUT", "/records/to").header("x-amz-copy-source", "records/none");
    assert_eq!(world.call(missing).await.code(), refused(404, "NoSuchKey"));
}

#[tokio::test]
async fn deletes_succeed_twice_and_in_bulk() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.put(&format!("/records/{name}"), b"x").await;
    }
    let gone = world.delete("/records/a").await;
    assert_eq!((gone.status, gone.header("x-geoseal-delete")), (204, "erased"));
    assert_eq!(world.delete("/records/a").await.status, 204);
    let xml = b"<Delete><Object><Key>b</Key></Object><Object><Key>none</Key></Object></Delete>";
    let many = world.post("/records?delete", xml).await;
    assert_eq!((many.status, many.elements("Key")), (200, vec!["b".to_owned(), "none".to_owned()]));
    let quiet =
        world.post("/records?delete", b"<Delete><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>").await;
    assert_eq!((quiet.status, quiet.elements("Key").len()), (200, 0));
    for name in ["a", "b", "c"] {
        assert_eq!(world.head(&format!("/records/{name}")).await.status, 404);
    }
}

#[tokio::test]
async fn tags_are_read_replaced_and_removed() {
    let world = World::new().await;
    world.call(split("PUT", "/records/k").header("x-amz-tagging", "a=1").body(&b"x"[..])).await;
    assert_eq!(world.get("/records/k?tagging").await.elements("Value"), ["1"]);
    let xml = b"<Tagging><TagSet><Tag><Key>b</Key><Value>2</Value></Tag></TagSet></Tagging>";
    assert_eq!(world.put("/records/k?tagging", xml).await.status, 200);
    assert_eq!(world.get("/records/k?tagging").await.elements("Key"), ["b"]);
    assert_eq!(world.delete("/records/k?tagging").await.status, 204);
    assert_eq!(world.get("/records/k?tagging").await.elements("Key").len(), 0);
    assert_eq!(world.get("/records/k").await.body, b"x");
}

#[tokio::test]
async fn buckets_lie_in_a_region_of_the_geo() {
    let world = World::new().await;
    let constraint = |region: &str| {
        format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    assert_eq!(world.put("/north", constraint("northeurope").as_bytes()).await.status, 200);
    let location = world.get("/north?location").await;
    assert!(location.text().contains(">northeurope<"), "{}", location.text());
    assert_eq!(world.put("/south", constraint("eastus").as_bytes()).await.code(), refused(403, "ResidencyViolation"));
    let unknown = world.put("/south", constraint("us-east-1").as_bytes()).await;
    assert_eq!(unknown.code(), refused(400, "InvalidLocationConstraint"));
    assert_eq!(world.put("/records", b"").await.code(), refused(409, "BucketAlreadyOwnedByYou"));
    // Signed for westeurope, the bucket lies in northeurope: the client is told where, and signs again.
    let wrong = world.get("/north/k").await;
    assert_eq!(wrong.code(), refused(400, "AuthorizationHeaderMalformed"));
    assert_eq!((wrong.element("Region").as_str(), wrong.header("x-amz-bucket-region")), ("northeurope", "northeurope"));
    let mut north = world.alice.clone();
    north.region = "northeurope".to_owned();
    assert_eq!(world.call_as(&north, split("GET", "/north/k")).await.code(), refused(404, "NoSuchKey"));
    let head = world.head("/records").await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, "westeurope"));
    assert_eq!(world.get("/").await.elements("Name"), ["north", "records"]);
    world.put("/records/k", b"x").await;
    assert_eq!(world.delete("/records").await.code(), refused(409, "BucketNotEmpty"));
    world.delete("/records/k").await;
    assert_eq!(world.delete("/records").await.status, 204);
    assert_eq!(world.head("/records").await.status, 404);
    assert_eq!(world.get("/records?versioning").await.code(), refused(404, "NoSuchBucket"));
}
