//! Entries and their changes, and how both are written: the plaintext of a generation, of a shard, of a frame.

use std::collections::BTreeMap;
use zeroize::Zeroizing;

pub(crate) type Entries = BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>;

/// One change of one entry.
pub(crate) enum Change {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl Change {
    pub(super) fn key(&self) -> &[u8] {
        let (Self::Put(key, _) | Self::Remove(key)) = self;
        key
    }
}

pub(super) fn apply(entries: &mut Entries, change: Change) {
    match change {
        Change::Put(key, value) => {
            entries.insert(key, Zeroizing::new(value));
        }
        Change::Remove(key) => {
            entries.remove(&key);
        }
    }
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const ENTRIES_VERSION: u8 = 1;

/// `version | generation | (u16 len | key | u32 len | value)*`, in order of keys.
pub(super) fn encode_entries<'a>(
    generation: u64,
    entries: impl Iterator<Item = (&'a Vec<u8>, &'a Zeroizing<Vec<u8>>)>,
) -> Zeroizing<Vec<u8>> {
    let entries: Vec<_> = entries.collect();
    let len = 9 + entries.iter().map(|(key, value)| 6 + key.len() + value.len()).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(len));
    out.push(ENTRIES_VERSION);
    out.extend_from_slice(&generation.to_be_bytes());
    for (key, value) in entries {
        put_entry(&mut out, key, value);
    }
    out
}

pub(super) fn decode_entries(plain: &[u8]) -> Option<(u64, Entries)> {
    let (&version, rest) = plain.split_first()?;
    let (generation, mut rest) = rest.split_first_chunk::<8>()?;
    if version != ENTRIES_VERSION {
        return None;
    }
    let mut entries = Entries::new();
    while !rest.is_empty() {
        let (key, value) = take_entry(&mut rest)?;
        entries.insert(key, Zeroizing::new(value));
    }
    Some((u64::from_be_bytes(*generation), entries))
}

/// `(op | u16 len | key | u32 len | value)*`; a removal has an empty value.
pub(super) fn encode_changes(changes: &[Change]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(256 * changes.len()));
    for change in changes {
        match change {
            Change::Put(key, value) => {
                out.push(PUT);
                put_entry(&mut out, key, value);
            }
            Change::Remove(key) => {
                out.push(REMOVE);
                put_entry(&mut out, key, &[]);
            }
        }
    }
    out
}

pub(super) fn decode_changes(mut rest: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while let Some((op, after)) = rest.split_first() {
        rest = after;
        let (key, value) = take_entry(&mut rest)?;
        changes.push(match *op {
            PUT => Change::Put(key, value),
            REMOVE if value.is_empty() => Change::Remove(key),
            _ => return None,
        });
    }
    Some(changes)
}

fn put_entry(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let key_len = u16::try_from(key.len()).expect("entry keys are some tens of bytes");
    let value_len = u32::try_from(value.len()).expect("entries are some KiB at most");
    out.extend_from_slice(&key_len.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&value_len.to_be_bytes());
    out.extend_from_slice(value);
}

fn take_entry(rest: &mut &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (len, after) = rest.split_first_chunk::<2>()?;
    let (key, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (len, after) = after.split_first_chunk::<4>()?;
    let (value, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = after;
    Some((key.to_vec(), value.to_vec()))
}
