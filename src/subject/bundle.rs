//! A copy of all that is stored of a data subject, for the subject: a zip of the objects as they were stored, an index of
//! them (`index.ndjson`), and a manifest that says where they lie and what is in the archive. Found through the rows that
//! say where a subject's objects are, so nobody else's is touched.
//!
//! Logged before the first byte leaves. An object that is deleted on the way is not in it; one that cannot be read breaks
//! the archive off, and the transport with it: a bundle that looks whole is whole.

use super::SubjectError;
use super::places::{Premises, Visited};
use super::requests::Desk;
use super::zip::Zip;
use crate::audit::Event as Record;
use crate::directory::SubjectRequest;
use crate::model::batch::Batch;
use crate::model::names::{ObjectName, SubjectName};
use crate::model::standing::Standing;
use crate::store::Store;
use crate::store::types::StoreError;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt, stream};
use ring::digest::{Context, SHA256};
use serde_json::json;
use std::collections::BTreeMap;

/// Pieces on their way to whoever reads.
const IN_FLIGHT: usize = 8;

type Sink = mpsc::Sender<Result<Bytes, SubjectError>>;

/// Somebody else who gets to see what is stored: a processor that the controller's own processor engages.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Recipient {
    /// Its name.
    pub name: String,
    /// What it does.
    pub purpose: String,
    /// Where.
    pub location: String,
}

/// Begins to hand out the copy; logged on return.
pub async fn begin(
    desk: Desk<'_>,
    store: &Store,
    request: &SubjectRequest,
    name: SubjectName,
    recipients: Vec<Recipient>,
) -> Result<BoxStream<'static, Result<Bytes, SubjectError>>, SubjectError> {
    let premises = Premises::of(desk.tenancy, desk.tenant).await?;
    let entry = desk.tenancy.directory.subject(desk.tenant, &name).await?;
    let standing = desk.tenancy.directory.standing(desk.tenant, &name).await?;
    let record = Record::DsrBundle { tenant: desk.tenant, dsr: request.number };
    desk.tenancy.audit.append(desk.actor, record).await?;
    let (sink, pieces) = mpsc::channel(IN_FLIGHT);
    let made_at = desk.tenancy.clock.now().wall.to_string();
    let mut bundle = Bundle {
        sink: sink.clone(),
        zip: Zip::default(),
        store: store.clone(),
        index: String::new(),
        sums: String::new(),
        places: BTreeMap::new(),
        objects: 0,
        bytes: 0,
        uploads: 0,
    };
    let number = request.number;
    tokio::spawn(async move {
        let subject = entry.map(|entry| entry.id);
        let packed = async {
            if let Some(subject) = subject {
                bundle.collect(&premises, &name, subject).await?;
            }
            bundle.end((number, &recipients), &name, standing, &made_at).await
        };
        match packed.await {
            Ok(()) | Err(SubjectError::HungUp) => {}
            Err(error) => {
                tracing::error!(%error, "a data subject's bundle broke off");
                let mut sink = sink;
                let _ = sink.send(Err(error)).await;
            }
        }
    });
    Ok(pieces.boxed())
}

struct Bundle {
    sink: Sink,
    zip: Zip,
    store: Store,
    index: String,
    sums: String,
    /// Objects by region and bucket.
    places: BTreeMap<(String, String), u64>,
    objects: u64,
    bytes: u64,
    uploads: u64,
}

impl Bundle {
    async fn collect(
        &mut self,
        premises: &Premises,
        name: &SubjectName,
        subject: crate::model::ids::SubjectId,
    ) -> Result<(), SubjectError> {
        for roots in &premises.regions {
            for token in premises.tokens(name) {
                let mut after = None;
                loop {
                    let (page, next) = premises.visit(roots, token, subject, after.as_ref()).await?;
                    for visited in &page {
                        self.uploads += u64::from(visited.row.upload.is_some() && visited.object.is_none());
                        self.object(visited, name).await?;
                    }
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn object(&mut self, visited: &Visited, of: &SubjectName) -> Result<(), SubjectError> {
        let (Some(row), Some(bucket)) = (&visited.object, &visited.bucket) else { return Ok(()) };
        let name = ObjectName::parse(row.name.clone()).map_err(|_| SubjectError::Integrity)?;
        let (mut info, mut body) = match self.store.read_on_behalf(&bucket.at, &name, row.version_id).await {
            Ok(read) => read,
            Err(StoreError::NoSuchObject | StoreError::NoSuchVersion) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if row.subjects.is_some() {
            let mut whole = Vec::new();
            while let Some(piece) = body.next().await {
                whole.extend_from_slice(&piece?);
            }
            let batch = Batch::parse(info.about.headers.content_type.as_deref(), &whole);
            let own = batch.map_err(|_| SubjectError::Integrity)?.only(of);
            info.size = own.len() as u64;
            body = stream::iter([Ok(Bytes::from(own))]).boxed();
        }
        self.objects += 1;
        self.bytes += info.size;
        let file = format!("objects/{:06}", self.objects);
        let (head, mut adding) = self.zip.begin(&file);
        self.send(head).await?;
        let mut digest = Context::new(&SHA256);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            adding.piece(&piece);
            digest.update(&piece);
            self.send(piece).await?;
        }
        let tail = self.zip.end(adding);
        self.send(tail).await?;
        let sha256 = hex::encode(digest.finish());
        let pairs = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
        let headers = &info.about.headers;
        let line = json!({
            "file": file,
            "bucket": bucket.at.name.as_str(),
            "region": bucket.at.region.id,
            "name": name.as_str(),
            "version_id": row.version_id.to_string(),
            "size": info.size,
            "modified": info.modified.to_string(),
            "etag": info.etag,
            "part_of_a_batch": row.subjects.is_some(),
            "content_type": headers.content_type,
            "metadata": pairs(&info.about.metadata),
            "tags": pairs(&info.about.tags),
            "sha256": sha256,
        });
        self.index += &line.to_string();
        self.index.push('\n');
        self.sums += &format!("{sha256}  {file}\n");
        *self.places.entry((bucket.at.region.id.to_owned(), bucket.at.name.as_str().to_owned())).or_default() += 1;
        Ok(())
    }

    /// Index, manifest and sums, and the archive's own end.
    async fn end(
        mut self,
        (number, recipients): (u64, &[Recipient]),
        name: &SubjectName,
        standing: Standing,
        made_at: &str,
    ) -> Result<(), SubjectError> {
        let index = std::mem::take(&mut self.index);
        self.file("index.ndjson", index.into_bytes()).await?;
        let places = self.places.iter();
        let places: Vec<_> = places
            .map(|((region, bucket), objects)| json!({ "region": region, "bucket": bucket, "objects": objects }))
            .collect();
        let since = |at: Option<crate::model::time::Millis>| at.map(|at| at.to_string());
        let manifest = json!({
            "schema": "geoseal/subject-bundle/v1",
            "dsr": format!("DSR-{number}"),
            "subject": name.as_str(),
            "made_at": made_at,
            "objects": self.objects,
            "bytes": self.bytes,
            "uploads_in_progress": self.uploads,
            "places": places,
            "recipients": recipients,
            "standing": {
                "opted_out_at": since(standing.opted_out),
                "restricted_at": since(standing.restricted),
                "erased_at": since(standing.blocked),
            },
            "checksums": "SHA256SUMS",
        });
        let manifest = serde_json::to_vec_pretty(&manifest).expect("strings and numbers are always JSON");
        self.file("manifest.json", manifest).await?;
        let sums = std::mem::take(&mut self.sums);
        self.file("SHA256SUMS", sums.into_bytes()).await?;
        let close = std::mem::take(&mut self.zip).close();
        self.send(close).await
    }

    /// A small file; all but the sums are summed.
    async fn file(&mut self, name: &str, content: Vec<u8>) -> Result<(), SubjectError> {
        let sha256 = hex::encode(ring::digest::digest(&SHA256, &content));
        self.sums += &format!("{sha256}  {name}\n");
        let (head, mut adding) = self.zip.begin(name);
        adding.piece(&content);
        self.send(head).await?;
        self.send(content).await?;
        let tail = self.zip.end(adding);
        self.send(tail).await
    }

    async fn send(&mut self, bytes: impl Into<Bytes> + Send) -> Result<(), SubjectError> {
        self.sink.send(Ok(bytes.into())).await.map_err(|_| SubjectError::HungUp)
    }
}
