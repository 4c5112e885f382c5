//! CopyObject: read the source → seal it anew under a fresh data key → commit. Always decrypts and seals again, so a
//! copy shares no key with its source. Crash: as in `put`.

use super::Store;
use super::get::info;
use super::types::{About, BodyFault, Copy, CopyAbout, Expected, Get, Incoming, Put, StoreError, Written};
use crate::gate::{Admitted, act};
use crate::model::limits::SEGMENT_BYTES_MAX;
use futures::{StreamExt, TryStreamExt};

impl Store {
    /// Copies an object within the tenant. Errors: the source's (`NoSuchObject`, conditions), `TooLarge` over 5 GiB,
    /// `CopyOntoItself`.
    pub async fn copy(
        &self,
        source: &Admitted<act::Read>,
        destination: &Admitted<act::Write>,
        copy: Copy,
    ) -> Result<Written, StoreError> {
        let onto_itself = source.bucket().bucket == destination.bucket().bucket && copy.source == copy.name;
        if onto_itself && matches!(copy.about, CopyAbout::Keep) && copy.source_version.is_none() {
            return Err(StoreError::CopyOntoItself);
        }
        let from = self.enter(source).await?;
        let to = self.enter(destination).await?;
        let get = Get {
            name: copy.source,
            version: copy.source_version,
            range: None,
            part: None,
            conditions: copy.source_conditions,
        };
        let look = self.look_as_source(&from, &get).await?;
        let (info, shown) = (info(&look.row), from.shown(&look.row));
        if info.size > SEGMENT_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        let length = info.size;
        let body = self.open(&from, look, 0, length).await?;
        let mut about = match copy.about {
            CopyAbout::Keep => info.about.clone(),
            CopyAbout::Replace(about) => About { tags: info.about.tags.clone(), ..*about },
        };
        if let Some(tags) = copy.tags {
            about.tags = tags;
        }
        let compute = match copy.checksum {
            Some(algorithm) => vec![algorithm],
            None => info.checksums.iter().map(|checksum| checksum.algorithm).collect(),
        };
        let incoming = Incoming {
            body: body.map_err(|_| BodyFault::Source).boxed(),
            length,
            expected: Expected { compute, ..Expected::default() },
        };
        let put = Put { name: copy.name, incoming, about, condition: copy.condition };
        Ok(Written { source: shown, ..self.put_in(&to, put).await? })
    }
}
