//! What the audit log says in all: kept up entry by entry as the log grows, so that a report does not read all of it.

use super::restores::{KeysAgain, Restored, SubjectAgain};
use crate::audit::{Entry, Event, Hash};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use std::collections::HashMap;

/// That something happened: the entry, and its proven time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Index of the entry.
    pub index: u64,
    /// When, by the compliance clock.
    pub at: Millis,
}

/// A tenant's end, from its termination on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whose.
    pub tenant: TenantId,
    /// T.
    pub terminated: Seen,
    /// When it is to be destroyed, as the entry has it.
    pub due: String,
    /// An early destruction of it was approved, and not taken back: when, and due when.
    pub early: Option<(Seen, String)>,
    /// It was taken back.
    pub reinstated: Option<Seen>,
    /// Its destruction began.
    pub begun: Option<Seen>,
    /// It was found due and held.
    pub held: Option<Seen>,
    /// It is over.
    pub purged: Option<Seen>,
    /// The newest certificate of it.
    pub certificate: Option<(Seen, Hash)>,
}

/// A key's version: kind as in `key status` (`mk`, `gdk`, `tdk`, `srk`, `tik`), whose, number.
type KeyVersion = (&'static str, Option<TenantId>, u32);

/// The log so far.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    next: u64,
    first: Option<Seen>,
    last: HashMap<String, Seen>,
    ends: Vec<End>,
    made: HashMap<KeyVersion, Seen>,
    begun: HashMap<(&'static str, Option<TenantId>), Seen>,
    found: HashMap<String, Found>,
    holds: HashMap<(TenantId, String), Seen>,
    restored: Vec<Restored>,
}

/// What the newest probe of a kind found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How much of what it looked at is not as it has to be.
    pub failed: u64,
    /// In words: counts, no name.
    pub words: String,
}

impl Digest {
    /// The entry that it takes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The log's first entry.
    pub fn first(&self) -> Option<Seen> {
        self.first
    }

    /// The newest entry of that name, `master-rotation-ended`.
    pub fn last(&self, event: &str) -> Option<Seen> {
        self.last.get(event).copied()
    }

    /// Every termination, oldest first.
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// When a version of a key was made, as far as the log says.
    pub fn made(&self, kind: &'static str, tenant: Option<TenantId>, version: u32) -> Option<Seen> {
        self.made.get(&(kind, tenant, version)).copied()
    }

    /// What the newest probe of that name found, `listeners-probed`.
    pub fn found(&self, event: &str) -> Option<&Found> {
        self.found.get(event)
    }

    /// Every restore of a key store, oldest first.
    pub fn restored(&self) -> &[Restored] {
        &self.restored
    }

    /// How many holds are in force, and when the oldest of them was placed.
    pub fn holds(&self) -> (u64, Option<Seen>) {
        (self.holds.len() as u64, self.holds.values().copied().min_by_key(|seen| seen.index))
    }

    /// Takes the next entry; one that is not next is left alone.
    pub fn take(&mut self, entry: &Entry) {
        if entry.index != self.next {
            return;
        }
        self.next += 1;
        let Ok(at) = entry.proven.parse() else { return };
        let seen = Seen { index: entry.index, at };
        self.first.get_or_insert(seen);
        self.last.insert(entry.name().to_owned(), seen);
        if let Some(event) = entry.event() {
            self.tenants(&event, seen);
            self.keys(&event, seen);
            self.matters(&event, seen);
            self.restores(&event, seen);
            if let Some(found) = found(&event) {
                self.found.insert(entry.name().to_owned(), found);
            }
        }
    }

    /// From the entry of a restore to the start of the server, whatever is destroyed is destroyed again.
    fn restores(&mut self, event: &Event, seen: Seen) {
        if let Event::KeysRestored { tenants, subjects, roots, to_rotate, .. } = event {
            let (tenants, subjects, roots, to_rotate) = (*tenants, *subjects, *roots, *to_rotate);
            self.restored.push(Restored::begun(seen, KeysAgain { tenants, subjects, roots, to_rotate }));
            return;
        }
        let Some(restored) = self.restored.last_mut().filter(|restored| restored.served.is_none()) else { return };
        match event {
            Event::ServerStarted { .. } => restored.served = Some(seen),
            Event::TenantRedeleted { tenant } => restored.tenants.push(tenant.to_string()),
            Event::BatchRewritten { .. } => restored.batches += 1,
            Event::SubjectErased { tenant, subject, objects, uploads, blobs } => restored.subjects.push(SubjectAgain {
                tenant: tenant.to_string(),
                subject: subject.to_string(),
                entry: seen.index,
                objects: *objects,
                uploads: *uploads,
                blobs: *blobs,
            }),
            _ => {}
        }
    }

    fn matters(&mut self, event: &Event, seen: Seen) {
        match event {
            Event::HoldPlaced { tenant, hold } => _ = self.holds.insert((*tenant, hold.clone()), seen),
            Event::HoldReleased { tenant, hold } => _ = self.holds.remove(&(*tenant, hold.clone())),
            Event::TenantPurged { tenant } => self.holds.retain(|(of, _), _| of != tenant),
            _ => {}
        }
    }

    fn tenants(&mut self, event: &Event, seen: Seen) {
        match event {
            Event::TenantTerminated { tenant, due, .. } => self.ends.push(End {
                tenant: *tenant,
                terminated: seen,
                due: due.clone(),
                early: None,
                reinstated: None,
                begun: None,
                held: None,
                purged: None,
                certificate: None,
            }),
            Event::TenantReinstated { tenant, .. } => self.of(*tenant, |end| end.reinstated = Some(seen)),
            Event::EarlyPurgeInstructed { tenant, due, .. } => {
                self.of(*tenant, |end| end.early = Some((seen, due.clone())));
            }
            Event::EarlyPurgeCancelled { tenant } => self.of(*tenant, |end| end.early = None),
            Event::PurgeBegun { tenant } => self.of(*tenant, |end| _ = end.begun.get_or_insert(seen)),
            Event::PurgeHeld { tenant, .. } => self.of(*tenant, |end| _ = end.held.get_or_insert(seen)),
            Event::TenantPurged { tenant } => self.of(*tenant, |end| end.purged = Some(seen)),
            Event::CertificateIssued { tenant, certificate } => {
                self.of(*tenant, |end| end.certificate = Some((seen, *certificate)));
            }
            _ => {}
        }
    }

    fn of(&mut self, tenant: TenantId, change: impl FnOnce(&mut End)) {
        if let Some(end) = self.ends.iter_mut().rev().find(|end| end.tenant == tenant) {
            change(end);
        }
    }

    fn keys(&mut self, event: &Event, seen: Seen) {
        let mut make = |kind, tenant, version| _ = self.made.entry((kind, tenant, version)).or_insert(seen);
        match event {
            Event::TenantKeysCreated { tenant, version, .. } => {
                ["tdk", "srk", "tik"].into_iter().for_each(|kind| make(kind, Some(*tenant), *version));
            }
            Event::TenantRotationBegun { tenant, to, .. } => make("tdk", Some(*tenant), *to),
            Event::MasterRotationBegun { to, .. } => make("mk", None, *to),
            Event::ReencryptionEnded { tenant, to, .. } => make("tdk", Some(*tenant), *to),
            Event::RootRotationBegun { tenant, kind, .. } => {
                self.begun.insert((root(kind), Some(*tenant)), seen);
            }
            Event::RootRotationEnded { tenant, kind, to, .. } => {
                let begun = self.begun.get(&(root(kind), Some(*tenant))).copied();
                self.made.entry((root(kind), Some(*tenant), *to)).or_insert(begun.unwrap_or(seen));
            }
            Event::DirectoryKeyRotationBegun { .. } => _ = self.begun.insert(("gdk", None), seen),
            Event::DirectoryKeyRotationEnded { to, .. } => {
                let begun = self.begun.get(&("gdk", None)).copied();
                self.made.entry(("gdk", None, *to)).or_insert(begun.unwrap_or(seen));
            }
            _ => {}
        }
    }
}

fn found(event: &Event) -> Option<Found> {
    let (failed, words) = match event {
        Event::ListenersProbed { listeners, failed, certificate_days } => (
            *failed,
            format!("{listeners} listeners, {failed} not as they should; a certificate ends in {certificate_days} d"),
        ),
        Event::DigestsProbed { claims, failed } => {
            (*failed, format!("{claims} claims judged, {failed} of them wrongly"))
        }
        Event::SealingProbed { tenants, rows, blobs, failed } => {
            (*failed, format!("{rows} rows and {blobs} blobs of {tenants} tenants, {failed} not as they should"))
        }
        _ => return None,
    };
    Some(Found { failed: failed.into(), words })
}

fn root(kind: &str) -> &'static str {
    match kind {
        "SRK" => "srk",
        "TIK" => "tik",
        _ => "tdk",
    }
}
