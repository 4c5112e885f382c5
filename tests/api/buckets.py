"""Buckets: made, listed, found in their region, removed."""


def create_list_head_delete():
    name = bucket("create-list-head-delete")
    assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.list_buckets()["Owner"]["ID"]
    head = s3.head_bucket(Bucket=name)["ResponseMetadata"]
    assert head["HTTPHeaders"]["x-amz-bucket-region"] == REGION
    refused(409, "BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket=name)
    assert read(name, "k") == b"x"
    s3.delete_object(Bucket=name, Key="k")
    assert s3.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert name not in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    refused(404, "404", s3.head_bucket, Bucket=name)
    refused(404, "NoSuchBucket", s3.delete_bucket, Bucket=name)
    for call, more in [(s3.get_object, {"Key": "k"}), (s3.put_object, {"Key": "k"}), (s3.list_objects_v2, {}),
                       (s3.list_objects, {}), (s3.get_bucket_location, {}), (s3.list_multipart_uploads, {}),
                       (s3.create_multipart_upload, {"Key": "k"}), (s3.delete_object, {"Key": "k"}),
                       (s3.delete_objects, {"Delete": {"Objects": [{"Key": "k"}]}})]:
        refused(404, "NoSuchBucket", call, Bucket=name, **more)
    # The name is free again, and what was in the bucket has not come back with it.
    bucket(name)
    refused(404, "NoSuchKey", s3.get_object, Bucket=name, Key="k")


def a_bucket_with_an_upload_under_way():
    name = bucket("upload-under-way")
    upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    s3.upload_part(Bucket=name, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    # S3 lets such a bucket go, uploads and all; refusing is what others do. Either way nothing of it comes back.
    try:
        s3.delete_bucket(Bucket=name)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "BucketNotEmpty", error
        s3.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)
        s3.delete_bucket(Bucket=name)
    bucket(name)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
    refused(404, "NoSuchUpload", s3.list_parts, Bucket=name, Key="k", UploadId=upload)


def regions_and_residency():
    north = client("northeurope")
    north.create_bucket(Bucket="in-the-north", CreateBucketConfiguration={"LocationConstraint": "northeurope"})
    assert north.get_bucket_location(Bucket="in-the-north")["LocationConstraint"] == "northeurope"
    west = bucket("in-the-west")
    assert s3.get_bucket_location(Bucket=west)["LocationConstraint"] == REGION
    north.put_object(Bucket="in-the-north", Key="k", Body=b"north")
    assert north.get_object(Bucket="in-the-north", Key="k")["Body"].read() == b"north"
    # Without a constraint: where it was signed for.
    north.create_bucket(Bucket="unconstrained")
    assert north.get_bucket_location(Bucket="unconstrained")["LocationConstraint"] == "northeurope"
    # Signed for the wrong region of the geo: told where; boto3 follows by itself.
    assert read("in-the-north", "k") == b"north"
    # One border that nothing crosses.
    for far in ["eastus", "ukwest", "japaneast", "canadacentral"]:
        refused(403, "ResidencyViolation", s3.create_bucket, Bucket="far-away",
                CreateBucketConfiguration={"LocationConstraint": far})
    for nowhere in ["us-east-1", "EU", "westeurope2", "mars"]:
        refused(400, "InvalidLocationConstraint", s3.create_bucket, Bucket="far-away",
                CreateBucketConfiguration={"LocationConstraint": nowhere})
    refused(404, "404", s3.head_bucket, Bucket="far-away")
    for far in ["eastus", "us-east-1"]:
        answer = refused(400, "AuthorizationHeaderMalformed", client(far).list_buckets)
        assert answer["Error"]["Region"] == REGION, answer


def names_that_are_none():
    lax = client(parameter_validation=False)
    lax.meta.events.unregister("before-parameter-build.s3", botocore.handlers.validate_bucket_name)
    for name in ["ab", "a" * 64, "Upper", "under_score", "-a-b", "a-b-", "a..b", "192.168.5.4", "sp ace"]:
        refused(400, "InvalidBucketName", lax.create_bucket, Bucket=name)
