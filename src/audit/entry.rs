//! One line of the log.
//!
//! ```text
//! {"index":7,"time":"2026-11-20T11:30:00Z","proven":"2026-11-20T11:30:00Z","actor":"token-3","act":{..},"prev":"<64 hex>","hash":"<64 hex>"}
//! ```
//!
//! `hash` is the SHA-256 of the line up to, and without, `,"hash":`; so anybody can check a line with `sha256sum` and no
//! JSON library has a say in it. `prev` is the `hash` of the line before.

use super::{Act, Event};
use crate::model::clock::Reading;
use crate::model::ids::TenantId;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A SHA-256, in hexadecimal wherever it is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of the parts in a row.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        Self(context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// Who acts, as an opaque id: `token-3`, `sweeper`, `key-service`. Never a person's name or a login.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Actor(String);

/// The text was not an actor's id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an actor is 1 to 64 of [A-Za-z0-9:._-]")]
pub struct BadActor;

impl Actor {
    /// The house itself: one of its parts, by a fixed name.
    pub fn part(name: &'static str) -> Self {
        name.parse().expect("parts have plain names")
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = BadActor;

    fn from_str(text: &str) -> Result<Self, BadActor> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b":._-".contains(&b);
        let good = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        if good { Ok(Self(text.to_owned())) } else { Err(BadActor) }
    }
}

/// An entry as it was read back.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its place, from 0, without a gap.
    pub index: u64,
    /// Wall time, RFC 3339.
    pub time: String,
    /// The compliance clock's proven time, RFC 3339.
    pub proven: String,
    /// Who acted.
    pub actor: String,
    /// What happened, as it stands in the line: `event` and its fields. A later release may write events that this one
    /// does not know; they verify all the same.
    pub act: serde_json::Map<String, serde_json::Value>,
    /// Hash of the entry before.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
}

impl Entry {
    /// The event, unless a later release wrote it.
    pub fn event(&self) -> Option<Event> {
        serde_json::from_value(self.act.clone().into()).ok()
    }

    /// The event's name, `tenant-terminated`.
    pub fn name(&self) -> &str {
        self.act.get("event").and_then(|name| name.as_str()).unwrap_or("unknown")
    }

    /// The tenant it is about.
    pub fn tenant(&self) -> Option<TenantId> {
        self.act.get("tenant")?.as_str()?.parse().ok()
    }

    /// Its other fields, as text.
    pub fn detail(&self) -> BTreeMap<String, String> {
        let others = self.act.iter().filter(|(name, _)| !matches!(name.as_str(), "event" | "tenant"));
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        others.map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

const HASH_FIELD: &str = ",\"hash\":\"";
/// `,"hash":"`, 64 digits, `"}`
const TAIL_BYTES: usize = HASH_FIELD.len() + 64 + 2;

/// Writes the line of `act`, without its line feed, and gives its hash.
pub(super) fn line(index: u64, prev: Hash, act: &Act, now: &Reading) -> (String, Hash) {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        index: u64,
        time: String,
        proven: String,
        actor: &'a Actor,
        act: &'a Event,
        prev: Hash,
    }
    let (time, proven) = (now.wall.to_string(), now.cc_lo.to_string());
    let body = Body { index, time, proven, actor: &act.actor, act: &act.event, prev };
    let mut line = serde_json::to_string(&body).expect("an entry has a JSON form");
    line.pop();
    let hash = Hash::of(&[line.as_bytes()]);
    line.push_str(&format!("{HASH_FIELD}{hash}\"}}"));
    (line, hash)
}

/// Reads a line whose hash fits its bytes; `None` for any other.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let (body, tail) = line.split_at_checked(line.len().checked_sub(TAIL_BYTES)?)?;
    let hash = Hash::of(&[body]);
    // Compared as text, so that not even the case of a digit can be changed.
    if tail != format!("{HASH_FIELD}{hash}\"}}").as_bytes() {
        return None;
    }
    serde_json::from_slice(line).ok()
}
