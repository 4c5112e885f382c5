//! One event: what it has to say, and what it is stored as.

use crate::model::classes::{CLASS_METADATA, Class, FOLLOW_METADATA, MESSAGE_METADATA, OCCURRED_METADATA};
use crate::model::limits::{INGEST_EVENT_BYTES_MAX, METADATA_BYTES_MAX};
use crate::model::names::{ObjectName, SUBJECT_METADATA, SubjectName};
use crate::model::time::Millis;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt;

/// The content type that an event is stored with.
pub const EVENT_TYPE: &str = "application/cloudevents+json";

/// The beginning of `source` in what the adapters of `examples/email-interactions` make.
const OURS: &str = "urn:email-provider:";
/// What `type` says before the kind of interaction.
const TYPE: &str = "email.interaction.";
/// The kinds.
const KINDS: [&str; 9] =
    ["sent", "delivered", "opened", "clicked", "attachment-viewed", "replied", "bounced", "complained", "unsubscribed"];

/// An event that can be stored. `Debug` prints nothing of it.
#[derive(PartialEq, Eq)]
pub struct Event<'a> {
    /// Under which name.
    pub name: ObjectName,
    /// With which user metadata, in order: class, subject, message, when it occurred.
    pub metadata: Vec<(String, String)>,
    /// The event as it came.
    pub bytes: &'a str,
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} bytes)", self.bytes.len())
    }
}

/// Why an event is not stored. Says what it has to be, never what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEvent {
    /// Over [`INGEST_EVENT_BYTES_MAX`].
    #[error("an event has at most 262144 bytes: leave out what is not needed of it")]
    TooLarge,
    /// A `type` that is none of ours.
    #[error(
        "type is email.interaction.sent, delivered, opened, clicked, attachment-viewed, replied, bounced, complained or unsubscribed: send no other"
    )]
    UnknownType,
    /// Not a CloudEvent, or a member that we need is missing or is something else.
    #[error("{0}")]
    Malformed(&'static str),
}

const _: () = assert!(INGEST_EVENT_BYTES_MAX == 262_144, "the message says how many");

impl BadEvent {
    /// The word for programs; stays the same between releases.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "EventTooLarge",
            Self::UnknownType => "UnknownEventType",
            Self::Malformed(_) => "MalformedEvent",
        }
    }
}

/// What is read of an event. Values stay raw, so that what is wrong is told by the member's name and not by its value.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    geosealfollow: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    contact_kind: Option<&'a RawValue>,
    #[serde(borrow)]
    contact_id: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// Whether it registers its message as followed: it comes before what happened to the message.
    pub fn follows(&self) -> bool {
        self.metadata.iter().any(|(name, _)| name == FOLLOW_METADATA)
    }

    /// Reads one event.
    pub(super) fn read(text: &'a str) -> Result<Self, BadEvent> {
        if text.len() > INGEST_EVENT_BYTES_MAX {
            return Err(BadEvent::TooLarge);
        }
        let event: Envelope<'_> = object(text, "an event is a JSON object, no member of it twice")?;
        if string(event.specversion).as_deref() != Some("1.0") {
            return Err(BadEvent::Malformed("specversion is \"1.0\""));
        }
        let id = member(event.id, "id is a text that is not empty, and the same when the event is sent again")?;
        let source = member(event.source, "source is a text that is not empty: who gave the id")?;
        let kind = member(event.kind, "type is a text: email.interaction. and what happened")?;
        if !kind.strip_prefix(TYPE).is_some_and(|kind| KINDS.contains(&kind)) {
            return Err(BadEvent::UnknownType);
        }
        let time = string(event.time).and_then(|time| time.parse().ok()).filter(|time: &Millis| time.0 >= 0);
        let time = time.ok_or(BadEvent::Malformed("time is when it happened, RFC 3339: 2026-11-20T11:30:00Z"))?;
        let follow = match event.geosealfollow.map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(BadEvent::Malformed("geosealfollow is true or false")),
        };
        let data = event.data.ok_or(NO_DATA)?;
        let data: Data<'_> = object(data.get(), "data is a JSON object, no member of it twice")?;
        let metadata = metadata(&data, time, follow)?;
        Ok(Self { name: name(&source, &id, time)?, metadata, bytes: text })
    }
}

const NO_DATA: BadEvent = BadEvent::Malformed("data is a JSON object with message_id, contact_kind and contact_id");

/// Whose event it is, of which message, and when it happened: as an upload says it.
fn metadata(data: &Data<'_>, time: Millis, follow: bool) -> Result<Vec<(String, String)>, BadEvent> {
    let kind = string(data.contact_kind).filter(|kind| kind == "contact" || kind == "lead");
    let kind = kind.ok_or(BadEvent::Malformed("data.contact_kind is contact or lead"))?;
    let id = string(data.contact_id).filter(|id| SubjectName::parse(id).is_ok());
    let subject = id.map(|id| format!("{kind}:{id}")).filter(|subject| SubjectName::parse(subject).is_ok());
    let subject = subject.ok_or(BadEvent::Malformed(
        "data.contact_id is a text of at most 248 bytes, without control characters and without white space at its ends",
    ))?;
    let plain = |text: &String| !text.is_empty() && text.trim() == text && !text.contains(char::is_control);
    let message = string(data.message_id).filter(plain).ok_or(BadEvent::Malformed(
        "data.message_id is a text that is not empty, without control characters and without white space at its ends",
    ))?;
    let mut metadata = vec![(CLASS_METADATA.to_owned(), Class::Interaction.as_str().to_owned())];
    if follow {
        metadata.push((FOLLOW_METADATA.to_owned(), "true".to_owned()));
    }
    metadata.push((MESSAGE_METADATA.to_owned(), message));
    metadata.push((OCCURRED_METADATA.to_owned(), time.to_string()));
    metadata.push((SUBJECT_METADATA.to_owned(), subject));
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(BadEvent::Malformed("data.message_id and data.contact_id have at most 1900 bytes together"));
    }
    Ok(metadata)
}

/// What makes it the same event when it comes again: SHA-256, in hex. The same as in `examples/email-interactions`, so that
/// what came in one way is not stored again the other way: of what the adapters there made, its id, which is such a hash
/// of what the provider says; of any other, of its source and its id there.
fn token(source: &str, id: &str) -> String {
    let hash = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if source.starts_with(OURS) && id.len() == 64 && id.bytes().all(hash) {
        return id.to_owned();
    }
    let mut hash = Sha256::new();
    for part in [source, id] {
        // Each with its length before it, in characters: no two pairs run into one another.
        hash.update(format!("{}:{part}", part.chars().count()));
    }
    hex::encode(hash.finalize())
}

/// The day and hour in which it happened, and what makes it the same event.
fn name(source: &str, id: &str, time: Millis) -> Result<ObjectName, BadEvent> {
    let token = token(source, id);
    let hour = jiff::Timestamp::from_millisecond(time.0).map_err(|_| BadEvent::Malformed("time is out of range"))?;
    let name = format!("interactions/{}/{token}.json", hour.strftime("dt=%Y-%m-%d/hr=%H"));
    ObjectName::parse(name).map_err(|_| BadEvent::Malformed("time is out of range"))
}

fn object<'a, T: Deserialize<'a>>(text: &'a str, rule: &'static str) -> Result<T, BadEvent> {
    // An array would do for a struct as well.
    let text = if text.trim_start().starts_with('{') { text } else { return Err(BadEvent::Malformed(rule)) };
    serde_json::from_str(text).map_err(|_| BadEvent::Malformed(rule))
}

fn string(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn member(raw: Option<&RawValue>, rule: &'static str) -> Result<String, BadEvent> {
    string(raw).filter(|text| !text.is_empty()).ok_or(BadEvent::Malformed(rule))
}
