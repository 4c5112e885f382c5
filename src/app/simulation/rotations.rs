//! P12: rotations of every kind in the simulated house, cut off like everything else there. The model says that each object
//! still reads; here is what it cannot see: which version seals what is new.

use super::Nobody;
use super::world::{House, home, operator};
use crate::directory::{Job, JobKind};
use crate::model::ids::TenantId;
use crate::rekey::{
    self, COUNT_ROWS_MAX, Part, RekeyError, Run, count_tenant, exposure, reencrypt, rotate_directory_key,
    rotate_index_key, rotate_index_root, rotate_master, rotate_subject_root, rotate_tenant,
};
use crate::seal::KeyKind;
use std::collections::BTreeMap;

/// What is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    Tenant,
    SubjectRoot,
    IndexRoot,
    IndexKey,
    Directory,
    Master,
    Reencrypt,
    /// What this version opens or opened; 0: the newest but one, or the only one.
    Exposed(u32),
}

impl Rotation {
    pub(super) const ALL: [Self; 8] = [
        Self::Tenant,
        Self::SubjectRoot,
        Self::IndexRoot,
        Self::IndexKey,
        Self::Directory,
        Self::Master,
        Self::Reencrypt,
        Self::Exposed(0),
    ];

    fn of(job: &Job) -> Self {
        match job.kind {
            JobKind::RotateTenant => Self::Tenant,
            JobKind::RotateIndexKey => Self::IndexKey,
            JobKind::RotateSubjectRoot => Self::SubjectRoot,
            JobKind::RotateIndexRoot => Self::IndexRoot,
            JobKind::Reencrypt => job.exposed_by.map_or(Self::Reencrypt, Self::Exposed),
            JobKind::RotateDirectoryKey => Self::Directory,
            JobKind::Retire | JobKind::Epoch => unreachable!("nobody asked for one"),
        }
    }

    /// From its beginning, or from where it was cut off, to its end: what the closing scan found under the version before.
    async fn run(self, rooms: &rekey::Rooms, tenant: TenantId) -> Result<u64, RekeyError> {
        let actor = operator();
        let run = Run { actor: &actor, records_per_s: None, watch: &Nobody };
        Ok(match self {
            Self::Tenant => rotate_tenant(rooms, &run, tenant).await?.remaining,
            Self::SubjectRoot => rotate_subject_root(rooms, &run, tenant).await?.remaining,
            Self::IndexRoot => rotate_index_root(rooms, &run, tenant).await?.remaining,
            Self::Directory => rotate_directory_key(rooms, &run).await?.remaining,
            Self::Master => rotate_master(rooms, &run).await?.remaining,
            Self::Reencrypt => reencrypt(rooms, &run, tenant, Part::default()).await?.remaining,
            Self::Exposed(version) => {
                let version = match version {
                    0 => rooms.directory.keys(tenant).await?.active_trk().version.saturating_sub(1).max(1),
                    version => version,
                };
                let part = Part { exposed_by: Some(version), ..Part::default() };
                let remaining = reencrypt(rooms, &run, tenant, part).await?.remaining;
                let left = exposure(rooms, &Nobody, tenant, version).await?;
                assert_eq!((left.versions, left.uploads), (0, remaining), "P12: what version {version} opened");
                remaining
            }
            Self::IndexKey => {
                let buckets = rooms.directory.buckets(tenant).await?;
                let at = buckets.iter().find(|at| at.region.id == home().id).expect("every tenant has one");
                rotate_index_key(rooms, &run, tenant, at.bucket).await?.remaining
            }
        })
    }
}

impl House {
    pub(super) async fn rotate(&self, tenant: TenantId, what: Rotation) -> bool {
        let done = what.run(&self.rooms(), tenant).await;
        assert!(!matches!(done, Ok(left) if left > 0), "P12: {what:?} ended with records under the version before");
        done.is_ok()
    }

    /// Takes up what was cut off, as the daemon does at its start. `living`: of which tenants it has to end.
    pub(super) async fn take_up_rotations(&self, living: impl Fn(TenantId) -> bool) {
        let rooms = self.rooms();
        for job in rooms.directory.jobs().await.expect("it reads").iter().filter(|job| job.ended.is_none()) {
            let done = Rotation::of(job).run(&rooms, job.lane).await;
            let of_nobody = job.lane == crate::directory::GEO_LANE;
            assert!(
                done.is_ok() || !(of_nobody || living(job.lane)),
                "P12: {:?} that was cut off goes on: {:?}",
                job.kind,
                done.err()
            );
        }
        let keys = rooms.directory.key_service().clone();
        if keys.rotation().expect("the key store reads").is_some() {
            let done = Rotation::Master.run(&rooms, TenantId([0; 16])).await;
            assert!(done.is_ok(), "P12: a master rotation that was cut off goes on: {:?}", done.err());
        }
    }

    /// By kind of key: its newest version, and how many records are under an older one.
    pub(super) async fn under_older(&self, tenant: TenantId) -> BTreeMap<&'static str, (u32, u64)> {
        let rooms = self.rooms();
        let status = rooms.directory.key_service().status().expect("the key store reads");
        let of = status.tenants.iter().find(|of| of.tenant == tenant.0).expect("it has keys");
        let newest = |kind: KeyKind| {
            of.roots.iter().filter(|root| root.kind == kind).map(|root| root.name.version).max().unwrap_or(0)
        };
        let counts = count_tenant(&rooms, tenant, &mut COUNT_ROWS_MAX.clone()).await.expect("it counts");
        let older = |under: &BTreeMap<u32, u64>, newest: u32| {
            (newest, under.iter().filter(|(version, _)| **version < newest).map(|(_, records)| records).sum())
        };
        let bucket = counts.buckets.first().expect("every tenant has one");
        BTreeMap::from([
            ("tdk", older(&counts.data.under, newest(KeyKind::Trk))),
            ("srk", older(&counts.subjects.under, newest(KeyKind::Srk))),
            ("tik", older(&counts.index.under, newest(KeyKind::Tik))),
            ("ik", older(&bucket.3.under, bucket.1)),
        ])
    }
}
