//! Where does one request end and the next begin? Strictly, so that nobody in front of us can see it elsewhere.
//!
//! hyper is lenient where RFC 9112 lets it be: it takes a bare LF for a line's end, drops Content-Length beside
//! Transfer-Encoding, takes the same Content-Length twice, skips chunk extensions and empty lines. Each of these is how
//! requests are smuggled past a proxy that reads them the other way. This watcher sees every plaintext byte before
//! hyper does, follows the same framing, and refuses what is not plain. Source: RFC 9112, sections 2.2, 3.2, 5, 6, 7;
//! docs/threat-cases.md PX-06.
//!
//! It refuses and does not repair; it holds at most one line. It also holds the bounds on header sections, which
//! hyper keeps only roughly: what arrives in one read may be larger than its buffer's bound.

use memchr::memchr;

/// Follows the bytes of one connection.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// The begin of a line whose end has not arrived.
    line: Vec<u8>,
    head_bytes_max: usize,
    head_lines_max: usize,
    head: Head,
    requests: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Refused,
}

/// What matters of the header section so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    /// Bytes and lines so far, of the header section or of the trailers.
    bytes: usize,
    lines: usize,
    http_10: bool,
    authority: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
    length: Option<u64>,
    chunked: bool,
}

/// What the next byte would belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The very first request.
    Start,
    /// The next request, none of which has arrived.
    Between,
    /// A header section that has begun.
    Head,
    /// A body.
    Body,
}

/// The line breaks a rule.
struct Refused;

/// Looks at every byte without a branch, so that it is done many at a time: this sees all of every head.
fn has_control(line: &[u8]) -> bool {
    line.iter().fold(false, |found, b| found | ((*b < 0x20) & (*b != b'\t')) | (*b == 0x7f))
}

impl Framing {
    /// Bounds are those of one header section, and of the trailers behind one body.
    pub(super) fn new(head_bytes_max: usize, head_lines_max: usize) -> Self {
        Self {
            state: State::Head,
            line: Vec::new(),
            head_bytes_max,
            head_lines_max,
            head: Head::default(),
            requests: 0,
        }
    }

    /// Follows `bytes`. An error is the offset of the first byte that must not reach the parser; nothing after it is
    /// looked at, ever.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Refused => return Err(at),
                State::Body(left) | State::Chunk(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Body(_) => State::Head,
                            _ => State::ChunkEnd,
                        };
                    }
                }
                _ => match memchr(b'\n', rest) {
                    None if self.line.len() + rest.len() > self.line_max() => return self.refuse(at),
                    None => {
                        self.line.extend_from_slice(rest);
                        return Ok(());
                    }
                    Some(end) => {
                        if self.whole_line(&rest[..end]).is_err() {
                            return self.refuse(at + end);
                        }
                        at += end + 1;
                    }
                },
            }
        }
        Ok(())
    }

    /// What the next byte would belong to.
    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Head if self.head.begun || !self.line.is_empty() => Phase::Head,
            State::Head if self.requests == 0 => Phase::Start,
            State::Head | State::Refused => Phase::Between,
            _ => Phase::Body,
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.state == State::Refused
    }

    fn refuse(&mut self, at: usize) -> Result<(), usize> {
        self.state = State::Refused;
        Err(at)
    }

    fn line_max(&self) -> usize {
        match self.state {
            // 16 digits and CR.
            State::ChunkSize => 17,
            State::ChunkEnd => 1,
            _ => self.head_bytes_max.saturating_sub(self.head.bytes),
        }
    }

    fn whole_line(&mut self, end: &[u8]) -> Result<(), Refused> {
        if self.line.is_empty() {
            return self.line(end);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        let answer = self.line(&line);
        line.clear();
        self.line = line;
        answer
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Refused> {
        // RFC 9112, 2.2: a bare LF MAY be taken for a line's end; a bare CR must not. We take neither.
        let line = line.strip_suffix(b"\r").ok_or(Refused)?;
        if line.len() > self.line_max() || has_control(line) {
            return Err(Refused);
        }
        match self.state {
            State::Head if !self.head.begun => self.request_line(line),
            State::Head if line.is_empty() => self.end_of_head(),
            State::Head => {
                self.count(line)?;
                self.head.header(line)
            }
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::Trailers if line.is_empty() => {
                (self.state, self.head) = (State::Head, Head::default());
                Ok(())
            }
            State::Trailers => {
                self.count(line)?;
                trailer(line)
            }
            State::ChunkEnd | State::Body(_) | State::Chunk(_) | State::Refused => Err(Refused),
        }
    }

    fn count(&mut self, line: &[u8]) -> Result<(), Refused> {
        self.head.bytes += line.len() + 2;
        self.head.lines += 1;
        let within = self.head.bytes <= self.head_bytes_max && self.head.lines <= self.head_lines_max;
        if within { Ok(()) } else { Err(Refused) }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refused> {
        let mut words = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refused);
        };
        if !is_token(method) || method == b"CONNECT" || target.contains(&b'\t') {
            return Err(Refused);
        }
        let bytes = line.len() + 2;
        self.head = Head { begun: true, bytes, authority: authority_of(target)?, ..Head::default() };
        self.head.http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refused),
        };
        Ok(())
    }

    fn end_of_head(&mut self) -> Result<(), Refused> {
        let head = std::mem::take(&mut self.head);
        self.requests += 1;
        // RFC 9112, 3.2: a server MUST respond with 400 to a request that lacks a Host header field.
        if head.host.is_none() && !head.http_10 {
            return Err(Refused);
        }
        if let (Some(authority), Some(host)) = (&head.authority, &head.host)
            && !authority.eq_ignore_ascii_case(host)
        {
            return Err(Refused);
        }
        self.state = match (head.chunked, head.length) {
            // RFC 9112, 6.1: such a message ought to be handled as an error; 1.0 knows no Transfer-Encoding.
            (true, Some(_)) => return Err(Refused),
            (true, None) if head.http_10 => return Err(Refused),
            (true, None) => State::ChunkSize,
            (false, None | Some(0)) => State::Head,
            (false, Some(length)) => State::Body(length),
        };
        Ok(())
    }

    fn chunk_size(&mut self, line: &[u8]) -> Result<(), Refused> {
        if line.is_empty() || line.len() > 16 || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err(Refused);
        }
        let text = std::str::from_utf8(line).map_err(|_| Refused)?;
        self.state = match u64::from_str_radix(text, 16).map_err(|_| Refused)? {
            0 => State::Trailers,
            size => State::Chunk(size),
        };
        Ok(())
    }
}

impl Head {
    fn header(&mut self, line: &[u8]) -> Result<(), Refused> {
        let (name, value) = split(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.len() <= 19 && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
            once(&mut self.length, length.ok_or(Refused)?)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused);
            }
            self.chunked = true;
            Ok(())
        } else if name.eq_ignore_ascii_case(b"host") {
            if value.is_empty() || value.iter().any(|b| b" \t/@,?#\\".contains(b)) {
                return Err(Refused);
            }
            once(&mut self.host, value.to_vec())
        } else {
            Ok(())
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Refused> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refused),
    }
}

/// Framing does not belong into trailers, nor does what a request is routed by.
fn trailer(line: &[u8]) -> Result<(), Refused> {
    let (name, _) = split(line)?;
    let forbidden: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"host", b"authorization"];
    if forbidden.iter().any(|f| name.eq_ignore_ascii_case(f)) { Err(Refused) } else { Ok(()) }
}

/// Name and trimmed value. RFC 9112, 5.1 and 5.2: no space before the colon, no folding.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let colon = memchr(b':', line).ok_or(Refused)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if is_token(name) { Ok((name, value.trim_ascii())) } else { Err(Refused) }
}

fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The authority of an absolute-form target; origin-form and `*` have none; anything else is refused.
fn authority_of(target: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
    if target.first() == Some(&b'/') || target == b"*" {
        return Ok(None);
    }
    let lower = target.to_ascii_lowercase();
    let rest = lower.strip_prefix(b"https://").or_else(|| lower.strip_prefix(b"http://")).ok_or(Refused)?;
    let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
    let authority = &rest[..end];
    if authority.is_empty() || authority.contains(&b'@') { Err(Refused) } else { Ok(Some(authority.to_vec())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[&str] = &[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET https://A:9000/b HTTP/1.1\r\nHost: a:9000\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n\nGET ",
        "PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\r\r\n0\r\nx-amz-checksum-crc32: AA==\r\n\r\n",
    ];

    const BAD: &[(&str, &str)] = &[
        ("both", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("both, other order", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        ("two lengths", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        ("same length twice", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        ("list of lengths", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
        ("signed length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        ("hex length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"),
        ("empty length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        ("overflowing length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("space before colon", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n"),
        ("x-chunked", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("gzip, chunked", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("identity", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("vertical tab", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"),
        (
            "chunked twice",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("folded", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"),
        ("chunked in 1.0", "PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("bare LF in the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("bare LF in a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        ("bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("bare CR", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"),
        ("empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("absolute target, other host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("absolute target with user", "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("target without a slash", "GET k HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/0.9", "GET /\r\n\r\n"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\n"),
        ("no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("chunk extension", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n"),
        ("bare LF after a chunk size", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\n"),
        ("chunk size 0x5", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n"),
        ("chunk size -1", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"),
        (
            "chunk size of 17 digits",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000005\r\n",
        ),
        ("chunk longer than said", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
        ("bare LF after a chunk", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n"),
        (
            "length in a trailer",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        ),
    ];

    fn framing() -> Framing {
        Framing::new(64 * 1024, 100)
    }

    #[test]
    fn plain_requests_pass_however_they_are_cut() {
        let all = GOOD.concat();
        for step in [1, 2, 3, 7, 16, 1000] {
            let mut framing = framing();
            for piece in all.as_bytes().chunks(step) {
                framing.follow(piece).unwrap();
            }
            assert_eq!((framing.requests, framing.phase()), (GOOD.len() as u64, Phase::Between));
        }
    }

    #[test]
    fn ambiguous_requests_are_refused_however_they_are_cut() {
        for (what, bad) in BAD {
            let story = format!("{}{bad}GET /second HTTP/1.1\r\nHost: a\r\n\r\n", GOOD[0]);
            let end = GOOD[0].len() + bad.len();
            for step in [1, 5, 1000] {
                let mut framing = framing();
                let mut passed = 0;
                let refused = story.as_bytes().chunks(step).any(|piece| match framing.follow(piece) {
                    Ok(()) => {
                        passed += piece.len();
                        false
                    }
                    Err(at) => {
                        passed += at;
                        true
                    }
                });
                assert!(refused && passed < end, "{what}: {passed} of {end} bytes passed");
                assert!(framing.follow(b"G").is_err(), "{what}: refused once, refused for good");
            }
        }
    }

    #[test]
    fn phases_follow_the_bytes() {
        let mut framing = framing();
        for (bytes, phase) in [
            ("", Phase::Start),
            ("P", Phase::Head),
            ("UT / HTTP/1.1\r\n", Phase::Head),
            ("Host: a\r\nContent-Length: 2\r\n\r\n", Phase::Body),
            ("x", Phase::Body),
            ("x", Phase::Between),
            ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Phase::Body),
            ("0\r\n", Phase::Body),
            ("\r\n", Phase::Between),
        ] {
            framing.follow(bytes.as_bytes()).unwrap();
            assert_eq!(framing.phase(), phase, "after {bytes:?}");
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let mut framing = framing();
        framing.follow(b"GET / HTTP/1.1\r\nX: ").unwrap();
        let refused = (0..100).any(|_| framing.follow(&[b'x'; 1024]).is_err());
        assert!(refused && framing.line.len() <= 64 * 1024);
    }

    proptest::proptest! {
        /// Any bytes, in any cuts: no panic, and the same verdict at the same place.
        #[test]
        fn cuts_do_not_change_the_verdict(
            picks in proptest::collection::vec((0..GOOD.len(), 0usize..300, proptest::prelude::any::<u8>()), 1..4),
            step in 1usize..40,
        ) {
            let mut story = Vec::new();
            for (pick, at, byte) in picks {
                let mut one = GOOD[pick].as_bytes().to_vec();
                let n = one.len();
                if at < n { one[at] = byte; }
                story.extend(one);
            }
            let whole = framing().follow(&story).err();
            let (mut cut, mut passed, mut verdict) = (framing(), 0, None);
            for piece in story.chunks(step) {
                match cut.follow(piece) {
                    Ok(()) => passed += piece.len(),
                    Err(at) => { verdict = Some(passed + at); break; }
                }
            }
            // A line that is too long is refused where the piece begins, so only the verdict has to agree there.
            proptest::prop_assert_eq!(whole.is_some(), verdict.is_some());
        }
    }
}
