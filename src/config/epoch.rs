//! The settings of closing epochs: the soak, the schedule, and the promise that they keep together. From the moment that
//! something is destroyed it takes at most one whole epoch until a close begins, then the soak, then what the provider
//! itself waits before a destroyed master key is gone: 28 days in all, because a request to erase has to be met within a
//! month.

use super::keyring::{Keeper, Keyrings};
use schemars::JsonSchema;
use serde::Deserialize;

/// Days from a destruction to the end of the last older copy, at most. Source: Art. 12(3) GDPR, one month.
const DAYS_MAX: u64 = 28;
/// Longest soak of an epoch's close, in seconds: 14 days.
const SOAK_S_MAX: u64 = 1_209_600;
/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// Closing epochs: after it what was destroyed is irrecoverable. Source: docs/operations.md, "epoch".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EpochConfig {
    /// Days from one close to the next; none: closes begin only when somebody asks.
    pub every_days: Option<u64>,
    /// Seconds for which older versions of a master key stay disabled before they are destroyed.
    pub soak_s: u64,
    /// Whether a close may do without.
    pub allow_no_soak: bool,
    /// Whether the secret that seals the local keyring lies on something that can itself be destroyed.
    pub keyring_secret_destroyable: bool,
}

impl Default for EpochConfig {
    fn default() -> Self {
        Self { every_days: None, soak_s: 172_800, allow_no_soak: false, keyring_secret_destroyable: false }
    }
}

impl EpochConfig {
    /// Says what is wrong with it, beside the keyrings that the master keys are in.
    pub(super) fn check(&self, keyrings: &Keyrings, wrong: &mut Vec<String>) {
        let soak_s = self.soak_s;
        if !(3600..=SOAK_S_MAX).contains(&soak_s) {
            wrong.push(format!(
                "epoch.soak_s = {soak_s}: 3600 to {SOAK_S_MAX}; epoch, soak and provider have to end within {DAYS_MAX} days"
            ));
        }
        let Some(days) = self.every_days else { return };
        let delay = keyrings.all().map(|keyring| match &keyring.keeper {
            Keeper::AwsKms(kms) => u64::from(kms.deletion_days),
            Keeper::Passphrase(_) | Keeper::KeyFile(_) | Keeper::Pkcs11(_) | Keeper::Transit(_) => 0,
        });
        let (delay, soak) = (delay.max().unwrap_or(0), soak_s.div_ceil(DAY_S));
        let whole = days.saturating_add(delay).saturating_mul(DAY_S).saturating_add(soak_s);
        if days == 0 {
            wrong.push("epoch.every_days = 0: from 1; leave it out, and closes begin only when somebody asks".into());
        } else if whole > DAYS_MAX * DAY_S {
            wrong.push(format!(
                "epoch.every_days = {days}: {days} days, {soak} of soak (epoch.soak_s) and {delay} of the provider's own \
                 delay (deletion_days) are more than {DAYS_MAX}; an erasure has to end within a month"
            ));
        } else if soak_s >= days * DAY_S {
            wrong.push(format!(
                "epoch.every_days = {days}: the soak of {soak_s} s would not be over when the next close is due"
            ));
        }
    }

    /// Seconds from one close to the next.
    pub fn every_s(&self) -> Option<i64> {
        self.every_days.and_then(|days| i64::try_from(days.saturating_mul(DAY_S)).ok())
    }
}
