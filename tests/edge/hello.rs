//! ClientHellos byte by byte, for what no library of today still sends. Source: RFC 5246, 7.4.1.2.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What a server answered to a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It goes on: the version and suite that it chose, and the compression.
    Hello { version: u16, suite: u16, compression: u8 },
    /// A fatal alert, and nothing after it.
    Alert(u8),
    /// Not one byte.
    Closed,
}

/// What to offer.
pub(super) struct Hello<'a> {
    pub(super) version: u16,
    pub(super) suites: &'a [u16],
    pub(super) compressions: &'a [u8],
}

impl Hello<'_> {
    /// Sends it and reads what comes back.
    pub(super) fn sent(&self, address: SocketAddr) -> Answer {
        let mut socket = TcpStream::connect(address).expect("the listener accepts");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket.write_all(&self.record()).expect("a new connection takes bytes");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A ServerHello is enough; after an alert the server closes.
        while !(answer.first() == Some(&0x16) && answer.len() > 64) {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
                Err(e) => panic!("neither an answer nor a close: {e}"),
            }
        }
        match answer.as_slice() {
            [] => Answer::Closed,
            [0x15, _, _, 0, 2, 2, description] => Answer::Alert(*description),
            [0x16, ..] => server_hello(&answer[5..]),
            other => panic!("not an answer of TLS: {other:02x?}"),
        }
    }

    fn record(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0x5a; 32]);
        body.push(0);
        body.extend(sized(2, &self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect::<Vec<_>>()));
        body.extend(sized(1, self.compressions));
        let extensions: [(u16, &[u8]); 5] = [
            (10, &[0, 4, 0x00, 0x1d, 0x00, 0x17]),
            (11, &[1, 0]),
            (13, &[0, 8, 0x04, 0x03, 0x05, 0x03, 0x08, 0x04, 0x04, 0x01]),
            (23, &[]),
            (0xff01, &[0]),
        ];
        // SSL 3.0 has no extensions.
        if self.version > 0x0300 {
            let extension = |(kind, data): &(u16, &[u8])| [kind.to_be_bytes().to_vec(), sized(2, data)].concat();
            body.extend(sized(2, &extensions.iter().flat_map(extension).collect::<Vec<_>>()));
        }
        let handshake = [vec![1], sized(3, &body)].concat();
        let outer = self.version.min(0x0301).to_be_bytes();
        [vec![0x16], outer.to_vec(), sized(2, &handshake)].concat()
    }
}

fn server_hello(handshake: &[u8]) -> Answer {
    assert_eq!(handshake[0], 2, "a ServerHello comes first");
    let version = u16::from_be_bytes([handshake[4], handshake[5]]);
    let after_session = 39 + usize::from(handshake[38]);
    let suite = u16::from_be_bytes([handshake[after_session], handshake[after_session + 1]]);
    Answer::Hello { version, suite, compression: handshake[after_session + 2] }
}

/// A length of `width` bytes, then the data.
fn sized(width: usize, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_be_bytes();
    [&length[8 - width..], data].concat()
}
