"""Figures about e-mail engagement, from what ingest.py stored: read through geoseal's S3 face by Arrow, computed by DuckDB.

    kpi.py --bucket interactions --from 2026-11-01T00 --until 2026-11-20T00 [--exclude contacts.txt]
    kpi.py --bucket interactions --recompute

The window is of whole UTC hours and is closed: nothing is computed before 48 hours after its end (--lateness-hours), for
providers deliver late. Writes kpi/v1/dt=<day of the end>/{message,template,recipient}.ndjson and manifest.json into the same
bucket, and then kpi/v1/watermark.json: what lies before it has been counted, and its metadata say so to the store, which
lets the lifetimes of the inputs begin. The same inputs give the same bytes. Runs under a grant of the purpose kpi.

Recipients' figures are stored as a batch: each row names its data subject, so an export has a person's own rows and an erasure
takes them, at once and without this job. What was counted of them in the other figures goes when the window is computed again:
--recompute finds the windows whose recipients are not those that were written (somebody was erased, opted out or restricted the
use of their data since) and computes them anew; a window whose inputs have come to the end of their lifetime keeps its counts.

Run it with a job's login (`geoseal grant create --purpose kpi`): the store gives a job nothing of people who opted out or
restricted the use of their data, and they are in no figure. --exclude: a file with more of them, `contact:<id>` or `lead:<id>` a
line.
"""

import argparse
import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import boto3
import duckdb
import pyarrow as pa
import pyarrow.json as pj
from botocore.exceptions import ClientError
from pyarrow import fs

HERE = Path(__file__).parent
WEIGHTS = {"opened": 1, "clicked": 3, "attachment-viewed": 3, "replied": 5}
HALF_LIFE_DAYS = 30
MOST_ENGAGED = 20
BATCH_SUBJECTS = 1000
BATCH_BYTES = 4 << 20

DATA = pa.struct([("message_id", pa.string()), ("template_id", pa.string()), ("contact_kind", pa.string()),
                  ("contact_id", pa.string()), ("machine", pa.bool_()), ("hard", pa.bool_())])
EVENT = pa.schema([("id", pa.string()), ("type", pa.string()), ("subject", pa.string()), ("time", pa.string()), ("data", DATA)])
READ = pj.ReadOptions(use_threads=False)
PARSE = pj.ParseOptions(explicit_schema=EVENT, unexpected_field_behavior="ignore")
READERS = 16
REFUSED = object()


def store():
    """The S3 face, by the variables of dev.env; TLS is verified by its certificate authority."""
    scheme, host = os.environ["AWS_ENDPOINT_URL"].split("://")
    return fs.S3FileSystem(endpoint_override=host, scheme=scheme, region=os.environ["AWS_REGION"],
                           tls_ca_file_path=os.environ["AWS_CA_BUNDLE"])


def hours(start, until):
    while start < until:
        yield start
        start += timedelta(hours=1)


def read(s3, bucket, start, until):
    """(rows, inputs, quarantined, refused): the events of a window, and the objects that they came from; how many objects the
    store does not give away, because of whom they are."""
    rows, inputs, quarantined, refused = [], [], [], 0
    for hour in hours(start, until):
        place = f"{bucket}/interactions/dt={hour:%Y-%m-%d}/hr={hour:%H}"
        found = s3.get_file_info(fs.FileSelector(place, allow_not_found=True))
        files = sorted(info.path for info in found if info.type == fs.FileType.File)
        with ThreadPoolExecutor(READERS) as readers:
            for path, events in zip(files, readers.map(lambda path: object_rows(s3, path), files), strict=True):
                if events is REFUSED:
                    refused += 1
                    continue
                (inputs if events is not None else quarantined).append(path.split("/", 1)[1])
                rows += events or []
    return rows, inputs, quarantined, refused


def object_rows(s3, path):
    """The events of one object; None: they are not what they should be; REFUSED: nothing is computed of whom it is. Any other
    object that cannot be read stops the job."""
    try:
        with s3.open_input_file(path) as file:
            content = file.read()
    except OSError as error:
        if "ACCESS_DENIED" in str(error) or "HTTP status 403" in str(error):
            return REFUSED
        raise
    try:
        return list(flat(pj.read_json(pa.BufferReader(content), READ, PARSE).to_pylist()))
    except (pa.ArrowInvalid, ValueError, KeyError, TypeError, AttributeError):
        return None


def flat(events):
    for event in events:
        data = event["data"]
        kind = event["type"].removeprefix("email.interaction.")
        if kind == event["type"]:
            raise ValueError("another type of event")
        if not (event["id"] and event["subject"] and data["message_id"] and data["contact_id"]):
            raise ValueError("a field is missing")
        yield {
            "id": event["id"], "type": kind, "time": datetime.fromisoformat(event["time"].replace("Z", "+00:00")),
            "recipient": event["subject"], "message_id": data["message_id"], "template_id": data["template_id"],
            "contact_kind": data["contact_kind"], "contact_id": data["contact_id"],
            "machine": bool(data["machine"]), "hard": bool(data["hard"]),
        }


COLUMNS = pa.schema([("id", pa.string()), ("type", pa.string()), ("time", pa.timestamp("us", "UTC")), ("recipient", pa.string()),
                     ("message_id", pa.string()), ("template_id", pa.string()), ("contact_kind", pa.string()),
                     ("contact_id", pa.string()), ("machine", pa.bool_()), ("hard", pa.bool_())])


def compute(rows, until):
    """{file: rows} of the three outputs."""
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    db.register("events", pa.Table.from_pylist(rows, schema=COLUMNS))
    db.execute((HERE / "kpi.sql").read_text())
    shown = """sent, delivered, opens_raw, opens, openers, clicks, clickers, attachment_views, replies, bounced, complained,
        open_rate, click_rate, attachment_rate, reply_rate, click_to_open, bounce_rate, complaint_rate,
        round(first_open_p50, 3) as first_open_p50_s, round(first_open_p90, 3) as first_open_p90_s, opens_before_delivery,
        strftime(last_open, '%Y-%m-%dT%H:%M:%SZ') as last_open"""
    sums = ", ".join(f"sum({column}) as {column}" for column in (
        "sent delivered opens_raw opens openers clicks clickers attachment_views attachment_viewers replies repliers bounced "
        "complained opens_before_delivery").split())
    quantiles = ", ".join(f"quantile_cont(list_value, {q}) as first_open_p{q[2:]:0<2}" for q in ("0.5", "0.9"))
    for group in ("message", "template"):
        key = f"{group}_id"
        db.execute(f"""create temp table by_{group} as
            select * from (select {key}, count(*) as messages, {sums}, max(last_open) as last_open from counted group by {key})
            left join (select {key}, {quantiles}
                       from (select {key}, unnest(first_opens) as list_value from counted) group by {key}) using ({key})""")
    recipients = f"""
        select contact_kind || ':' || contact_id as geosealsubject, contact_kind, contact_id, count(*) as events,
          count_if(type = 'sent') as sent, count_if(type = 'delivered') as delivered,
          count_if(type = 'opened' and not machine) as opens, count_if(type = 'clicked') as clicks,
          count_if(type = 'attachment-viewed') as attachment_views, count_if(type = 'replied') as replies,
          strftime(max(time) filter (type = 'opened' and not machine), '%Y-%m-%dT%H:%M:%SZ') as last_open,
          round(sum(case {' '.join(f"when type = '{kind}' and not machine then {weight}" for kind, weight in WEIGHTS.items())}
                    else 0 end * pow(0.5, (epoch(timestamptz '{until:%Y-%m-%d %H:%M:%S}+00') - epoch(time)) / 86400.0 / {HALF_LIFE_DAYS})), 6)
            as engagement
        from event group by contact_kind, contact_id"""
    return {
        "message": table(db, f"select message_id, {shown} from rates(by_message) order by message_id"),
        "template": table(db, f"select template_id, messages, {shown} from rates(by_template) where template_id is not null "
                              "order by template_id"),
        "recipient": table(db, f"""
            select *, case when engagement > 0 and rank <= {MOST_ENGAGED} then rank end as most_engaged from (
              select *, rank() over (order by engagement desc, contact_kind, contact_id) as rank from ({recipients}))
            order by contact_kind, contact_id""", drop=("rank",)),
    }


def table(db, query, drop=()):
    rows = db.sql(query).to_arrow_table().to_pylist()
    return [{name: plain(value) for name, value in row.items() if name not in drop} for row in rows]


def plain(value):
    """Sums come as decimals of large integers."""
    return int(value) if not isinstance(value, (float, str, bool, type(None))) else value


def encoded(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write(s3, bucket, name, content, **metadata):
    """Stores figures: of the class that a grant lets a job write."""
    s3.put_object(Bucket=bucket, Key=name, Body=content, Metadata={"geoseal-class": "kpi", **metadata})


def write_recipients(s3, bucket, place, lines):
    """Stores rows that each name a data subject, as many batches as they take; {name: SHA-256}. What is left of a run that took
    more of them is emptied: a grant deletes nothing."""
    batches = [b""]
    for n, line in enumerate(encoded(line) + b"\n" for line in lines):
        if n % BATCH_SUBJECTS == 0 and n or len(batches[-1]) + len(line) > BATCH_BYTES:
            batches.append(b"")
        batches[-1] += line
    names = [f"{place}/recipient{f'-{n}' if n > 1 else ''}.ndjson" for n in range(1, len(batches) + 1)]
    stored = dict(zip(names, batches, strict=True))
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{place}/recipient-").get("Contents", [])
    for name, content in {**{found["Key"]: b"" for found in listed}, **stored}.items():
        s3.put_object(Bucket=bucket, Key=name, Body=content, ContentType="application/x-ndjson",
                      Metadata={"geoseal-class": "kpi", "geoseal-subjects": "records"})
    return {name: hashlib.sha256(content).hexdigest() for name, content in stored.items()}


def store_time(s3, bucket):
    """What the store's clock says: watermarks go by it."""
    return parsedate_to_datetime(s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]["date"])


def hour(text):
    return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=timezone.utc)


def shown(hour):
    return f"{hour:%Y-%m-%dT%HZ}"


def place_of(until):
    return f"kpi/v1/dt={until:%Y-%m-%d}"


def count(s3, bucket, start, until, excluded, found):
    """Writes a window's figures of what was found in it; the manifest."""
    rows, inputs, quarantined, refused = found
    kept = [row for row in rows if (row["contact_kind"], row["contact_id"]) not in excluded]
    place = place_of(until)
    outputs, events = {}, 0
    for name, lines in compute(kept, until).items():
        if name == "recipient":
            outputs |= write_recipients(s3, bucket, place, lines)
            events = sum(line["events"] for line in lines)
            continue
        content = b"".join(encoded(line) + b"\n" for line in lines)
        outputs[f"{place}/{name}.ndjson"] = hashlib.sha256(content).hexdigest()
        write(s3, bucket, f"{place}/{name}.ndjson", content)
    code = hashlib.sha256(b"".join((HERE / file).read_bytes() for file in ("kpi.py", "kpi.sql"))).hexdigest()
    manifest = {
        "window": {"from": shown(start), "until": shown(until)},
        "events": len(rows), "events_excluded": len(rows) - len(kept) + refused, "events_of_recipients": events,
        "quarantined": quarantined, "objects": len(inputs) + len(quarantined) + refused,
        "inputs": len(inputs), "inputs_sha256": hashlib.sha256("\n".join(inputs).encode()).hexdigest(),
        "outputs": outputs, "code_sha256": code,
    }
    write(s3, bucket, f"{place}/manifest.json", encoded(manifest))
    return manifest


def stored(s3, bucket, name):
    """An object's bytes; none of one that is gone; None: it is not given to a job, because of whom it speaks."""
    try:
        return s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return b""
        if status == 403:
            return None
        raise


def manifests(s3, bucket):
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="kpi/v1/dt="):
        for found in page.get("Contents", []):
            if found["Key"].endswith("/manifest.json"):
                yield json.loads(stored(s3, bucket, found["Key"]))


def recompute(s3, bucket, excluded):
    """Computes the windows again of which somebody has gone; the windows, and those whose inputs are not there any more."""
    again, gone = [], []
    for manifest in list(manifests(s3, bucket)):
        batches = {name: stored(s3, bucket, name) for name in manifest["outputs"] if "/recipient" in name}
        if all(content is not None and hashlib.sha256(content).hexdigest() == manifest["outputs"][name]
               for name, content in batches.items()):
            continue
        start, until = (hour(manifest["window"][end].removesuffix("Z")) for end in ("from", "until"))
        found = read(store(), bucket, start, until)
        lost = manifest["objects"] - len(found[1]) - len(found[2]) - found[3]
        # An event is an object: those of whom is erased may be missing, and no others. Of batches that are not given away
        # it cannot be told how many those are.
        left = [sum(json.loads(line)["events"] for line in content.splitlines()) for content in batches.values()
                if content is not None]
        erased = manifest["events_of_recipients"] - sum(left) if len(left) == len(batches) else 0
        if lost > erased:
            gone.append(manifest["window"])
            continue
        count(s3, bucket, start, until, excluded, found)
        again.append(manifest["window"])
    return again, gone


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--from", dest="start", type=hour, metavar="HOUR")
    parser.add_argument("--until", type=hour, metavar="HOUR")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--lateness-hours", type=int, default=48)
    parser.add_argument("--now", type=datetime.fromisoformat, default=datetime.now(timezone.utc))
    parser.add_argument("--exclude", type=Path)
    args = parser.parse_args()
    excluded = set()
    if args.exclude:
        excluded = {tuple(line.strip().split(":", 1)) for line in args.exclude.read_text().splitlines() if line.strip()}
    writer = boto3.client("s3")
    if args.recompute:
        again, gone = recompute(writer, args.bucket, excluded)
        print(json.dumps({"recomputed": again, "kept": gone}))
        return
    if not args.start or not args.until or args.start >= args.until:
        sys.exit("kpi: the window is empty: --from lies before --until")
    closed = args.until + timedelta(hours=args.lateness_hours)
    if args.now < closed:
        sys.exit(f"kpi: the window is still open: events may arrive until {shown(closed)}")
    seen = store_time(writer, args.bucket)
    manifest = count(writer, args.bucket, args.start, args.until, excluded, read(store(), args.bucket, args.start, args.until))
    # Last: with it the lifetimes of the inputs begin. A watermark ahead of the store's own clock would be refused.
    committed = {} if seen < args.until else {
        "geoseal-watermark": f"{args.until:%Y-%m-%dT%H:%M:%SZ}", "geoseal-seen": f"{seen:%Y-%m-%dT%H:%M:%SZ}"}
    write(writer, args.bucket, "kpi/v1/watermark.json", encoded({"through": manifest["window"]["until"]}), **committed)
    counted = {name: manifest[name] for name in ("events", "events_excluded", "inputs")}
    print(json.dumps(counted | {"quarantined": len(manifest["quarantined"])}))


if __name__ == "__main__":
    main()
