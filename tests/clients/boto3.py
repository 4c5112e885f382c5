"""boto3 with default settings: makes the bucket argv[1] for the records in argv[2] (a folder).

Stores each record with its metadata, lists, reads back, copies, presigns, uploads in parts and deletes. Exits non-zero
with a traceback on the first difference."""
import hashlib
import os
import pathlib
import sys
import urllib.request
import ssl

import boto3
from botocore.exceptions import ClientError

bucket, folder = sys.argv[1], pathlib.Path(sys.argv[2])
s3 = boto3.client("s3")
files = sorted(p for p in folder.rglob("*") if p.is_file())
names = {p.relative_to(folder).as_posix(): p for p in files}


def code_of(call):
    try:
        call()
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("the call succeeded, and should not have")


s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
for name, path in names.items():
    body = path.read_bytes()
    put = s3.put_object(Bucket=bucket, Key=name, Body=body, Metadata={"geoseal-subject": "contact:4711"})
    assert put["ETag"] == '"%s"' % hashlib.md5(body).hexdigest(), name

listed, token = [], {}
while True:
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=7, **token)
    listed += page.get("Contents", [])
    if not page["IsTruncated"]:
        break
    token = {"ContinuationToken": page["NextContinuationToken"]}
assert [o["Key"] for o in listed] == sorted(names, key=lambda n: n.encode())
assert {o["Key"]: o["Size"] for o in listed} == {n: p.stat().st_size for n, p in names.items()}

top = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
assert [p["Prefix"] for p in top["CommonPrefixes"]] == sorted({n.split("/")[0] + "/" for n in names if "/" in n})

for name, path in names.items():
    got = s3.get_object(Bucket=bucket, Key=name)
    assert got["Body"].read() == path.read_bytes(), name
    assert got["Metadata"] == {"geoseal-subject": "contact:4711"}, got["Metadata"]

# conditions, copy, presigned, multipart, batch delete
name = next(n for n in names if names[n].stat().st_size > 100)
body = names[name].read_bytes()
etag = s3.head_object(Bucket=bucket, Key=name)["ETag"]
assert code_of(lambda: s3.put_object(Bucket=bucket, Key=name, Body=b"x", IfNoneMatch="*")) == ("PreconditionFailed", 412)
assert code_of(lambda: s3.get_object(Bucket=bucket, Key=name, IfNoneMatch=etag))[1] == 304
assert code_of(lambda: s3.get_object(Bucket=bucket, Key="not/there")) == ("NoSuchKey", 404)

s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": name})
assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body

trust = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": name}, ExpiresIn=60)
assert urllib.request.urlopen(url, context=trust).read() == body

parts = [os.urandom(5 << 20), os.urandom(5 << 20), b"the end"]
upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
done = []
for number, part in enumerate(parts, 1):
    answer = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=part)
    done.append({"ETag": answer["ETag"], "PartNumber": number})
assert len(s3.list_parts(Bucket=bucket, Key="parts", UploadId=upload)["Parts"]) == 3
whole = s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": done})
digests = b"".join(hashlib.md5(p).digest() for p in parts)
assert whole["ETag"] == '"%s-3"' % hashlib.md5(digests).hexdigest(), whole["ETag"]
assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"".join(parts)
middle = s3.get_object(Bucket=bucket, Key="parts", Range="bytes=5242870-5242889")
assert middle["Body"].read() == b"".join(parts)[5242870:5242890]

everything = [{"Key": n} for n in [*names, "copy", "parts"]]
assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": everything})
assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
print("ok")
