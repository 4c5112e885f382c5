"""Tests of adapters.py and signatures.py that need no store:  test_adapters.py DIRECTORY

DIRECTORY has real Amazon SES events (`example-ses-*.json`, as in the Rust crate aws_lambda_events).
"""

import base64
import copy
import hashlib
import hmac
import json
import sys
from pathlib import Path

import adapters
import signatures

HERE = Path(__file__).parent


def golden():
    """(provider, event) of every golden event that is one."""
    for provider in adapters.PROVIDERS:
        if provider == "cloudevents":
            continue
        file = next((HERE / "golden").glob(f"{provider}.*json"))
        text = file.read_text()
        lines = [json.loads(text)] if file.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line[:1] == "{"]
        for payload in lines:
            yield from ((provider, event) for event in (payload if isinstance(payload, list) else [payload]))


def is_cloud_event(event):
    """What CloudEvents 1.0 demands, and what we do."""
    assert event["specversion"] == "1.0" and event["type"].startswith("email.interaction.") and event["time"].endswith("Z")
    assert all(isinstance(event[name], str) and event[name] for name in ("id", "source", "type", "subject", "time"))
    assert "@" in event["subject"] and event["data"]["contact_id"] == event["subject"] and event["data"]["message_id"]
    assert event["data"]["contact_kind"] in ("contact", "lead") and event["data"]["provider"] and event["data"]["provider_id"]
    assert event["type"].removeprefix(adapters.TYPE) in adapters.KINDS and "link" not in event["data"]
    assert adapters.token(event) == event["id"]


def every_event_can_be_had_back():
    kinds = {}
    for provider, original in golden():
        kept = copy.deepcopy(original)
        try:
            found = adapters.events(provider, original)
        except adapters.Malformed:
            continue
        for event in found:
            is_cloud_event(event)
            assert json.loads(json.dumps(event))["data"]["original"] == kept == original, provider
            kinds.setdefault(provider, set()).add(event["type"].rsplit(".", 1)[1])
    assert len(kinds) == 4 and all(len(found) >= 5 for found in kinds.values()), kinds


def what_is_a_record_already_stays_as_it_is():
    viewed = {
        "specversion": "1.0", "id": "view-1", "source": "urn:crm:contoso", "type": "email.interaction.attachment-viewed",
        "subject": "lee@example.com", "time": "2026-11-03T23:30:00-01:30", "traceparent": "kept",
        "data": {"message_id": "crm-7", "contact_kind": "lead", "contact_id": "4711", "machine": False, "provider": "crm",
                 "provider_id": "view-1", "attachment": {"pages": 3}},
    }
    [event] = adapters.events("cloudevents", copy.deepcopy(viewed))
    assert event == viewed
    assert f"{adapters.moment(event):%Y-%m-%dT%H}" == "2026-11-04T01"
    assert adapters.token(event) == hashlib.sha256(b"15:urn:crm:contoso6:view-1").hexdigest()
    # What the other adapters made goes through under the same token.
    for provider, original in golden():
        try:
            made = adapters.events(provider, original)
        except adapters.Malformed:
            continue
        for event in made:
            assert adapters.events("cloudevents", copy.deepcopy(event)) == [event]
    for path, junk in [(["type"], "email.interaction.eaten"), (["specversion"], "0.3"), (["source"], ""), (["id"], 7),
                       (["time"], "today"), (["subject"], None), (["data"], "x"), (["data", "contact_kind"], "user"),
                       (["data", "machine"], "no"), (["data", "message_id"], "\u00e4"), (["data", "provider_id"], "")]:
        event = copy.deepcopy(viewed)
        (event if len(path) == 1 else event[path[0]])[path[-1]] = junk
        try:
            adapters.events("cloudevents", event)
        except adapters.Malformed as error:
            assert "lee@" not in str(error)
        else:
            raise AssertionError(path)


def real_ses_events():
    files = sorted(Path(sys.argv[1]).glob("example-ses-*.json"))
    assert len(files) >= 5
    answers = 0
    for file in files:
        original = json.loads(file.read_text())
        # What SNS delivers wraps the event in a string.
        records = original.get("Records", [{}]) if isinstance(original, dict) else [{}]
        if "Sns" in records[0]:
            original = json.loads(records[0]["Sns"]["Message"])
        for event in adapters.events("ses", original):
            is_cloud_event(event)
        # The same message as an answer to one of ours.
        mails = [record["ses"]["mail"] for record in original.get("Records", []) if "ses" in record] or [original.get("mail", {})]
        if "headers" not in mails[0] or not mails[0]["headers"]:
            continue
        mails[0]["headers"].append({"name": "In-Reply-To", "value": "<0102-ours-000000@eu-west-1.amazonses.com>"})
        [event] = adapters.events("ses", original)
        is_cloud_event(event)
        assert (event["type"], event["data"]["message_id"]) == ("email.interaction.replied", "0102-ours-000000"), file.name
        assert event["data"]["original"] == original
        answers += 1
    assert answers >= 1


def the_same_event_is_the_same_and_no_other_is():
    ids = {}
    for provider, original in golden():
        try:
            for event in adapters.events(provider, original):
                ids.setdefault(event["id"], []).append(json.dumps(original, sort_keys=True))
        except adapters.Malformed:
            pass
    assert len(ids) > 25
    assert all(len(set(originals)) == 1 for originals in ids.values())
    assert sum(len(originals) > 1 for originals in ids.values()) == 2, "two were delivered twice"


def nothing_malformed_gets_through_or_brings_it_down():
    def paths(value, path=()):
        yield path
        for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield from paths(value[name], (*path, name))

    refused = 0
    for provider, original in golden():
        for path in paths(original):
            for junk in (None, 7, "x", [], {}, True, -1e300, float("nan")):
                event = copy.deepcopy(original)
                if path:
                    at = event
                    for name in path[:-1]:
                        at = at[name]
                    at[path[-1]] = junk
                else:
                    event = junk
                try:
                    for made in adapters.events(provider, event):
                        is_cloud_event(made)
                except adapters.Malformed as error:
                    refused += 1
                    assert "@" not in str(error), "an error names nobody"
    assert refused > 1000, refused


# Signed vectors of npm @sendgrid/eventwebhook 8.0.0, copyright Twilio SendGrid, MIT licence.
KEY = ("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F"
       "+g==")
SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
TIMESTAMP = "1600112502"
BODY = (b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n')
OTHER_KEY = ("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe"
             "1OPzpA==")


def what_sendgrid_signed_and_what_it_did_not():
    assert signatures.sendgrid(KEY, BODY, SIGNATURE, TIMESTAMP)
    for event in json.loads(BODY):
        assert adapters.events("sendgrid", event) == [], "dropped is no interaction"
    assert not signatures.sendgrid(OTHER_KEY, BODY, SIGNATURE, TIMESTAMP)
    assert not signatures.sendgrid(KEY, BODY.rstrip(), SIGNATURE, TIMESTAMP), "its line end is signed, too"
    assert not signatures.sendgrid(KEY, BODY.replace(b"hello", b"jello"), SIGNATURE, TIMESTAMP)
    assert not signatures.sendgrid(KEY, BODY, SIGNATURE, "1600112503")
    other = bytearray(base64.b64decode(SIGNATURE))
    other[-1] ^= 1
    for signature in (base64.b64encode(other).decode(), "", "!", "MEUC"):
        assert not signatures.sendgrid(KEY, BODY, signature, TIMESTAMP)
    for key in ("", "!", KEY[:-8], base64.b64encode(b"no key").decode()):
        assert not signatures.sendgrid(key, BODY, SIGNATURE, TIMESTAMP)


def what_mailgun_signed_and_what_it_did_not():
    key, now = b"made for this run only", 1_793_700_000
    signature = {"timestamp": str(now), "token": "t" * 50}
    signature["signature"] = hmac.new(key, f"{now}{'t' * 50}".encode(), hashlib.sha256).hexdigest()
    assert signatures.mailgun(key, signature, now) and signatures.mailgun(key, signature, now + 900)
    assert not signatures.mailgun(key, signature, now + 901), "too old"
    assert not signatures.mailgun(b"another", signature, now)
    for field in signature:
        last = "1" if signature[field][-1] == "0" else "0"
        assert not signatures.mailgun(key, signature | {field: signature[field][:-1] + last}, now)
        assert not signatures.mailgun(key, {name: value for name, value in signature.items() if name != field}, now)


if __name__ == "__main__":
    cases = [every_event_can_be_had_back, what_is_a_record_already_stays_as_it_is, real_ses_events, the_same_event_is_the_same_and_no_other_is,
             nothing_malformed_gets_through_or_brings_it_down, what_sendgrid_signed_and_what_it_did_not,
             what_mailgun_signed_and_what_it_did_not]
    for case in cases:
        case()
        print("ok", case.__name__)
