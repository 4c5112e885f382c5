//! docs/threat-cases.md: a tenant and another tenant's things.

use super::world::{World, refused, split};

/// Every operation on a bucket that another tenant has answers as for a bucket that nobody has.
#[tokio::test]
async fn a_13_nothing_tells_that_another_tenants_bucket_exists() {
    let world = World::new().await;
    world.put("/records/secret", b"alice's").await;
    let upload = world.post("/records/secret?uploads", b"").await.element("UploadId");
    let part = format!("uploadId={upload}&partNumber=1");
    let calls = [
        ("HEAD", String::new()),
        ("GET", String::new()),
        ("GET", "?list-type=2".into()),
        ("GET", "?location".into()),
        ("GET", "?versioning".into()),
        ("PUT", "?versioning".into()),
        ("GET", "?versions".into()),
        ("GET", "/secret?versionId=null".into()),
        ("DELETE", "/secret?versionId=null".into()),
        ("GET", "?uploads".into()),
        ("DELETE", String::new()),
        ("POST", "?delete".into()),
        ("GET", "/secret".into()),
        ("HEAD", "/secret".into()),
        ("GET", "/secret?tagging".into()),
        ("PUT", "/secret".into()),
        ("PUT", "/secret?tagging".into()),
        ("DELETE", "/secret".into()),
        ("DELETE", "/secret?tagging".into()),
        ("POST", "/secret?uploads".into()),
        ("PUT", format!("/secret?{part}")),
        ("GET", format!("/secret?uploadId={upload}")),
        ("POST", format!("/secret?uploadId={upload}")),
        ("DELETE", format!("/secret?uploadId={upload}")),
    ];
    for (method, rest) in calls {
        let body: &[u8] = match (method, rest.as_str()) {
            ("POST", "?delete") => b"<Delete><Object><Key>secret</Key></Object></Delete>",
            ("PUT", "/secret?tagging") => b"<Tagging><TagSet></TagSet></Tagging>",
            ("PUT", "?versioning") => b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            ("POST", rest) if rest.contains("uploadId") => b"<CompleteMultipartUpload></CompleteMultipartUpload>",
            _ => b"",
        };
        let ask = async |bucket: &str| {
            let answer = world.call_as(&world.bob, split(method, &format!("/{bucket}{rest}")).body(body)).await;
            let id = answer.header("x-amz-request-id").to_owned();
            (answer.status, answer.text().replace(&id, ""))
        };
        let (theirs, nobodys) = (ask("records").await, ask("nothing").await);
        assert_eq!(theirs, nobodys, "{method} {rest}");
        assert_eq!(theirs.0, 404, "{method} {rest}: {}", theirs.1);
    }
    assert_eq!(world.get("/records/secret").await.body, b"alice's");
    assert!(world.call_as(&world.bob, split("GET", "/")).await.elements("Name").is_empty());
}

#[tokio::test]
async fn two_tenants_have_buckets_of_one_name() {
    let world = World::new().await;
    assert_eq!(world.call_as(&world.bob, split("PUT", "/records")).await.status, 200);
    world.put("/records/k", b"alice's").await;
    assert_eq!(world.call_as(&world.bob, split("GET", "/records/k")).await.code(), refused(404, "NoSuchKey"));
    world.call_as(&world.bob, split("PUT", "/records/k").body(&b"bob's"[..])).await;
    assert_eq!(world.get("/records/k").await.body, b"alice's");
}

#[tokio::test]
async fn a_14_nothing_is_copied_out_of_another_tenants_bucket() {
    let world = World::new().await;
    world.put("/records/secret", b"alice's").await;
    world.call_as(&world.bob, split("PUT", "/mine")).await;
    let upload = world.call_as(&world.bob, split("POST", "/mine/k?uploads")).await.element("UploadId");
    for source in ["records/secret", "/records/secret", "records/secret?versionId=null", "mine/../records/secret"] {
        let copy = split("PUT", "/mine/k").header("x-amz-copy-source", source);
        assert_eq!(world.call_as(&world.bob, copy).await.status, 404, "{source}");
        let part = split("PUT", &format!("/mine/k?partNumber=1&uploadId={upload}")).header("x-amz-copy-source", source);
        assert_eq!(world.call_as(&world.bob, part).await.status, 404, "{source}");
    }
    let owner = split("GET", "/records/secret").header("x-amz-expected-bucket-owner", "123456789012");
    assert_eq!(world.call(owner).await.code(), refused(403, "AccessDenied"));
    let owner = split("GET", "/records/secret").header("x-amz-expected-bucket-owner", &world.tenant.to_string());
    assert_eq!(world.call(owner).await.status, 200);
}

#[tokio::test]
async fn a_continuation_token_of_another_bucket_is_none() {
    let world = World::new().await;
    world.call_as(&world.bob, split("PUT", "/records")).await;
    for name in ["a", "b"] {
        world.put(&format!("/records/{name}"), b"").await;
        world.call_as(&world.bob, split("PUT", &format!("/records/{name}"))).await;
    }
    let token = world.get("/records?list-type=2&max-keys=1").await.element("NextContinuationToken");
    let path = format!("/records?list-type=2&continuation-token={token}");
    assert_eq!(world.get(&path).await.elements("Key"), ["b"]);
    assert_eq!(world.call_as(&world.bob, split("GET", &path)).await.code(), refused(400, "InvalidArgument"));
}
