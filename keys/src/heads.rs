//! The newest heads the key service keeps for others: a region's index anchor, the audit log's head. They change often,
//! so each has a small sealed file of its own with one `fdatasync` a write; that a head exists at all stands in the key
//! store, so a deleted file is noticed.

use crate::context::Id;
use crate::disk::Slots;
use crate::entries::place;
use crate::error::{KeyError, KeystoreError, Refusal};
use crate::geo_keys::GeoKeys;
use crate::keystore::Change;
use crate::service::GeoKeyService;
use minicbor::{Decode, Encode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far something had come: a counter and the digest that goes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Head {
    /// Commits or entries so far.
    #[n(0)]
    pub counter: u64,
    /// Chained digest at that point.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

pub(crate) struct Heads {
    dir: PathBuf,
    keys: Arc<GeoKeys>,
    open: Mutex<HashMap<String, (Slots, Option<Head>)>>,
}

impl Heads {
    pub(crate) fn open(dir: PathBuf, keys: Arc<GeoKeys>) -> Result<Self, KeystoreError> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, keys, open: Mutex::new(HashMap::new()) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut (Slots, Option<Head>)) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut open = self.open.lock();
        if let Some(head) = open.get_mut(name) {
            return act(head);
        }
        act(open.entry(name.to_owned()).or_insert(self.read(name)?))
    }

    /// Under the active version of the geo's directory key, or the one before: whatever was written under a newer version is
    /// newer. What is written next is under the active one.
    fn read(&self, name: &str) -> Result<(Slots, Option<Head>), KeyError> {
        let mut keys = self.keys.head_keys().into_iter();
        let mut found = Err(std::io::ErrorKind::InvalidData.into());
        for key in keys.by_ref() {
            found = Slots::open(&self.dir.join(name), name.as_bytes(), key);
            if !matches!(&found, Err(error) if error.kind() == std::io::ErrorKind::InvalidData) {
                break;
            }
        }
        let (mut slots, value) = found.map_err(KeystoreError::from)?;
        if let Some(active) = self.keys.head_keys().into_iter().next() {
            slots.rekey(active);
        }
        let head = value.map(|value| Head::parse(&value).ok_or(KeystoreError::Damaged)).transpose()?;
        Ok((slots, head))
    }

    /// Writes every head anew under the active version of the geo's directory key, into both of its slots; durable on
    /// return. Answers how many there are.
    pub(crate) fn renew(&self) -> Result<u64, KeyError> {
        let mut open = self.open.lock();
        let mut renewed = 0;
        for file in std::fs::read_dir(&self.dir).map_err(KeystoreError::from)? {
            let name = file.map_err(KeystoreError::from)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if !open.contains_key(name) {
                open.insert(name.to_owned(), self.read(name)?);
            }
            let (Some((slots, newest)), Some(active)) = (open.get_mut(name), self.keys.head_keys().into_iter().next())
            else {
                continue;
            };
            slots.rekey(active);
            if let Some(head) = *newest {
                write_to(slots, newest, head)?;
                write_to(slots, newest, head)?;
                renewed += 1;
            }
        }
        Ok(renewed)
    }
}

impl Head {
    /// Before the first.
    pub const START: Self = Self { counter: 0, digest: [0; 32] };

    fn to_bytes(self) -> Vec<u8> {
        [&self.counter.to_be_bytes()[..], &self.digest].concat()
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (counter, digest) = value.split_first_chunk::<8>()?;
        Some(Self { counter: u64::from_be_bytes(*counter), digest: digest.try_into().ok()? })
    }
}

const AUDIT: &str = "audit";

impl GeoKeyService {
    /// Remembers how far the index of `region` has come; durable on return. `region` is `[a-z0-9-]`, at most 32 long.
    /// Refuses to go back.
    pub fn save_anchor(&self, region: &str, counter: u64, digest: [u8; 32]) -> Result<(), KeyError> {
        self.save_head(&anchor_name(region)?, Head { counter, digest })
    }

    /// The newest anchor of `region`; `None` if there never was one.
    pub fn anchor(&self, region: &str) -> Result<Option<Head>, KeyError> {
        self.head(&anchor_name(region)?)
    }

    /// Accepts that the index of `region` went back to `counter`: only for an operator who restored it and says why.
    pub fn danger_reset_anchor(&self, region: &str, counter: u64, digest: [u8; 32]) -> Result<(), KeyError> {
        let head = Head { counter, digest };
        self.heads.with(&anchor_name(region)?, |slot| write(slot, head))
    }

    /// Remembers the head of the geo's audit log; durable on return. Refuses to go back.
    pub fn save_audit_head(&self, entries: u64, digest: [u8; 32]) -> Result<(), KeyError> {
        self.save_head(AUDIT, Head { counter: entries, digest })
    }

    /// The newest head of the geo's audit log; `None` if there never was one.
    pub fn audit_head(&self) -> Result<Option<Head>, KeyError> {
        self.head(AUDIT)
    }

    fn save_head(&self, name: &str, head: Head) -> Result<(), KeyError> {
        let first = self.heads.with(name, |(slots, newest)| match newest {
            Some(newest) if newest.counter > head.counter => Err(Refusal::Backwards.into()),
            Some(_) => write_to(slots, newest, head).map(|()| false),
            None => write_to(slots, newest, head).map(|()| true),
        })?;
        if first {
            let mut store = self.store.lock();
            if store.entry(&place::head(name)).is_none() {
                store.commit(vec![Change::Put(place::head(name), vec![1])], &*self.provider)?;
            }
        }
        Ok(())
    }

    fn head(&self, name: &str) -> Result<Option<Head>, KeyError> {
        let head = self.heads.with(name, |(_, newest)| Ok(*newest))?;
        if head.is_none() && self.store.lock().entry(&place::head(name)).is_some() {
            return Err(KeystoreError::RolledBack.into());
        }
        Ok(head)
    }
}

fn write(slot: &mut (Slots, Option<Head>), head: Head) -> Result<(), KeyError> {
    write_to(&mut slot.0, &mut slot.1, head)
}

fn write_to(slots: &mut Slots, newest: &mut Option<Head>, head: Head) -> Result<(), KeyError> {
    slots.write(&head.to_bytes()).map_err(KeystoreError::from)?;
    *newest = Some(head);
    Ok(())
}

/// A file name that cannot leave its directory.
fn anchor_name(region: &str) -> Result<String, KeyError> {
    let fits = !region.is_empty() && region.len() <= 32;
    if !fits || !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(KeyError::Unknown);
    }
    Ok(format!("anchor-{region}"))
}

/// Sixteen zero-padded bytes for a geo's name; `None` unless it is 1..=16 of `[a-z0-9-]`.
///
/// ```
/// assert_eq!(geoseal_keys::geo_id("europe"), Some(*b"europe\0\0\0\0\0\0\0\0\0\0"));
/// assert_eq!(geoseal_keys::geo_id("Europe"), None);
/// ```
pub fn geo_id(name: &str) -> Option<Id> {
    let mut id = [0; 16];
    id.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (plain && !name.is_empty()).then_some(id)
}
