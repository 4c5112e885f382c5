"""Presigned URLs and the two styles of addressing, by clients that people have."""

import socket

_resolve = socket.getaddrinfo


def _to_localhost(host, *rest, **more):
    """`BUCKET.localhost` is this machine: RFC 6761 says so, not every resolver knows it."""
    return _resolve("127.0.0.1" if isinstance(host, str) and host.endswith(".localhost") else host, *rest, **more)


def presigned_both_ways():
    name, http = bucket("presigned"), plain_http()
    for style in ("path", "auto"):
        signer = client(s3={"addressing_style": style, "signature_version": "s3v4"}, signature_version="s3v4")
        # urllib3 takes `..` out of URLs before they are sent; such names are the raw client's to try.
        for key in ["k", "a b/\u00fc+&%2F", "..up", "x//y"]:
            at = {"Bucket": name, "Key": key}
            put = signer.generate_presigned_url("put_object", Params=at, ExpiresIn=60)
            answer = http.request("PUT", put, body=key.encode())
            assert answer.status == 200, (key, answer.data)
            got = http.request("GET", signer.generate_presigned_url("get_object", Params=at, ExpiresIn=60))
            assert (got.status, got.data) == (200, key.encode()), (key, got.data)
            head = http.request("HEAD", signer.generate_presigned_url("head_object", Params=at, ExpiresIn=60))
            assert head.status == 200 and head.headers["content-length"] == str(len(key.encode()))
            shown = http.request("GET", signer.generate_presigned_url(
                "get_object", Params={**at, "ResponseContentType": "text/b"}, ExpiresIn=60))
            assert shown.headers["content-type"] == "text/b"
            gone = http.request("DELETE", signer.generate_presigned_url("delete_object", Params=at, ExpiresIn=60))
            assert gone.status == 204
            assert http.request("GET", signer.generate_presigned_url("get_object", Params=at)).status == 404
        listed = http.request("GET", signer.generate_presigned_url("list_objects_v2", Params={"Bucket": name}))
        assert listed.status == 200 and b"<KeyCount>0</KeyCount>" in listed.data


def presigned_what_was_signed_must_be_sent():
    name, http = bucket("presigned-headers"), plain_http()
    signer = client(signature_version="s3v4")
    url = signer.generate_presigned_url(
        "put_object", Params={"Bucket": name, "Key": "k", "ContentType": "text/x", "Metadata": {"a": "1"}}, ExpiresIn=60)
    right = {"content-type": "text/x", "x-amz-meta-a": "1"}
    for wrong in [{}, {**right, "x-amz-meta-a": "2"}, {"x-amz-meta-a": "1", "content-type": "text/y"},
                  {**right, "x-amz-meta-b": "1"}, {**right, "x-amz-tagging": "a=1"}]:
        assert http.request("PUT", url, body=b"x", headers=wrong).status == 403, wrong
    assert http.request("PUT", url, body=b"x", headers=right).status == 200
    assert s3.head_object(Bucket=name, Key="k")["Metadata"] == {"a": "1"}


def presigned_parts():
    name, http = bucket("presigned-parts"), plain_http()
    signer = client(signature_version="s3v4")
    upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    url = signer.generate_presigned_url("upload_part", Params={
        "Bucket": name, "Key": "k", "UploadId": upload, "PartNumber": 1}, ExpiresIn=60)
    etag = http.request("PUT", url, body=b"part").headers["etag"]
    s3.complete_multipart_upload(Bucket=name, Key="k", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert read(name, "k") == b"part"


def virtual_hosted_style():
    socket.getaddrinfo = _to_localhost
    # The certificate of `dev` knows the demo bucket's name; others have to be addressed by path.
    endpoint = ENDPOINT.replace("127.0.0.1", "localhost")
    settings = botocore.config.Config(s3={"addressing_style": "virtual"}, retries={"total_max_attempts": 1})
    hosted = boto3.client("s3", region_name=REGION, endpoint_url=endpoint, config=settings)
    hosts = []
    hosted.meta.events.register("before-send.s3", lambda request, **_: hosts.append(urllib.parse.urlsplit(request.url).hostname))
    at = {"Bucket": "interactions", "Key": "virtual/\u00fc b"}
    hosted.put_object(**at, Body=b"hosted")
    assert hosted.get_object(**at)["Body"].read() == b"hosted" and read(**{"bucket": at["Bucket"], "key": at["Key"]}) == b"hosted"
    listed = hosted.list_objects_v2(Bucket="interactions", Prefix="virtual/")
    assert [o["Key"] for o in listed["Contents"]] == [at["Key"]]
    upload = hosted.create_multipart_upload(**at)["UploadId"]
    etag = hosted.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    hosted.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert read("interactions", at["Key"]) == b"part"
    url = hosted.generate_presigned_url("get_object", Params=at, ExpiresIn=60)
    assert "interactions.localhost" in url and plain_http().request("GET", url).data == b"part"
    hosted.copy_object(Bucket="interactions", Key="virtual/copy", CopySource=at)
    for key in [at["Key"], "virtual/copy"]:
        hosted.delete_object(Bucket="interactions", Key=key)
    assert set(hosts) == {"interactions.localhost"}, hosts
