//! INGEST, pure: what a batch of CloudEvents says, and under which name and with which metadata each event is stored.
//!
//! Called by `s3`, for `POST /ingest/v1/events`, and by the fuzz target. Promises
//!
//! * that an event becomes what an upload of it would be: the same name, metadata and bytes, so that whatever is asked of
//!   an upload is asked of it;
//! * that an event which comes twice, alone, in a batch or as an upload, has one name;
//! * that a malformed event costs no other, and that no message repeats anything of an event.
//!
//! Must not know HTTP, nor where anything is stored. Source: docs/ingest.md; CloudEvents 1.0 and its JSON format.

mod event;
#[cfg(test)]
mod tests;

pub use event::{BadEvent, EVENT_TYPE, Event};

use crate::model::limits::INGEST_EVENTS_MAX;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What a body holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `application/cloudevents+json`: one event.
    Single,
    /// `application/cloudevents-batch+json`: an array of events.
    Batch,
}

/// Why a body is no batch of events: nothing of it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBody {
    /// Not JSON, or not of its form.
    #[error(
        "the body is not what its content type says: application/cloudevents-batch+json is a JSON array of events in UTF-8, application/cloudevents+json one event"
    )]
    Malformed,
    /// More events than there may be.
    #[error("a batch has at most 1000 events: send them in several")]
    TooMany,
}

const _: () = assert!(INGEST_EVENTS_MAX == 1000, "the message says how many");

impl Form {
    /// What a content type announces; its parameters do not matter.
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Some(Self::Single),
            "application/cloudevents-batch+json" => Some(Self::Batch),
            _ => None,
        }
    }

    /// The events of a body, in their order, each read for itself.
    pub fn read(self, body: &[u8]) -> Result<Vec<Result<Event<'_>, BadEvent>>, BadBody> {
        let text = std::str::from_utf8(body).map_err(|_| BadBody::Malformed)?;
        let events = match self {
            Self::Single => vec![serde_json::from_str::<&RawValue>(text).map_err(|_| BadBody::Malformed)?],
            Self::Batch => array(text)?,
        };
        Ok(events.into_iter().map(|event| Event::read(event.get())).collect())
    }
}

/// The members of an array. Stops at the first that is too many, so that a body of commas costs no memory.
fn array(text: &str) -> Result<Vec<&RawValue>, BadBody> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(member) = members.next_element::<&'de RawValue>()? {
                if found.len() == INGEST_EVENTS_MAX {
                    while members.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                found.push(member);
            }
            Ok(Some(found))
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    let found = json.deserialize_seq(Members).map_err(|_| BadBody::Malformed)?;
    json.end().map_err(|_| BadBody::Malformed)?;
    found.ok_or(BadBody::TooMany)
}
