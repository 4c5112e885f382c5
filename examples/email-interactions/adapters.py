"""What four mail providers say about a message, as CloudEvents 1.0.

    events(provider, event) -> list of CloudEvents (dicts), one per recipient
    token(event)            -> what makes a CloudEvent the same when it comes again

A CloudEvent of ours has `type` email.interaction.{sent,delivered,opened,clicked,attachment-viewed,replied,bounced,complained,
unsubscribed}, `subject` the recipient's address, `time` in UTC, and `data` with message_id, template_id, contact_kind
(contact or lead), contact_id, ip, user_agent, link_id, machine, hard, provider, provider_id and `original`: the provider's event,
with every field that we did not expect. `link_id` is the same for the same link and does not tell it: addresses have names in
them. `provider_id` is the provider's own id of the event; where it gives none, the event's. Two deliveries of the same event have
the same `id`.

The provider `cloudevents` is whoever sends such records: the application itself, which alone knows of viewed attachments and of
leads. They are checked and kept as they are, with every field that we did not expect.

Raises Malformed for what is not an event of that provider. What is an event but no interaction (a deferral, a rendering
failure) gives no CloudEvent.
"""

import hashlib
import re
from datetime import datetime, timedelta, timezone

PROVIDERS = ("ses", "sendgrid", "mailgun", "postmark", "cloudevents")
KINDS = ("sent", "delivered", "opened", "clicked", "attachment-viewed", "replied", "bounced", "complained", "unsubscribed")
TYPE = "email.interaction."
OURS = "urn:email-provider:"


class Malformed(Exception):
    """Not an event as this provider sends it. Says which field, never its value: it may name a person."""


def events(provider, original):
    """The CloudEvents of one event, as its provider posts it (where it posts a list, of one member)."""
    adapter = {"ses": _ses, "sendgrid": _sendgrid, "mailgun": _mailgun, "postmark": _postmark,
               "cloudevents": _cloudevents}[provider]
    if not isinstance(original, dict):
        raise Malformed("an event is a JSON object")
    try:
        return list(adapter(original))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise Malformed(f"a field is missing or of another type ({type(error).__name__})") from None
    except (ValueError, OverflowError):
        raise Malformed("a time or number cannot be read") from None


def contact(address):
    """Whose event it is: the address, trimmed, in lower case. Where a CRM knows its contacts by number, look it up here."""
    if not isinstance(address, str) or "@" not in address:
        raise Malformed("a recipient is an e-mail address")
    return re.sub(r"^.*<(.*)>$", r"\1", address.strip()).lower()


def token(event):
    """What makes a CloudEvent the same event when it comes again: SHA-256, in hex. Of what these adapters made, its id; of others,
    of their source and id, which are unique together."""
    if event["source"].startswith(OURS) and re.fullmatch("[0-9a-f]{64}", event["id"]):
        return event["id"]
    return _digest([event["source"], event["id"]])


def moment(event):
    """When it happened, in UTC."""
    return _iso(event["time"]).astimezone(timezone.utc)


def _digest(parts):
    return hashlib.sha256("".join(f"{len(str(part))}:{part}" for part in parts).encode()).hexdigest()


def _message(name):
    """A message's id, as it can stand in a header."""
    if not isinstance(name, str) or not name.strip() or not (name.isascii() and name.isprintable()) or len(name) > 998:
        raise Malformed("a message has an id, of at most 998 printable ASCII characters")
    return name.strip()


def _event(provider, kind, unique, time, recipient, original, *, message_id, machine=False, hard=False, link=None, **data):
    """`unique` is what makes an event the same event when it is delivered again."""
    subject, message_id = contact(recipient), _message(message_id)
    if any(not isinstance(value, str) for value in (link, *data.values()) if value is not None):
        raise Malformed("a field is of another type")
    digest = _digest([provider, *unique, subject])
    fields = {"message_id": message_id, "contact_kind": "contact", "contact_id": subject, "machine": bool(machine),
              "provider": provider, "provider_id": digest}
    if link:
        fields["link_id"] = hashlib.sha256(link.encode()).hexdigest()[:32]
    fields |= {name: value for name, value in data.items() if value not in (None, "")}
    if kind == "bounced":
        fields["hard"] = bool(hard)
    return {
        "specversion": "1.0",
        "id": digest,
        "source": f"{OURS}{provider}",
        "type": f"{TYPE}{kind}",
        "subject": subject,
        "time": time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": fields | {"original": original},
    }


def _cloudevents(event):
    """A record that is one already: what it must have is there, and all the rest of it stays."""
    data = event["data"]
    if event["specversion"] != "1.0" or event["type"] not in {TYPE + kind for kind in KINDS}:
        raise Malformed("no CloudEvent 1.0 of a type that is an interaction with e-mail")
    for of, names in ((event, ("id", "source", "subject", "time")), (data, ("contact_id", "provider", "provider_id"))):
        if any(not isinstance(of[name], str) or not of[name] for name in names):
            raise Malformed("a field is of another type")
    optional = [data.get(name) for name in ("template_id", "ip", "user_agent", "link_id")]
    if any(not isinstance(value, str) for value in optional if value is not None):
        raise Malformed("a field is of another type")
    if data["contact_kind"] not in ("contact", "lead"):
        raise Malformed("a contact_kind is contact or lead")
    if not isinstance(data.get("machine", False), bool) or not isinstance(data.get("hard", False), bool):
        raise Malformed("machine and hard are true or false")
    if _message(data["message_id"]) != data["message_id"]:
        raise Malformed("a message's id has no spaces around it")
    moment(event)
    yield event


def _iso(text):
    """ISO 8601 with an offset. Postmark writes seven decimals, Python reads six."""
    time = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
    if time.tzinfo is None:
        raise ValueError("no offset")
    return time


def _epoch(seconds):
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError("not a number")
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


# Amazon SES has no id of its own: an event is its message, its kind, its time and its link.
_SES = {"Send": "sent", "Delivery": "delivered", "Open": "opened", "Click": "clicked", "Bounce": "bounced",
        "Complaint": "complained", "Subscription": "unsubscribed"}
_SES_SILENT = {"Reject", "DeliveryDelay", "Rendering Failure"}


def _ses(event):
    if "Records" in event:
        for record in event["Records"]:
            yield from _received(record["ses"]["mail"], event)
        return
    if event.get("notificationType") == "Received":
        yield from _received(event["mail"], event)
        return
    name = event.get("eventType") or event["notificationType"]
    if name in _SES_SILENT:
        return
    if name not in _SES:
        raise Malformed("an eventType that is none of SES")
    kind, mail = _SES[name], event["mail"]
    detail = event.get(name.lower()) or {}
    time = detail.get("timestamp") or mail["timestamp"]
    who = {
        "delivered": lambda: detail.get("recipients") or mail["destination"],
        "bounced": lambda: [one["emailAddress"] for one in detail["bouncedRecipients"]],
        "complained": lambda: [one["emailAddress"] for one in detail["complainedRecipients"]],
    }.get(kind, lambda: mail["destination"])()
    if kind in ("opened", "clicked", "unsubscribed") and len(who) != 1:
        # SES does not say which of several it was, and we do not guess.
        return
    tags = mail.get("tags") or {}
    for recipient in who:
        yield _event(
            "ses", kind, [mail["messageId"], name, time, detail.get("link", "")], _iso(time), recipient, event,
            message_id=mail["messageId"], template_id=(tags.get("template") or [None])[0],
            ip=detail.get("ipAddress"), user_agent=detail.get("userAgent"), link=detail.get("link"),
            hard=detail.get("bounceType") == "Permanent",
        )


def _received(mail, original):
    """A message that SES received for us: an answer, when it says to which of ours."""
    headers = {header["name"].lower(): header["value"] for header in mail.get("headers", [])}
    answered = re.search(r"<([^@>]+)@[^>]*amazonses\.com>", headers.get("in-reply-to", ""))
    if answered:
        yield _event("ses", "replied", [mail["messageId"]], _iso(mail["timestamp"]), mail["source"], original,
                     message_id=answered[1], provider_id=mail["messageId"])


_SENDGRID = {"processed": "sent", "delivered": "delivered", "open": "opened", "click": "clicked", "bounce": "bounced",
             "spamreport": "complained", "unsubscribe": "unsubscribed", "group_unsubscribe": "unsubscribed"}
_SENDGRID_SILENT = {"deferred", "dropped", "group_resubscribe", "account_status_change"}


def _sendgrid(event):
    name = event["event"]
    if name in _SENDGRID_SILENT:
        return
    if name not in _SENDGRID:
        raise Malformed("an event that is none of SendGrid's")
    yield _event(
        "sendgrid", _SENDGRID[name], [event["sg_event_id"]], _epoch(event["timestamp"]), event["email"], event,
        message_id=event["sg_message_id"].split(".")[0], template_id=event.get("sg_template_id"),
        ip=event.get("ip"), user_agent=event.get("useragent"), link=event.get("url"), provider_id=event["sg_event_id"],
        machine=event.get("sg_machine_open", False), hard=event.get("type") == "bounce",
    )


_MAILGUN = {"accepted": "sent", "delivered": "delivered", "opened": "opened", "clicked": "clicked", "failed": "bounced",
            "complained": "complained", "unsubscribed": "unsubscribed"}


def _mailgun(payload):
    event = payload["event-data"]
    name = event["event"]
    if name in ("rejected", "stored", "list_member_uploaded", "list_member_upload_error", "list_uploaded"):
        return
    if name not in _MAILGUN:
        raise Malformed("an event that is none of Mailgun's")
    if name == "failed" and event.get("severity") == "temporary":
        return
    time, client = _epoch(event["timestamp"]), event.get("client-info") or {}
    yield _event(
        # Its id is unique within a day only.
        "mailgun", _MAILGUN[name], [time.date().isoformat(), event["id"]], time, event["recipient"], payload,
        message_id=event["message"]["headers"]["message-id"], template_id=(event.get("template") or {}).get("name"),
        ip=event.get("ip"), user_agent=client.get("user-agent"), link=event.get("url"), provider_id=event["id"],
        machine=bool(client.get("bot")), hard=event.get("severity") == "permanent",
    )


def _postmark(event):
    name = event["RecordType"]
    unique, common = [event["MessageID"], name], {"message_id": event["MessageID"], "template_id": event.get("Tag")}
    if name == "Delivery":
        time, who, kind = event["DeliveredAt"], event["Recipient"], "delivered"
    elif name in ("Open", "Click"):
        time, who, kind = event["ReceivedAt"], event["Recipient"], {"Open": "opened", "Click": "clicked"}[name]
        common |= {"user_agent": event.get("UserAgent"), "link": event.get("OriginalLink"),
                   "ip": (event.get("Geo") or {}).get("IP")}
    elif name in ("Bounce", "SpamComplaint"):
        time, who, kind = event["BouncedAt"], event["Email"], "bounced" if name == "Bounce" else "complained"
        common |= {"hard": event.get("Type") == "HardBounce", "provider_id": str(event["ID"])}
    elif name == "SubscriptionChange":
        if not event["SuppressSending"]:
            return
        time, who, kind = event["ChangedAt"], event["Recipient"], "unsubscribed"
    else:
        raise Malformed("a RecordType that is none of Postmark's")
    yield _event("postmark", kind, [*unique, time, event.get("OriginalLink", "")], _iso(time), who, event, **common)
