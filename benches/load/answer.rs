//! Where an HTTP/1.1 answer ends: just enough of it to know that, for well-behaved servers.

use std::io;

/// What of an answer is still to come.
pub(crate) enum Answer {
    /// Its head, of which this much is here.
    Head(Vec<u8>),
    /// So many bytes of its body.
    Body(u64),
    /// Chunks, of which these bytes came last.
    Chunked(Vec<u8>),
}

/// How a chunked body without trailers ends.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

impl Default for Answer {
    fn default() -> Self {
        Self::Head(vec![])
    }
}

impl Answer {
    /// Takes decrypted bytes and counts those of the body. True when they end the answer; the next one may then begin.
    ///
    /// Fails when the answer is not a success, with its head.
    pub(crate) fn take(&mut self, mut plain: &[u8], bytes: &mut u64) -> io::Result<bool> {
        if let Self::Head(head) = self {
            head.extend_from_slice(plain);
            let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else {
                return Ok(false);
            };
            plain = &plain[plain.len() - (head.len() - (end + 4))..];
            let head = std::str::from_utf8(&head[..end]).map_err(io::Error::other)?;
            *self = Self::after(head).ok_or_else(|| io::Error::other(format!("not a success: {head}")))?;
        }
        *bytes += plain.len() as u64;
        let complete = match self {
            Self::Head(_) => false,
            Self::Body(left) => {
                let rest = left.checked_sub(plain.len() as u64);
                *left = rest.ok_or_else(|| io::Error::other("an answer longer than it said"))?;
                *left == 0
            }
            Self::Chunked(tail) => {
                tail.extend_from_slice(plain);
                tail.drain(..tail.len().saturating_sub(LAST_CHUNK.len()));
                tail == LAST_CHUNK
            }
        };
        if complete {
            *self = Self::default();
        }
        Ok(complete)
    }

    /// What follows this head; `None` when it is not a success.
    fn after(head: &str) -> Option<Self> {
        if !head.get(9..12)?.starts_with('2') {
            return None;
        }
        let value = |name: &str| {
            let header = |line: &&str| line.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name));
            head.split("\r\n").find(header).map(|line| line[name.len()..].trim())
        };
        match value("content-length:") {
            Some(length) => Some(Self::Body(length.parse().ok()?)),
            None if value("transfer-encoding:") == Some("chunked") => Some(Self::Chunked(vec![])),
            None => Some(Self::Body(0)), // 204
        }
    }
}
