//! E-mail interaction records of real shape, any number of them, the same for the same seed.
//!
//! The mix and the sizes are those of real systems: of a hundred records 70 are flat provider events or CloudEvents of
//! 0.25-0.7 KB, 20 are SES events of 1.2-1.6 KB, 7 are inbound receipts or whole messages of 2-10 KB; the full mix
//! turns 2.5 of a hundred into hourly batches of 64 KiB to 4 MiB and one in two hundred into an attachment of 8 to
//! 64 MiB. Receipts and messages are varied from the real ones of [`fixtures`].

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fixtures::{self, Fixture};

/// One object to store.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The object's name, `interactions/dt=2026-11-20/hr=11/<ulid>.json` and the like. Unique within a run.
    pub name: String,
    /// Whom it is about, `contact:N`: goes into the metadata `geoseal-subject`.
    pub subject: String,
    /// What it is: goes into the metadata `geoseal-class`.
    pub class: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Which sizes occur.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Records only, up to 10 KB.
    Small,
    /// Also hourly batches and attachments: three hundred records are about half a gigabyte.
    Full,
}

/// An endless sequence of records.
pub struct Records {
    rng: Rng,
    mix: Mix,
    now: i64,
    receipts: Vec<Value>,
    emails: Vec<Fixture>,
}

/// The first record's time: 2026-11-20T11:00:00Z, in milliseconds.
const BEGIN_MS: i64 = 1_795_172_400_000;

impl Records {
    /// The sequence of that seed.
    pub fn new(seed: u64, mix: Mix) -> Self {
        let receipts =
            fixtures::ses().into_iter().map(|f| serde_json::from_slice(&f.bytes).expect("SES fixtures are JSON"));
        let emails = fixtures::emails().into_iter().filter(|f| f.bytes.len() < 9_000).collect();
        Self { rng: Rng::with_seed(seed), mix, now: BEGIN_MS, receipts: receipts.collect(), emails }
    }

    fn record(&mut self) -> Record {
        self.now += self.rng.i64(1..800);
        let contact = self.rng.u32(1..50_000);
        let per_mille = self.rng.u32(0..1000);
        let batches = self.mix == Mix::Full;
        let (class, content_type, ending, body) = match per_mille {
            995.. if batches => ("attachment", "application/octet-stream", "bin", self.attachment()),
            970.. if batches => ("interaction", "application/x-ndjson", "ndjson", self.batch()),
            935.. => ("message", "message/rfc822", "eml", self.message(contact)),
            900.. => ("interaction", "application/json", "json", to_bytes(&self.receipt(contact))),
            700.. => ("interaction", "application/json", "json", to_bytes(&self.ses_event(contact))),
            _ => ("interaction", "application/json", "json", to_bytes(&self.flat_event(contact))),
        };
        let folder = time(self.now).strftime("interactions/dt=%Y-%m-%d/hr=%H");
        let name = format!("{folder}/{}.{ending}", self.ulid());
        Record { name, subject: format!("contact:{contact}"), class, content_type, body }
    }

    /// 0.25-0.7 KB: what SendGrid and Postmark send, and the CloudEvents form that we recommend.
    fn flat_event(&mut self, contact: u32) -> Value {
        let when = time(self.now);
        let kind = self.rng.usize(0..KINDS.len());
        match self.rng.u8(0..3) {
            0 => json!({
                "email": address(contact), "timestamp": when.as_second(), "event": KINDS[kind].sendgrid,
                "sg_event_id": self.token(22), "sg_message_id": format!("{}.filter{:04}", self.token(22), self.rng.u16(0..2000)),
                "smtp-id": format!("<{}@ismtpd0{}>", self.token(22), self.rng.u8(1..9)),
                "category": ["newsletter", self.pick(&TEMPLATES)], "ip": self.ip(), "useragent": self.pick(&AGENTS),
                "url": format!("https://{}/t/{}", self.pick(&HOSTS), self.token(12)),
            }),
            1 => json!({
                "RecordType": KINDS[kind].postmark, "MessageStream": "outbound", "FirstOpen": self.rng.bool(),
                "Recipient": address(contact), "MessageID": self.uuid(), "ReceivedAt": when.to_string(),
                "Platform": self.pick(&["WebMail", "Desktop", "Mobile", "Unknown"]), "ReadSeconds": self.rng.u8(..60),
                "Tag": self.pick(&TEMPLATES), "UserAgent": self.pick(&AGENTS), "Metadata": {"contact": contact.to_string()},
            }),
            _ => json!({
                "specversion": "1.0", "id": self.uuid(), "source": format!("https://{}/mail", self.pick(&HOSTS)),
                "type": format!("email.interaction.{}", KINDS[kind].ours), "time": when.to_string(), "subject": address(contact),
                "data": {
                    "message_id": format!("<{}@{}>", self.token(24), self.pick(&HOSTS)), "template_id": self.pick(&TEMPLATES),
                    "contact_kind": "contact", "contact_id": contact.to_string(), "ip": self.ip(),
                    "user_agent": self.pick(&AGENTS), "machine": self.rng.u8(..10) == 0, "provider": "ses", "provider_id": self.token(60),
                },
            }),
        }
    }

    /// 1.2-1.6 KB: an SES event publishing record.
    fn ses_event(&mut self, contact: u32) -> Value {
        let (sent, when) = (time(self.now - self.rng.i64(1000..90_000_000)), time(self.now));
        let kind = self.rng.usize(0..KINDS.len());
        let (from, to) = (format!("{} <news@{}>", self.pick(&SENDERS), self.pick(&HOSTS)), address(contact));
        let subject = self.pick(&SUBJECTS);
        let message = format!("01000{}-{}-000000", self.token(11), self.uuid());
        let mut event = json!({
            "eventType": KINDS[kind].ses,
            "mail": {
                "timestamp": sent.to_string(), "source": from, "sendingAccountId": "123456789012", "messageId": message,
                "sourceArn": format!("arn:aws:ses:eu-central-1:123456789012:identity/{}", self.pick(&HOSTS)),
                "destination": [to], "headersTruncated": false,
                "headers": [
                    {"name": "From", "value": from}, {"name": "To", "value": to}, {"name": "Subject", "value": subject},
                    {"name": "MIME-Version", "value": "1.0"},
                    {"name": "Content-Type", "value": format!("multipart/alternative; boundary=\"----=_Part_{}\"", self.token(18))},
                ],
                "commonHeaders": {"from": [from], "to": [to], "messageId": message, "subject": subject},
                "tags": {
                    "ses:configuration-set": ["interactions"], "ses:source-ip": [self.ip()],
                    "ses:from-domain": [self.pick(&HOSTS)], "ses:caller-identity": ["mailer"], "template": [self.pick(&TEMPLATES)],
                },
            },
        });
        let what = KINDS[kind].ses.to_ascii_lowercase();
        event[what] = json!({
            "timestamp": when.to_string(), "ipAddress": self.ip(), "userAgent": self.pick(&AGENTS),
            "link": format!("https://{}/t/{}", self.pick(&HOSTS), self.token(40)), "linkTags": null,
        });
        event
    }

    /// 2-4 KB: a real SES receipt with other people, other ids and another time in it.
    fn receipt(&mut self, contact: u32) -> Value {
        let mut receipt = self.receipts[self.rng.usize(0..self.receipts.len())].clone();
        let (when, to, message) = (time(self.now).to_string(), address(contact), self.token(40));
        let subject = self.pick(&SUBJECTS);
        let ses = &mut receipt["Records"][0]["ses"];
        ses["mail"]["timestamp"] = json!(when);
        ses["mail"]["messageId"] = json!(message);
        ses["mail"]["destination"] = json!([to]);
        ses["mail"]["commonHeaders"]["to"] = json!([to]);
        ses["mail"]["commonHeaders"]["subject"] = json!(subject);
        ses["receipt"]["timestamp"] = json!(when);
        ses["receipt"]["recipients"] = json!([to]);
        receipt
    }

    /// 2-10 KB: a real message behind the headers that one more hop adds, followed by quoted text.
    fn message(&mut self, contact: u32) -> Vec<u8> {
        let goal = self.rng.usize(2_048..9_500);
        let mut message = format!(
            "Received: from {} ([{}]) by inbound.example with ESMTPS id {}; {}\r\nDelivered-To: {}\r\n",
            self.pick(&HOSTS),
            self.ip(),
            self.token(20),
            time(self.now).strftime("%a, %d %b %Y %H:%M:%S +0000"),
            address(contact),
        )
        .into_bytes();
        message.extend_from_slice(&self.emails[self.rng.usize(0..self.emails.len())].bytes);
        while message.len() < goal {
            message.extend_from_slice(format!("> {} {}\r\n", self.pick(&SUBJECTS), self.token(30)).as_bytes());
        }
        message
    }

    /// 64 KiB to 4 MiB: an hour of SES events, one a line.
    fn batch(&mut self) -> Vec<u8> {
        let goal = self.rng.usize(64 * 1024..4 * 1024 * 1024 - 2_048);
        let mut batch = vec![];
        while batch.len() < goal {
            let contact = self.rng.u32(1..50_000);
            batch.extend(to_bytes(&self.ses_event(contact)));
            batch.push(b'\n');
        }
        batch
    }

    /// 8 to 64 MiB that do not compress.
    fn attachment(&mut self) -> Vec<u8> {
        bytes(self.rng.u64(..), self.rng.usize(8 << 20..64 << 20))
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.usize(0..from.len())]
    }

    fn token(&mut self, length: usize) -> String {
        (0..length).map(|_| self.rng.alphanumeric()).collect()
    }

    fn ip(&mut self) -> String {
        format!("203.0.113.{}", self.rng.u8(1..255))
    }

    fn uuid(&mut self) -> String {
        let r = self.rng.u128(..);
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            r >> 96,
            r >> 80 & 0xffff,
            r >> 68 & 0xfff,
            r >> 56 & 0xfff,
            r & ((1 << 48) - 1)
        )
    }

    /// Time and randomness in Crockford's base 32, so that names sort by time. Source: the ULID specification.
    fn ulid(&mut self) -> String {
        let millis = u128::try_from(self.now).expect("after 1970");
        let value = millis << 80 | self.rng.u128(..) >> 48;
        let digit = |at: u32| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(value >> (5 * at) & 31) as usize] as char;
        (0..26).rev().map(digit).collect()
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        Some(self.record())
    }
}

/// Any number of bytes that do not compress, the same for the same seed.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value can be written")
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("within the calendar")
}

fn address(contact: u32) -> String {
    format!("contact.{contact}@example.com")
}

/// One kind of interaction, as each provider calls it.
struct Kind {
    ours: &'static str,
    postmark: &'static str,
    sendgrid: &'static str,
    ses: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { ours: "delivered", postmark: "Delivery", sendgrid: "delivered", ses: "Delivery" },
    Kind { ours: "opened", postmark: "Open", sendgrid: "open", ses: "Open" },
    Kind { ours: "clicked", postmark: "Click", sendgrid: "click", ses: "Click" },
    Kind { ours: "bounced", postmark: "Bounce", sendgrid: "bounce", ses: "Bounce" },
    Kind { ours: "complained", postmark: "SpamComplaint", sendgrid: "spamreport", ses: "Complaint" },
];

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Thunderbird/128.4.0",
];
const HOSTS: [&str; 3] = ["mail.example.com", "links.example.org", "post.example.net"];
const SENDERS: [&str; 3] = ["Zoë Ångström", "Fabrikam Sales", "株式会社コントソ"];
const SUBJECTS: [&str; 4] =
    ["Your order is on its way", "Re: offer for the second half of the year", "Grüße aus Köln", "Ürün güncellemesi"];
const TEMPLATES: [&str; 3] = ["welcome-2026-11", "order-confirmation", "quarterly-review-v3"];

#[cfg(test)]
mod tests {
    use aws_lambda_events::ses::SimpleEmailEvent;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_records_and_another_seed_others() {
        let take = |seed| Records::new(seed, Mix::Small).take(500).collect::<Vec<_>>();
        assert!(take(7) == take(7));
        assert!(take(7) != take(8));
    }

    #[test]
    fn names_are_unique_and_sort_by_time() {
        let names: Vec<String> = Records::new(1, Mix::Small).take(20_000).map(|r| r.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert!(names[0].starts_with("interactions/dt=2026-11-20/hr=11/"), "{}", names[0]);
    }

    #[test]
    fn sizes_and_shares_are_those_of_the_load_model() {
        let mut counts = [0u32; 3];
        for record in Records::new(2, Mix::Small).take(20_000) {
            match record.body.len() {
                250..=700 => counts[0] += 1,
                1_200..=1_600 => counts[1] += 1,
                1_800..=10_240 => counts[2] += 1,
                other => panic!("{other} bytes: {}", String::from_utf8_lossy(&record.body)),
            }
        }
        for (count, share) in counts.iter().zip([14_000u32, 4_000, 2_000]) {
            assert!(count.abs_diff(share) < 300, "{counts:?}");
        }
    }

    #[test]
    fn the_full_mix_has_batches_and_attachments_within_their_bounds() {
        let (mut batches, mut attachments) = (0, 0);
        for record in Records::new(3, Mix::Full).take(400) {
            match record.content_type {
                "application/x-ndjson" => {
                    batches += 1;
                    assert!((64 << 10..4 << 20).contains(&record.body.len()));
                    assert!(record.body.split(|b| *b == b'\n').all(|l| l.is_empty() || l[0] == b'{'));
                }
                "application/octet-stream" => {
                    attachments += 1;
                    assert!((8 << 20..64 << 20).contains(&record.body.len()));
                }
                _ => assert!(record.body.len() <= 10_240),
            }
        }
        assert!(batches > 0 && attachments > 0, "{batches} {attachments}");
    }

    #[test]
    fn receipts_are_what_aws_calls_an_ses_event() {
        let mut records = Records::new(4, Mix::Small);
        for contact in 0..200 {
            let receipt = records.receipt(contact);
            let event: SimpleEmailEvent = serde_json::from_value(receipt).expect("the crate's own type reads it");
            assert_eq!(event.records[0].ses.mail.destination, [address(contact)]);
        }
    }
}
