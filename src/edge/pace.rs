//! The least rate: over a window of *waiting for the peer*, so many bytes have to move.
//!
//! Time in which we were busy ourselves does not count, so a slow disk cuts nobody. The timer is lazy: it is set when
//! the peer first keeps us waiting and looked at again only when it fires.

use super::limits::EdgeLimits;
use super::meters::{EdgeMeters, Refusal};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// Measures one direction of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    bytes_min: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    timer_runs: bool,
}

impl Pace {
    pub(super) fn new(limits: &EdgeLimits) -> Self {
        Self {
            window: limits.body_window,
            bytes_min: limits.body_window_bytes_min,
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
            timer_runs: false,
        }
    }

    /// The peer moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Begins anew: nothing is owed from an earlier message.
    pub(super) fn restart(&mut self) {
        (self.bytes, self.waited, self.waiting_since) = (0, Duration::ZERO, None);
    }

    /// The peer keeps us waiting: ready once it has been too slow.
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = *self.waiting_since.get_or_insert(now);
            let waited = self.waited + (now - since);
            if waited >= self.window {
                if self.bytes < self.bytes_min {
                    return Poll::Ready(());
                }
                self.restart();
                continue;
            }
            let deadline = now + (self.window - waited);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if !self.timer_runs {
                timer.as_mut().reset(deadline);
                self.timer_runs = true;
            }
            ready!(timer.as_mut().poll(cx));
            self.timer_runs = false;
        }
    }
}

/// A TCP stream whose peer has to read at the least rate. Sits below TLS, where "the peer does not read" shows.
#[derive(Debug)]
pub(super) struct PacedTcp {
    tcp: TcpStream,
    pace: Pace,
    meters: EdgeMeters,
}

impl PacedTcp {
    pub(super) fn new(tcp: TcpStream, limits: &EdgeLimits, meters: EdgeMeters) -> Self {
        Self { tcp, pace: Pace::new(limits), meters }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Ok(done)) => {
                self.pace.moved(bytes(&done));
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                ready!(self.pace.poll_too_slow(cx));
                self.meters.refuse(Refusal::ReaderSlow);
                // Reset instead of lingering: what the peer did not read must not stay in the kernel's memory.
                _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for PacedTcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for PacedTcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.judge(cx, written, |n| *n)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.judge(cx, written, |n| *n)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{advance, sleep};

    fn pace() -> Pace {
        Pace::new(&EdgeLimits::default())
    }

    async fn too_slow_within(pace: &mut Pace, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = poll_fn(|cx| pace.poll_too_slow(cx)) => true,
            () = sleep(time) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_one_window() {
        let mut pace = pace();
        assert!(!too_slow_within(&mut pace, Duration::from_millis(29_900)).await);
        assert!(too_slow_within(&mut pace, Duration::from_millis(200)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_kibibyte_a_second_may_go_on_for_ever() {
        let mut pace = pace();
        for _ in 0..600 {
            assert!(!too_slow_within(&mut pace, Duration::from_secs(1)).await);
            pace.moved(1100);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_does_not_help() {
        let mut pace = pace();
        for second in 0.. {
            if too_slow_within(&mut pace, Duration::from_secs(1)).await {
                assert!((29..=31).contains(&second), "cut after {second} s");
                break;
            }
            assert!(second < 60);
            pace.moved(900);
        }
    }

    /// A burst buys at most one more window, not a savings account.
    #[tokio::test(start_paused = true)]
    async fn a_burst_buys_one_window() {
        let mut pace = pace();
        pace.moved(1 << 30);
        assert!(too_slow_within(&mut pace, Duration::from_millis(60_100)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_slowness_does_not_count() {
        let mut pace = pace();
        for _ in 0..10 {
            assert!(!too_slow_within(&mut pace, Duration::from_secs(2)).await);
            pace.moved(1);
            advance(Duration::from_secs(100)).await;
        }
    }
}
