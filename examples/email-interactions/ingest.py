"""Uploads mail providers' events to geoseal, one object each, through its S3 face with boto3.

    ingest.py --bucket interactions --provider ses events.ndjson [more files; - is standard input]

A file holds one payload a line, or one JSON document. Address, login and certificate authority come from the usual
variables (`. geoseal-dev/dev.env`). Every event is stored as
`interactions/dt=2026-11-20/hr=09/<token>.json` with `x-amz-meta-geoseal-subject: contact:<address>`, so that erasing the
contact makes it unreadable. An event that was delivered before is there already: `If-None-Match: *` says so, and it is
dropped. `x-amz-meta-geoseal-message` and `-occurred` tell of which message it is and when it happened: where a tenant collects of
followed messages only, what was not followed by then is refused, and counted as `NotFollowed`. --follow: the messages whose
sending is in these files are followed from now on; for the application that sends, when it sends.
Prints counts as JSON; malformed payloads go to --quarantine, line by line, and never stop the others.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import adapters

CONNECTIONS = 16


def object_name(event):
    """The same event has the same name, by its hour in UTC."""
    return f"interactions/{adapters.moment(event):dt=%Y-%m-%d/hr=%H}/{adapters.token(event)}.json"


def metadata(event, follow):
    data = event["data"]
    told = {
        "geoseal-class": "interaction",
        "geoseal-subject": f"{data['contact_kind']}:{data['contact_id']}",
        "geoseal-message": data["message_id"],
        "geoseal-occurred": f"{adapters.moment(event):%Y-%m-%dT%H:%M:%SZ}",
    }
    return told | ({"geoseal-follow": "true"} if follow and event["type"].endswith(".sent") else {})


def encoded(event):
    """The same event is the same bytes."""
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def payloads(text):
    """(line, payload or None) of a file: one JSON document, or one a line."""
    try:
        return [(text, json.loads(text))]
    except ValueError:
        pass
    found = []
    for line in filter(str.strip, text.splitlines()):
        try:
            found.append((line, json.loads(line)))
        except ValueError:
            found.append((line, None))
    return found


class Refused(Exception):
    """The store refused one event."""


class Ingest:
    def __init__(self, bucket, follow):
        self.bucket, self.follow = bucket, follow
        self.s3 = boto3.client("s3", config=Config(max_pool_connections=CONNECTIONS, retries={"mode": "standard"}))

    def store(self, event):
        """Stores one event: "stored", "duplicate", or the store's refusal, such as "OptedOut"."""
        try:
            self.s3.put_object(
                Bucket=self.bucket, Key=object_name(event), Body=encoded(event), IfNoneMatch="*",
                ContentType="application/cloudevents+json",
                Metadata=metadata(event, self.follow),
            )
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 412:
                return "duplicate"
            if 400 <= status < 500:
                return code
            raise
        return "stored"

    def run(self, provider, texts, quarantine):
        counts, found, seen = {"malformed": 0, "silent": 0}, [], set()
        for text in texts:
            for line, payload in payloads(text):
                # A provider sends events one by one or in a list; one that is malformed does not spoil the others.
                for original in payload if isinstance(payload, list) else [payload]:
                    try:
                        events = adapters.events(provider, original)
                    except adapters.Malformed:
                        counts["malformed"] += 1
                        if quarantine:
                            quarantine.write((json.dumps(original) if payload else line.strip()) + "\n")
                        continue
                    counts["silent"] += not events
                    found += events
        fresh = []
        for event in found:
            if adapters.token(event) in seen:
                counts["duplicate"] = counts.get("duplicate", 0) + 1
            else:
                seen.add(adapters.token(event))
                fresh.append(event)
        # A message is followed before anything that happened to it is stored.
        follows = [event for event in fresh if self.follow and event["type"].endswith(".sent")]
        with ThreadPoolExecutor(CONNECTIONS) as workers:
            for some in (follows, [event for event in fresh if event not in follows]):
                for result in workers.map(self.store, some):
                    counts[result] = counts.get(result, 0) + 1
        return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--provider", required=True, choices=adapters.PROVIDERS)
    parser.add_argument("--quarantine", help="a file (mode 600) for payloads that are no events of this provider")
    parser.add_argument("--follow", action="store_true", help="follow the messages whose sending is in these files")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    texts = [sys.stdin.read() if name == "-" else open(name, encoding="utf-8").read() for name in args.files]
    quarantine = None
    if args.quarantine:
        quarantine = os.fdopen(os.open(args.quarantine, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w")
    print(json.dumps(Ingest(args.bucket, args.follow).run(args.provider, texts, quarantine), sort_keys=True))


if __name__ == "__main__":
    main()
