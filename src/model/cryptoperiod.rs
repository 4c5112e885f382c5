//! For how long a version of a key is used before the next one takes its place.

/// One bound or both: whichever is reached first. Neither: no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cryptoperiod {
    /// Days since the version became the current one, by the compliance clock.
    pub days: Option<u32>,
    /// Records that came to hang on the key since then.
    pub records: Option<u64>,
}

/// The cryptoperiods of the keys of one geo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyPolicy {
    /// The master key; its records are wrapped roots.
    pub master: Cryptoperiod,
    /// A tenant's data key; its records are objects.
    pub tenant: Cryptoperiod,
    /// The root above data subjects' keys; its records are those keys.
    pub subject_root: Cryptoperiod,
    /// The root above index keys and logins.
    pub index_root: Cryptoperiod,
    /// A bucket's index key; its records are rows.
    pub index_key: Cryptoperiod,
}

impl Cryptoperiod {
    /// Whether it ends at all.
    pub fn is_set(&self) -> bool {
        self.days.is_some() || self.records.is_some()
    }
}
