//! `[rotation]`: when a key gets its next version by itself. One table for all geos, and one for each geo that differs.

use crate::model::atlas::{GEOS, Geo};
use crate::model::cryptoperiod::{Cryptoperiod, KeyPolicy};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The longest cryptoperiod that may be asked for: ten years. Whoever wants none says nothing.
const DAYS_MAX: u32 = 3650;

/// The cryptoperiods of every geo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RotationConfig {
    every: KeyPolicy,
    by_geo: BTreeMap<&'static str, KeyPolicy>,
}

/// `[rotation]`, or `[rotation.geo.GEO]`.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileRotation {
    /// Days for which a version of the master key is the current one.
    master_days: Option<u32>,
    /// Wrapped roots that may come to hang on it.
    master_records: Option<u64>,
    /// Days for which a version of a tenant's data key is the current one.
    tenant_days: Option<u32>,
    /// Objects that may come to hang on it.
    tenant_records: Option<u64>,
    /// Days for which a version of the root above data subjects' keys is the current one.
    subject_root_days: Option<u32>,
    /// Data subjects that may come to hang on it.
    subject_root_records: Option<u64>,
    /// Days for which a version of the root above index keys is the current one.
    index_root_days: Option<u32>,
    /// Days for which an index key is a bucket's current one.
    index_key_days: Option<u32>,
    /// Rows that may come to be sealed under it.
    index_key_records: Option<u64>,
    /// Geos that differ: nothing of the table above holds for them.
    geo: BTreeMap<String, Self>,
}

impl RotationConfig {
    pub(super) fn check(mut file: FileRotation, wrong: &mut Vec<String>) -> Self {
        let mut by_geo = BTreeMap::new();
        for (id, policy) in std::mem::take(&mut file.geo) {
            let table = format!("rotation.geo.{id}");
            match GEOS.iter().find(|geo| geo.id == id) {
                Some(_) if !policy.geo.is_empty() => wrong.push(format!("[{table}]: it has no geo of its own")),
                Some(geo) => drop(by_geo.insert(geo.id, policy.policy(&table, wrong))),
                None => wrong.push(format!("[{table}]: there is no such geo")),
            }
        }
        Self { every: file.policy("rotation", wrong), by_geo }
    }

    /// That of one geo.
    pub fn of(&self, geo: &Geo) -> KeyPolicy {
        self.by_geo.get(geo.id).copied().unwrap_or(self.every)
    }
}

impl FileRotation {
    fn policy(&self, table: &str, wrong: &mut Vec<String>) -> KeyPolicy {
        let mut period = |name: &str, days: Option<u32>, records: Option<u64>| {
            if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
                wrong.push(format!("{table}.{name}_days: 1 to {DAYS_MAX}; leave it out for no end"));
            }
            if records == Some(0) {
                wrong.push(format!("{table}.{name}_records: at least 1; leave it out for no end"));
            }
            Cryptoperiod { days, records }
        };
        KeyPolicy {
            master: period("master", self.master_days, self.master_records),
            tenant: period("tenant", self.tenant_days, self.tenant_records),
            subject_root: period("subject_root", self.subject_root_days, self.subject_root_records),
            index_root: period("index_root", self.index_root_days, None),
            index_key: period("index_key", self.index_key_days, self.index_key_records),
        }
    }
}
