"""FX-24: sizes at the borders of chunks and parts come back, and lie on disk as large as the format says."""

CHUNK, HEADER, TAG = 65536, 192, 16
BLOBS = os.path.join(sys.argv[2], "data", "region", REGION, "blobs")


def sealed(plain):
    return HEADER + plain + TAG * max(1, -(-plain // CHUNK))


def blobs():
    """Sizes of all files in the cellar, by path."""
    return {os.path.join(at, f): os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(BLOBS) for f in files}


def fx_24_sizes_at_the_borders():
    name = bucket("fx-24")
    for size in [0, 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 131071, 131072, 131073, PART, PART + 1]:
        before, data = blobs(), noise(size, size)
        s3.put_object(Bucket=name, Key=f"{size}", Body=data)
        new = sorted(s for path, s in blobs().items() if path not in before)
        # Up to one chunk rides in the index; anything above is one blob.
        assert new == ([] if size <= CHUNK else [sealed(size)]), (size, new)
        got = s3.get_object(Bucket=name, Key=f"{size}")
        assert got["Body"].read() == data and got["ContentLength"] == size and got["ETag"] == f'"{md5(data)}"'
        assert s3.head_object(Bucket=name, Key=f"{size}")["ContentLength"] == size
    listed = {o["Key"]: o["Size"] for o in s3.list_objects_v2(Bucket=name)["Contents"]}
    assert all(int(key) == size for key, size in listed.items()) and len(listed) == 14

    before, parts = blobs(), [noise(n, n) for n in (PART, PART, PART + 65535, 3)]
    upload = s3.create_multipart_upload(Bucket=name, Key="parts")["UploadId"]
    at = dict(Bucket=name, Key="parts", UploadId=upload)
    etags = [{"PartNumber": n, "ETag": s3.upload_part(**at, PartNumber=n, Body=part)["ETag"]}
             for n, part in enumerate(parts, 1)]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": etags})
    new = sorted(size for path, size in blobs().items() if path not in before)
    assert new == sorted(sealed(len(part)) for part in parts), new
    assert read(name, "parts") == b"".join(parts)

    # What is replaced or removed leaves no bytes behind.
    for key in listed:
        s3.put_object(Bucket=name, Key=key, Body=b"small")
    s3.delete_object(Bucket=name, Key="parts")
    end = time.time() + 60
    while blobs() and time.time() < end:
        time.sleep(0.05)
    assert blobs() == {}, blobs()
