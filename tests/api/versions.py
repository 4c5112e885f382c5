"""Buckets that keep versions, as Amazon's documentation says of them."""

ENABLED, SUSPENDED = ({"Status": status} for status in ("Enabled", "Suspended"))


def _versioned(name, status=ENABLED):
    bucket(name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=status)
    return {"Bucket": name}


def _put(at, key, body, **more):
    return s3.put_object(**at, Key=key, Body=body, **more)["VersionId"]


def _all(at, **more):
    """Every version and marker in the order of the listing: name, id, whether it is a marker and the newest."""
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(**at, **more):
        both = [(one, False) for one in page.get("Versions", [])] + [(one, True) for one in page.get("DeleteMarkers", [])]
        found += [(one["Key"], one["VersionId"], marker, one["IsLatest"]) for one, marker in both]
    return found


def _headers(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]


def a_bucket_is_told_to_keep_versions():
    name = bucket("versions-told")
    at = {"Bucket": name}
    assert not {"Status", "MFADelete"} & s3.get_bucket_versioning(**at).keys(), "off until somebody says so"
    put = s3.put_object(**at, Key="k", Body=b"first")
    assert "VersionId" not in put and "VersionId" not in s3.head_object(**at, Key="k")
    assert _headers(s3.delete_object(**at, Key="k"))["x-geoseal-delete"] == "erased"
    s3.put_object(**at, Key="k", Body=b"first")

    def say(configuration):
        return dict(Bucket=name, VersioningConfiguration=configuration)

    refused(400, "IllegalVersioningConfigurationException", s3.put_bucket_versioning, **say({}))
    for status in ("enabled", "Never", ""):
        refused(400, "MalformedXML", s3.put_bucket_versioning, **say({"Status": status}))
    refused(501, "NotImplemented", s3.put_bucket_versioning, **say({"Status": "Enabled", "MFADelete": "Enabled"}))
    refused(501, "NotImplemented", s3.put_bucket_versioning, **say(ENABLED), MFA="serial 123456")
    assert "Status" not in s3.get_bucket_versioning(**at), "what was refused changed something"
    refused(404, "NoSuchBucket", s3.put_bucket_versioning, Bucket="versions-nowhere", VersioningConfiguration=ENABLED)
    for status in (ENABLED, SUSPENDED, ENABLED):
        s3.put_bucket_versioning(**say(status))
        assert s3.get_bucket_versioning(**at)["Status"] == status["Status"]
    # What was there before is the null version.
    assert _put(at, "k", b"second") not in ("null", ""), "a version of its own"
    assert [one[1:] for one in _all(at)][1:] == [("null", False, False)]
    assert read(name, "k", VersionId="null") == b"first" and read(name, "k") == b"second"


def overwritten_deleted_and_brought_back():
    at = _versioned("versions-story")
    key = {**at, "Key": "jane.doe/ü b"}
    ids = [s3.put_object(**key, Body=f"{n}".encode() * n, Metadata={"n": f"{n}"})["VersionId"] for n in range(1, 4)]
    assert len(set(ids)) == 3 and read(*key.values()) == b"333"
    for n, version in enumerate(ids, 1):
        got = s3.get_object(**key, VersionId=version)
        assert (got["Body"].read(), got["VersionId"]) == (f"{n}".encode() * n, version)
        head = s3.head_object(**key, VersionId=version)
        assert (head["Metadata"], head["ContentLength"], head["VersionId"]) == ({"n": f"{n}"}, n, version)
    assert s3.head_object(**key)["VersionId"] == ids[2]
    assert s3.get_object(**key, VersionId=ids[1], Range="bytes=1-")["Body"].read() == b"2"
    listed = s3.list_object_versions(**at)["Versions"]
    assert [one["VersionId"] for one in listed] == ids[::-1] and [one["IsLatest"] for one in listed] == [True, False, False]
    assert [one["Size"] for one in listed] == [3, 2, 1] and listed[2]["ETag"] == f'"{md5(b"1")}"', listed
    assert [one["Size"] for one in s3.list_objects_v2(**at)["Contents"]] == [3], "a listing shows the newest"

    # Restored: an old version copied over the name is the newest, and all others stay.
    copied = s3.copy_object(**key, CopySource={**key, "VersionId": ids[0]})
    assert copied["CopySourceVersionId"] == ids[0] and copied["VersionId"] not in ids
    assert read(*key.values()) == b"1" and s3.head_object(**key)["Metadata"] == {"n": "1"}
    assert len(_all(at)) == 4

    # A marker hides all of them.
    marked = s3.delete_object(**key)
    assert marked["DeleteMarker"] is True and _headers(marked)["x-geoseal-delete"] == "marker"
    marker = marked["VersionId"]
    for call, code in ((s3.get_object, "NoSuchKey"), (s3.head_object, "404")):
        answer = _headers(refused(404, code, call, **key))
        assert (answer["x-amz-delete-marker"], answer["x-amz-version-id"]) == ("true", marker), answer
    for call, code in ((s3.get_object, "MethodNotAllowed"), (s3.head_object, "405")):
        answer = _headers(refused(405, code, call, **key, VersionId=marker))
        assert (answer["x-amz-delete-marker"], answer["allow"]) == ("true", "DELETE"), answer
        assert answer["last-modified"].endswith("GMT"), answer
    assert "Contents" not in s3.list_objects_v2(**at) and "Contents" not in s3.list_objects(**at)
    assert read(*key.values(), VersionId=ids[1]) == b"22", "the bytes stay"
    refused(404, "NoSuchKey", s3.copy_object, **at, Key="copy", CopySource=key)
    refused(400, "InvalidRequest", s3.copy_object, **at, Key="copy", CopySource={**key, "VersionId": marker})
    assert _all(at)[-1] == (key["Key"], marker, True, True)

    # Twice deleted is twice marked; and without its markers the name is back.
    again = s3.delete_object(**key)["VersionId"]
    assert again != marker
    for one in (marker, again):
        removed = s3.delete_object(**key, VersionId=one)
        assert (removed["DeleteMarker"], removed["VersionId"]) == (True, one), removed
        assert _headers(removed)["x-geoseal-delete"] == "erased"
    assert read(*key.values()) == b"1" and s3.list_objects_v2(**at)["KeyCount"] == 1

    # For good: the newest goes, and the one before is the newest.
    gone = s3.delete_object(**key, VersionId=copied["VersionId"])
    assert "DeleteMarker" not in gone and gone["VersionId"] == copied["VersionId"]
    assert read(*key.values()) == b"333" and _all(at)[0] == (key["Key"], ids[2], False, True)
    s3.delete_object(**key, VersionId=ids[1])
    refused(404, "NoSuchVersion", s3.get_object, **key, VersionId=ids[1])
    assert [one[1] for one in _all(at)] == [ids[2], ids[0]] and read(*key.values()) == b"333"
    for version in (ids[2], ids[0]):
        s3.delete_object(**key, VersionId=version)
    assert _all(at) == [] and "VersionId" not in refused(404, "NoSuchKey", s3.get_object, **key)
    s3.delete_bucket(**at)


def ids_that_are_none():
    at = _versioned("versions-ids")
    version = _put(at, "k", b"x")
    lax = client(parameter_validation=False)
    calls = (s3.get_object, s3.delete_object, s3.get_object_tagging, s3.delete_object_tagging)
    for bad in ("nonsense", version.upper() + "0", version[:-1], "NULL", ".."):
        for call in calls:
            refused(400, "InvalidArgument", call, **at, Key="k", VersionId=bad)
        refused(400, "400", s3.head_object, **at, Key="k", VersionId=bad)
        refused(400, "InvalidArgument", s3.copy_object, **at, Key="c", CopySource={**at, "Key": "k", "VersionId": bad})
    refused(400, "InvalidArgument", lax.get_object, **at, Key="k", VersionId="")
    other = _put(at, "other", b"y")
    for unknown in (other, "00" * 16, "null"):
        refused(404, "NoSuchVersion", s3.get_object, **at, Key="k", VersionId=unknown)
        refused(404, "404", s3.head_object, **at, Key="k", VersionId=unknown)
        refused(404, "NoSuchVersion", s3.get_object_tagging, **at, Key="k", VersionId=unknown)
        refused(404, "NoSuchVersion", s3.copy_object, **at, Key="c", CopySource={**at, "Key": "k", "VersionId": unknown})
        # As in S3: to remove what is not there is to succeed, and nothing else goes.
        assert s3.delete_object(**at, Key="k", VersionId=unknown)["VersionId"] == unknown
    assert len(_all(at)) == 2 and read("versions-ids", "k") == b"x"


def suspended_there_is_one_null_version():
    at = _versioned("versions-suspended")
    kept = [_put(at, "k", body) for body in (b"a", b"b")]
    s3.put_bucket_versioning(**at, VersioningConfiguration=SUSPENDED)
    assert _put(at, "k", b"null 1") == "null" and s3.head_object(**at, Key="k")["VersionId"] == "null"
    assert _put(at, "k", b"null 2") == "null", "it replaces itself"
    assert [one[1] for one in _all(at)] == ["null", kept[1], kept[0]]
    assert read("versions-suspended", "k", VersionId="null") == b"null 2"
    # Without an id: a null marker in place of the null version.
    marked = s3.delete_object(**at, Key="k")
    assert (marked["VersionId"], marked["DeleteMarker"]) == ("null", True)
    assert _headers(marked)["x-geoseal-delete"] == "marker"
    listed = _all(at)
    assert sorted(listed) == sorted([("k", "null", True, True), ("k", kept[1], False, False), ("k", kept[0], False, False)])
    refused(405, "MethodNotAllowed", s3.get_object, **at, Key="k", VersionId="null")
    assert s3.delete_object(**at, Key="k")["VersionId"] == "null" and len(_all(at)) == 3, "one null marker"
    assert s3.delete_object(**at, Key="k", VersionId="null")["DeleteMarker"] is True
    assert read("versions-suspended", "k") == b"b", "the newest of those that were kept"
    # Enabled again the null version is kept like any other.
    assert _put(at, "k", b"null 3") == "null"
    s3.put_bucket_versioning(**at, VersioningConfiguration=ENABLED)
    newest = _put(at, "k", b"c")
    assert [one[1] for one in _all(at)] == [newest, "null", kept[1], kept[0]]
    # And suspended once more, a write takes its place wherever it stands.
    s3.put_bucket_versioning(**at, VersioningConfiguration=SUSPENDED)
    _put(at, "k", b"null 4")
    assert [one[1] for one in _all(at)] == ["null", newest, kept[1], kept[0]]
    assert read("versions-suspended", "k", VersionId="null") == b"null 4"
    s3.delete_object(**at, Key="k", VersionId="null")
    assert read("versions-suspended", "k") == b"c"


def every_page_of_the_versions_is_the_references():
    at = _versioned("versions-pages")
    names = ["a/1", "a/2", "b", "b/x/1", "b/x/2", "ü", "z z"]
    reference = []
    chance = random.Random(7)
    written = {name: [] for name in names}
    for _ in range(40):
        name = chance.choice(names)
        if written[name] and chance.random() < 0.3:
            written[name].insert(0, (s3.delete_object(**at, Key=name)["VersionId"], True))
        else:
            written[name].insert(0, (_put(at, name, b"x"), False))
    for name in sorted(names, key=str.encode):
        for nth, (version, marker) in enumerate(written[name]):
            reference.append((name, version, marker, nth == 0))

    def pages(size, **more):
        markers, got, prefixes = {}, [], []
        while True:
            page = s3.list_object_versions(**at, MaxKeys=size, **markers, **more)
            entries = [(one, False) for one in page.get("Versions", [])]
            entries += [(one, True) for one in page.get("DeleteMarkers", [])]
            found = [(one["Key"], one["VersionId"], marker, one["IsLatest"]) for one, marker in entries]
            here = [one["Prefix"] for one in page.get("CommonPrefixes", [])]
            assert len(found) + len(here) <= size
            got += [one for one in reference if one in found]
            prefixes += here
            if not page["IsTruncated"]:
                assert "NextKeyMarker" not in page
                return got, prefixes
            assert len(found) + len(here) == size
            markers = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                markers["VersionIdMarker"] = page["NextVersionIdMarker"]

    for size in (1, 2, 3, 7, 1000):
        assert pages(size) == (reference, []), size
        assert pages(size, Prefix="b") == ([one for one in reference if one[0].startswith("b")], []), size
        flat = [one for one in reference if "/" not in one[0]]
        assert pages(size, Delimiter="/") == (flat, ["a/", "b/"]), size
        assert pages(size, Prefix="b/", Delimiter="/") == ([], ["b/x/"]), size
    # From a name on, from a version on; a name that is no marker's, and one of which no version is left.
    behind = s3.list_object_versions(**at, KeyMarker="b")
    assert {one["Key"] for one in behind["Versions"]} <= {"b/x/1", "b/x/2", "ü", "z z"}
    first = next(one for one in reference if one[0] == "b")
    rest = s3.list_object_versions(**at, KeyMarker="b", VersionIdMarker=first[1])
    keys = [one["VersionId"] for one in rest.get("Versions", []) + rest.get("DeleteMarkers", [])]
    assert sorted(keys) == sorted(one[1] for one in reference[reference.index(first) + 1:])
    assert s3.list_object_versions(**at, MaxKeys=0).get("Versions") is None
    url = s3.list_object_versions(**at, Prefix="z", EncodingType="url")
    assert url["EncodingType"] == "url"
    refused(400, "InvalidArgument", s3.list_object_versions, **at, VersionIdMarker=first[1])
    refused(400, "InvalidArgument", s3.list_object_versions, **at, KeyMarker="b", VersionIdMarker="nonsense")
    refused(400, "InvalidArgument", s3.list_object_versions, **at, MaxKeys=-1)


def more_versions_than_a_page_holds():
    at = _versioned("versions-many")
    with ThreadPoolExecutor(8) as pool:
        many = set(pool.map(lambda n: _put(at, "many", b"%d" % n), range(1010)))
        list(pool.map(lambda n: _put(at, f"one/{n}", b"x"), range(20)))
    assert len(many) == 1010
    first = s3.list_object_versions(**at)
    assert first["IsTruncated"] and len(first["Versions"]) == 1000 and first["NextKeyMarker"] == "many"
    found = _all(at)
    assert {one[1] for one in found if one[0] == "many"} == many and len(found) == 1030
    assert sum(latest for *_, latest in found) == 21
    # While a page's versions are removed before the next is asked for, none is missed.
    boto3.resource("s3").Bucket("versions-many").object_versions.limit(5).delete()
    assert len(_all(at)) == 1025
    for page in s3.get_paginator("list_object_versions").paginate(**at, PaginationConfig={"PageSize": 200}):
        doomed = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in page["Versions"]]
        assert "Errors" not in s3.delete_objects(**at, Delete={"Objects": doomed, "Quiet": True})
    assert _all(at) == []
    s3.delete_bucket(**at)


def uploads_are_versions_too():
    at = _versioned("versions-parts")
    key = {**at, "Key": "parts"}
    bodies, ids = [], []
    for seed in (1, 2):
        body = noise(PART, seed) + b"end"
        upload = s3.create_multipart_upload(**key)["UploadId"]
        part = {**key, "UploadId": upload}
        parts = [s3.upload_part(**part, PartNumber=n, Body=piece)["ETag"] for n, piece in ((1, body[:PART]), (2, body[PART:]))]
        done = s3.complete_multipart_upload(**part, MultipartUpload={
            "Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(parts, 1)]})
        bodies.append(body)
        ids.append(done["VersionId"])
    assert [read(*key.values(), VersionId=version) for version in ids] == bodies and read(*key.values()) == bodies[1]
    assert s3.get_object(**key, VersionId=ids[0], PartNumber=2)["Body"].read() == b"end"
    # Parts copied from an old version.
    to = {**at, "Key": "copied"}
    upload = s3.create_multipart_upload(**to)["UploadId"]
    source = {**key, "VersionId": ids[0]}
    copied = s3.upload_part_copy(**to, UploadId=upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=5-104")
    assert copied["CopySourceVersionId"] == ids[0]
    s3.complete_multipart_upload(**to, UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]})
    assert read(*to.values()) == bodies[0][5:105]
    s3.delete_object(**key, VersionId=ids[1])
    assert read(*key.values()) == bodies[0]


def tags_are_a_versions_own():
    at = _versioned("versions-tags")
    key = {**at, "Key": "k"}
    ids = [_put(at, "k", b"x", Tagging=f"n={n}") for n in range(3)]

    def tags(**more):
        answer = s3.get_object_tagging(**key, **more)
        return answer["VersionId"], {one["Key"]: one["Value"] for one in answer["TagSet"]}

    assert tags() == (ids[2], {"n": "2"}) and tags(VersionId=ids[0]) == (ids[0], {"n": "0"})
    said = s3.put_object_tagging(**key, VersionId=ids[0], Tagging={"TagSet": [{"Key": "old", "Value": "1"}]})
    assert said["VersionId"] == ids[0]
    assert s3.put_object_tagging(**key, Tagging={"TagSet": [{"Key": "new", "Value": "1"}]})["VersionId"] == ids[2]
    assert s3.delete_object_tagging(**key, VersionId=ids[1])["VersionId"] == ids[1]
    assert [tags(VersionId=version)[1] for version in ids] == [{"old": "1"}, {}, {"new": "1"}]
    marker = s3.delete_object(**key)["VersionId"]
    refused(404, "NoSuchKey", s3.get_object_tagging, **key)
    for call, more in ((s3.get_object_tagging, {}), (s3.delete_object_tagging, {}),
                       (s3.put_object_tagging, {"Tagging": {"TagSet": []}})):
        refused(405, "MethodNotAllowed", call, **key, VersionId=marker, **more)
    assert tags(VersionId=ids[0])[1] == {"old": "1"}, "under the marker too"
    assert len(_all(at)) == 4, "tags make no version"


def conditions_look_at_the_newest_version():
    at = _versioned("versions-conditions")
    key = {**at, "Key": "k"}
    first = s3.put_object(**key, Body=b"1", IfNoneMatch="*")
    refused(412, "PreconditionFailed", s3.put_object, **key, Body=b"2", IfNoneMatch="*")
    second = s3.put_object(**key, Body=b"2", IfMatch=first["ETag"])
    refused(412, "PreconditionFailed", s3.put_object, **key, Body=b"3", IfMatch=first["ETag"])
    refused(412, "PreconditionFailed", s3.delete_object, **key, IfMatch=first["ETag"])
    s3.delete_object(**key, IfMatch=second["ETag"])
    # A marker is nothing: absent for one condition, not there for the other.
    refused(404, "NoSuchKey", s3.put_object, **key, Body=b"3", IfMatch=second["ETag"])
    third = s3.put_object(**key, Body=b"3", IfNoneMatch="*")
    assert read(*key.values()) == b"3" and len(_all(at)) == 4
    assert s3.get_object(**key, VersionId=first["VersionId"], IfMatch=first["ETag"])["Body"].read() == b"1"
    refused(304, "304", s3.get_object, **key, VersionId=third["VersionId"], IfNoneMatch=third["ETag"])
    # Of many that want to be the first, one is; also on top of a marker.
    s3.delete_object(**key)
    before = len(_all(at))

    def race(n):
        try:
            s3.put_object(**key, Body=b"%d" % n, IfNoneMatch="*")
            return 1
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), error
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(16))) == 1 and len(_all(at)) == before + 1


def many_deleted_at_once():
    at = _versioned("versions-delete-many")
    old, new = _put(at, "a", b"1"), _put(at, "a", b"2")
    b = _put(at, "b", b"1")
    marker = s3.delete_object(**at, Key="b")["VersionId"]
    _put(at, "c", b"1")
    asked = [{"Key": "a", "VersionId": old}, {"Key": "b", "VersionId": marker}, {"Key": "c"}, {"Key": "never was"},
             {"Key": "a", "VersionId": "nonsense"}, {"Key": "a", "VersionId": "00" * 16}]
    answer = s3.delete_objects(**at, Delete={"Objects": asked})
    deleted = {(one["Key"], one.get("VersionId")): one for one in answer["Deleted"]}
    assert deleted["a", old].get("DeleteMarker") is None
    assert deleted["b", marker]["DeleteMarker"] is True and deleted["b", marker]["DeleteMarkerVersionId"] == marker
    for name in ("c", "never was"):
        assert deleted[name, None]["DeleteMarker"] is True
        refused(405, "MethodNotAllowed", s3.get_object, **at, Key=name,
                VersionId=deleted[name, None]["DeleteMarkerVersionId"])
    assert ("a", "00" * 16) in deleted
    assert [(one["Key"], one["VersionId"], one["Code"]) for one in answer["Errors"]] == [("a", "nonsense", "InvalidArgument")]
    assert read("versions-delete-many", "a") == b"2" and read("versions-delete-many", "b", VersionId=b) == b"1"
    refused(404, "NoSuchVersion", s3.get_object, **at, Key="a", VersionId=old)
    quiet = s3.delete_objects(**at, Delete={"Objects": [{"Key": "a", "VersionId": new}], "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet
    refused(404, "NoSuchKey", s3.get_object, **at, Key="a")


def a_bucket_with_anything_left_stays():
    at = _versioned("versions-left")
    version = _put(at, "k", b"x")
    marker = s3.delete_object(**at, Key="k")["VersionId"]
    assert "Contents" not in s3.list_objects_v2(**at)
    refused(409, "BucketNotEmpty", s3.delete_bucket, **at)
    s3.delete_object(**at, Key="k", VersionId=version)
    refused(409, "BucketNotEmpty", s3.delete_bucket, **at)
    s3.delete_object(**at, Key="k", VersionId=marker)
    s3.delete_bucket(**at)
