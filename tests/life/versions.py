"""Lifecycle rules about versions, by boto3. Argument: what to do. A question prints "so" once the answer is yes."""

import sys

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
KEPT, SUSPENDED = {"Bucket": "kept"}, {"Bucket": "suspended"}
RULES = [
    {"ID": "hidden", "Status": "Enabled", "Filter": {"Prefix": "hidden/"}, "Expiration": {"Days": 2}},
    {"ID": "aged", "Status": "Enabled", "Filter": {"Prefix": "aged/"},
     "NoncurrentVersionExpiration": {"NoncurrentDays": 2}},
    {"ID": "held", "Status": "Enabled", "Filter": {"Prefix": "held/"},
     "NoncurrentVersionExpiration": {"NoncurrentDays": 2}},
    {"ID": "counted", "Status": "Enabled", "Filter": {"Prefix": "counted/"},
     "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}},
    {"ID": "lone", "Status": "Enabled", "Filter": {"Prefix": "lone/"},
     "Expiration": {"ExpiredObjectDeleteMarker": True}, "NoncurrentVersionExpiration": {"NoncurrentDays": 2}},
]
PERSON = "jane.doe.4711"


def put(name, body=b"x", at=KEPT):
    return s3.put_object(**at, Key=name, Body=body)


def delete(name, **more):
    return s3.delete_object(**KEPT, Key=name, **more)


def all_of(prefix, at=KEPT):
    """How many versions and markers names with this beginning have."""
    listed = s3.list_object_versions(**at, Prefix=prefix)
    return len(listed.get("Versions", [])), len(listed.get("DeleteMarkers", []))


def told(**expected):
    got = {prefix: all_of(f"{prefix}/") for prefix in expected}
    print("so" if got == expected else got)


def begin():
    for at, status in ((KEPT, "Enabled"), (SUSPENDED, "Suspended")):
        s3.create_bucket(**at)
        s3.put_bucket_versioning(**at, VersioningConfiguration={"Status": status})
    for n in range(3):  # there before any rule
        put(f"aged/{PERSON}", b"%d" % n)
    for at in (KEPT, SUSPENDED):
        s3.put_bucket_lifecycle_configuration(**at, LifecycleConfiguration={"Rules": RULES})
        assert s3.get_bucket_lifecycle_configuration(**at)["Rules"] == RULES
    said = put(f"hidden/{PERSON}")
    assert 'rule-id="hidden"' in said["Expiration"], said
    put("hidden/null", at=SUSPENDED)
    for n in range(2):
        last = put("aged/after", b"b" * 300_000)
    assert "Expiration" not in last, "nothing is said of what is not superseded yet"
    for n in range(5):
        put("counted/k", b"%d" % n)
    for n in range(2):
        put("held/k", b"%d" % n)
    put("lone/with")
    delete("lone/with")
    # Of this one only the marker is left.
    version = put("lone/alone")["VersionId"]
    delete("lone/alone")
    delete("lone/alone", VersionId=version)
    # And here a version comes back: it is nobody's business any more when it was superseded.
    put("aged/back", b"1")
    newest = put("aged/back", b"2")["VersionId"]
    delete("aged/back", VersionId=newest)
    assert all_of("lone/") == (1, 2) and all_of("counted/") == (5, 0) and all_of("aged/") == (6, 0)


def at_once():
    told(lone=(1, 1))


def nothing_yet():
    assert (all_of("hidden/"), all_of("aged/"), all_of("lone/")) == ((1, 0), (6, 0), (1, 1)), "a day too early"


def after_their_days():
    told(hidden=(1, 1), aged=(3, 0), counted=(3, 0), lone=(0, 0), held=(2, 0))
    assert all_of("hidden/", SUSPENDED) in ((0, 1), (1, 0)), "a null marker takes the null version's place"


def one_more():
    assert all_of("hidden/", SUSPENDED) == (0, 1), "both buckets were swept"
    hidden = s3.list_object_versions(**KEPT, Prefix="hidden/")
    assert hidden["DeleteMarkers"][0]["IsLatest"] and not hidden["Versions"][0]["IsLatest"]
    old = s3.get_object(**KEPT, Key=f"hidden/{PERSON}", VersionId=hidden["Versions"][0]["VersionId"])
    assert old["Body"].read() == b"x" and "Expiration" not in old, "hidden, and not gone"
    bodies = [s3.get_object(**KEPT, Key="counted/k", VersionId=one["VersionId"])["Body"].read()
              for one in s3.list_object_versions(**KEPT, Prefix="counted/")["Versions"]]
    assert bodies == [b"4", b"3", b"2"], bodies
    assert s3.get_object(**KEPT, Key="aged/after")["Body"].read() == b"b" * 300_000
    assert s3.get_object(**KEPT, Key="aged/back")["Body"].read() == b"1"
    old = s3.list_object_versions(**KEPT, Prefix="held/")["Versions"][1]["VersionId"]
    try:
        delete("held/k", VersionId=old)
        raise AssertionError("a hold keeps it")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "LegalHold", error
    put("counted/k", b"5")


def counted_again():
    told(counted=(3, 0), held=(2, 0))


def released():
    told(held=(1, 0))


globals()[sys.argv[1]]()
