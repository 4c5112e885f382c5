//! How much a tenant may store in all.

/// A bound on what is stored of a tenant. `None`: no bound of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Quota {
    /// Plaintext bytes.
    #[n(0)]
    pub bytes: Option<u64>,
    /// Versions of objects.
    #[n(1)]
    pub objects: Option<u64>,
}

impl Quota {
    /// Whether there may be so much. As much as the bound is within it.
    pub fn admits(&self, bytes: u64, objects: u64) -> bool {
        self.bytes.is_none_or(|most| bytes <= most) && self.objects.is_none_or(|most| objects <= most)
    }

    /// The same, or nothing where it bounds nothing.
    pub fn in_force(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_bound_that_may_be_reached() {
        let both = Quota { bytes: Some(100), objects: Some(2) };
        for (bytes, objects, within) in [(100, 2, true), (101, 2, false), (0, 3, false), (0, 0, true)] {
            assert_eq!(both.admits(bytes, objects), within, "{bytes} {objects}");
        }
        assert!(Quota { bytes: None, objects: Some(2) }.admits(u64::MAX, 2));
        assert!(!Quota { bytes: Some(0), objects: None }.admits(1, 0));
        assert_eq!((Quota::default().in_force(), both.in_force()), (None, Some(both)));
    }
}
