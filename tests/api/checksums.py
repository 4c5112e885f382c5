"""Content-MD5 and the five checksums: as headers, as trailers, over parts; right and wrong."""


def crc(data, width, polynomial, table_of={}):
    """A reflected CRC, all ones at both ends, as all three CRCs of S3 are."""
    table = table_of.get(polynomial)
    if table is None:
        table = []
        for value in range(256):
            for _ in range(8):
                value = (value >> 1) ^ (polynomial if value & 1 else 0)
            table.append(value)
        table_of[polynomial] = table
    ones = (1 << width) - 1
    state = ones
    for byte in data:
        state = table[(state ^ byte) & 255] ^ (state >> 8)
    return (state ^ ones).to_bytes(width // 8, "big")


SUMS = {
    "CRC32": lambda d: crc(d, 32, 0xEDB88320),
    "CRC32C": lambda d: crc(d, 32, 0x82F63B78),
    "CRC64NVME": lambda d: crc(d, 64, 0x9A6C9329AC4BC9B5),
    "SHA1": lambda d: hashlib.sha1(d).digest(),
    "SHA256": lambda d: hashlib.sha256(d).digest(),
}
# Source: the CRC catalogue's check values for "123456789".
assert SUMS["CRC32"](b"123456789").hex() == "cbf43926" and SUMS["CRC32C"](b"123456789").hex() == "e3069283"
assert SUMS["CRC64NVME"](b"123456789").hex() == "ae8b14860a799888"


def as_headers():
    name = bucket("sums-headers")
    for size in (0, 1, 1000, 70_000):
        data = noise(size, size)
        for algorithm, sum_of in SUMS.items():
            field, right = f"Checksum{algorithm}", b64(sum_of(data))
            put = s3.put_object(Bucket=name, Key="k", Body=data, **{field: right})
            assert put[field] == right and put["ChecksumType"] == "FULL_OBJECT"
            head = s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
            assert head[field] == right and head["ChecksumType"] == "FULL_OBJECT", head
            got = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
            assert got[field] == right and got["Body"].read() == data
            assert field not in s3.head_object(Bucket=name, Key="k"), "only when asked for"
            wrong = b64(sum_of(data + b"x"))
            refused(400, "BadDigest", s3.put_object, Bucket=name, Key="bad", Body=data, **{field: wrong})
            for malformed in ["x", "AAAA", right[:-4]]:
                refused(400, "InvalidRequest", s3.put_object, Bucket=name, Key="bad", Body=data, **{field: malformed})
            refused(404, "404", s3.head_object, Bucket=name, Key="bad")
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 1


def one_nobody_asked_for_is_kept():
    name = bucket("sums-default")
    bare = client(request_checksum_calculation="when_required")
    bare.put_object(Bucket=name, Key="k", Body=b"hello")
    assert s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == b64(SUMS["CRC64NVME"](b"hello"))


def as_trailers():
    """boto3 sends a stream over TLS as aws-chunked with an unsigned trailer."""
    name, sent = bucket("sums-trailers"), []
    s3_ = client()
    s3_.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers)))
    for size in (0, 1, 65536, 1_500_000):
        data = noise(size, size)
        for algorithm in ("CRC32", "SHA1", "SHA256"):
            s3_.put_object(Bucket=name, Key="k", Body=io.BytesIO(data), ChecksumAlgorithm=algorithm)
            header = lambda name: str(next((v.decode() if isinstance(v, bytes) else v for n, v in sent[-1].items() if n.lower() == name), ""))
            assert header("x-amz-trailer") == f"x-amz-checksum-{algorithm.lower()}", sent[-1].keys()
            assert header("x-amz-content-sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            got = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
            assert got["Body"].read() == data and "ContentEncoding" not in got
            assert got[f"Checksum{algorithm}"] == b64(SUMS[algorithm](data))


def content_md5():
    name = bucket("content-md5")
    put = lambda data, digest: s3.put_object(Bucket=name, Key="k", Body=data, ContentMD5=digest)
    data = noise(100_000)
    put(data, b64(hashlib.md5(data).digest()))
    assert read(name, "k") == data
    refused(400, "BadDigest", put, data=b"other", digest=b64(hashlib.md5(b"x").digest()))
    for malformed in ["x", "AAAA", "!!!!", b64(b"x" * 15), b64(b"x" * 17)]:
        refused(400, "InvalidDigest", put, data=b"other", digest=malformed)
    assert read(name, "k") == data
    upload = s3.create_multipart_upload(Bucket=name, Key="p")["UploadId"]
    refused(400, "BadDigest", s3.upload_part, Bucket=name, Key="p", UploadId=upload, PartNumber=1, Body=b"x",
            ContentMD5=b64(hashlib.md5(b"y").digest()))
    assert "Parts" not in s3.list_parts(Bucket=name, Key="p", UploadId=upload)


def over_parts():
    name, bodies = bucket("sums-parts"), [noise(PART, 1), noise(100_003, 2)]
    whole = b"".join(bodies)
    for algorithm, kind in [("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"),
                            ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")]:
        field, sum_of = f"Checksum{algorithm}", SUMS[algorithm]
        upload = s3.create_multipart_upload(Bucket=name, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
        at = dict(Bucket=name, Key="k", UploadId=upload)
        parts = []
        for number, body in enumerate(bodies, 1):
            right = b64(sum_of(body))
            refused(400, "BadDigest", s3.upload_part, **at, PartNumber=number, Body=body, **{field: b64(sum_of(b"x"))})
            put = s3.upload_part(**at, PartNumber=number, Body=body, **{field: right})
            assert put[field] == right
            parts.append({"PartNumber": number, "ETag": put["ETag"], field: right})
        listed = s3.list_parts(**at)
        assert [p[field] for p in listed["Parts"]] == [p[field] for p in parts]
        assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
        spoilt = [parts[0], {**parts[1], field: parts[0][field]}]
        refused(400, "InvalidPart", s3.complete_multipart_upload, **at, MultipartUpload={"Parts": spoilt})
        if kind == "FULL_OBJECT":
            want = b64(sum_of(whole))
            refused(400, "BadDigest", s3.complete_multipart_upload, **at, MultipartUpload={"Parts": parts},
                    **{field: b64(sum_of(b"x"))})
        else:
            want = b64(sum_of(b"".join(sum_of(body) for body in bodies))) + "-2"
        done = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
        assert (done[field], done["ChecksumType"]) == (want, kind), (algorithm, kind, done[field], want)
        head = s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
        assert (head[field], head["ChecksumType"]) == (want, kind)


def copies_keep_or_change_theirs():
    name = bucket("sums-copies")
    s3.put_object(Bucket=name, Key="k", Body=b"hello", ChecksumSHA1=b64(SUMS["SHA1"](b"hello")))
    source = {"Bucket": name, "Key": "k"}
    s3.copy_object(Bucket=name, Key="same", CopySource=source)
    assert s3.head_object(Bucket=name, Key="same", ChecksumMode="ENABLED")["ChecksumSHA1"] == b64(SUMS["SHA1"](b"hello"))
    s3.copy_object(Bucket=name, Key="other", CopySource=source, ChecksumAlgorithm="CRC32C")
    assert s3.head_object(Bucket=name, Key="other", ChecksumMode="ENABLED")["ChecksumCRC32C"] == b64(SUMS["CRC32C"](b"hello"))
