//! What an outside provider can do wrong, in words an operator can act on, and which of the three outcomes that callers
//! tell apart each is. Holds no name, no address and no answer's text: those could say too much in a log.

use crate::error::ProviderError;

/// Why an outside provider did not do what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ProviderFault {
    /// Nobody answers at the address, or the connection broke.
    #[error("no connection to the key provider")]
    NoConnection,
    /// It did not answer in time.
    #[error("the key provider did not answer in time")]
    Timeout,
    /// The TLS handshake failed: somebody else answers, or the authority is not the one configured.
    #[error("the key provider's certificate is not trusted: wrong ca_file, wrong host, or somebody in between")]
    Untrusted,
    /// A Vault or OpenBao that is sealed or not initialised.
    #[error("the key provider is sealed; unseal it")]
    Sealed,
    /// Too many requests.
    #[error("the key provider asks to slow down")]
    Throttled,
    /// A failure of its own.
    #[error("the key provider failed with status {0}")]
    Server(u16),
    /// The token is not in any slot, or its reader lost it.
    #[error("the PKCS#11 token is not present")]
    TokenMissing,
    /// Sessions ended, and could not be opened anew.
    #[error("the PKCS#11 device failed")]
    Device,
    /// Calls are held back after failures in a row.
    #[error("the key provider failed repeatedly; calls are held back for a moment")]
    Held,

    /// Access was denied. (Vault and OpenBao say the same of a token that expired.)
    #[error(
        "the key provider denied access: its policy forbids it, or the token or credentials expired or were revoked"
    )]
    Denied,
    /// The token expired, was revoked, or never was one.
    #[error("the key provider does not accept the token or credentials: expired, revoked or wrong")]
    Expired,
    /// The master key is disabled.
    #[error("the master key is disabled at the key provider")]
    Disabled,
    /// The master key is being destroyed.
    #[error("the master key is pending deletion at the key provider")]
    PendingDeletion,
    /// There is no such master key.
    #[error("the master key does not exist at the key provider")]
    KeyMissing,
    /// The PIN is wrong. It is not tried again until the file changes: a token locks itself after a few.
    #[error("the PIN is wrong; it is not tried again until its file changes")]
    PinWrong,
    /// The token locked itself.
    #[error("the PIN is locked; the token's security officer unlocks it")]
    PinLocked,
    /// AES-GCM or AES key generation is not to be had.
    #[error("the token does not allow AES-GCM (CKM_AES_GCM) with keys made inside it (CKM_AES_KEY_GEN)")]
    Mechanism,
    /// A key that could leave, or did not begin, where it is now.
    #[error("the master key at the provider is of the wrong kind, or may be exported: it is not used")]
    Exportable,
    /// The key has versions already that geoseal did not make.
    #[error("a key of this name with a history of its own exists already; choose another name")]
    Occupied,
    /// Older versions must be destroyed before this one.
    #[error("this provider destroys oldest versions first")]
    OlderFirst,
    /// A version that is neither the newest nor the next.
    #[error("the state of the master key does not allow it")]
    State,

    /// An answer that is no answer.
    #[error("the key provider's answer makes no sense")]
    Garbage,
    /// An answer longer than any that makes sense.
    #[error("the key provider's answer is too long")]
    TooLong,
    /// The wrapped key did not open under its context.
    #[error("the wrapped key did not open: altered, moved, or of another key")]
    WrongKey,

    /// The PKCS#11 module cannot be loaded.
    #[error("the PKCS#11 module cannot be loaded")]
    Module,
    /// A file with a secret cannot be read or is empty.
    #[error("the file with the PIN, token or credentials cannot be read, or holds none")]
    SecretFile,
    /// The file of authorities cannot be read.
    #[error("ca_file cannot be read or holds no certificate")]
    Authorities,
    /// A setting that cannot work.
    #[error("a setting of the provider is not usable: {0}")]
    Setting(&'static str),
    /// The ledger is missing.
    #[error("there is no ledger of master key versions; `init` makes one")]
    LedgerMissing,
    /// The ledger is there already.
    #[error("a ledger of master key versions exists already; it is never overwritten")]
    LedgerExists,
    /// The ledger was altered, cut, or belongs to another geo or provider.
    #[error("the ledger of master key versions is damaged, or of another geo or provider")]
    LedgerDamaged,
    /// The ledger could not be read or written.
    #[error("the ledger of master key versions: input or output failed: {0:?}")]
    LedgerIo(std::io::ErrorKind),
}

impl ProviderFault {
    /// Whether it may pass by itself: a start waits for the provider instead of being refused. What is wrong with settings
    /// and files here does not.
    pub const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::NoConnection
                | Self::Timeout
                | Self::Untrusted
                | Self::Sealed
                | Self::Throttled
                | Self::Server(_)
                | Self::TokenMissing
                | Self::Device
                | Self::Held
        )
    }

    /// Which of the three outcomes it is: not reachable (leases run on), refused (leases end), wrong.
    pub const fn outcome(self) -> ProviderError {
        match self {
            Self::NoConnection
            | Self::Timeout
            | Self::Untrusted
            | Self::Sealed
            | Self::Throttled
            | Self::Server(_)
            | Self::TokenMissing
            | Self::Device
            | Self::Held
            | Self::SecretFile
            | Self::Authorities
            | Self::Module
            | Self::Setting(_)
            | Self::LedgerMissing
            | Self::LedgerExists
            | Self::LedgerIo(_) => ProviderError::Unreachable,
            Self::Denied
            | Self::Expired
            | Self::Disabled
            | Self::PendingDeletion
            | Self::KeyMissing
            | Self::PinWrong
            | Self::PinLocked
            | Self::Mechanism
            | Self::Exportable
            | Self::Occupied
            | Self::OlderFirst
            | Self::State => ProviderError::Refused,
            Self::Garbage | Self::TooLong | Self::WrongKey | Self::LedgerDamaged => ProviderError::Wrong,
        }
    }
}

impl From<std::io::Error> for ProviderFault {
    fn from(error: std::io::Error) -> Self {
        Self::LedgerIo(error.kind())
    }
}
