//! The geo's log signer: Ed25519, signs checkpoints and certificates. Its seed lives in the key store and nowhere else.

use crate::material::Secret;
use crate::memory::Wiped;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// Signs what the geo's audit log and certificates say. The public key may be published.
pub struct LogSigner {
    pair: Wiped<Ed25519KeyPair>,
    public: [u8; 32],
}

impl LogSigner {
    pub(crate) fn new(seed: &Secret) -> Self {
        let pair = Wiped::new(|| Ed25519KeyPair::from_seed_unchecked(seed.bytes()).expect("a seed is 32 bytes"));
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key is 32 bytes");
        Self { pair, public }
    }

    /// The signature of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature is 64 bytes")
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }
}
