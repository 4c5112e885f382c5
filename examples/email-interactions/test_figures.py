"""Tests of figures.py that need no store: a case small enough to be counted by hand, and what is said of it in the comments."""

import random
from datetime import datetime, timezone

import figures

UNTIL = datetime(2026, 11, 4, tzinfo=timezone.utc)


def event(who, kind, time, message="m1", machine=False, hard=False, kind_of_contact="contact", template="t"):
    time = datetime.fromisoformat(f"2026-{time}+00:00" if "T" in time else f"2026-11-03T{time}+00:00")
    unique = f"{message}/{who}/{kind}/{time}/{machine}"
    return {"id": unique, "type": kind, "time": time, "recipient": f"{who}@example.com", "message_id": message, "template_id": template,
            "contact_kind": kind_of_contact, "contact_id": who, "machine": machine, "hard": hard}


def of_message(message, **want):
    rows = {row["message_id"]: row for row in figures.compute(EVENTS, UNTIL)["message"]}
    found = {name: rows[message][name] for name in want}
    assert found == want, found


# What one message did to five recipients.
EVENTS = [
    event("a", "sent", "09:00:00"), event("b", "sent", "09:00:00"), event("c", "sent", "09:00:00"), event("d", "sent", "09:00:00"),
    # a reads it five minutes after it came; a scanner did so before, which is nobody's reading.
    event("a", "delivered", "09:00:10"), event("a", "opened", "09:00:11", machine=True), event("a", "opened", "09:05:10"),
    event("a", "opened", "10:00:00"), event("a", "clicked", "10:01:00"), event("a", "attachment-viewed", "10:02:00"),
    event("a", "replied", "10:03:00"),
    # The same event, delivered again.
    event("a", "opened", "10:00:00"),
    # b has opened it five seconds before it came.
    event("b", "delivered", "09:00:20"), event("b", "opened", "09:00:15"),
    # c had it, and then the mailbox was gone: not delivered.
    event("c", "delivered", "09:00:30"), event("c", "bounced", "09:10:00", hard=True),
    # d had it at the second attempt; a scanner clicked; d complained.
    event("d", "bounced", "09:01:00"), event("d", "delivered", "09:02:00"), event("d", "clicked", "09:02:01", machine=True),
    event("d", "complained", "09:03:00"),
    # e bounced hard and had it nevertheless, later: delivered. Nobody has told of the sending.
    event("e", "bounced", "09:00:00", hard=True), event("e", "delivered", "09:30:00"),
    # Of another message one open is all that is known.
    event("a", "opened", "11:00:00", message="m2", template=None),
    # A lead clicked 30 days and answered 60 days before.
    event("4711", "clicked", "10-05T00:00:00", message="m3", kind_of_contact="lead", template=None),
    event("4711", "replied", "09-05T00:00:00", message="m3", kind_of_contact="lead", template=None),
]


def totals_stand_beside_the_recipients_they_are_of():
    of_message("m1", sends=4, sent=4, deliveries=5, delivered=4, opens_raw=4, opens=3, openers=2, clicks_raw=2, clicks=1, clickers=1,
               attachment_views_raw=1, attachment_views=1, attachment_viewers=1, replies_raw=1, replies=1, repliers=1,
               bounces=3, bounced=3, complaints=1, complained=1)


def rates_are_of_what_was_delivered_or_sent():
    # Openers a, b; clicker, viewer, answerer a; delivered to a, b, d, e. Bounced c, d, e and complained d, of four sent.
    of_message("m1", open_rate=2 / 4, click_rate=1 / 4, attachment_rate=1 / 4, reply_rate=1 / 4, click_to_open=1 / 2,
               bounce_rate=3 / 4, complaint_rate=1 / 4)
    # Nothing to divide by.
    of_message("m2", openers=1, delivered=0, open_rate=None, click_rate=None, attachment_rate=None, reply_rate=None,
               click_to_open=0.0, bounce_rate=None, complaint_rate=None, time_to_first_open_p50_s=None, time_to_first_open_p90_s=None)
    of_message("m3", click_to_open=None)


def the_first_open_is_counted_from_delivery_and_never_below_nothing():
    # a took 300 s, b took -5 s, which is 0 and flagged: half-way between them 150, nine tenths of the way 270.
    of_message("m1", time_to_first_open_p50_s=150.0, time_to_first_open_p90_s=270.0, opens_before_delivery=1)


def engagement_is_weighed_and_halves_in_thirty_days():
    rows = {row["geosealsubject"]: row for row in figures.compute(EVENTS, UNTIL)["recipient"]}
    # 3 a half-life ago and 5 two half-lives ago.
    assert rows["lead:4711"]["engagement"] == 3 / 2 + 5 / 4
    # a: 3 opens, a click, an attachment, an answer are 14 on the same day, some hours old.
    assert 14 * 0.5 ** (1 / 30) < rows["contact:a"]["engagement"] < 14
    # b: one open; d: a scanner's click is nothing.
    assert [rows[f"contact:{who}"]["most_engaged"] for who in "abcd"] == [1, 3, None, None]
    assert rows["lead:4711"]["most_engaged"] == 2 and rows["contact:d"]["engagement"] == 0.0


def a_template_has_all_its_messages():
    [row] = figures.compute(EVENTS, UNTIL)["template"]
    assert (row["template_id"], row["messages"], row["delivered"], row["open_rate"]) == ("t", 1, 4, 0.5)


def the_order_in_which_events_are_found_does_not_matter():
    want = figures.encoded(figures.compute(EVENTS, UNTIL))
    for seed in range(5):
        assert figures.encoded(figures.compute(random.Random(seed).sample(EVENTS, len(EVENTS)), UNTIL)) == want
    assert figures.compute([], UNTIL) == {"message": [], "template": [], "recipient": []}


if __name__ == "__main__":
    for case in [totals_stand_beside_the_recipients_they_are_of, rates_are_of_what_was_delivered_or_sent,
                 the_first_open_is_counted_from_delivery_and_never_below_nothing, engagement_is_weighed_and_halves_in_thirty_days,
                 a_template_has_all_its_messages, the_order_in_which_events_are_found_does_not_matter]:
        case()
        print("ok", case.__name__)
