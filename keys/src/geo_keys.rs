//! The geo directory key, as its holders have it: seals the rows that must be found before the tenant is known, and makes
//! the tokens by which they are found. Held for good, not under a lease; in all its live versions, because while it is
//! replaced rows stand under the version before.
//!
//! Promises: what is sealed is under the active version of that moment; a row opens under whichever live version it names;
//! a switch is seen by all who share the handle at once.

use crate::context::{BucketContext, Id, NO_ID};
use crate::derive::{self, Purpose};
use crate::error::{OpenClass, OpenError};
use crate::material::Secret;
use crate::record::KeyName;
use crate::row::{OpenedRow, RowKey, row_version};
use crate::tenant_keys::Lease;
use minicbor::{Decode, Encode};
use parking_lot::RwLock;
use std::sync::Arc;

/// One version as it goes to a holder.
#[derive(Encode, Decode)]
pub struct DirectoryKey {
    #[n(0)]
    pub(crate) name: KeyName,
    #[n(1)]
    pub(crate) secret: Secret,
}

/// The live versions of a geo's directory key.
pub struct GeoKeys {
    geo: Id,
    /// The active one first. Never empty.
    live: RwLock<Arc<[Version]>>,
}

struct Version {
    name: KeyName,
    rows: Arc<RowKey>,
    names: Secret,
    root: Secret,
}

impl Version {
    fn new(geo: Id, DirectoryKey { name, secret: root }: DirectoryKey) -> Self {
        let names = derive::purpose(&root, Purpose::Token, &NO_ID, &geo);
        let rows = Arc::new(row_key(geo, name, &root));
        Self { name, rows, names, root }
    }
}

fn row_key(geo: Id, name: KeyName, root: &Secret) -> RowKey {
    let context = BucketContext { tenant: NO_ID, geo, bucket: NO_ID };
    RowKey::new(copy(root), name.version, context, Lease::permanent())
}

fn copy(secret: &Secret) -> Secret {
    Secret::filled(|out| *out = *secret.bytes())
}

impl GeoKeys {
    /// Over the live versions, the active one first; `None` without one.
    pub(crate) fn new(geo: Id, versions: Vec<DirectoryKey>) -> Option<Self> {
        let live: Arc<[Version]> = versions.into_iter().map(|version| Version::new(geo, version)).collect();
        (!live.is_empty()).then(|| Self { geo, live: RwLock::new(live) })
    }

    /// Makes `versions` the live ones, for all who share this handle.
    pub(crate) fn replace(&self, versions: Vec<DirectoryKey>) {
        let live: Arc<[Version]> = versions.into_iter().map(|version| Version::new(self.geo, version)).collect();
        if !live.is_empty() {
            *self.live.write() = live;
        }
    }

    /// The keys themselves, for a holder of the geo's keys.
    pub(crate) fn copies(&self) -> Vec<DirectoryKey> {
        self.live().iter().map(|version| DirectoryKey { name: version.name, secret: copy(&version.root) }).collect()
    }

    fn live(&self) -> Arc<[Version]> {
        Arc::clone(&self.live.read())
    }

    /// Authenticates small state under the active version of now.
    pub fn state_mac(&self) -> impl Fn(&[u8]) -> [u8; 32] + Send + Sync + use<> {
        let key = derive::state_key(&self.live()[0].root);
        move |message| derive::mac(&key, message)
    }

    /// Handles of their own for the sealed heads, which the service keeps: the active one first.
    pub(crate) fn head_keys(&self) -> Vec<RowKey> {
        self.live().iter().map(|version| row_key(self.geo, version.name, &version.root)).collect()
    }

    /// Id and version of the active one.
    pub fn name(&self) -> KeyName {
        self.live()[0].name
    }

    /// Seals the geo's directory rows.
    pub fn directory(&self) -> Arc<RowKey> {
        Arc::clone(&self.live()[0].rows)
    }

    /// Seals rows that have to stay as they are found: under the version that they are under.
    pub fn directory_of_version(&self, version: u32) -> Option<Arc<RowKey>> {
        self.live().iter().find(|live| live.name.version == version).map(|live| Arc::clone(&live.rows))
    }

    /// Opens a row of the geo's directory under whichever live version it names.
    pub fn open<'a>(&self, kind: u8, place: &[u8], row: &'a [u8]) -> Result<OpenedRow<'a>, OpenError> {
        let key = self.directory_of_version(row_version(row)?).ok_or(OpenError::from(OpenClass::Parent))?;
        key.open(kind, place, row)
    }

    /// The token that stands for a tenant's or a login's name.
    pub fn name_token(&self, name: &[u8]) -> [u8; 16] {
        derive::token(&self.live()[0].names, name)
    }

    /// The same under every live version, the active one first: while the key is replaced, a row may still stand at an
    /// older token.
    pub fn name_tokens(&self, name: &[u8]) -> Vec<[u8; 16]> {
        self.live().iter().map(|version| derive::token(&version.names, name)).collect()
    }
}
