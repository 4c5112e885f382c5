"""Multipart uploads, and FX-10: what Complete does not take."""


def begin(name, key="k", **more):
    return s3.create_multipart_upload(Bucket=name, Key=key, **more)["UploadId"]


def part(name, upload, number, data, key="k", **more):
    return s3.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=number, Body=data, **more)["ETag"]


def complete(name, upload, parts, key="k", **more):
    parts = [{"PartNumber": n, "ETag": e} for n, e in parts]
    return s3.complete_multipart_upload(Bucket=name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more)


def s3_etag(parts):
    return f'"{md5(b"".join(hashlib.md5(p).digest() for p in parts))}-{len(parts)}"'


def parts_become_one_object():
    name, upload = bucket("parts-become-one"), None
    upload = begin(name, ContentType="text/x", Metadata={"a": "1"}, Tagging="t=1", CacheControl="c")
    data = {1: noise(PART, 1), 2: noise(PART + 1, 2), 7: noise(PART, 7), 10_000: b"tail"}
    # Out of order, and one of them twice: the last one counts.
    part(name, upload, 2, noise(PART, 99))
    etags = {n: part(name, upload, n, data[n]) for n in (10_000, 2, 1, 7)}
    assert etags[2] == f'"{md5(data[2])}"'
    assert s3.list_multipart_uploads(Bucket=name)["Uploads"][0]["UploadId"] == upload
    refused(404, "NoSuchKey", s3.get_object, Bucket=name, Key="k")
    listed = s3.list_parts(Bucket=name, Key="k", UploadId=upload)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [(n, len(data[n]), etags[n]) for n in sorted(data)]
    walked = [p["PartNumber"] for page in s3.get_paginator("list_parts").paginate(
        Bucket=name, Key="k", UploadId=upload, PaginationConfig={"PageSize": 1}) for p in page.get("Parts", [])]
    assert walked == sorted(data)
    done = complete(name, upload, sorted(etags.items()))
    assert done["ETag"] == s3_etag([data[n] for n in sorted(data)]) and done["Bucket"] == name and done["Key"] == "k"
    got = s3.get_object(Bucket=name, Key="k")
    assert got["Body"].read() == b"".join(data[n] for n in sorted(data)) and got["ETag"] == done["ETag"]
    assert (got["ContentType"], got["Metadata"], got["CacheControl"]) == ("text/x", {"a": "1"}, "c")
    assert s3.get_object_tagging(Bucket=name, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert s3.list_objects_v2(Bucket=name)["Contents"][0]["ETag"] == done["ETag"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
    for call, more in [(s3.list_parts, {}), (s3.abort_multipart_upload, {}), (s3.upload_part, {"PartNumber": 1})]:
        refused(404, "NoSuchUpload", call, Bucket=name, Key="k", UploadId=upload, **more)
    # A subset of the parts, with gaps in the numbers, is as good as all of them.
    upload = begin(name)
    etags = [(n, part(name, upload, n, data[n])) for n in (1, 2, 7)]
    complete(name, upload, [etags[0], etags[2]])
    assert read(name, "k") == data[1] + data[7]


def fx_10_what_complete_does_not_take():
    name = bucket("fx-10")
    upload = begin(name)
    one, two = part(name, upload, 1, b"small"), part(name, upload, 2, b"tail")
    wrong = '"00000000000000000000000000000000"'
    for parts, code in [
        ([(2, two), (1, one)], "InvalidPartOrder"), ([(1, one), (1, one)], "InvalidPartOrder"),
        ([(1, one), (3, two)], "InvalidPart"), ([(3, one)], "InvalidPart"), ([(1, wrong)], "InvalidPart"),
        ([(1, two)], "InvalidPart"), ([(1, one), (2, two)], "EntityTooSmall"), ([], "MalformedXML"),
        ([(0, one)], "InvalidArgument"), ([(10_001, one)], "InvalidArgument"), ([(-1, one)], "InvalidArgument"),
    ]:
        answer = refused(400, code, complete, name=name, upload=upload, parts=parts)
        assert "RequestId" in answer["Error"] or answer["ResponseMetadata"]["RequestId"]
        refused(404, "NoSuchKey", s3.get_object, Bucket=name, Key="k")
    for number in (0, 10_001, -1):
        refused(400, "InvalidArgument", part, name=name, upload=upload, number=number, data=b"x")
    for bad in ["", "x", "0" * 32, upload[:-1], upload + "0", upload[::-1]]:
        if bad:
            refused(404, "NoSuchUpload", part, name=name, upload=bad, number=1, data=b"x")
            refused(404, "NoSuchUpload", complete, name=name, upload=bad, parts=[(1, one)])
    refused(404, "NoSuchUpload", part, name=name, upload=upload, number=1, data=b"x", key="other")
    refused(404, "NoSuchUpload", complete, name=name, upload=upload, parts=[(1, one)], key="other")
    other = bucket("fx-10-other")
    refused(404, "NoSuchUpload", part, name=other, upload=upload, number=1, data=b"x")
    # After all of that, what was right is still right.
    complete(name, upload, [(1, one)])
    assert read(name, "k") == b"small"


def abort_and_start_again():
    name = bucket("abort")
    upload = begin(name)
    etag = part(name, upload, 1, noise(PART))
    s3.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)
    refused(404, "NoSuchUpload", s3.abort_multipart_upload, Bucket=name, Key="k", UploadId=upload)
    refused(404, "NoSuchUpload", complete, name=name, upload=upload, parts=[(1, etag)])
    refused(404, "NoSuchKey", s3.get_object, Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def two_uploads_of_one_name():
    name = bucket("two-uploads")
    first, second = begin(name), begin(name)
    assert first != second
    one, two = part(name, first, 1, b"first"), part(name, second, 1, b"second")
    refused(400, "InvalidPart", complete, name=name, upload=first, parts=[(1, two)])
    complete(name, second, [(1, two)])
    assert read(name, "k") == b"second"
    complete(name, first, [(1, one)])
    assert read(name, "k") == b"first"


def listing_uploads():
    name = bucket("listing-uploads")
    want = []
    for key in ["a/1", "a/1", "a/2", "b", "c/x/1", "\u00fc", "..", "a b"]:
        want.append((key, begin(name, key)))
    all_of = lambda **more: [(u["Key"], u["UploadId"]) for page in s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=name, **more) for u in page.get("Uploads", [])]
    assert sorted(all_of()) == sorted(want) and [k for k, _ in all_of()] == sorted(k for k, _ in want)
    assert sorted(all_of(PaginationConfig={"PageSize": 1})) == sorted(want)
    assert sorted(all_of(Prefix="a/")) == sorted(w for w in want if w[0].startswith("a/"))
    folded = s3.list_multipart_uploads(Bucket=name, Delimiter="/")
    assert [p["Prefix"] for p in folded["CommonPrefixes"]] == ["a/", "c/"]
    assert [u["Key"] for u in folded["Uploads"]] == ["..", "a b", "b", "\u00fc"]


def parts_that_are_copied():
    name, other = bucket("part-copies"), bucket("part-copies-other")
    source = noise(2 * PART + 100, 3)
    s3.put_object(Bucket=other, Key="from \u00fc", Body=source)
    at = {"Bucket": other, "Key": "from \u00fc"}
    upload = begin(name)
    copy = lambda number, **more: s3.upload_part_copy(
        Bucket=name, Key="k", UploadId=upload, PartNumber=number, CopySource=at, **more)["CopyPartResult"]["ETag"]
    etags = [(1, copy(1, CopySourceRange=f"bytes=7-{PART + 6}")), (2, copy(2)),
             (3, copy(3, CopySourceRange=f"bytes={PART - 1}-{PART}"))]
    assert etags[1][1] == f'"{md5(source)}"'
    for bad in ["bytes=2-", "bytes=-5", "bytes=5-2", "2-5", "bytes=a-b", "bytes=0-1,3-4"]:
        refused(400, "InvalidArgument", copy, number=9, CopySourceRange=bad)
    for beyond in [f"bytes=0-{len(source)}", f"bytes={len(source)}-{len(source) + 1}"]:
        try:
            copy(9, CopySourceRange=beyond)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] in ("InvalidArgument", "InvalidRange"), error
        else:
            raise AssertionError(beyond)
    refused(412, "PreconditionFailed", copy, number=9, CopySourceIfMatch='"x"')
    copy(4, CopySourceIfMatch=etags[1][1])
    complete(name, upload, etags)
    assert read(name, "k") == source[7:PART + 7] + source + source[PART - 1:PART + 1]


def boto3_transfers():
    """The transfer manager: what people really call, in parallel, both ways."""
    name, data = bucket("boto3-transfers"), noise(23 * MIB + 5, 5)
    transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(data), name, "big", Config=transfer, ExtraArgs={"ContentType": "text/x"})
    back = io.BytesIO()
    s3.download_fileobj(name, "big", back, Config=transfer)
    assert back.getvalue() == data and s3.head_object(Bucket=name, Key="big")["ContentType"] == "text/x"
    s3.copy({"Bucket": name, "Key": "big"}, name, "copy", Config=transfer)
    assert read(name, "copy") == data
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
