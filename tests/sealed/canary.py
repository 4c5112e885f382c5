"""Stores canaries in every way boto3 knows: argv is bucket, name, content, content type, metadata name and value, tag
name and value. Prints the ETags it was given, and leaves one upload open."""
import io
import sys

import boto3
from boto3.s3.transfer import TransferConfig

bucket, name, content, kind, meta_name, meta_value, tag_name, tag_value = sys.argv[1:]
s3 = boto3.client("s3")
about = {
    "ContentType": kind,
    "Metadata": {meta_name: meta_value},
    "Tagging": f"{tag_name}={tag_value}",
}
large = (content * (9 * 1024 * 1024 // len(content))).encode()
parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
s3.upload_fileobj(io.BytesIO(large), bucket, name + "-parts", ExtraArgs=about, Config=parts)
print(s3.head_object(Bucket=bucket, Key=name + "-parts")["ETag"].split("-")[0])

open_one = s3.create_multipart_upload(Bucket=bucket, Key=name + "-open", **about)["UploadId"]
part = s3.upload_part(Bucket=bucket, Key=name + "-open", UploadId=open_one, PartNumber=1, Body=large)
print(part["ETag"])

aborted = s3.create_multipart_upload(Bucket=bucket, Key=name + "-aborted", **about)["UploadId"]
print(s3.upload_part(Bucket=bucket, Key=name + "-aborted", UploadId=aborted, PartNumber=1, Body=large[1:])["ETag"])
s3.abort_multipart_upload(Bucket=bucket, Key=name + "-aborted", UploadId=aborted)

s3.copy_object(Bucket=bucket, Key=name + "-copy", CopySource={"Bucket": bucket, "Key": name + "-parts"})
for n in range(5):
    print(s3.put_object(Bucket=bucket, Key=f"{name}-gone-{n}", Body=f"{content}{n}".encode(), **about)["ETag"])
gone = [{"Key": f"{name}-gone-{n}"} for n in range(5)]
assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": gone})

# A bucket that keeps versions: overwritten, hidden by a marker, tagged as an old version, gone for good.
kept = {"Bucket": bucket + "-kept"}
s3.create_bucket(**kept)
s3.put_bucket_versioning(**kept, VersioningConfiguration={"Status": "Enabled"})
s3.put_bucket_lifecycle_configuration(**kept, LifecycleConfiguration={"Rules": [
    {"ID": tag_value, "Status": "Enabled", "Filter": {"Prefix": name},
     "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}}]})
versions = [s3.put_object(**kept, Key=name, Body=f"{content}{n}".encode() * 2000 ** (n % 2), **about) for n in range(4)]
for version in versions:
    print(version["ETag"])
old = {**kept, "Key": name, "VersionId": versions[0]["VersionId"]}
s3.put_object_tagging(**old, Tagging={"TagSet": [{"Key": tag_name, "Value": tag_value + "-old"}]})
s3.delete_object(**kept, Key=name)
for version in versions[1:3]:
    s3.delete_object(**kept, Key=name, VersionId=version["VersionId"])
s3.delete_object(**kept, Key=name + "-never-was")
assert len(s3.list_object_versions(**kept, Prefix=name)["DeleteMarkers"]) == 2
