//! What is looked at while a request's body passes, and the body's way between `s3s` and the store.
//!
//! `Inspected` stands under `s3s`, on the wire's bytes: it refuses DTDs and wrong digests in XML bodies, and signed
//! chunks that end without their last chunk. The refusal is noted in the request's [`Trace`], because `s3s` would
//! answer every such end with 500. Promises constant memory. Must not know the operation.

use super::precheck::{BodyRule, TOO_LONG};
use super::refusal::Refusal;
use super::trace::Trace;
use crate::model::limits::{CHUNK_BYTES, XML_BYTES_MAX};
use crate::store::digest::Hashing;
use crate::store::types::{BodyFault, Download, Expected, Fault, StoreError, Upload};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, StreamExt as _};
use http_body::{Frame, SizeHint};
use s3s::dto::StreamingBlob;
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{Body, BodySizeLimitExceeded, StdError};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body from the wire with somebody looking at it.
struct Inspected {
    inner: Body,
    trace: Trace,
    inspect: Inspect,
}

enum Inspect {
    Xml { hashing: Option<Box<(Hashing, Expected)>>, bytes: usize, last: u8 },
    LastChunk { tail: BytesMut },
    Done,
}

/// Puts the inspection that `rule` asks for around a body. `expected` are the digests that the headers of a request
/// with an XML body claim.
pub(super) fn inspect(body: Body, rule: BodyRule, expected: Expected, trace: &Trace) -> Body {
    let inspect = match rule {
        BodyRule::Empty | BodyRule::Object | BodyRule::Events => return body,
        BodyRule::Xml => {
            let claims = expected.md5.is_some() || !expected.checksums.is_empty();
            let hashing = claims.then(|| Box::new((Hashing::of(&expected), expected)));
            Inspect::Xml { hashing, bytes: 0, last: 0 }
        }
        BodyRule::SignedChunks => Inspect::LastChunk { tail: BytesMut::with_capacity(2 * LAST_CHUNK_BYTES) },
    };
    Body::http_body_unsync(Inspected { inner: body, trace: trace.clone(), inspect })
}

/// `0;chunk-signature=`, 64 digits, two line ends, and one byte to see that the 0 begins a line.
const LAST_CHUNK_BYTES: usize = 1 + 18 + 64 + 4;
const DTD: Refusal = Refusal::bad("MalformedXML", "The XML you provided has a declaration that is not allowed.");
const BAD_DIGEST: Refusal = Refusal::bad("BadDigest", "A digest you specified did not match what we received.");
const INCOMPLETE: Refusal = Refusal::bad("IncompleteBody", "The request body ended without its last chunk.");

impl Inspected {
    fn look(&mut self, data: &Bytes) -> Result<(), Refusal> {
        match &mut self.inspect {
            Inspect::Xml { hashing, bytes, last } => {
                *bytes += data.len();
                if *bytes > XML_BYTES_MAX {
                    return Err(TOO_LONG);
                }
                // `<!` opens DTDs and CDATA; no client sends either, and s3s skips both in silence.
                if (*last == b'<' && data.first() == Some(&b'!')) || data.windows(2).any(|two| two == b"<!") {
                    return Err(DTD);
                }
                *last = data.last().copied().unwrap_or(*last);
                if let Some(hashing) = hashing {
                    // Never waits: an XML body stays below the size from which another thread hashes.
                    hashing.0.update(data).now_or_never().ok_or(TOO_LONG)?;
                }
            }
            Inspect::LastChunk { tail } => {
                let keep = &data[data.len().saturating_sub(LAST_CHUNK_BYTES)..];
                let _ = tail.split_to((tail.len() + keep.len()).saturating_sub(LAST_CHUNK_BYTES).min(tail.len()));
                tail.extend_from_slice(keep);
            }
            Inspect::Done => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.inspect, Inspect::Done) {
            Inspect::Xml { hashing: Some(hashing), .. } => {
                let (hashing, expected) = *hashing;
                let digests = hashing.finish().now_or_never().ok_or(TOO_LONG)?;
                digests.check(expected).map(drop).map_err(|_| BAD_DIGEST)
            }
            Inspect::LastChunk { tail } if !is_last_chunk(&tail) => Err(INCOMPLETE),
            Inspect::Xml { .. } | Inspect::LastChunk { .. } | Inspect::Done => Ok(()),
        }
    }
}

fn is_last_chunk(tail: &[u8]) -> bool {
    let Some(line) = tail.strip_suffix(b"\r\n") else { return false };
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let Some(start) = line.len().checked_sub(18 + 64) else { return false };
    let head = line[start..].strip_prefix(b"0;chunk-signature=");
    let begins = start == 0 || line[start - 1] == b'\n';
    begins && head.is_some_and(|digits| digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit))
}

impl http_body::Body for Inspected {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose()?;
        let seen = match frame.as_ref().map(Frame::data_ref) {
            None => self.end(),
            Some(None) => Ok(()),
            Some(Some(data)) => self.look(data),
        };
        if let Err(refusal) = seen {
            self.trace.refuse(refusal);
            self.inspect = Inspect::Done;
            return Poll::Ready(Some(Err(Box::new(BodyFault::Incomplete))));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        // The end has to be polled to be looked at.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a PUT or part on its way to the store. Its last item is an error if anything was wrong with it.
pub(super) fn upload(body: Option<StreamingBlob>, trace: Trace) -> Upload {
    let Some(body) = body else { return futures::stream::empty().boxed() };
    let item = move |item: Result<Bytes, StdError>| {
        item.map_err(|error| {
            if let Some(AwsChunkedStreamError::SignatureMismatch) = error.downcast_ref() {
                trace.refuse(BAD_CHUNK);
            }
            fault(&error)
        })
    };
    body.map(item).boxed()
}

const BAD_CHUNK: Refusal =
    Refusal::forbidden("SignatureDoesNotMatch", "The signature of a chunk does not match the one we calculated.");

fn fault(error: &StdError) -> BodyFault {
    if let Some(fault) = error.downcast_ref::<BodyFault>() {
        return match fault {
            BodyFault::Incomplete => BodyFault::Incomplete,
            BodyFault::Signature => BodyFault::Signature,
            BodyFault::Source => BodyFault::Source,
            BodyFault::TooSlow => BodyFault::TooSlow,
        };
    }
    match error.downcast_ref::<AwsChunkedStreamError>() {
        Some(AwsChunkedStreamError::SignatureMismatch) => return BodyFault::Signature,
        Some(AwsChunkedStreamError::Underlying(source)) => return fault(source),
        _ => {}
    }
    match error.downcast_ref::<UploadStreamError>() {
        Some(UploadStreamError::Sha256Mismatch) => return BodyFault::Signature,
        Some(UploadStreamError::Underlying(source)) => return fault(source),
        _ => {}
    }
    debug_assert!(!error.is::<BodySizeLimitExceeded>(), "the pre-check knows every length");
    BodyFault::Incomplete
}

/// A reply's body. A short one is gathered first, so that it leaves in one write with the headers.
pub(super) async fn download(length: u64, mut body: Download) -> Result<StreamingBlob, StoreError> {
    if length > CHUNK_BYTES as u64 {
        let frames = body.map(|item| item.map(Frame::data));
        return Ok(StreamingBlob::from(Body::http_body_unsync(http_body_util::StreamBody::new(frames))));
    }
    let mut first = body.next().await.transpose()?.unwrap_or_default();
    if first.len() as u64 != length {
        let mut all = BytesMut::with_capacity(usize::try_from(length).expect("at most one chunk"));
        all.extend_from_slice(&first);
        while let Some(more) = body.next().await {
            all.extend_from_slice(&more?);
        }
        first = all.freeze();
    }
    if first.len() as u64 == length {
        Ok(StreamingBlob::from_bytes(first))
    } else {
        Err(StoreError::Integrity(Fault::SHAPE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::RequestId;
    use http_body_util::BodyExt;

    async fn run(rule: BodyRule, expected: Expected, pieces: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        let trace = Trace::new(RequestId::next());
        let body = Body::from(s3s::stream::DynByteStream::from(StreamingBlob::wrap(futures::stream::iter(pieces))));
        match BodyExt::collect(inspect(body, rule, expected, &trace)).await {
            Ok(all) => Ok(all.to_bytes().to_vec()),
            Err(_) => Err(trace.refusal().expect("every error is a refusal")),
        }
    }

    #[tokio::test]
    async fn xml_with_a_declaration_is_refused_wherever_it_is_cut() {
        let xml: &[u8] = b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><Delete/>";
        for cut in 0..xml.len() {
            let got = run(BodyRule::Xml, Expected::default(), &[&xml[..cut], &xml[cut..]]).await;
            assert_eq!(got, Err(DTD), "{cut}");
        }
        let cdata = run(BodyRule::Xml, Expected::default(), &[b"<Key><![CDATA[x]]></Key>"]).await;
        assert_eq!(cdata, Err(DTD));
        let plain: &[u8] = b"<Delete><Object><Key>a&lt;!b</Key></Object></Delete>";
        assert_eq!(run(BodyRule::Xml, Expected::default(), &[plain]).await, Ok(plain.to_vec()));
    }

    #[tokio::test]
    async fn xml_has_a_size_and_the_digest_it_claims() {
        let big = vec![b' '; XML_BYTES_MAX];
        assert!(run(BodyRule::Xml, Expected::default(), &[&big]).await.is_ok());
        assert_eq!(run(BodyRule::Xml, Expected::default(), &[&big, b" "]).await, Err(TOO_LONG));
        let md5 = |byte| Expected { md5: Some([byte; 16]), ..Expected::default() };
        assert_eq!(run(BodyRule::Xml, md5(1), &[b"<a/>"]).await, Err(BAD_DIGEST));
        let right = Hashing::new([]).finish().await.md5;
        let empty = Expected { md5: Some(right), ..Expected::default() };
        assert_eq!(run(BodyRule::Xml, empty, &[]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn signed_chunks_end_in_the_last_chunk() {
        let last = format!("0;chunk-signature={}\r\n\r\n", "a".repeat(64));
        let chunk = format!("5;chunk-signature={}\r\nhello\r\n", "b".repeat(64));
        let whole = [chunk.as_bytes(), last.as_bytes()].concat();
        for cut in 0..whole.len() {
            let got = run(BodyRule::SignedChunks, Expected::default(), &[&whole[..cut], &whole[cut..]]).await;
            assert_eq!(got.as_deref(), Ok(&whole[..]), "{cut}");
            let short = run(BodyRule::SignedChunks, Expected::default(), &[&whole[..cut]]).await;
            assert_eq!(short.is_ok(), cut + 2 == whole.len(), "{cut}");
        }
        let fake = format!("50;chunk-signature={}\r\n\r\n", "a".repeat(64));
        assert_eq!(run(BodyRule::SignedChunks, Expected::default(), &[fake.as_bytes()]).await, Err(INCOMPLETE));
        assert!(run(BodyRule::SignedChunks, Expected::default(), &[last.as_bytes()]).await.is_ok());
    }
}
