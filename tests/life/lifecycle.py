"""S3 lifecycle rules by boto3. Arguments: what to do, and the bucket."""

import sys

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
what, bucket = sys.argv[1:3]
at = {"Bucket": bucket}
PERSON = "jane.doe.4711/"
RULES = [
    {"ID": "days", "Status": "Enabled", "Filter": {"Prefix": PERSON}, "Expiration": {"Days": 3}},
    {"ID": "tagged", "Status": "Enabled", "Expiration": {"Days": 3},
     "Filter": {"And": {"Prefix": "t/", "Tags": [{"Key": "person", "Value": "richard.roe.0815"}]}}},
    {"ID": "large", "Status": "Enabled", "Expiration": {"Days": 3},
     "Filter": {"And": {"Prefix": "s/", "ObjectSizeGreaterThan": 10, "ObjectSizeLessThan": 100}}},
    {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": "off/"}, "Expiration": {"Days": 1}},
    {"ID": "uploads", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 4}},
]


def names():
    return sorted(one["Key"] for one in s3.list_objects_v2(**at).get("Contents", []))


def put(name, body=b"x", **more):
    return s3.put_object(**at, Key=name, Body=body, **more)


def refused(code, rule):
    try:
        s3.put_bucket_lifecycle_configuration(**at, LifecycleConfiguration={"Rules": [rule]})
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (rule, error)
        return error.response["Error"]["Message"]
    raise AssertionError(rule)


def begin():
    s3.create_bucket(**at)
    try:
        s3.get_bucket_lifecycle_configuration(**at)
        raise AssertionError("there are no rules yet")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration", error
    for i in range(600):  # more than one step of the walk
        put(f"{PERSON}before-{i}")
    put("other/before")
    before = s3.create_multipart_upload(**at, Key="up/before")
    s3.upload_part(**at, Key="up/before", UploadId=before["UploadId"], PartNumber=1, Body=b"part")
    rule = {"Status": "Enabled", "Filter": {"Prefix": ""}}
    refused("NotImplemented", {**rule, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]})
    refused("InvalidArgument", {**rule, "Expiration": {"Days": 0}})
    refused("InvalidRequest", rule)
    s3.put_bucket_lifecycle_configuration(**at, LifecycleConfiguration={"Rules": RULES})
    assert s3.get_bucket_lifecycle_configuration(**at)["Rules"] == RULES
    said = put(f"{PERSON}after")["Expiration"]
    assert said.startswith('expiry-date="') and said.endswith('00:00:00 GMT", rule-id="days"'), said
    assert s3.head_object(**at, Key=f"{PERSON}before-7")["Expiration"] == said, "written in the same day"
    assert s3.get_object(**at, Key=f"{PERSON}after")["Expiration"] == said
    put(f"{PERSON}replaced")
    put(f"{PERSON}blob", b"b" * 300_000)
    put("t/yes", Tagging="person=richard.roe.0815&more=1")
    put("t/spared", Tagging="person=richard.roe.0815")
    s3.put_object_tagging(**at, Key="t/spared", Tagging={"TagSet": [{"Key": "person", "Value": "nobody"}]})
    put("t/late")
    s3.put_object_tagging(**at, Key="t/late", Tagging={"TagSet": [{"Key": "person", "Value": "richard.roe.0815"}]})
    put("s/small", b"x" * 10)
    put("s/middle", b"x" * 11)
    put("s/large", b"x" * 100)
    put("off/stays")
    assert "Expiration" not in s3.head_object(**at, Key="t/spared")
    assert "Expiration" not in s3.head_object(**at, Key="off/stays")
    after = s3.create_multipart_upload(**at, Key="up/after")
    assert after["AbortRuleId"] == "uploads" and after["AbortDate"], after


def replace():
    """Some days later, before anything is due."""
    assert len(names()) == 611, names()
    put(f"{PERSON}replaced", b"anew")
    assert len(s3.list_multipart_uploads(**at)["Uploads"]) == 2, "a rule gives them longer than a day"


def left():
    print(len(names()))


def end():
    stays = [f"{PERSON}replaced", "off/stays", "other/before", "s/large", "s/small", "t/spared"]
    assert names() == sorted(stays), names()
    assert s3.get_object(**at, Key=f"{PERSON}replaced")["Body"].read() == b"anew"
    s3.delete_bucket_lifecycle(**at)
    assert "Expiration" not in s3.head_object(**at, Key=f"{PERSON}replaced")


def ended():
    assert len(names()) == 6, "the rules are gone, and what they would have removed stays"
    assert "Uploads" not in s3.list_multipart_uploads(**at)


globals()[what]()
