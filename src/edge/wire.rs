//! The plaintext side of one connection: deadlines by what the next byte belongs to, and strict framing.
//!
//! A connection that ends while a request's body is still arriving lingers: our side is closed, what arrives is read
//! and dropped for a moment. Closed at once, the kernel would answer those bytes with a reset, and the reset would take
//! our answer from the client that has not read it yet. Source: RFC 9112, 9.6.

use super::framing::{Framing, Phase};
use super::limits::EdgeLimits;
use super::meters::{EdgeMeters, Refusal};
use super::pace::Pace;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long, and for how many bytes, a connection lingers.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(super) struct Wire<Io> {
    io: Io,
    framing: Framing,
    pace: Pace,
    header: Duration,
    /// Of the first byte, then of the header section that is being read.
    deadline: Pin<Box<Sleep>>,
    deadline_of: Phase,
    /// Bytes that may still come after our side was closed.
    lingering: Option<usize>,
    meters: EdgeMeters,
}

impl<Io> Wire<Io> {
    pub(super) fn new(io: Io, limits: &EdgeLimits, meters: EdgeMeters) -> Self {
        Self {
            io,
            framing: Framing::new(limits.buffer_bytes_max, limits.headers_max),
            pace: Pace::new(limits),
            header: limits.header,
            deadline: Box::pin(sleep(limits.first_byte)),
            deadline_of: Phase::Start,
            lingering: None,
            meters,
        }
    }

    /// Follows what was just read; from the first byte that breaks a rule on, the parser gets one NUL instead. No rule
    /// of HTTP allows a NUL in a place where framing refuses, so hyper answers 400 and closes.
    fn follow(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let was = self.framing.phase();
        let read = buf.filled().len() - before;
        if let Err(at) = self.framing.follow(&buf.filled()[before..]) {
            self.meters.refuse(Refusal::Framing);
            buf.set_filled(before + at);
            buf.put_slice(b"\0");
            return;
        }
        let is = self.framing.phase();
        match (was, is) {
            (Phase::Body, Phase::Body) => self.pace.moved(read),
            (_, Phase::Body) => self.pace.restart(),
            (Phase::Head, Phase::Head) => {}
            (_, Phase::Head) => {
                self.deadline.as_mut().reset(Instant::now() + self.header);
                self.deadline_of = Phase::Head;
            }
            _ => {}
        }
    }

    /// The peer keeps us waiting: ready with the reason once a deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Refusal> {
        match self.framing.phase() {
            Phase::Start if self.deadline_of == Phase::Start => {
                self.deadline.as_mut().poll(cx).map(|()| Refusal::FirstByteSlow)
            }
            Phase::Head if self.deadline_of == Phase::Head => {
                self.deadline.as_mut().poll(cx).map(|()| Refusal::HeaderSlow)
            }
            Phase::Body => self.pace.poll_too_slow(cx).map(|()| Refusal::BodySlow),
            // Idle between requests, or waiting for our own answer: hyper's timer knows which (see `serve`).
            Phase::Start | Phase::Head | Phase::Between => Poll::Pending,
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Wire<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.framing.is_refused() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                self.follow(buf, before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                let reason = ready!(self.poll_deadline(cx));
                self.meters.refuse(reason);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if self.framing.phase() != Phase::Body {
                return Poll::Ready(Ok(()));
            }
            self.deadline.as_mut().reset(Instant::now() + LINGER);
            self.lingering = Some(LINGER_BYTES_MAX);
        }
        let mut dropped = [0; 4096];
        while let Some(left) = self.lingering.filter(|left| *left > 0) {
            let mut buf = ReadBuf::new(&mut dropped);
            let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, &mut buf) else {
                return self.deadline.as_mut().poll(cx).map(Ok);
            };
            let ended = read.is_err() || buf.filled().is_empty();
            self.lingering = Some(if ended { 0 } else { left.saturating_sub(buf.filled().len()) });
        }
        Poll::Ready(Ok(()))
    }
}
