//! `[clock]`: who vouches for the machine's clock besides its kernel.

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// Most peers.
const PEERS_MAX: usize = 8;

/// Whose time is believed when it agrees with the machine's. Source: docs/operations.md, "clock".
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// `https://` addresses whose `Date` header is read, such as another geoseal's `/healthz`.
    pub peers: Vec<String>,
    /// PEM file of the authorities to trust for them instead of the system's.
    pub peers_ca_file: Option<PathBuf>,
}

impl ClockConfig {
    /// Says what is wrong with it.
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        if self.peers.len() > PEERS_MAX {
            wrong.push(format!("clock.peers: at most {PEERS_MAX}"));
        }
        for peer in &self.peers {
            let parsed = peer.parse::<http::Uri>().ok();
            let fits = parsed.is_some_and(|url| url.scheme_str() == Some("https") && url.host().is_some());
            if !fits {
                wrong.push("clock.peers: an address is https://HOST[:PORT][/PATH]; plain http proves nothing".into());
            }
        }
    }
}
