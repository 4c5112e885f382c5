//! Secrets as types: 32 bytes in locked memory that are filled in place, never printed, never cloned, compared in constant
//! time and zeroed on drop. Everything that holds key bytes in this crate holds one of these.
//!
//! Invariants:
//! - No `Debug`, `Display`, `Clone`, `Copy`, `PartialEq` or serde on anything here.
//! - A move of a [`Secret`] moves a pointer; the bytes stay where they were written and are cleared there.
//! - ring does not wipe its key schedules, so [`BulkKey`] does.

use crate::memory::{Slot, Wiped};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

/// A 32-byte key.
pub(crate) struct Secret(Slot);

impl Secret {
    /// A fresh key from the operating system's generator.
    pub(crate) fn random() -> Self {
        Self::filled(|bytes| fill_random(bytes))
    }

    /// A key that `fill` writes where it will stay.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut slot = Slot::new();
        fill(slot.bytes_mut());
        Self(slot)
    }

    /// As `filled`; what was written before a failure is cleared.
    pub(crate) fn try_filled<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut slot = Slot::new();
        fill(slot.bytes_mut())?;
        Ok(Self(slot))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }

    /// Equality in constant time.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

/// A single-use AES-256-GCM key for bulk work, by ring; its schedule is wiped on drop.
pub(crate) struct BulkKey {
    key: Wiped<LessSafeKey>,
    /// Which key it is, for the test that looks for one used twice with a nonce.
    #[cfg(test)]
    print: [u8; 16],
}

impl BulkKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self {
            key: Wiped::new(|| {
                LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes a key of 32 bytes"))
            }),
            #[cfg(test)]
            print: crate::tests::pairs::print_of(key),
        }
    }

    /// Seals `bytes` in place and returns the tag.
    pub(crate) fn seal(&self, nonce: [u8; 12], aad: &[u8], bytes: &mut [u8]) -> Tag {
        #[cfg(test)]
        crate::tests::pairs::note(self.print, nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), bytes).expect("far below the length GCM allows")
    }

    /// Opens `sealed` (ciphertext and tag) in place; the plaintext is the front of it.
    pub(crate) fn open<'a>(&self, nonce: [u8; 12], aad: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed).ok()
    }
}

/// Fills `bytes` from the operating system's generator.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system gives random bytes");
}

/// Fresh public random bytes: an id, a salt.
pub(crate) fn random_array<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}
