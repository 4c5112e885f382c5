//! Every bound of the door in one place. Source: docs/operations.md, "limits".

use std::time::Duration;

/// Deadlines and caps of one listener. `Default` is what production runs with; tests shorten the deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeLimits {
    /// From the accepted connection to the end of the TLS handshake, its first byte included.
    pub handshake: Duration,
    /// From the end of the handshake to the first byte of the first request.
    pub first_byte: Duration,
    /// From the first byte of a request to the end of its header section.
    pub header: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// Over this much time of waiting for the peer, in either direction ...
    pub body_window: Duration,
    /// ... at least this many bytes have to move.
    pub body_window_bytes_min: u64,
    /// Connections of the listener at one time.
    pub connections_max: usize,
    /// Connections of one IPv4 address, or one IPv6 /64, at one time.
    pub connections_per_address_max: usize,
    /// Header lines of one request.
    pub headers_max: usize,
    /// Bytes of one request's header section, and of hyper's buffers.
    pub buffer_bytes_max: usize,
    /// From the call to drain to the moment when what is still open is cut.
    pub drain: Duration,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            first_byte: Duration::from_secs(5),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_window: Duration::from_secs(30),
            body_window_bytes_min: 30 * 1024,
            connections_max: 16_384,
            connections_per_address_max: 1024,
            headers_max: 100,
            buffer_bytes_max: 64 * 1024,
            drain: Duration::from_secs(30),
        }
    }
}
