//! What a listener of ours says to strangers, found out by being one: it is spoken to over its own socket.
//!
//! Called by the house, which puts the answers on record. Promises that nothing is sent that anybody could act on: a line
//! in the clear, and the first message of handshakes that are never finished. Must not know who asks, or why.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The end of one exchange; longer than the deadline of a handshake, so that a close by deadline is seen as one.
const PATIENCE: Duration = Duration::from_secs(60);
/// TLS 1.0 and 1.1.
const OLD: [u16; 2] = [0x0301, 0x0302];
/// What a client in the clear begins with.
const PLAINTEXT: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Record header and the kind of the first handshake message, or the level of an alert.
const ENOUGH_BYTES: usize = 6;

/// What a listener did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// It answered plaintext with nothing but the end of the connection.
    pub plaintext_refused: bool,
    /// It answered TLS 1.0 and 1.1 with an alert, or the end of the connection.
    pub old_refused: bool,
    /// It answered a client of TLS 1.2 and 1.3 with a ServerHello.
    pub new_accepted: bool,
}

impl Probed {
    /// Whether all of it is as it has to be.
    pub fn passed(&self) -> bool {
        self.plaintext_refused && self.old_refused && self.new_accepted
    }
}

/// Speaks to the listener at `address`; one that listens everywhere is reached on this machine. Errors: nobody answers.
pub async fn probe(address: SocketAddr) -> io::Result<Probed> {
    let address = reachable(address);
    let plaintext_refused = answer(address, PLAINTEXT, 1).await?.is_empty();
    let mut old_refused = true;
    for version in OLD {
        let answer = answer(address, &hello(version), ENOUGH_BYTES).await?;
        old_refused &= matches!(answer.first(), None | Some(&ALERT));
    }
    let answer = answer(address, &hello(0x0303), ENOUGH_BYTES).await?;
    let new_accepted = answer.first() == Some(&HANDSHAKE) && answer.get(5) == Some(&SERVER_HELLO);
    Ok(Probed { plaintext_refused, old_refused, new_accepted })
}

const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
const SERVER_HELLO: u8 = 2;

fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// What comes back until there is enough of it, or the connection ends.
async fn answer(address: SocketAddr, sent: &[u8], enough: usize) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(sent).await?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 512]);
        while answer.len() < enough {
            match socket.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}

/// The first message of a client whose newest version is `version`; from 1.2 on it can do 1.3, too. Source: RFC 5246,
/// 7.4.1.2; RFC 8446, 4.1.2.
fn hello(version: u16) -> Vec<u8> {
    const SUITES: [u16; 9] = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];
    // What TLS 1.1 had: it is the version that is to be refused, and not the want of a suite.
    const OLD_SUITES: [u16; 4] = [0xc009, 0xc00a, 0xc013, 0xc014];
    let mut body = version.to_be_bytes().to_vec();
    body.extend([0x5a; 32]);
    body.push(0);
    let suites = SUITES.iter().chain(&OLD_SUITES).flat_map(|suite| suite.to_be_bytes());
    body.extend(sized(2, &suites.collect::<Vec<_>>()));
    body.extend(sized(1, &[0]));
    let share = [&[0x00, 0x1d][..], &sized(2, &[9; 32])].concat();
    let mut extensions: Vec<(u16, Vec<u8>)> = vec![
        (10, vec![0, 4, 0x00, 0x1d, 0x00, 0x17]),
        (11, vec![1, 0]),
        (13, vec![0, 10, 0x04, 0x03, 0x05, 0x03, 0x08, 0x04, 0x04, 0x01, 0x08, 0x07]),
        (23, vec![]),
        (0xff01, vec![0]),
    ];
    if version >= 0x0303 {
        extensions.push((43, vec![4, 0x03, 0x04, 0x03, 0x03]));
        extensions.push((51, sized(2, &share)));
    }
    let extensions = extensions.iter().flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &sized(2, data)].concat());
    body.extend(sized(2, &extensions.collect::<Vec<_>>()));
    let handshake = [vec![1], sized(3, &body)].concat();
    [vec![HANDSHAKE, 0x03, 0x01], sized(2, &handshake)].concat()
}

/// A length of `width` bytes, then the data.
fn sized(width: usize, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_be_bytes();
    [&length[8 - width..], data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Listeners that are no good are seen for what they are; the good one is looked at from outside.
    #[tokio::test]
    async fn r23_a_listener_that_answers_plaintext_or_old_versions_is_found_out() {
        const NOTHING: &[u8] = b"";
        const OLD_HELLO: &[u8] = &[HANDSHAKE, 3, 2, 0, 1, SERVER_HELLO];
        let refuses =
            |plaintext, old, new| Probed { plaintext_refused: plaintext, old_refused: old, new_accepted: new };
        for (says, found) in [
            (NOTHING, refuses(true, true, false)),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", refuses(false, false, false)),
            (OLD_HELLO, refuses(false, false, true)),
            (&[ALERT, 3, 3, 0, 2, 2, 70], refuses(false, true, false)),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                while let Ok((mut socket, _)) = listener.accept().await {
                    let mut heard = [0; 1024];
                    _ = socket.read(&mut heard).await;
                    _ = socket.write_all(says).await;
                }
            });
            let probed = probe(address).await.unwrap();
            assert_eq!(probed, found, "{says:?}");
            assert!(!probed.passed());
            server.abort();
        }
    }
}
