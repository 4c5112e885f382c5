//! How much of a request's body was read, and whether to its end: an answer that came before that ends the connection,
//! and says so.
//!
//! Used by the guard. hyper closes such a connection by itself, in silence; a client that was not told takes the next
//! request to a closed socket. Source: RFC 9112, 9.3 and 9.6; RFC 9110, 10.1.1 (`Expect`).

use crate::model::request::Received;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// Knows, after the answer is made, whether the body had ended.
#[derive(Clone, Debug)]
pub(super) struct Ended(Arc<AtomicBool>);

impl Ended {
    /// Watches a body and counts what is read of it. One that is empty from the start stays as it is.
    pub(super) fn watch(body: Body, received: Received) -> (Body, Self) {
        let ended = Self(Arc::new(AtomicBool::new(body.is_end_stream())));
        if ended.so() {
            return (body, ended);
        }
        (Body::http_body_unsync(Watched { inner: body, ended: ended.clone(), received }), ended)
    }

    /// Whether it has ended.
    pub(super) fn so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Watched {
    inner: Body,
    ended: Ended,
    received: Received,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.received.add(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        if frame.is_none() || self.inner.is_end_stream() {
            self.ended.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_body_has_ended_when_its_last_byte_was_read() {
        let (_, empty) = Ended::watch(Body::empty(), Received::default());
        assert!(empty.so());
        let pieces = ["a", "b"].map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece))));
        let stream = http_body_util::StreamBody::new(futures::stream::iter(pieces));
        let received = Received::default();
        let (mut body, ended) = Ended::watch(Body::http_body(stream), received.clone());
        for _ in 0..2 {
            assert!(!ended.so());
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.is_none() && ended.so());
        assert_eq!(received.bytes(), 2, "a length that nobody said beforehand is counted, too");
        let (mut known, ended) = Ended::watch(Body::from(Bytes::from("all")), received);
        assert!(!ended.so() && known.frame().await.unwrap().is_ok() && ended.so(), "its length was known");
    }
}
