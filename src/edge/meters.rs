//! What the door counts. Labels are a closed enum: no address, no name.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a peer was turned away or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Refusal {
    /// The first byte was not that of a TLS handshake.
    NotTls,
    /// The TLS handshake failed: version, suite, certificate.
    Handshake,
    /// The handshake took too long, or never began.
    HandshakeSlow,
    /// No request after the handshake.
    FirstByteSlow,
    /// A header section that did not end.
    HeaderSlow,
    /// A request body slower than the least rate.
    BodySlow,
    /// A reader slower than the least rate.
    ReaderSlow,
    /// A request that two parsers could read differently.
    Framing,
    /// The listener's cap on connections.
    TooManyConnections,
    /// The cap on connections of one address.
    TooManyFromAddress,
}

impl Refusal {
    const ALL: [Self; 10] = [
        Self::NotTls,
        Self::Handshake,
        Self::HandshakeSlow,
        Self::FirstByteSlow,
        Self::HeaderSlow,
        Self::BodySlow,
        Self::ReaderSlow,
        Self::Framing,
        Self::TooManyConnections,
        Self::TooManyFromAddress,
    ];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: Refusal,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: ReloadOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum ReloadOutcome {
    Swapped,
    Kept,
}

/// The meters of one listener. Clones share their counts.
#[derive(Debug, Clone, Default)]
pub struct EdgeMeters {
    pub(super) connections: Gauge,
    pub(super) accepted: Counter,
    refused: Family<RefusedLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    pub(super) certificate_expires: Gauge,
}

impl EdgeMeters {
    /// Registers under `listener="<name>"`.
    pub fn register(registry: &mut Registry, listener: &'static str) -> Self {
        let meters = Self::default();
        // Zero from the start, so that the first one is a rise.
        for reason in Refusal::ALL {
            drop(meters.refused.get_or_create(&RefusedLabels { reason }));
        }
        for outcome in [ReloadOutcome::Swapped, ReloadOutcome::Kept] {
            drop(meters.reloads.get_or_create(&ReloadLabels { outcome }));
        }
        let part = registry.sub_registry_with_label(("listener".into(), listener.into()));
        part.register("connections", "Open connections", meters.connections.clone());
        part.register("connections_accepted", "Connections accepted", meters.accepted.clone());
        part.register("connections_refused", "Connections refused or cut, by reason", meters.refused.clone());
        part.register("certificate_reloads", "New certificates taken or refused", meters.reloads.clone());
        part.register(
            "certificate_expires_timestamp_seconds",
            "End of the served certificate's validity, Unix time",
            meters.certificate_expires.clone(),
        );
        meters
    }

    /// How often peers were refused for `reason`.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused.get_or_create(&RefusedLabels { reason }).get()
    }

    /// Connections open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// How often a new certificate was refused and the old one kept.
    pub fn reloads_kept(&self) -> u64 {
        self.reloads.get_or_create(&ReloadLabels { outcome: ReloadOutcome::Kept }).get()
    }

    pub(super) fn refuse(&self, reason: Refusal) {
        tracing::debug!(?reason, "peer refused");
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    pub(super) fn reload(&self, swapped: bool) {
        let outcome = if swapped { ReloadOutcome::Swapped } else { ReloadOutcome::Kept };
        self.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }
}
