//! The purpose keys of a tenant's roots: all that leaves the key service under a lease. Roots stay behind; what is
//! derived from one of them opens what it is for and nothing else.
//!
//! `Roots` in, [`Purposes`] out, once for each lease. Both hold the active version first.

use crate::context::Id;
use crate::derive::{self, Purpose};
use crate::material::Secret;
use crate::record::KeyName;
use minicbor::{Decode, Encode};

/// The unwrapped roots of a tenant, per kind, the active version first. Never leaves the key service.
pub(crate) struct Roots {
    pub(crate) trk: Vec<(KeyName, Secret)>,
    pub(crate) srk: Vec<(KeyName, Secret)>,
    pub(crate) tik: Vec<(KeyName, Secret)>,
    /// Versions that only a re-encryption may open.
    pub(crate) withheld: Vec<KeyName>,
}

/// What one version of the tenant root is for.
#[derive(Encode, Decode)]
pub(crate) struct TrkPurposes {
    #[n(0)]
    pub(crate) name: KeyName,
    #[n(1)]
    pub(crate) wrap_dek: Secret,
}

/// What one version of the subject root is for.
pub(crate) struct SrkPurposes {
    pub(crate) name: KeyName,
    pub(crate) wrap_sk: Secret,
}

/// What one version of the index root is for.
#[derive(Encode, Decode)]
pub(crate) struct TikPurposes {
    #[n(0)]
    pub(crate) name: KeyName,
    #[n(1)]
    pub(crate) wrap_ik: Secret,
    #[n(2)]
    pub(crate) wrap_credential: Secret,
    #[n(3)]
    pub(crate) token: Secret,
    #[n(4)]
    pub(crate) log_pseudonym: Secret,
    #[n(5)]
    pub(crate) directory: Secret,
    #[n(6)]
    pub(crate) subject_map: Secret,
}

/// The purpose keys of all live versions of a tenant's roots.
#[derive(Encode, Decode)]
pub(crate) struct Purposes {
    #[n(0)]
    pub(crate) trk: Vec<TrkPurposes>,
    /// For the key service itself, which opens subject keys; a lease for others has none.
    #[cbor(skip)]
    pub(crate) srk: Vec<SrkPurposes>,
    #[n(2)]
    pub(crate) tik: Vec<TikPurposes>,
    /// Versions that are there and may not be opened: compromised.
    #[n(3)]
    pub(crate) withheld: Vec<KeyName>,
}

impl Purposes {
    /// Derives them; the roots are cleared on the way out.
    pub(crate) fn of(roots: Roots, tenant: &Id, geo: &Id) -> Self {
        let of = |root: &Secret, what| derive::purpose(root, what, tenant, geo);
        let trk = roots.trk.into_iter().map(|(name, root)| TrkPurposes { name, wrap_dek: of(&root, Purpose::WrapDek) });
        let srk = roots.srk.into_iter().map(|(name, root)| SrkPurposes { name, wrap_sk: of(&root, Purpose::WrapSk) });
        let tik = roots.tik.into_iter().map(|(name, root)| TikPurposes {
            name,
            wrap_ik: of(&root, Purpose::WrapIk),
            wrap_credential: of(&root, Purpose::WrapCredential),
            token: of(&root, Purpose::Token),
            log_pseudonym: of(&root, Purpose::LogPseudonym),
            directory: of(&root, Purpose::Directory),
            subject_map: of(&root, Purpose::SubjectMap),
        });
        Self { trk: trk.collect(), srk: srk.collect(), tik: tik.collect(), withheld: roots.withheld }
    }
}
