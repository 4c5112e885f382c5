//! `[limits]`: bounds of both listeners.

use schemars::JsonSchema;
use serde::Deserialize;

/// Bounds of both listeners. Source: docs/operations.md, "limits".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Seconds from the accepted connection to the end of the TLS handshake.
    pub handshake_s: u64,
    /// Seconds from there to the first byte of the first request.
    pub first_byte_s: u64,
    /// Seconds from a request's first byte to the end of its header section.
    pub header_s: u64,
    /// Seconds between two requests of a connection.
    pub idle_s: u64,
    /// Over this many seconds of waiting for a peer ...
    pub body_window_s: u64,
    /// ... at least this many bytes must move, in either direction.
    pub body_window_bytes_min: u64,
    /// Connections of one listener at one time.
    pub connections_max: usize,
    /// Connections of one IPv4 address, or one IPv6 /64, at one time.
    pub connections_per_address_max: usize,
    /// Seconds that requests in flight may take after SIGTERM.
    pub drain_s: u64,
    /// Seconds between two looks at the certificate files; SIGHUP looks at once.
    pub certificate_poll_s: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            handshake_s: 5,
            first_byte_s: 5,
            header_s: 10,
            idle_s: 60,
            body_window_s: 30,
            body_window_bytes_min: 30 * 1024,
            connections_max: 16_384,
            connections_per_address_max: 1024,
            drain_s: 30,
            certificate_poll_s: 10,
        }
    }
}

pub(super) fn check(limits: &LimitsConfig, wrong: &mut Vec<String>) {
    let seconds = [
        ("handshake_s", limits.handshake_s),
        ("first_byte_s", limits.first_byte_s),
        ("header_s", limits.header_s),
        ("idle_s", limits.idle_s),
        ("body_window_s", limits.body_window_s),
        ("certificate_poll_s", limits.certificate_poll_s),
    ];
    for (name, value) in seconds {
        if !(1..=3600).contains(&value) {
            wrong.push(format!("limits.{name} = {value}: 1 to 3600 seconds; no deadline can be switched off"));
        }
    }
    if limits.drain_s > 3600 {
        wrong.push(format!("limits.drain_s = {}: at most 3600 seconds", limits.drain_s));
    }
    let counts = [
        ("body_window_bytes_min", limits.body_window_bytes_min),
        ("connections_max", limits.connections_max as u64),
        ("connections_per_address_max", limits.connections_per_address_max as u64),
    ];
    for (name, value) in counts {
        if value == 0 {
            wrong.push(format!("limits.{name} = 0: at least 1"));
        }
    }
}
