"""Objects of data subjects, before and after an erasure. Run with common.py in front."""

BUCKET = "interactions"
ONE = "contact:4711"
SMALL, MIDDLE, LARGE = noise(700), noise(40_000, 2), noise(3 * MIB, 3)


def put(key, body, subject=None):
    metadata = {"geoseal-subject": subject} if subject else {}
    return s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=metadata)


def put_raw(key, body, subject):
    """A subject as the wire has it, past what boto3 thinks of it."""
    raw = add_header(client(), "PutObject", **{"x-amz-meta-geoseal-subject": subject})
    return lambda **_: raw.put_object(Bucket=BUCKET, Key=key, Body=body)


def upload(key, subject, parts, complete=True):
    begun = s3.create_multipart_upload(Bucket=BUCKET, Key=key, Metadata={"geoseal-subject": subject})["UploadId"]
    etags = []
    for number, part in enumerate(parts, 1):
        etag = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=begun, PartNumber=number, Body=part)["ETag"]
        etags.append({"PartNumber": number, "ETag": etag})
    if complete:
        s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=begun, MultipartUpload={"Parts": etags})
    return begun


PARTS = [noise(PART, 4), noise(1000, 5)]
OF_ONE = {"s/one/small": SMALL, "s/one/middle": MIDDLE, "s/one/large": LARGE, "s/one/parts": b"".join(PARTS)}
OF_OTHERS = {"s/none/small": SMALL, "s/none/large": LARGE, "s/two/small": SMALL, "s/two/large": LARGE}


def listed():
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="s/")
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def store():
    """What is stored for a subject reads like anything else; a copy belongs to whom its metadata names."""
    for key, body in OF_ONE.items():
        if key.endswith("parts"):
            upload(key, ONE, PARTS)
        else:
            put(key, body, ONE)
    for key, body in OF_OTHERS.items():
        put(key, body, "contact:4712" if "/two/" in key else None)
    source = {"Bucket": BUCKET, "Key": "s/one/large"}
    s3.copy_object(Bucket=BUCKET, Key="s/copy/kept", CopySource=source)
    s3.copy_object(
        Bucket=BUCKET, Key="s/copy/of-two", CopySource=source, MetadataDirective="REPLACE",
        Metadata={"geoseal-subject": "contact:4712"},
    )
    s3.copy_object(Bucket=BUCKET, Key="s/copy/of-nobody", CopySource=source, MetadataDirective="REPLACE", Metadata={})
    # An overwrite takes an object out of the subject's hands.
    put("s/one/overwritten", LARGE, ONE)
    put("s/one/overwritten", SMALL)
    put("s/one/deleted", LARGE, ONE)
    s3.delete_object(Bucket=BUCKET, Key="s/one/deleted")
    upload("s/one/unfinished", ONE, PARTS[:1], complete=False)
    reads()


def reads():
    for key, body in {**OF_ONE, **OF_OTHERS, "s/copy/kept": LARGE, "s/copy/of-two": LARGE}.items():
        assert read(BUCKET, key) == body, key
        assert read(BUCKET, key, Range="bytes=100-299") == body[100:300], key
        head = s3.head_object(Bucket=BUCKET, Key=key)
        assert head["ContentLength"] == len(body), key
        named = head["Metadata"].get("geoseal-subject")
        assert named == (ONE if "/one/" in key or key == "s/copy/kept" else "contact:4712" if "two" in key else None)
    assert read(BUCKET, "s/one/parts", PartNumber=2) == PARTS[1]
    body = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="s/")
    assert [u["Key"] for u in body["Uploads"]] == ["s/one/unfinished"]
    # A part of a subject's object, copied into another subject's.
    begun = s3.create_multipart_upload(Bucket=BUCKET, Key="s/two/parts", Metadata={"geoseal-subject": "contact:4712"})
    copied = s3.upload_part_copy(
        Bucket=BUCKET, Key="s/two/parts", UploadId=begun["UploadId"], PartNumber=1,
        CopySource={"Bucket": BUCKET, "Key": "s/one/large"}, CopySourceRange="bytes=0-99",
    )
    parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(
        Bucket=BUCKET, Key="s/two/parts", UploadId=begun["UploadId"], MultipartUpload={"Parts": parts}
    )
    assert read(BUCKET, "s/two/parts") == LARGE[:100]


def versions():
    """Prints the version ids of the subject's objects."""
    for key in OF_ONE:
        print(key, s3.head_object(Bucket=BUCKET, Key=key).get("VersionId", "null"))


def erased():
    """K-13: whatever way somebody asks, the subject's objects are not there, and everybody else's are."""
    version = dict(line.split() for line in os.environ["VERSIONS"].splitlines())
    for key in [*OF_ONE, "s/copy/kept"]:
        refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key=key)
        refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key=key, Range="bytes=0-9")
        refused(404, "404", s3.head_object, Bucket=BUCKET, Key=key)
        refused(404, "NoSuchKey", s3.get_object_tagging, Bucket=BUCKET, Key=key)
        if version.get(key, "null") != "null":
            refused(404, "NoSuchVersion", s3.get_object, Bucket=BUCKET, Key=key, VersionId=version[key])
        source = {"Bucket": BUCKET, "Key": key}
        refused(404, "NoSuchKey", s3.copy_object, Bucket=BUCKET, Key="s/copied", CopySource=source)
        begun = s3.create_multipart_upload(Bucket=BUCKET, Key="s/copied")["UploadId"]
        refused(
            404, "NoSuchKey", s3.upload_part_copy, Bucket=BUCKET, Key="s/copied", UploadId=begun, PartNumber=1,
            CopySource=source,
        )
        s3.abort_multipart_upload(Bucket=BUCKET, Key="s/copied", UploadId=begun)
    assert not s3.list_multipart_uploads(Bucket=BUCKET, Prefix="s/").get("Uploads")
    want = sorted([*OF_OTHERS, "s/copy/of-two", "s/copy/of-nobody", "s/one/overwritten", "s/two/parts"])
    assert listed() == want, listed()
    for key, body in {**OF_OTHERS, "s/copy/of-two": LARGE, "s/copy/of-nobody": LARGE}.items():
        assert read(BUCKET, key) == body, key
    assert read(BUCKET, "s/one/overwritten") == SMALL
    assert read(BUCKET, "s/two/parts") == LARGE[:100]


def again():
    """Who is named after an erasure is another subject, with another key."""
    put("s/one/again", SMALL, ONE)
    assert read(BUCKET, "s/one/again") == SMALL


def names():
    """What is no name of a subject is refused before a byte is stored."""
    for bad in ["x" * 257, "tab\there", ""]:
        refused(400, "InvalidArgument", put_raw("s/bad", b"x", bad))
    refused(
        400, "InvalidArgument", s3.create_multipart_upload, Bucket=BUCKET, Key="s/bad",
        Metadata={"geoseal-subject": "x" * 257},
    )
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key="s/bad")
    for good in ["x" * 256, "a b", "contact:4711"]:
        put_raw("s/good", SMALL, good)()
        assert read(BUCKET, "s/good") == SMALL
        s3.delete_object(Bucket=BUCKET, Key="s/good")


def stream():
    """A download under way when its subject is erased breaks off; it never ends as if it were whole."""
    body = noise(8 * MIB, 6) * 16
    put("s/stream", body, ONE)
    reply = s3.get_object(Bucket=BUCKET, Key="s/stream")["Body"]
    got = len(reply.read(MIB))
    print("reading", flush=True)
    sys.stdin.readline()
    try:
        while piece := reply.read(MIB):
            got += len(piece)
    except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError, urllib3.exceptions.HTTPError) as error:
        print("broke off after", got, type(error).__name__)
        assert got < len(body)
        return
    raise AssertionError(f"ended with {got} of {len(body)} bytes")


def many():
    """So many objects that an erasure of them takes a moment."""
    with __import__("concurrent.futures").futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: put(f"s/many/{n:04}", SMALL if n % 2 else noise(70_000), ONE), range(600)))
    put("s/two/kept", SMALL, "contact:4712")
    assert len(listed()) == 601


def gone():
    deadline = time.monotonic() + 60
    while (left := listed()) != ["s/two/kept"]:
        assert time.monotonic() < deadline, f"{len(left)} names are left"
        refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key=left[0])
        time.sleep(0.05)
    assert read(BUCKET, "s/two/kept") == SMALL


def many_others():
    """So many subjects that a walk over them takes a moment."""
    with __import__("concurrent.futures").futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: put(f"others/{n:03}", SMALL, f"lead:{n}"), range(120)))


def more():
    """One more object of the subject while the index root changes, and one of somebody new."""
    n = len(s3.list_objects_v2(Bucket=BUCKET, Prefix="more/").get("Contents", []))
    put(f"more/{n}", SMALL, ONE)
    put(f"others/new/{n}", SMALL, f"lead:new:{n}")
    assert read(BUCKET, f"more/{n}") == SMALL


def erased_under_another_root():
    for key in [*OF_ONE, "s/copy/kept", "more/0", "more/1", "more/2"]:
        refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key=key)
    assert not s3.list_objects_v2(Bucket=BUCKET, Prefix="more/").get("Contents")
    assert len(s3.list_objects_v2(Bucket=BUCKET, Prefix="others/")["Contents"]) == 123
    for key, body in OF_OTHERS.items():
        assert read(BUCKET, key) == body, key
