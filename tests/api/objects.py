"""Objects: written, read, described, copied, removed; conditions; tags."""


def everything_that_was_said_comes_back():
    name = bucket("everything-comes-back")
    said = {
        "ContentType": "application/vnd.ms-outlook; v=1",
        "ContentDisposition": "attachment; filename=\"a b.msg\"",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-CH",
        "CacheControl": "private, max-age=60",
        "Metadata": {"journey": "42", "geoseal-subject": "contact:4711", "mixed-case": "Kept As It Is"},
    }
    put = s3.put_object(Bucket=name, Key="a/b", Body=b"hello", Expires=1900000000, Tagging="a=1&b=%C3%BC+2", **said)
    assert put["ETag"] == f'"{md5(b"hello")}"'
    told = put["ResponseMetadata"]["HTTPHeaders"]
    assert told["x-geoseal-region"] == REGION and int(told["x-geoseal-key-version"]) >= 1
    assert "x-geoseal-warning" not in told
    # A name that holds an address is taken, with a warning that does not repeat it.
    for answer in (
        s3.put_object(Bucket=name, Key="to=anna@example.org/1", Body=b""),
        s3.copy_object(Bucket=name, Key="to=anna@example.org/2", CopySource={"Bucket": name, "Key": "a/b"}),
    ):
        told = answer["ResponseMetadata"]["HTTPHeaders"]
        assert told["x-geoseal-warning"] == "object-name-has-email-address" and told["x-geoseal-region"] == REGION
    got, head = s3.get_object(Bucket=name, Key="a/b"), s3.head_object(Bucket=name, Key="a/b")
    assert got["Body"].read() == b"hello"
    for answer in got, head:
        for field, value in said.items():
            assert answer[field] == value, (field, answer[field])
        assert answer["ETag"] == put["ETag"] and answer["ContentLength"] == 5
        assert answer["AcceptRanges"] == "bytes" and answer["ServerSideEncryption"] == "aws:kms"
        assert answer["ExpiresString"] == "Sun, 17 Mar 2030 17:46:40 GMT"
        assert abs(answer["LastModified"].timestamp() - time.time()) < 600
    assert got["TagCount"] == 2
    assert head["ResponseMetadata"]["RequestId"] != got["ResponseMetadata"]["RequestId"]
    tags = s3.get_object_tagging(Bucket=name, Key="a/b")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "ü 2"}], tags
    # Overwriting leaves nothing of what was there before.
    s3.put_object(Bucket=name, Key="a/b", Body=b"other")
    head = s3.head_object(Bucket=name, Key="a/b")
    assert head["Metadata"] == {} and "ContentEncoding" not in head and "CacheControl" not in head
    assert head["ContentType"] == "binary/octet-stream", head["ContentType"]
    assert s3.get_object_tagging(Bucket=name, Key="a/b")["TagSet"] == []
    assert read(name, "a/b") == b"other"


def what_is_not_there():
    name = bucket("what-is-not-there")
    refused(404, "NoSuchKey", s3.get_object, Bucket=name, Key="k")
    refused(404, "404", s3.head_object, Bucket=name, Key="k")
    refused(404, "NoSuchKey", s3.get_object_tagging, Bucket=name, Key="k")
    refused(404, "NoSuchKey", s3.put_object_tagging, Bucket=name, Key="k", Tagging={"TagSet": []})
    refused(404, "NoSuchKey", s3.copy_object, Bucket=name, Key="to", CopySource={"Bucket": name, "Key": "k"})
    refused(404, "NoSuchBucket", s3.copy_object, Bucket=name, Key="to",
            CopySource={"Bucket": "nobody-has-this", "Key": "k"})
    assert s3.delete_object(Bucket=name, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204


def delete_one_and_many():
    name = bucket("delete-one-and-many")
    keys = [f"k/{i:04}" for i in range(40)] + ["<&>\"'", "a b+c", "ü/日本", "tab\there"]
    for key in keys:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    gone = s3.delete_object(Bucket=name, Key=keys[0])["ResponseMetadata"]["HTTPHeaders"]
    assert gone["x-geoseal-delete"] == "erased"
    missing = [f"missing/{i}" for i in range(1000 - len(keys))]
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": k} for k in keys + missing]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == sorted(keys + missing), "each is named"
    assert "Errors" not in answer and "Contents" not in s3.list_objects_v2(Bucket=name)
    s3.put_object(Bucket=name, Key="quiet", Body=b"x")
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "quiet"}, {"Key": "no"}], "Quiet": True})
    assert "Deleted" not in answer
    refused(404, "404", s3.head_object, Bucket=name, Key="quiet")
    refused(400, "MalformedXML", s3.delete_objects, Bucket=name,
            Delete={"Objects": [{"Key": f"{i}"} for i in range(1001)]})


def copies():
    name, other = bucket("copies"), bucket("copies-other")
    big = noise(3 * MIB + 7)
    for key, data in [("small", b"hello"), ("big", big), ("a b/ü+%2F", b"odd")]:
        s3.put_object(Bucket=name, Key=key, Body=data, ContentType="text/x", Metadata={"a": "1"}, Tagging="t=1")
        for to in [name, other]:
            done = s3.copy_object(Bucket=to, Key=f"copy of {key}", CopySource={"Bucket": name, "Key": key})
            assert done["CopyObjectResult"]["ETag"] == f'"{md5(data)}"'
            got = s3.get_object(Bucket=to, Key=f"copy of {key}")
            assert got["Body"].read() == data and got["ContentType"] == "text/x" and got["Metadata"] == {"a": "1"}
            assert s3.get_object_tagging(Bucket=to, Key=f"copy of {key}")["TagSet"] == [{"Key": "t", "Value": "1"}]
    source = {"Bucket": name, "Key": "small"}
    s3.copy_object(Bucket=name, Key="new", CopySource=source, MetadataDirective="REPLACE", ContentType="text/y",
                   Metadata={"b": "2"}, TaggingDirective="REPLACE", Tagging="u=2")
    got = s3.get_object(Bucket=name, Key="new")
    assert (got["ContentType"], got["Metadata"], got["Body"].read()) == ("text/y", {"b": "2"}, b"hello")
    assert s3.get_object_tagging(Bucket=name, Key="new")["TagSet"] == [{"Key": "u", "Value": "2"}]
    # Onto itself only with something new.
    refused(400, "InvalidRequest", s3.copy_object, Bucket=name, Key="small", CopySource=source)
    s3.copy_object(Bucket=name, Key="small", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "3"})
    assert s3.head_object(Bucket=name, Key="small")["Metadata"] == {"c": "3"}
    assert read(name, "small") == b"hello"
    # Conditions on the source.
    etag, past, future = f'"{md5(b"hello")}"', time.time() - 3600, time.time() + 3600
    for good in [{"CopySourceIfMatch": etag}, {"CopySourceIfNoneMatch": '"x"'},
                 {"CopySourceIfModifiedSince": past}, {"CopySourceIfUnmodifiedSince": future}]:
        s3.copy_object(Bucket=name, Key="to", CopySource=source, **good)
    for bad in [{"CopySourceIfMatch": '"x"'}, {"CopySourceIfNoneMatch": etag}, {"CopySourceIfUnmodifiedSince": past}]:
        refused(412, "PreconditionFailed", s3.copy_object, Bucket=name, Key="to", CopySource=source, **bad)
    # The copy is an object of its own.
    s3.delete_object(Bucket=name, Key="big")
    assert read(other, "copy of big") == big


def conditional_reads():
    name = bucket("conditional-reads")
    etag = s3.put_object(Bucket=name, Key="k", Body=b"hello")["ETag"]
    modified = s3.head_object(Bucket=name, Key="k")["LastModified"].timestamp()
    before, after, same = modified - 10, modified + 10, modified
    for call in [s3.get_object, s3.head_object]:
        failed = "PreconditionFailed" if call == s3.get_object else "412"
        for condition, status in [
            ({"IfMatch": etag}, 200), ({"IfMatch": "*"}, 200), ({"IfMatch": '"x"'}, 412),
            ({"IfNoneMatch": etag}, 304), ({"IfNoneMatch": "*"}, 304), ({"IfNoneMatch": '"x"'}, 200),
            ({"IfModifiedSince": before}, 200), ({"IfModifiedSince": same}, 304), ({"IfModifiedSince": after}, 304),
            ({"IfUnmodifiedSince": before}, 412), ({"IfUnmodifiedSince": same}, 200),
            ({"IfUnmodifiedSince": after}, 200),
            # RFC 9110 13.2.2: entity tags go before dates.
            ({"IfMatch": etag, "IfUnmodifiedSince": before}, 200), ({"IfNoneMatch": '"x"', "IfModifiedSince": same}, 200),
            ({"IfMatch": etag, "IfNoneMatch": etag}, 304), ({"IfMatch": '"x"', "IfNoneMatch": '"x"'}, 412),
        ]:
            if status == 200:
                assert call(Bucket=name, Key="k", **condition)["ETag"] == etag
            else:
                answer = refused(status, failed if status == 412 else "304", call, Bucket=name, Key="k", **condition)
                if status == 304:
                    headers = answer["ResponseMetadata"]["HTTPHeaders"]
                    assert headers["etag"] == etag and "last-modified" in headers, headers


def conditional_writes():
    name = bucket("conditional-writes")
    put = lambda body, **condition: s3.put_object(Bucket=name, Key="k", Body=body, **condition)
    refused(404, "NoSuchKey", put, body=b"0", IfMatch='"x"')
    first = put(b"1", IfNoneMatch="*")["ETag"]
    refused(412, "PreconditionFailed", put, body=b"2", IfNoneMatch="*")
    refused(412, "PreconditionFailed", put, body=b"2", IfMatch='"x"')
    assert read(name, "k") == b"1"
    second = put(b"2", IfMatch=first)["ETag"]
    refused(412, "PreconditionFailed", put, body=b"3", IfMatch=first)
    assert read(name, "k") == b"2"
    # The same at the end of a multipart upload.
    for condition, status in [({"IfNoneMatch": "*"}, 412), ({"IfMatch": first}, 412), ({"IfMatch": second}, 200)]:
        upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
        part = s3.upload_part(Bucket=name, Key="k", UploadId=upload, PartNumber=1, Body=b"3")["ETag"]
        done = dict(Bucket=name, Key="k", UploadId=upload, **condition,
                    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
        if status == 200:
            s3.complete_multipart_upload(**done)
        else:
            refused(412, "PreconditionFailed", s3.complete_multipart_upload, **done)
            s3.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)
    assert read(name, "k") == b"3"
    # A delete by ETag.
    refused(412, "PreconditionFailed", s3.delete_object, Bucket=name, Key="k", IfMatch=first)
    s3.delete_object(Bucket=name, Key="k", IfMatch=s3.head_object(Bucket=name, Key="k")["ETag"])
    refused(404, "404", s3.head_object, Bucket=name, Key="k")


def one_of_many_writers_wins():
    """Sixteen clients create the same names with If-None-Match: exactly one does; sixteen append by If-Match: none is lost."""
    name = bucket("one-of-many-wins")
    won, lock = [], threading.Lock()

    def create(who):
        mine = client()
        for n in range(10):
            try:
                mine.put_object(Bucket=name, Key=f"n/{n}", Body=f"{who}".encode(), IfNoneMatch="*")
            except botocore.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), error
            else:
                with lock:
                    won.append((n, who))

    s3.put_object(Bucket=name, Key="log", Body=b"")

    def append(who):
        mine = client()
        while True:
            now = mine.get_object(Bucket=name, Key="log")
            longer = now["Body"].read() + f"{who},".encode()
            try:
                mine.put_object(Bucket=name, Key="log", Body=longer, IfMatch=now["ETag"])
                return
            except botocore.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), error

    failures = []

    def run(act, who):
        try:
            act(who)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(act, who)) for who in range(16) for act in (create, append)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert sorted(n for n, _ in won) == list(range(10)), won
    for n, who in won:
        assert read(name, f"n/{n}") == f"{who}".encode()
    assert sorted(read(name, "log").decode().strip(",").split(","), key=int) == [f"{i}" for i in range(16)]


def response_overrides():
    name = bucket("response-overrides")
    s3.put_object(Bucket=name, Key="k", Body=b"x", ContentType="text/a", CacheControl="a")
    got = s3.get_object(Bucket=name, Key="k", ResponseContentType="text/b", ResponseCacheControl="b",
                        ResponseContentDisposition="attachment; filename=\"ü.txt\"".encode("ascii", "replace").decode(),
                        ResponseContentEncoding="c", ResponseContentLanguage="d",
                        ResponseExpires="Sun, 17 Mar 2030 17:46:40 GMT")
    assert got["ContentType"] == "text/b" and got["CacheControl"] == "b" and got["ContentEncoding"] == "c"
    assert got["ContentDisposition"] == "attachment; filename=\"?.txt\"" and got["ContentLanguage"] == "d"
    assert got["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Sun, 17 Mar 2030 17:46:40 GMT"
    assert s3.head_object(Bucket=name, Key="k")["ContentType"] == "text/a", "nothing was kept of it"


def tags():
    name = bucket("tags")
    s3.put_object(Bucket=name, Key="k", Body=b"x", Tagging="a=1", Metadata={"m": "1"})
    etag = s3.head_object(Bucket=name, Key="k")["ETag"]
    ten = [{"Key": f"key {i} ü", "Value": "v" * (i * 25)} for i in range(10)]
    s3.put_object_tagging(Bucket=name, Key="k", Tagging={"TagSet": ten})
    assert s3.get_object_tagging(Bucket=name, Key="k")["TagSet"] == ten
    eleven = ten + [{"Key": "k11", "Value": ""}]
    lax = client(parameter_validation=False)
    for bad in [eleven, [ten[0], ten[0]], [{"Key": "", "Value": "x"}], [{"Key": "k" * 129, "Value": ""}],
                [{"Key": "k", "Value": "v" * 257}]]:
        refused(400, "InvalidTag", lax.put_object_tagging, Bucket=name, Key="k", Tagging={"TagSet": bad})
    assert s3.get_object_tagging(Bucket=name, Key="k")["TagSet"] == ten
    s3.delete_object_tagging(Bucket=name, Key="k")
    assert s3.get_object_tagging(Bucket=name, Key="k")["TagSet"] == []
    got = s3.get_object(Bucket=name, Key="k")
    assert got["Body"].read() == b"x" and got["ETag"] == etag and got["Metadata"] == {"m": "1"}
    assert "TagCount" not in got


def user_metadata():
    name = bucket("user-metadata")
    put = lambda metadata: s3.put_object(Bucket=name, Key="k", Body=b"x", Metadata=metadata)
    exactly = {"a": "v" * 1000, "b": "v" * 1046}
    put(exactly)
    assert s3.head_object(Bucket=name, Key="k")["Metadata"] == exactly
    refused(400, "MetadataTooLarge", put, metadata={"a": "v" * 1000, "b": "v" * 1047})
    odd = {"with-dash": "a=b;c,d", "quoted": "\"q\" 'r'", "percent": "%41%zz", "under_score": "x", "spaces": "a  b"}
    put(odd)
    assert s3.head_object(Bucket=name, Key="k")["Metadata"] == odd
