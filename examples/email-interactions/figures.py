"""The figures of some events: pure. `compute(events, until)` gives the rows of the three outputs; kpi.sql counts.

An event is {id, type, time, recipient, message_id, template_id, contact_kind, contact_id, machine, hard}; `until` is the
moment that engagement is seen from. The same events, in whatever order, give the same rows.
"""

import json
from datetime import timezone
from pathlib import Path

import duckdb
import pyarrow as pa

HERE = Path(__file__).parent
WEIGHTS = {"opened": 1, "clicked": 3, "attachment-viewed": 3, "replied": 5}
HALF_LIFE_DAYS = 30
MOST_ENGAGED = 20
COLUMNS = pa.schema([("id", pa.string()), ("type", pa.string()), ("time", pa.timestamp("us", "UTC")), ("recipient", pa.string()),
                     ("message_id", pa.string()), ("template_id", pa.string()), ("contact_kind", pa.string()),
                     ("contact_id", pa.string()), ("machine", pa.bool_()), ("hard", pa.bool_())])
# Events, and behind them how many recipients they are of.
TOTALS = ("sends sent deliveries delivered opens_raw opens openers clicks_raw clicks clickers attachment_views_raw attachment_views "
          "attachment_viewers replies_raw replies repliers bounces bounced complaints complained").split()
RATES = "open_rate click_rate attachment_rate reply_rate click_to_open bounce_rate complaint_rate".split()


def compute(events, until):
    """{output: rows}, each row a dict of plain values."""
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    db.execute("set threads = 1")  # Sums of fractions come out the same every time.
    events = sorted(events, key=lambda event: (event["id"], event["time"], event["type"], event["recipient"], event["message_id"]))
    db.register("events", pa.Table.from_pylist(events, schema=COLUMNS))
    db.execute((HERE / "kpi.sql").read_text())
    sums = ", ".join(f"sum({column}) as {column}" for column in (*TOTALS, "opens_before_delivery"))
    quantiles = ", ".join(f"quantile_cont(list_value, 0.{p}) as first_open_p{p}" for p in (50, 90))
    for group in ("message", "template"):
        key = f"{group}_id"
        db.execute(f"""create temp table by_{group} as
            select * from (select {key}, count(*) as messages, {sums}, max(last_open) as last_open from counted group by {key})
            left join (select {key}, {quantiles}
                       from (select {key}, unnest(first_opens) as list_value from counted) group by {key}) using ({key})""")
    shown = f"""{', '.join((*TOTALS, *RATES))},
        round(first_open_p50, 3) as time_to_first_open_p50_s, round(first_open_p90, 3) as time_to_first_open_p90_s,
        opens_before_delivery, strftime(last_open, '%Y-%m-%dT%H:%M:%SZ') as last_open"""
    weight = " ".join(f"when type = '{kind}' and not machine then {weight}" for kind, weight in WEIGHTS.items())
    age_days = f"(epoch(timestamptz '{until.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}+00') - epoch(time)) / 86400.0"
    recipients = f"""
        select contact_kind || ':' || contact_id as geosealsubject, contact_kind, contact_id, count(*) as events,
          count_if(type = 'sent') as sent, count_if(type = 'delivered') as delivered,
          count_if(type = 'opened') as opens_raw, count_if(type = 'opened' and not machine) as opens,
          count_if(type = 'clicked' and not machine) as clicks,
          count_if(type = 'attachment-viewed' and not machine) as attachment_views,
          count_if(type = 'replied' and not machine) as replies,
          strftime(max(time) filter (type = 'opened' and not machine), '%Y-%m-%dT%H:%M:%SZ') as last_open,
          round(sum(case {weight} else 0 end * pow(0.5, {age_days} / {HALF_LIFE_DAYS}) order by time, id), 6) as engagement
        from event group by contact_kind, contact_id"""
    return {
        "message": table(db, f"select message_id, {shown} from rates(by_message) order by message_id"),
        "template": table(db, f"select template_id, messages, {shown} from rates(by_template) where template_id is not null "
                              "order by template_id"),
        "recipient": table(db, f"""
            select * exclude (rank), case when engagement > 0 and rank <= {MOST_ENGAGED} then rank end as most_engaged from (
              select *, rank() over (order by engagement desc, contact_kind, contact_id) as rank from ({recipients}))
            order by contact_kind, contact_id"""),
    }


def table(db, query):
    rows = db.sql(query).to_arrow_table().to_pylist()
    return [{name: plain(value) for name, value in row.items()} for row in rows]


def plain(value):
    """Sums come as decimals of large integers."""
    return int(value) if not isinstance(value, (float, str, bool, type(None))) else value


def encoded(value):
    """As one line of JSON; no NaN can be in it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
