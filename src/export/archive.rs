//! The archive that an export leaves as: plain ustar, made piece by piece, so that nothing but the manifest is ever whole
//! in memory.

use super::ExportError;
use crate::model::ids::SegmentId;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::sink::SinkExt;

/// What an export came to: the last file of its archive, `export.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Objects in the manifest.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Objects that did not verify, and are not in the manifest; the audit log names them by their ids.
    pub damaged: u64,
    /// Multipart uploads in progress, which are no objects yet: not in the manifest.
    pub uploads: u64,
    /// Their parts.
    pub parts: u64,
    /// Segments in the archive that belong to no object of the manifest: the receiver removes their files.
    pub discard: Vec<String>,
}

/// tar counts in blocks of this many bytes.
const BLOCK: u64 = 512;

pub(super) struct Archive {
    sink: mpsc::Sender<Result<Bytes, ExportError>>,
    pub(super) report: Report,
}

impl Archive {
    pub(super) fn new(sink: mpsc::Sender<Result<Bytes, ExportError>>) -> Self {
        Self { sink, report: Report::default() }
    }

    /// A whole file.
    pub(super) async fn file(&mut self, path: &str, content: Bytes) -> Result<(), ExportError> {
        let len = content.len() as u64;
        self.begin(path, len).await?;
        self.piece(content).await?;
        self.pad(len).await
    }

    /// The head of a file of `len` bytes, which have to follow.
    pub(super) async fn begin(&mut self, path: &str, len: u64) -> Result<(), ExportError> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).expect("a path of ours is short");
        header.set_size(len);
        header.set_mode(0o600);
        header.set_mtime(0);
        header.set_cksum();
        self.piece(Bytes::copy_from_slice(header.as_bytes())).await
    }

    pub(super) async fn piece(&mut self, bytes: Bytes) -> Result<(), ExportError> {
        self.sink.send(Ok(bytes)).await.map_err(|_| ExportError::HungUp)
    }

    /// What follows a file of `len` bytes.
    pub(super) async fn pad(&mut self, len: u64) -> Result<(), ExportError> {
        let missing = (BLOCK - len % BLOCK) % BLOCK;
        if missing == 0 { Ok(()) } else { self.piece(vec![0; missing as usize].into()).await }
    }

    /// Says that these segments are in the archive and belong to nothing.
    pub(super) fn discard(&mut self, segments: impl IntoIterator<Item = SegmentId>) {
        self.report.discard.extend(segments.into_iter().map(|segment| segment.to_string()));
    }

    /// Writes down what it came to.
    pub(super) async fn report(&mut self, objects: u64) -> Result<Report, ExportError> {
        let report = Report { objects, ..std::mem::take(&mut self.report) };
        let json = serde_json::to_vec(&report).expect("strings and numbers are always JSON");
        self.file("export.json", json.into()).await?;
        Ok(report)
    }

    /// The end of the archive.
    pub(super) async fn end(&mut self) -> Result<(), ExportError> {
        self.piece(Bytes::from_static(&[0; 2 * BLOCK as usize])).await
    }
}

/// Where a segment lies in an export.
pub(super) fn path_of(segment: SegmentId) -> String {
    format!("blobs/{segment}.seg")
}
