//! Multipart uploads on the wire.

use super::world::{World, refused, split};

const PART: usize = 5 << 20;

async fn open(world: &World) -> String {
    let opened = split("POST", "/records/big?uploads").header("content-type", "text/x").header("x-amz-meta-a", "1");
    let opened = world.call(opened).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    opened.element("UploadId")
}

async fn put(world: &World, upload: &str, number: u32, body: &[u8]) -> String {
    let part = world.put(&format!("/records/big?partNumber={number}&uploadId={upload}"), body).await;
    assert_eq!(part.status, 200, "{}", part.text());
    part.header("etag").to_owned()
}

fn xml(parts: &[(u32, &str)]) -> Vec<u8> {
    let one =
        |(number, etag): &(u32, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    let parts: String = parts.iter().map(one).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
}

#[tokio::test]
async fn parts_become_one_object() {
    let world = World::new().await;
    let upload = open(&world).await;
    let (first, last) = (vec![1; PART], b"tail".to_vec());
    let one = put(&world, &upload, 1, &vec![9; PART]).await;
    let one_again = put(&world, &upload, 1, &first).await;
    assert_ne!(one, one_again);
    let three = put(&world, &upload, 3, &last).await;
    let listed = world.get(&format!("/records/big?uploadId={upload}")).await;
    assert_eq!(listed.elements("PartNumber"), ["1", "3"]);
    assert_eq!(listed.elements("Size"), [PART.to_string(), "4".into()]);
    let page = world.get(&format!("/records/big?uploadId={upload}&max-parts=1")).await;
    assert_eq!((page.element("IsTruncated").as_str(), page.element("NextPartNumberMarker").as_str()), ("true", "1"));
    assert_eq!(world.get("/records?uploads").await.element("UploadId"), upload);
    assert_eq!(world.get("/records/big").await.code(), refused(404, "NoSuchKey"));
    let done = world.post(&format!("/records/big?uploadId={upload}"), &xml(&[(1, &one_again), (3, &three)])).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.element("ETag").trim_end_matches("&quot;").trim_end_matches('"').ends_with("-2"));
    let got = world.get("/records/big").await;
    assert!(got.body == [first, last].concat());
    assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), ("text/x", "1"));
    let part = world.get("/records/big?partNumber=3").await;
    assert_eq!((part.status, &part.body[..], part.header("x-amz-mp-parts-count")), (206, &b"tail"[..], "2"));
    let border = split("GET", "/records/big").header("range", &format!("bytes={}-{}", PART - 1, PART));
    assert_eq!(world.call(border).await.body, [1, b't']);
    assert_eq!(world.get("/records?uploads").await.elements("UploadId").len(), 0);
    let again = world.get(&format!("/records/big?uploadId={upload}")).await;
    assert_eq!(again.code(), refused(404, "NoSuchUpload"));
}

#[tokio::test]
async fn fx_10_complete_takes_only_what_was_uploaded() {
    let world = World::new().await;
    let upload = open(&world).await;
    let (one, two) = (put(&world, &upload, 1, b"small").await, put(&world, &upload, 2, b"tail").await);
    let wrong = "\"00000000000000000000000000000000\"";
    for (parts, code) in [
        (vec![(2, two.as_str()), (1, one.as_str())], "InvalidPartOrder"),
        (vec![(1, one.as_str()), (1, one.as_str())], "InvalidPartOrder"),
        (vec![(1, one.as_str()), (3, two.as_str())], "InvalidPart"),
        (vec![(1, wrong)], "InvalidPart"),
        (vec![(1, one.as_str()), (2, two.as_str())], "EntityTooSmall"),
        (vec![], "MalformedXML"),
        (vec![(0, one.as_str())], "InvalidArgument"),
        (vec![(10_001, one.as_str())], "InvalidArgument"),
    ] {
        let answer = world.post(&format!("/records/big?uploadId={upload}"), &xml(&parts)).await;
        assert_eq!(answer.code(), refused(400, code), "{parts:?}");
    }
    let number = |n: u32| format!("/records/big?partNumber={n}&uploadId={upload}");
    for n in [0, 10_001] {
        assert_eq!(world.put(&number(n), b"x").await.code(), refused(400, "InvalidArgument"), "{n}");
    }
    let elsewhere = world.put(&format!("/records/other?partNumber=1&uploadId={upload}"), b"x").await;
    assert_eq!(elsewhere.code(), refused(404, "NoSuchUpload"));
    assert_eq!(world.delete(&format!("/records/big?uploadId={upload}")).await.status, 204);
    assert_eq!(world.put(&number(1), b"x").await.code(), refused(404, "NoSuchUpload"));
}

#[tokio::test]
async fn fx21_an_object_over_five_tib_is_refused_at_complete() {
    const GIB_5: u64 = 5 << 30;
    let world = World::new().await;
    let upload = open(&world).await;
    let lengths: Vec<u64> = std::iter::repeat_n(GIB_5, 1024).chain([1]).collect();
    let etag = world.sparse_parts(&lengths).await;
    let named = |parts: u32| xml(&(1..=parts).map(|n| (n, etag.as_str())).collect::<Vec<_>>());
    let path = format!("/records/big?uploadId={upload}");
    let over = world.post(&path, &named(1025)).await;
    assert_eq!(over.code(), refused(400, "EntityTooLarge"));
    assert_eq!(world.head("/records/big").await.status, 404, "nothing became visible");
    let exactly = world.post(&path, &named(1024)).await;
    assert_eq!(exactly.status, 200, "{}", exactly.text());
    assert_eq!(world.head("/records/big").await.header("content-length"), (5_u64 << 40).to_string());
    // A copy is one PUT, and so at most 5 GiB.
    let copy = split("PUT", "/records/copy").header("x-amz-copy-source", "/records/big");
    assert_eq!(world.call(copy).await.code(), refused(400, "EntityTooLarge"));
}

#[tokio::test]
async fn fx21_a_put_or_part_over_five_gib_is_refused_before_its_body() {
    let world = World::new().await;
    let upload = open(&world).await;
    let over = ((5_u64 << 30) + 1).to_string();
    for path in ["/records/big".to_owned(), format!("/records/big?partNumber=1&uploadId={upload}")] {
        let put = split("PUT", &path).header("content-length", &over);
        assert_eq!(world.call(put).await.code(), refused(400, "EntityTooLarge"), "{path}");
    }
}

#[tokio::test]
async fn parts_are_copied_by_range() {
    let world = World::new().await;
    world.put("/records/from", b"0123456789").await;
    let upload = open(&world).await;
    let copy = |range: &str| {
        split("PUT", &format!("/records/big?partNumber=1&uploadId={upload}"))
            .header("x-amz-copy-source", "/records/from")
            .header("x-amz-copy-source-range", range)
    };
    let copied = world.call(copy("bytes=2-5")).await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    let etag = copied.element("ETag").replace("&quot;", "\"");
    assert_eq!(world.post(&format!("/records/big?uploadId={upload}"), &xml(&[(1, &etag)])).await.status, 200);
    assert_eq!(world.get("/records/big").await.body, b"2345");
    let upload = open(&world).await;
    let copy = |range: &str| {
        split("PUT", &format!("/records/big?partNumber=1&uploadId={upload}"))
            .header("x-amz-copy-source", "records/from")
            .header("x-amz-copy-source-range", range)
    };
    for bad in ["bytes=2-", "bytes=5-2", "2-5"] {
        assert_eq!(world.call(copy(bad)).await.code(), refused(400, "InvalidArgument"), "{bad}");
    }
    assert!(matches!(world.call(copy("bytes=5-10")).await.status, 400 | 416));
}

#[tokio::test]
async fn checksums_of_parts_make_the_objects() {
    let world = World::new().await;
    for (algorithm, kind) in [("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT")] {
        let opened = split("POST", "/records/big?uploads")
            .header("x-amz-checksum-algorithm", algorithm)
            .header("x-amz-checksum-type", kind);
        let upload = world.call(opened).await.element("UploadId");
        let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        let mut parts = vec![];
        for (number, body) in [(1, vec![3; PART]), (2, b"tail".to_vec())] {
            let part = split("PUT", &format!("/records/big?partNumber={number}&uploadId={upload}"))
                .header("x-amz-sdk-checksum-algorithm", algorithm)
                .body(body);
            let part = world.call(part).await;
            assert!(!part.header(&header).is_empty(), "{algorithm}: {}", part.text());
            parts.push((number, part.header("etag").to_owned()));
        }
        let parts: Vec<_> = parts.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
        let done = world.post(&format!("/records/big?uploadId={upload}"), &xml(&parts)).await;
        let value = done.element(&format!("Checksum{algorithm}"));
        assert_eq!(done.status, 200, "{}", done.text());
        let head = world.call(split("HEAD", "/records/big").header("x-amz-checksum-mode", "ENABLED")).await;
        assert_eq!((head.header(&header), head.header("x-amz-checksum-type")), (value.as_str(), kind));
        if kind == "FULL_OBJECT" {
            let whole = split("PUT", "/records/whole")
                .header("x-amz-sdk-checksum-algorithm", algorithm)
                .body([vec![3; PART], b"tail".to_vec()].concat());
            assert_eq!(world.call(whole).await.header(&header), value);
        } else {
            assert!(value.ends_with("-2"));
        }
    }
}
