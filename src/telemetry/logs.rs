//! Log lines: what passes, how it looks, and a writer that does not make requests wait for the terminal.

use parking_lot::{Condvar, Mutex};
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines wait at most this long before they are written.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// Bytes that wake the writer early.
const FLUSH_BYTES: usize = 32 * 1024;
/// Bytes that may wait; above that, whoever logs waits, too: no line is dropped.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The logs of this process are already started.
#[derive(Debug, thiserror::Error)]
#[error("the logs are already started")]
pub struct LogsError;

/// Keeps the logs going; dropping it writes what is still waiting.
#[derive(Debug)]
pub struct Logs {
    sink: Sink,
    writer: Option<JoinHandle<()>>,
}

impl Logs {
    /// Starts the logs of the process, to stderr.
    pub fn start(format: LogFormat, level: LevelFilter) -> Result<Self, LogsError> {
        let (logs, layer) = Self::layer(format, level, Box::new(io::stderr()));
        tracing_subscriber::registry().with(layer).try_init().map_err(|_| LogsError)?;
        Ok(logs)
    }

    fn layer<S>(
        format: LogFormat,
        level: LevelFilter,
        to: Box<dyn Write + Send>,
    ) -> (Self, Box<dyn Layer<S> + Send + Sync>)
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let sink = Sink::default();
        let lines = tracing_subscriber::fmt::layer().with_writer(sink.clone());
        let layer = match format {
            LogFormat::Text => lines.with_ansi(false).with_filter(passes(level)).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_filter(passes(level)).boxed(),
        };
        let waiting = sink.clone();
        let writer = std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || waiting.write_until_closed(to))
            .expect("a thread can be started");
        (Self { sink, writer: Some(writer) }, layer)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.sink.shared.0.lock().closed = true;
        self.sink.shared.1.notify_all();
        if let Some(writer) = self.writer.take() {
            _ = writer.join();
        }
    }
}

/// Our own targets up to `level`, libraries' warnings, and never a line of `s3s`: it logs each error with names, and
/// at DEBUG the signature that would have been right. There is no environment variable that changes this.
fn passes(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("geoseal", level)
        .with_target("s3s", LevelFilter::OFF)
}

/// Lines on their way to the writer thread.
#[derive(Debug, Clone, Default)]
struct Sink {
    shared: Arc<(Mutex<Waiting>, Condvar)>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    closed: bool,
}

impl Sink {
    fn write_until_closed(&self, mut to: Box<dyn Write + Send>) {
        let (waiting, changed) = &*self.shared;
        let mut lines = Vec::new();
        loop {
            let closed = {
                let mut waiting = waiting.lock();
                if waiting.bytes.len() < FLUSH_BYTES && !waiting.closed {
                    changed.wait_for(&mut waiting, FLUSH_EVERY);
                }
                std::mem::swap(&mut waiting.bytes, &mut lines);
                waiting.closed
            };
            changed.notify_all();
            // Nobody is left to tell when stderr itself fails.
            _ = to.write_all(&lines);
            lines.clear();
            if closed {
                return;
            }
        }
    }
}

impl Write for Sink {
    /// `tracing` hands over whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (waiting, changed) = &*self.shared;
        let mut waiting = waiting.lock();
        while waiting.bytes.len() > WAITING_BYTES_MAX && !waiting.closed {
            changed.wait(&mut waiting);
        }
        let before = waiting.bytes.len();
        waiting.bytes.extend_from_slice(line);
        if before < FLUSH_BYTES && waiting.bytes.len() >= FLUSH_BYTES {
            changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, level: LevelFilter, log: impl FnOnce()) -> String {
        let page = Page::default();
        let (logs, layer) = Logs::layer(format, level, Box::new(page.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        drop(logs);
        String::from_utf8(page.0.lock().clone()).unwrap()
    }

    /// What `log` writes at the highest level.
    pub(in super::super) fn written_by(log: impl FnOnce()) -> String {
        written(LogFormat::Text, LevelFilter::TRACE, log)
    }

    fn everything() {
        tracing::error!(target: "s3s", "signature is abc");
        tracing::error!(target: "s3s::ops", "signature is abc");
        tracing::trace!(target: "s3s_sigv4", "signature is abc");
        tracing::debug!(target: "hyper::proto", "header is abc");
        tracing::warn!(target: "hyper::proto", "library warning");
        tracing::trace!(target: "geoseal_room", "ours in detail");
        tracing::info!(target: "geoseal_access", status = 200, "request");
    }

    #[test]
    fn the_s3_library_is_never_heard() {
        let all = written(LogFormat::Text, LevelFilter::TRACE, everything);
        assert!(!all.contains("abc"), "{all}");
        assert_eq!(all.lines().count(), 3, "{all}");
        let info = written(LogFormat::Text, LevelFilter::INFO, everything);
        assert!(info.contains("library warning") && !info.contains("in detail"), "{info}");
        assert_eq!(written(LogFormat::Text, LevelFilter::ERROR, everything), "");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let all = written(LogFormat::Json, LevelFilter::INFO, everything);
        let last: serde_json::Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
        assert_eq!((&last["status"], &last["target"]), (&200.into(), &"geoseal_access".into()));
    }

    #[test]
    fn no_line_is_lost_under_pressure() {
        let threads = 4;
        let page = Page::default();
        let (logs, layer) = Logs::layer(LogFormat::Text, LevelFilter::INFO, Box::new(page.clone()));
        let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    tracing::dispatcher::with_default(&dispatch, || {
                        (0..5000).for_each(|n| tracing::info!(target: "geoseal", n, "a line of about eighty bytes"));
                    });
                });
            }
        });
        drop(logs);
        assert_eq!(page.0.lock().iter().filter(|b| **b == b'\n').count(), threads * 5000);
    }
}
