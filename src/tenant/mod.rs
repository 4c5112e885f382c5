//! LIFE of a tenant, pure: a standing, an event and a reading in; the next standing and the effects owed out.
//!
//! Called by the conductors (`sweep`, the admin acts), who carry the effects out in the order given, and by whoever
//! answers the gate, through the [`access`] table. Promises that nothing but [`create`] and [`step()`] makes or changes
//! a [`Standing`], and that every change owes [`Effect::Log`] first: the ledger is durable before anything else happens.
//! Must not know storage, keys or HTTP beyond a status number, nor a tenant's name: a standing is ids, states and times.
//!
//! Source: docs/retention.md, "States".

pub mod access;
pub mod holds;
pub mod notice;
mod step;
#[cfg(test)]
mod tests;

pub use step::{
    Effect, Event, Evidence, HOLDS_MAX, NewTenant, OUT_OF_REACH_S_MAX, PROVISIONING_S_MAX, Proof, Refusal, Step,
    Transition, create, step,
};

use crate::model::clock::Stamp;
use crate::model::ids::TenantId;
use crate::model::limits::{EARLY_WAIT_S, TERMINATION_KEEP_S};
use crate::model::time::Millis;

/// Where a tenant is in its life.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cbor(index_only)]
pub enum State {
    /// Its keys are being made.
    #[n(0)]
    Provisioning,
    /// In service.
    #[n(1)]
    Active,
    /// Kept, not served; administrators may export.
    #[n(2)]
    Disabled,
    /// Kept for 90 days for export, then destroyed.
    #[n(3)]
    Terminated,
    /// Due, everything that is not held was destroyed; a hold keeps the rest.
    #[n(4)]
    PurgeHeld,
    /// Being destroyed. No way back.
    #[n(5)]
    Purging,
    /// Destroyed. A tombstone and a certificate are left.
    #[n(6)]
    Purged,
}

impl State {
    /// All, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Provisioning,
        Self::Active,
        Self::Disabled,
        Self::Terminated,
        Self::PurgeHeld,
        Self::Purging,
        Self::Purged,
    ];

    /// As people and the wire write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Active => "ACTIVE",
            Self::Disabled => "DISABLED",
            Self::Terminated => "TERMINATED",
            Self::PurgeHeld => "PURGE_HELD",
            Self::Purging => "PURGING",
            Self::Purged => "PURGED",
        }
    }
}

/// Whether copies are kept in the geo's other regions.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Replication {
    /// In the home region only.
    #[n(0)]
    None,
    /// In every region of the geo, never outside.
    #[n(1)]
    Geo,
}

/// A legal hold that is in force.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Hold {
    /// The matter's number, chosen by the operator: 1 to 64 of `[A-Za-z0-9-]`.
    #[n(0)]
    pub id: String,
    /// What it keeps.
    #[n(1)]
    pub scope: HoldScope,
    /// When it was placed.
    #[n(2)]
    pub since: Stamp,
}

/// What a hold keeps from destruction.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum HoldScope {
    /// Everything of the tenant.
    #[n(0)]
    Tenant,
    /// Some of its objects; which ones, the index knows.
    #[n(1)]
    Part,
}

/// That a tenant was terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Termination {
    /// T.
    #[n(0)]
    pub at: Stamp,
    /// T + 90 days by the compliance clock. Compare it with [`crate::model::clock::Reading::lo_for`] `at`.
    #[n(1)]
    pub due: Millis,
}

impl Termination {
    /// When people should expect the destruction: 90 days after the wall time of the termination.
    pub fn due_wall(&self) -> Millis {
        self.at.wall.plus_seconds(TERMINATION_KEEP_S)
    }
}

/// That the tenant instructed its destruction before the 90 days are over, and two principals approved it.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Early {
    /// When it was approved.
    #[n(0)]
    pub at: Stamp,
    /// 72 hours later by the compliance clock. Compare it with [`crate::model::clock::Reading::lo_for`] `at`.
    #[n(1)]
    pub due: Millis,
    /// Which instruction: the salted hash of its words.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub instruction: [u8; 32],
    /// Who entered it, as the log knows them.
    #[n(3)]
    pub entered_by: String,
    /// Who approved it.
    #[n(4)]
    pub approved_by: String,
}

impl Early {
    /// When people should expect the destruction: 72 hours after the wall time of the approval.
    pub fn due_wall(&self) -> Millis {
        self.at.wall.plus_seconds(EARLY_WAIT_S)
    }
}

/// That the destruction has begun.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Purge {
    /// When.
    #[n(0)]
    pub begun: Stamp,
    /// Keys were destroyed before every region could be listed, because one was out of reach for too long.
    #[n(1)]
    pub keys_first: bool,
    /// SHA-256 of the certificate, once it is over.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub certificate: Option<[u8; 32]>,
}

/// That what no hold keeps is being destroyed, or is.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct PartPurge {
    /// When it began.
    #[n(0)]
    pub begun: Stamp,
    /// Counted from 1; a released hold while others stay begins another.
    #[n(1)]
    pub round: u32,
    /// Whether this round is over.
    #[n(2)]
    pub done: bool,
}

/// What the house keeps about a tenant outside the tenant's own keys: ids, state, times. It survives the tenant.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Standing {
    /// For good; never used again.
    #[n(0)]
    pub id: TenantId,
    /// The geo's id.
    #[n(1)]
    pub geo: String,
    /// The home region's id, a region of that geo.
    #[n(2)]
    pub home: String,
    /// Copies inside the geo.
    #[n(3)]
    pub replication: Replication,
    /// Where it is in its life.
    #[n(4)]
    pub state: State,
    /// When it was created.
    #[n(5)]
    pub created: Stamp,
    /// SHA-256 of the consent in force; none: it is withdrawn.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub consent: Option<[u8; 32]>,
    /// Since when it is disabled: lifetimes of its objects stand still from then on.
    #[n(7)]
    pub disabled: Option<Stamp>,
    /// That it was terminated.
    #[n(8)]
    pub termination: Option<Termination>,
    /// Holds in force.
    #[n(9)]
    pub holds: Vec<Hold>,
    /// That its destruction has begun.
    #[n(10)]
    pub purge: Option<Purge>,
    /// That what no hold keeps is being destroyed.
    #[n(11)]
    pub part: Option<PartPurge>,
    /// That it is to be destroyed early, on its own instruction.
    #[n(12)]
    pub early: Option<Early>,
}

impl Standing {
    /// The stored form: a version byte, then CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("a Vec takes every byte");
        bytes
    }

    /// From the stored form; `None` when it is not one that this release knows.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        (version == VERSION).then(|| minicbor::decode(rest).ok()).flatten()
    }

    /// Its deadlines, each counted from when until when by the compliance clock: that of the 90 days, that of the early
    /// destruction. The first that is reached counts, which may be either once a clock was credited time. None: it is not
    /// terminated.
    pub fn deadlines(&self) -> impl Iterator<Item = (Stamp, Millis)> {
        let of_90_days = self.termination.as_ref().map(|of| (of.at, of.due));
        let early = self.early.as_ref().filter(|_| of_90_days.is_some()).map(|early| (early.at, early.due));
        of_90_days.into_iter().chain(early)
    }

    /// The earliest of its deadlines, by the compliance clock: when to look at it.
    pub fn due(&self) -> Option<Millis> {
        self.deadlines().map(|(_, due)| due).min()
    }

    /// When people should expect its destruction.
    pub fn destruction_wall(&self) -> Option<Millis> {
        let termination = self.termination?;
        Some(self.early.as_ref().map_or_else(|| termination.due_wall(), Early::due_wall))
    }

    /// The geo's regions that hold this tenant's bytes: home, and with [`Replication::Geo`] every other.
    pub fn regions(&self) -> Vec<&'static crate::model::atlas::Region> {
        let geo = crate::model::atlas::Geo::find(&self.geo);
        let regions = geo.map_or(&[][..], |geo| geo.regions).iter();
        regions.filter(|region| region.id == self.home || self.replication == Replication::Geo).collect()
    }
}

const VERSION: u8 = 1;
