//! ListObjects: the index walks its sealed leaves; nothing is decided here but the bounds.

use super::Store;
use super::alarm::Subject;
use super::types::{List, Listed, Page, StoreError};
use crate::gate::{Admitted, act};
use crate::index::ListQuery;
use crate::model::limits::LIST_MAX;

impl Store {
    /// One page in byte order of the names. A limit of 0 gives an empty page that is not truncated, as S3 does.
    pub async fn list(&self, admitted: &Admitted<act::Read>, list: List) -> Result<Page, StoreError> {
        let room = self.enter(admitted).await?;
        let query = ListQuery {
            prefix: list.prefix,
            delimiter: list.delimiter.filter(|delimiter| !delimiter.is_empty()),
            after: list.after,
            limit: list.limit.min(LIST_MAX),
        };
        if query.limit == 0 {
            return Ok(Page::default());
        }
        let page = room.roots.index.list(&room.bucket.index, &query).await;
        let page = self.heard(&room.bucket.at, Subject::Row, page).await?;
        let entries = page.entries.into_iter();
        Ok(Page {
            entries: entries
                .map(|entry| Listed { name: entry.name, size: entry.size, modified: entry.mtime, etag: entry.etag })
                .collect(),
            common_prefixes: page.common_prefixes,
            truncated: page.truncated,
            last: page.last,
        })
    }
}
