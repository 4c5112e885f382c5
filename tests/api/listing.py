"""Listings against a reference in ten lines: names in the order of their UTF-8 bytes."""


def reference(names, prefix="", delimiter="", after="", limit=1000):
    """One page: entries and common prefixes together, in order, each strictly after `after`."""
    found, seen = [], set()
    for name in sorted(names, key=lambda n: n.encode()):
        if not name.startswith(prefix):
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = (name, False) if cut < 0 else (name[:cut + len(delimiter)], True)
        if entry in seen or entry[0].encode() <= after.encode():
            continue
        if entry[1] and after.startswith(entry[0]):
            continue
        seen.add(entry)
        found.append(entry)
    return found[:limit], len(found) > limit


ODD = [
    "..", "../up", "../../etc/passwd", ".", "./here", "//", "///a", "a//b", "a/", "/lead", "a/./b", "%2e%2e/", "%00",
    "a%20b", "a b", "a+b", "a&b=c", "<tag>", "\"quoted\"", "it's", "back\\slash", "q?x=1", "#frag", "~", "*", "*/x",
    "e\u0301", "\u00e9", "\u00e9/1", "\u00e9/2", "\u65e5\u672c\u8a9e/\u6587", "\U0001f600", "\U0001f600/x", "\u202etxt",
    "\ufffd", "\uffff", "\x01", "a\x1fb", "tab\there", "line\nbreak", "cr\rhere", "\x7f", "\x80", "\u2028", "\ufeffbom",
    "z" * 1024, "jane.doe@example.com/2026/11/record.json",
]
PLAIN = [f"{a}/{b}/{c:02}" for a in ("x", "y", "y-") for b in ("1", "2", "10") for c in range(12)]


def _decoded(page, text):
    return urllib.parse.unquote(text) if page.get("EncodingType") == "url" else text


def _spelling_clients():
    """boto3 as it is (asks for URL and undoes it itself), and one that neither asks nor undoes."""
    bare = client()
    for event in ("ListObjects", "ListObjectsV2"):
        bare.meta.events.unregister(f"before-parameter-build.s3.{event}", botocore.handlers.set_list_objects_encoding_type_url)
    bare.meta.events.unregister("after-call.s3.ListObjects", botocore.handlers.decode_list_object)
    bare.meta.events.unregister("after-call.s3.ListObjectsV2", botocore.handlers.decode_list_object_v2)
    return [(s3, False), (bare, True)]


def fill(name, names):
    for key in names:
        s3.put_object(Bucket=name, Key=key, Body=b"")


def got(page, raw):
    """Entries and prefixes of one answer in one order, as the reference has them."""
    text = (lambda t: _decoded(page, t)) if raw else (lambda t: t)
    entries = [(text(o["Key"]), False) for o in page.get("Contents", [])]
    entries += [(text(p["Prefix"]), True) for p in page.get("CommonPrefixes", [])]
    return sorted(entries, key=lambda e: e[0].encode())


QUERIES = [(prefix, delimiter) for prefix in ["", "a", "a/", "x/", "y", "y-/1", "../", ".", "/", "\u00e9", "e", "nothing", "z"]
           for delimiter in ["", "/", "1", "./", "\u65e5", "//"]]


def nx_04_every_page_is_the_references():
    name, names = bucket("list-reference"), ODD + PLAIN
    fill(name, names)
    for s3_, raw in _spelling_clients():
        for version in (1, 2):
            for (prefix, delimiter), limit in itertools.product(QUERIES, (1000, 7)):
                # Small pages cost a request each: they take a sample of the queries.
                if limit == 7 and delimiter not in ("", "/"):
                    continue
                walk(s3_, raw, version, name, names, prefix, delimiter, limit)


def walk(s3_, raw, version, name, names, prefix, delimiter, limit):
    after, token = "", None
    while True:
        want, more = reference(names, prefix, delimiter, after, limit)
        arguments = {"Bucket": name, "MaxKeys": limit, "Prefix": prefix, "Delimiter": delimiter}
        if version == 1:
            page = s3_.list_objects(**arguments, Marker=after)
        else:
            page = s3_.list_objects_v2(**arguments, **({"ContinuationToken": token} if token else {}))
            assert page["KeyCount"] == len(want)
        what = (version, prefix, delimiter, limit, after)
        assert got(page, raw) == want, (what, got(page, raw), want)
        assert page["IsTruncated"] == more and page["MaxKeys"] == limit and page["Name"] == name, what
        if not more:
            return
        after = want[-1][0]
        if version == 1:
            marker = page.get("NextMarker")
            assert (_decoded(page, marker) if raw else marker) == after, (what, marker)
        else:
            token = page["NextContinuationToken"]


def start_after_and_markers():
    name, names = bucket("list-start-after"), ODD + PLAIN
    fill(name, names)
    for after in ODD + ["", "x", "x/1", "x/1/", "x/1/05", "y/", "y-", "~~~", "\U0010ffff", "a\x00"]:
        for prefix, delimiter in [("", ""), ("", "/"), ("y", "/"), ("x/1/", "")]:
            want, more = reference(names, prefix, delimiter, after)
            for call, field in [(s3.list_objects_v2, "StartAfter"), (s3.list_objects, "Marker")]:
                page = call(Bucket=name, Prefix=prefix, Delimiter=delimiter, **{field: after})
                assert got(page, False) == want and not more, (field, after, prefix, delimiter, got(page, False), want)


def pages_of_a_big_bucket():
    """More names than a leaf and a page hold, written out of order, some replaced and some removed."""
    name = bucket("list-big")
    names = [f"{i * 7919 % 2500:05}/{'ab'[i % 2]}" for i in range(2500)]
    work = iter(names)
    lock = threading.Lock()

    def writer():
        mine = client()
        while True:
            with lock:
                key = next(work, None)
            if key is None:
                return
            mine.put_object(Bucket=name, Key=key, Body=key.encode())

    threads = [threading.Thread(target=writer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gone = names[::5]
    for start in range(0, len(gone), 1000):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": k} for k in gone[start:start + 1000]], "Quiet": True})
    for key in names[1::50]:
        s3.put_object(Bucket=name, Key=key, Body=b"replaced")
    left = sorted(set(names) - set(gone))
    for size in (1000, 333):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, PaginationConfig={"PageSize": size})
        assert [o["Key"] for page in pages for o in page.get("Contents", [])] == left
        pages = s3.get_paginator("list_objects").paginate(Bucket=name, PaginationConfig={"PageSize": size})
        assert [o["Key"] for page in pages for o in page.get("Contents", [])] == left
    folded = [p["Prefix"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name, Delimiter="/")
              for p in page.get("CommonPrefixes", [])]
    assert folded == sorted({k[:6] for k in left})
    sizes = {o["Key"]: (o["Size"], o["ETag"]) for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name)
             for o in page["Contents"]}
    for key in left:
        body = b"replaced" if key in names[1::50] else key.encode()
        assert sizes[key] == (len(body), f'"{md5(body)}"'), key


def fields_of_an_entry():
    name = bucket("list-fields")
    s3.put_object(Bucket=name, Key="k", Body=b"hello")
    head = s3.head_object(Bucket=name, Key="k")
    entry = s3.list_objects_v2(Bucket=name)["Contents"][0]
    assert entry["Size"] == 5 and entry["ETag"] == head["ETag"] and entry["StorageClass"] == "STANDARD"
    assert abs((entry["LastModified"] - head["LastModified"]).total_seconds()) < 1 and "Owner" not in entry
    owner = s3.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    assert owner == s3.list_objects(Bucket=name)["Contents"][0]["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]
    empty = s3.list_objects_v2(Bucket=name, MaxKeys=0)
    assert empty["KeyCount"] == 0 and not empty["IsTruncated"]
    assert s3.list_objects_v2(Bucket=name, MaxKeys=100_000)["MaxKeys"] == 1000
    for call in [s3.list_objects, s3.list_objects_v2]:
        refused(400, "InvalidArgument", call, Bucket=name, MaxKeys=-1)
        refused(400, "InvalidArgument", call, Bucket=name, EncodingType="base64")
    refused(400, "InvalidArgument", s3.list_objects_v2, Bucket=name, ContinuationToken="made-up")
