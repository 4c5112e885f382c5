"""FX-18: what a range gives is what a slice of the bytes gives."""


def expected(data, asked):
    """RFC 9110 14.1.2, for one range: the slice, or None for 416, or everything where the header is to be ignored."""
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if first == "":
        return data[-int(last):] if int(last) and data else None
    if int(first) >= len(data):
        return None
    return data[int(first):] if last == "" else data[int(first):int(last) + 1]


def check(name, key, data, asked):
    want = expected(data, asked)
    if want is None:
        answer = refused(416, "InvalidRange", s3.get_object, Bucket=name, Key=key, Range=asked)
        assert answer["ResponseMetadata"]["HTTPHeaders"]["content-range"] == f"bytes */{len(data)}"
        return
    got = s3.get_object(Bucket=name, Key=key, Range=asked)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["ContentLength"] == len(want), asked
    first, last = got["ContentRange"].removeprefix("bytes ").split("/")[0].split("-")
    assert data[int(first):int(last) + 1] == want and got["ContentRange"].endswith(f"/{len(data)}"), asked
    assert got["Body"].read() == want, asked


def multipart(name, key, sizes):
    upload = s3.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
    whole, parts = b"", []
    for number, size in enumerate(sizes, 1):
        data = noise(size, number)
        etag = s3.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=number, Body=data)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
        whole += data
    s3.complete_multipart_upload(Bucket=name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    return whole


def fx_18_random_ranges_are_slices():
    name = bucket("random-ranges")
    sizes = [PART, PART + 1, PART + 65536, 12345]
    data = multipart(name, "parts", sizes)
    borders = set(itertools.accumulate(sizes)) | set(range(0, len(data), 65536))
    chance = random.Random(18)
    around = sorted(borders)

    def place():
        # Half of them right at the borders of chunks and parts, where mistakes live.
        if chance.random() < 0.5:
            return max(0, chance.choice(around) + chance.randint(-2, 2))
        return chance.randrange(len(data) + 3)

    for _ in range(1000):
        kind, first = chance.random(), place()
        length = chance.choice([1, 2, 100, 65535, 65536, 65537, 200_000])
        if kind < 0.7:
            asked = f"bytes={first}-{first + length - 1}"
        elif kind < 0.85:
            asked = f"bytes=-{chance.choice([0, 1, 2, length, len(data) // 50])}"
        else:
            asked = f"bytes={max(first, len(data) - 300_000)}-"
        check(name, "parts", data, asked)
    for asked in [f"bytes=-{len(data)}", f"bytes=-{len(data) + 1}", "bytes=0-", f"bytes=0-{len(data) - 1}",
                  f"bytes=0-{len(data) + 10}", f"bytes={len(data) - 1}-", f"bytes={len(data)}-", "bytes=0-0",
                  f"bytes={PART - 1}-{PART}", f"bytes={2 * PART}-{2 * PART + 1}", "bytes=0-9223372036854775807"]:
        check(name, "parts", data, asked)
    # Small objects, inline and not.
    for size in [0, 1, 2, 65535, 65536, 65537, 131073]:
        small = noise(size, size)
        s3.put_object(Bucket=name, Key=f"{size}", Body=small)
        for asked in ["bytes=0-0", "bytes=-1", "bytes=1-", "bytes=65535-65536", "bytes=0-65535", "bytes=65536-",
                      "bytes=-65536", "bytes=-0", f"bytes={size}-", f"bytes=-{size + 1}"]:
            check(name, f"{size}", small, asked)


def fx_18_a_header_that_is_no_single_range():
    """RFC 9110 lets a server ignore what it does not take; S3 does, and no answer may be a wrong slice."""
    name, data = bucket("no-single-range"), noise(1000)
    s3.put_object(Bucket=name, Key="k", Body=data)
    for asked in ["bytes=", "bytes=a-b", "bytes=5-2", "bytes", "items=0-1", "bytes=0-1,5-6", "bytes=--1", "bytes=0x1-2",
                  "bytes=+1-2", "bytes=1-2-3", "bytes=99999999999999999999-", " bytes = 0-1", "bytes=0-99999999999999999999"]:
        try:
            got = s3.get_object(Bucket=name, Key="k", Range=asked)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] in ("InvalidRange", "InvalidArgument"), (asked, error)
            continue
        status, body = got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()
        whole_prefix = asked == "bytes=0-99999999999999999999"
        assert (status == 200 and body == data) or (whole_prefix and body == data), (asked, status, len(body))


def parts_by_number_and_conditions_on_ranges():
    name = bucket("parts-by-number")
    data = multipart(name, "k", [PART, PART, 99])
    cut = [data[:PART], data[PART:2 * PART], data[2 * PART:]]
    for number, part in enumerate(cut, 1):
        got = s3.get_object(Bucket=name, Key="k", PartNumber=number)
        assert got["PartsCount"] == 3 and got["Body"].read() == part
        head = s3.head_object(Bucket=name, Key="k", PartNumber=number)
        assert head["PartsCount"] == 3 and head["ContentLength"] == len(part)
    refused(416, "InvalidPartNumber", s3.get_object, Bucket=name, Key="k", PartNumber=4)
    refused(400, "InvalidRequest", s3.get_object, Bucket=name, Key="k", PartNumber=1, Range="bytes=0-1")
    head = s3.head_object(Bucket=name, Key="k", Range="bytes=5-9")
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206 and head["ContentLength"] == 5
    etag = head["ETag"]
    refused(412, "PreconditionFailed", s3.get_object, Bucket=name, Key="k", Range="bytes=0-1", IfMatch='"x"')
    refused(304, "304", s3.get_object, Bucket=name, Key="k", Range="bytes=0-1", IfNoneMatch=etag)
