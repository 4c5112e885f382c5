//! What follows when stored bytes do not verify: it is counted, and the audit log of the geo says of which object or
//! bucket, by opaque ids and the class of the fault only.
//!
//! Called by the acts of this room, before their caller learns of the fault. Every fault is counted; the same one of
//! the same version is recorded once while the process runs, so that whoever asks for a damaged object again and again
//! does not fill the log. A log that cannot take the entry does not change the answer: nothing was served either way.

use super::Store;
use super::types::{Fault, StoreError};
use crate::audit::{Actor, AuditLog, Event};
use crate::index::rows::v1::ObjectRow;
use crate::model::ids::{BucketId, ObjectId, VersionId};
use crate::model::object::BucketRef;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Faults that are remembered as recorded; when there are more, remembering begins anew.
const RECORDED_MAX: usize = 4096;

/// Where faults are counted and recorded.
#[derive(Default)]
pub struct Alarm {
    /// By geo id.
    logs: HashMap<&'static str, Arc<AuditLog>>,
    failures: Counter,
    recorded: Mutex<HashSet<(BucketId, Option<VersionId>, &'static str)>>,
}

/// What did not verify.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    /// Bytes of one version of an object, or its key.
    Object(ObjectId, VersionId),
    /// A row of the index: of which object is not known, because it did not open.
    Row,
}

impl Subject {
    pub(super) fn of(row: &ObjectRow) -> Self {
        Self::Object(row.object_id, row.version_id)
    }
}

impl Alarm {
    /// Counts into `registry`, records in the logs of the geos.
    pub fn new(logs: HashMap<&'static str, Arc<AuditLog>>, registry: &mut Registry) -> Self {
        let alarm = Self { logs, ..Self::default() };
        let help = "Times that stored bytes failed their authentication";
        registry.register("integrity_failures", help, alarm.failures.clone());
        alarm
    }

    /// The log of a geo.
    pub(super) fn log(&self, geo: &str) -> Option<&Arc<AuditLog>> {
        self.logs.get(geo)
    }

    async fn ring(&self, at: &BucketRef, subject: Subject, fault: Fault) {
        self.failures.inc();
        let (tenant, bucket, class) = (at.tenant, at.bucket, fault.class().to_owned());
        let (version, event) = match subject {
            Subject::Object(object, version) => {
                (Some(version), Event::IntegrityFailed { tenant, bucket, object, version, class })
            }
            Subject::Row => (None, Event::RowDamaged { tenant, bucket, class }),
        };
        tracing::error!(%tenant, %bucket, class = fault.class(), "stored bytes do not verify");
        let Some(log) = self.logs.get(at.geo.id) else { return };
        let this = (bucket, version, fault.class());
        if !self.is_new(this) {
            return;
        }
        if let Err(error) = log.append(&Actor::part("store"), event).await {
            self.recorded.lock().remove(&this);
            tracing::error!(%error, "an integrity failure was not recorded");
        }
    }

    fn is_new(&self, this: (BucketId, Option<VersionId>, &'static str)) -> bool {
        let mut recorded = self.recorded.lock();
        if recorded.len() >= RECORDED_MAX {
            recorded.clear();
        }
        recorded.insert(this)
    }
}

impl Store {
    /// Hands a result on, and rings the alarm if it says that stored bytes did not verify.
    pub(super) async fn heard<T, E: Into<StoreError>>(
        &self,
        at: &BucketRef,
        subject: Subject,
        result: Result<T, E>,
    ) -> Result<T, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error.into(),
        };
        if let StoreError::Integrity(fault) = error {
            self.0.alarm.ring(at, subject, fault).await;
        }
        Err(error)
    }
}
