-- Figures over one day of e-mail interactions. `events` has one row for each event: id, type, time, recipient,
-- message_id, template_id, contact_kind, contact_id, machine, hard.
--
-- Opens are an approximation whatever one does: a blocked image is an open not seen, a scanner's fetch is one that nobody
-- made. What a provider marks as made by a machine counts in the totals that end in `_raw` and nowhere else.

create temp table event as
select * exclude (line)
from (select *, row_number() over (partition by id order by time, type, recipient, message_id) as line from events)
where line = 1;

-- One row for each recipient of each message.
create temp table pair as
select
  message_id, recipient,
  min(template_id) as template_id,
  count_if(type = 'sent') as sends,
  count_if(type = 'delivered') as deliveries,
  min(time) filter (type = 'delivered') as delivered_at,
  max(time) filter (type = 'delivered') as last_delivered_at,
  max(time) filter (type = 'bounced' and hard) as bounced_at,
  min(time) filter (type = 'opened' and not machine) as opened_at,
  max(time) filter (type = 'opened' and not machine) as last_opened_at,
  count_if(type = 'opened') as opens_raw,
  count_if(type = 'opened' and not machine) as opens,
  count_if(type = 'clicked') as clicks_raw,
  count_if(type = 'clicked' and not machine) as clicks,
  count_if(type = 'attachment-viewed') as attachment_views_raw,
  count_if(type = 'attachment-viewed' and not machine) as attachment_views,
  count_if(type = 'replied') as replies_raw,
  count_if(type = 'replied' and not machine) as replies,
  count_if(type = 'bounced') as bounces,
  count_if(type = 'complained') as complaints
from event
group by message_id, recipient;

-- Delivered: with no later hard bounce. An open that is older than its delivery took no time, and is flagged.
create temp table delivery as
select *,
  last_delivered_at is not null and (bounced_at is null or bounced_at <= last_delivered_at) as delivered,
  case when opened_at is not null and delivered_at is not null
    then greatest(0, epoch(opened_at) - epoch(delivered_at)) end as first_open_s,
  coalesce(opened_at < delivered_at, false) as open_before_delivery
from pair;

-- The template of a message is told by some of its events only.
create temp table template_of as select message_id, min(template_id) as template_id from pair group by message_id;

create macro rate(part, whole) as case when whole = 0 then null else round(part / whole, 6) end;

create temp table counted as
select
  d.message_id, t.template_id,
  sum(d.sends) as sends, count_if(d.sends > 0) as sent,
  sum(d.deliveries) as deliveries, count_if(d.delivered) as delivered,
  sum(d.opens_raw) as opens_raw, sum(d.opens) as opens, count_if(d.opens > 0) as openers,
  sum(d.clicks_raw) as clicks_raw, sum(d.clicks) as clicks, count_if(d.clicks > 0) as clickers,
  sum(d.attachment_views_raw) as attachment_views_raw, sum(d.attachment_views) as attachment_views,
  count_if(d.attachment_views > 0) as attachment_viewers,
  sum(d.replies_raw) as replies_raw, sum(d.replies) as replies, count_if(d.replies > 0) as repliers,
  sum(d.bounces) as bounces, count_if(d.bounces > 0) as bounced,
  sum(d.complaints) as complaints, count_if(d.complaints > 0) as complained,
  count_if(d.open_before_delivery) as opens_before_delivery,
  max(d.last_opened_at) as last_open,
  list(d.first_open_s) filter (d.first_open_s is not null) as first_opens
from delivery d join template_of t using (message_id)
group by d.message_id, t.template_id;

create macro rates(grouped) as table
select *,
  rate(openers, delivered) as open_rate, rate(clickers, delivered) as click_rate,
  rate(attachment_viewers, delivered) as attachment_rate, rate(repliers, delivered) as reply_rate,
  rate(clickers, openers) as click_to_open, rate(bounced, sent) as bounce_rate, rate(complained, sent) as complaint_rate
from query_table(grouped);
