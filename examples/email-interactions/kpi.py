"""Figures about e-mail engagement, day by day, from what ingest.py stored: read through geoseal's S3 face by Arrow, computed by
DuckDB.

    kpi.py --bucket interactions                                               from where the last run ended, as far as is closed
    kpi.py --bucket interactions --from 2026-11-01T00 [--until 2026-11-20T00]  from this hour
    kpi.py --bucket interactions --recompute                                   again what is not what it was

Run it every hour, with a job's login (`geoseal grant create --purpose kpi`). An hour is closed 48 hours after its end
(--lateness-hours), for providers deliver late; what is not closed is not counted.

Figures are of a UTC day: kpi/v1/dt=<day>/{message,template,recipient}.ndjson and manifest.json. Whenever an hour of a day has
closed, the whole day is computed anew from its first hour on, for how many different people opened something in a day is no sum of
what its hours say. A day's figures never go back: a run that asks for less of it computes as much as there was. The same inputs
give the same bytes. The manifest has the window, every input with its version id, ETag and SHA-256, every output with its
SHA-256, and the SHA-256 of this program.

When a day is complete, its watermark is committed (kpi/v1/window.json, whose metadata tell the store), and the lifetimes of its
inputs begin. So all inputs of a day are there for as long as its figures may still grow. Windows meet: a run that would leave hours
out is refused, by this program and by the store. kpi/v1/watermark.json says how far that is. A day of which some inputs have come
to the end of their lifetime is not computed again: it keeps its figures, and is told as `kept`.

Recipients' figures are stored as a batch: each row names its data subject, so an export has a person's own rows and an erasure
takes them, at once and without this job. What was counted of them in the other figures goes with --recompute: it finds the days
whose recipients are not those that were written (somebody was erased, opted out or restricted the use of their data since), and
the days to which events came later than the lateness, and computes them anew.

The store gives a job nothing of people who opted out or restricted the use of their data, nor of messages that are not followed
where only those are collected: that is in no figure. --exclude: a file with more people, `contact:<id>` or `lead:<id>` a line.
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
import pyarrow as pa
import pyarrow.json as pj
from botocore.exceptions import ClientError
from pyarrow import fs

import adapters
from figures import HERE, compute, encoded

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BATCH_SUBJECTS = 1000
BATCH_BYTES = 4 << 20
READERS = 16
CODE = ("kpi.py", "figures.py", "kpi.sql", "adapters.py")
WATERMARK = "kpi/v1/watermark.json"

DATA = pa.struct([("message_id", pa.string()), ("template_id", pa.string()), ("contact_kind", pa.string()),
                  ("contact_id", pa.string()), ("machine", pa.bool_()), ("hard", pa.bool_())])
EVENT = pa.schema([("id", pa.string()), ("source", pa.string()), ("type", pa.string()), ("subject", pa.string()),
                   ("time", pa.string()), ("data", DATA)])
READ = pj.ReadOptions(use_threads=False)
PARSE = pj.ParseOptions(explicit_schema=EVENT, unexpected_field_behavior="ignore")
REFUSED = object()
NOTHING = {"events": 0, "events_excluded": 0, "inputs": [], "quarantined": []}


class Found:
    """What there is of a window: the events, and the objects that they came from."""

    def __init__(self):
        self.events, self.inputs, self.quarantined, self.refused = [], [], [], []

    def names(self):
        return {found["name"] for found in self.inputs + self.quarantined} | set(self.refused)


class Job:
    def __init__(self, bucket, excluded):
        self.bucket, self.excluded = bucket, excluded
        self.s3 = boto3.client("s3")
        scheme, host = os.environ["AWS_ENDPOINT_URL"].split("://")
        self.files = fs.S3FileSystem(endpoint_override=host, scheme=scheme, region=os.environ["AWS_REGION"],
                                     tls_ca_file_path=os.environ["AWS_CA_BUNDLE"])

    def now(self):
        """What the store's clock says: watermarks go by it."""
        return parsedate_to_datetime(self.s3.head_bucket(Bucket=self.bucket)["ResponseMetadata"]["HTTPHeaders"]["date"])

    # What is there.

    def listed(self, start, until):
        """The paths of a window's objects, hour by hour."""
        while start < until:
            place = f"{self.bucket}/interactions/dt={start:%Y-%m-%d}/hr={start:%H}"
            found = self.files.get_file_info(fs.FileSelector(place, allow_not_found=True))
            yield from sorted(info.path for info in found if info.type == fs.FileType.File)
            start += HOUR

    def read(self, start, until):
        found, paths = Found(), list(self.listed(start, until))
        with ThreadPoolExecutor(READERS) as readers:
            for path, (of, events) in zip(paths, readers.map(self.read_object, paths), strict=True):
                name = path.split("/", 1)[1]
                if of is REFUSED:
                    found.refused.append(name)
                elif events is None:
                    found.quarantined.append({"name": name} | of)
                else:
                    found.inputs.append({"name": name} | of)
                    found.events += events
        return found

    def read_object(self, path):
        """(which bytes they were, the events of one object); no events: they are not what they should be. REFUSED: nothing is
        computed of whom, or of what message, it is. Any other object that cannot be read stops the job."""
        try:
            with self.files.open_input_file(path) as file:
                told, content = file.metadata(), file.read()
        except OSError as error:
            if "ACCESS_DENIED" in str(error) or "HTTP status 403" in str(error):
                return REFUSED, None
            raise
        of = {"etag": told["ETag"].decode().strip('"'), "sha256": hashlib.sha256(content).hexdigest()}
        if "VersionId" in told:
            of["version_id"] = told["VersionId"].decode()
        try:
            return of, list(flat(pj.read_json(pa.BufferReader(content), READ, PARSE).to_pylist()))
        except (pa.ArrowInvalid, ValueError, OverflowError, KeyError, TypeError, AttributeError):
            return of, None

    def stored(self, name):
        """An object's bytes; none of one that is gone; None: it is not given to a job, because of whom it speaks."""
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=name)["Body"].read()
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                return b""
            if status == 403:
                return None
            raise

    def manifest(self, day):
        return json.loads(self.stored(f"{place_of(day)}/manifest.json") or "null")

    def manifests(self):
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="kpi/v1/dt="):
            for found in page.get("Contents", []):
                if found["Key"].endswith("/manifest.json"):
                    yield json.loads(self.stored(found["Key"]))

    def days(self, place):
        """The days of which there is anything in a place."""
        found, pages = set(), self.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=f"{place}/dt=", Delimiter="/"):
            for prefix in page.get("CommonPrefixes", []):
                try:
                    found.add(hour(prefix["Prefix"].rstrip("/").rsplit("dt=", 1)[1] + "T00"))
                except ValueError:
                    continue  # Nobody's day.
        return found

    # What is made of it.

    def count(self, day, until):
        """Writes the figures of a day, up to an hour or as far as they went before. Its manifest; None: some of what they were made
        of is not there any more, and they stay as they are."""
        before = self.manifest(day)
        if before:
            until = max(until, hour(before["window"]["until"].removesuffix("Z")))
        found = self.read(day, until)
        if before and len({of["name"] for of in before["inputs"]} - found.names()) > self.erased(before):
            return None
        kept = [event for event in found.events if (event["contact_kind"], event["contact_id"]) not in self.excluded]
        place, outputs, counted = place_of(day), {}, 0
        for name, rows in compute(kept, until).items():
            if name == "recipient":
                outputs |= self.write_recipients(place, rows)
                counted = sum(row["events"] for row in rows)
                continue
            content = b"".join(encoded(row) + b"\n" for row in rows)
            outputs[f"{place}/{name}.ndjson"] = hashlib.sha256(content).hexdigest()
            self.write(f"{place}/{name}.ndjson", content)
        manifest = {
            "window": {"from": shown(day), "until": shown(until)},
            "code": {file: hashlib.sha256((HERE / file).read_bytes()).hexdigest() for file in CODE},
            "events": len(found.events), "events_excluded": len(found.events) - len(kept) + len(found.refused),
            "events_of_recipients": counted, "outputs": outputs,
            "inputs": found.inputs, "quarantined": found.quarantined, "excluded": found.refused,
        }
        self.write(f"{place}/manifest.json", encoded(manifest))
        return manifest

    def recipients(self, manifest):
        """{name: bytes} of the recipients' rows as they are now."""
        return {name: self.stored(name) for name in manifest["outputs"] if "/recipient" in name}

    def erased(self, manifest):
        """How many events are of people who were erased since. Of batches that are not given to a job it cannot be told."""
        left = list(self.recipients(manifest).values())
        if None in left:
            return 0
        return manifest["events_of_recipients"] - sum(json.loads(line)["events"] for rows in left for line in rows.splitlines())

    def write(self, name, content, **metadata):
        """Stores figures: of the class that a grant lets a job write."""
        self.s3.put_object(Bucket=self.bucket, Key=name, Body=content, Metadata={"geoseal-class": "kpi", **metadata})

    def write_recipients(self, place, rows):
        """Stores rows that each name a data subject, as many batches as they take; {name: SHA-256}. What is left of a run that took
        more of them is emptied: a grant deletes nothing."""
        batches = [b""]
        for n, line in enumerate(encoded(row) + b"\n" for row in rows):
            if n % BATCH_SUBJECTS == 0 and n or len(batches[-1]) + len(line) > BATCH_BYTES:
                batches.append(b"")
            batches[-1] += line
        names = [f"{place}/recipient{f'-{n}' if n > 1 else ''}.ndjson" for n in range(1, len(batches) + 1)]
        stored = dict(zip(names, batches, strict=True))
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{place}/recipient-").get("Contents", [])
        for name, content in {**{found["Key"]: b"" for found in listed}, **stored}.items():
            self.s3.put_object(Bucket=self.bucket, Key=name, Body=content, ContentType="application/x-ndjson",
                               Metadata={"geoseal-class": "kpi", "geoseal-subjects": "records"})
        return {name: hashlib.sha256(content).hexdigest() for name, content in stored.items()}

    # How far it is.

    def through(self):
        """The end of the newest day that was committed."""
        found = json.loads(self.stored(WATERMARK) or "null")
        return found and hour(found["through"].removesuffix("Z"))

    def commit(self, start, until, seen):
        """Tells the store that what there was of these days at `seen` has been counted. The store first: a run that is cut off in
        between is repeated from further back, and committing the same again changes nothing."""
        times = zip(("geoseal-watermark-from", "geoseal-watermark", "geoseal-seen"), (start, until, seen), strict=True)
        # A watermark ahead of the store's own clock would be refused.
        window = {} if seen < until else {name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times}
        self.write("kpi/v1/window.json", encoded({"from": shown(start), "until": shown(until)}), **window)
        if until > (self.through() or start):
            self.write(WATERMARK, encoded({"through": shown(until)}))

    def run(self, start, until):
        """Counts the days of a window and commits those that are complete; the counts of what was done."""
        totals, whole = {"events": 0, "events_excluded": 0, "inputs": 0, "quarantined": 0, "kept": []}, None
        seen, day = self.now(), day_of(start)
        something = self.days("interactions") | self.days("kpi/v1")
        while day < until:
            manifest = self.count(day, min(day + DAY, until)) if day in something else NOTHING
            if manifest is None:
                totals["kept"].append(shown(day))
            else:
                for name in ("events", "events_excluded"):
                    totals[name] += manifest[name]
                for name in ("inputs", "quarantined"):
                    totals[name] += len(manifest[name])
            complete = day + DAY <= until if manifest is NOTHING else manifest and manifest["window"]["until"] == shown(day + DAY)
            if complete:
                whole = (whole[0] if whole else day, day + DAY)
            elif whole:
                self.commit(*whole, seen)
                whole = None
            day += DAY
        if whole:
            self.commit(*whole, seen)
        return totals

    def recompute(self):
        """Computes the days again that are not what they were; the windows, and those of which not all is there any more."""
        again, kept, seen, through = [], [], self.now(), self.through()
        for manifest in list(self.manifests()):
            day, until = (hour(manifest["window"][end].removesuffix("Z")) for end in ("from", "until"))
            was = {of["name"] for of in manifest["inputs"] + manifest["quarantined"]} | set(manifest["excluded"])
            late = any(path.split("/", 1)[1] not in was for path in self.listed(day, until))
            as_written = all(content is not None and hashlib.sha256(content).hexdigest() == manifest["outputs"][name]
                             for name, content in self.recipients(manifest).items())
            if as_written and not late:
                continue
            done = self.count(day, until) is not None
            (again if done else kept).append(manifest["window"])
            # What came late has been counted now, and its lifetime begins.
            if done and late and through and day + DAY <= through:
                self.commit(day, day + DAY, seen)
        return {"recomputed": again, "kept": kept}


def flat(events):
    for event in events:
        data = event["data"]
        kind, contact = event["type"].removeprefix(adapters.TYPE), (data["contact_kind"], data["contact_id"])
        if kind not in adapters.KINDS:
            raise ValueError("another type of event")
        if not (event["id"] and event["source"] and data["message_id"] and all(contact)):
            raise ValueError("a field is missing")
        yield {
            "id": adapters.token(event), "type": kind, "time": adapters.moment(event),
            "recipient": event["subject"] or ":".join(contact), "message_id": data["message_id"], "template_id": data["template_id"],
            "contact_kind": contact[0], "contact_id": contact[1],
            "machine": bool(data["machine"]), "hard": bool(data["hard"]),
        }


def hour(text):
    return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=timezone.utc)


def shown(hour):
    return f"{hour:%Y-%m-%dT%HZ}"


def day_of(hour):
    return hour.replace(hour=0, minute=0, second=0, microsecond=0)


def place_of(day):
    return f"kpi/v1/dt={day:%Y-%m-%d}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--from", dest="start", type=hour, metavar="HOUR")
    parser.add_argument("--until", type=hour, metavar="HOUR")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--lateness-hours", type=int, default=48)
    parser.add_argument("--now", type=datetime.fromisoformat, help="with an offset; without it, the store's clock")
    parser.add_argument("--exclude", type=Path)
    args = parser.parse_args()
    excluded = set()
    if args.exclude:
        excluded = {tuple(line.strip().split(":", 1)) for line in args.exclude.read_text().splitlines() if line.strip()}
    job = Job(args.bucket, excluded)
    if args.recompute:
        print(json.dumps(job.recompute()))
        return
    closed = (args.now or job.now()) - timedelta(hours=args.lateness_hours)
    closed = day_of(closed) + HOUR * closed.astimezone(timezone.utc).hour
    if args.until and args.until > closed:
        sys.exit(f"kpi: the window is still open: only what lies before {shown(closed)} is closed")
    through, until = job.through(), args.until or closed
    start = args.start or through or min(job.days("interactions"), default=until)
    if args.start and start >= until:
        sys.exit("kpi: the window is empty: --from lies before --until")
    if through and day_of(start) > through:
        sys.exit(f"kpi: the watermark stands at {shown(through)}: begin there, or what lies between would never be counted")
    try:
        print(json.dumps(job.run(start, until)))
    except ClientError as error:
        if error.response["Error"]["Code"] != "WatermarkGap":
            raise
        sys.exit(f"kpi: {error.response['Error']['Message']}")


if __name__ == "__main__":
    main()
