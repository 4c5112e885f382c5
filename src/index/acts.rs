//! What can be asked of the writer: one variant per act, each with the way back to who asked.
//!
//! Made by `RegionIndex`, which also seals what can be sealed beside other requests; taken by the writer's thread.

use super::anchor::Value;
use super::bucket::{OpenBucket, Stamp};
use super::error::IndexError;
use super::fence::Fence;
use super::rows::v1::ObjectRow;
use super::subjects::SubjectPlace;
use crate::model::ids::{BucketId, UploadId, VersionId};
use crate::model::time::Millis;
use crate::model::versioning::{VersionAsked, Versioning};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The way back to who asked.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, IndexError>>;

/// A condition of a write, evaluated in its commit. ETags without quotes.
#[derive(Clone, Default, PartialEq)]
pub enum Condition {
    /// Unconditional.
    #[default]
    None,
    /// No object has the name.
    IfAbsent,
    /// The object has this ETag.
    IfEtag(String),
    /// An object has the name.
    IfPresent,
    /// The object is of this version, and no client's.
    IfVersion(VersionId),
    /// The object's row is exactly this one: not even its tags changed.
    IfSame(Arc<ObjectRow>),
    /// The condition within; and the object that would be removed or replaced is none that has to stay.
    Unkept(Box<Self>, Keeper),
}

/// Says which objects have to stay. Asked by the writer in the commit that would remove or replace one, so that nothing
/// comes between the answer and the act. May know names: `Debug` prints none.
#[derive(Clone)]
pub struct Keeper(Arc<dyn Fn(&ObjectRow) -> bool + Send + Sync>);

impl Keeper {
    /// A keeper of the objects that `keeps` says yes to. It must not block.
    pub fn new(keeps: impl Fn(&ObjectRow) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(keeps))
    }

    /// Whether this object has to stay.
    pub fn keeps(&self, row: &ObjectRow) -> bool {
        (self.0)(row)
    }
}

/// What becomes of the version that a name had when another one is written under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// It goes: the bucket keeps no versions. What has to stay is kept beside, out of sight.
    #[default]
    Replace,
    /// It stays as a superseded version, and the new one is a version of its own.
    Beside,
    /// The new one is the `null` version: one from before goes, any other stays as a superseded version.
    BesideNull,
}

impl Keep {
    /// What a bucket that keeps versions like this does.
    pub fn of(versioning: Versioning) -> Self {
        match versioning {
            Versioning::Never => Self::Replace,
            Versioning::Enabled => Self::Beside,
            Versioning::Suspended => Self::BesideNull,
        }
    }
}

type ByRow = dyn Fn(&ObjectRow) -> Option<u64> + Send + Sync;

/// Says by when to look at a version, given its row as it will be: superseded, or current again. Asked by the writer in
/// the commit that makes it so.
#[derive(Clone)]
pub struct Dating(Arc<ByRow>);

impl Dating {
    /// Goes by `due`, which answers a second since 1970. It must not block.
    pub fn new(due: impl Fn(&ObjectRow) -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(due))
    }

    /// The second at which the row's due row stands.
    pub fn due(&self, row: &ObjectRow) -> Option<u64> {
        (self.0)(row)
    }
}

impl fmt::Debug for Dating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dating")
    }
}

impl PartialEq for Keeper {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Keeper {}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::IfAbsent => "IfAbsent",
            Self::IfEtag(_) => "IfEtag(..)",
            Self::IfPresent => "IfPresent",
            Self::IfVersion(_) => "IfVersion(..)",
            Self::IfSame(_) => "IfSame(..)",
            Self::Unkept(..) => "Unkept(..)",
        })
    }
}

impl Condition {
    /// What was asked for, and who says what has to stay.
    pub(crate) fn parts(&self) -> (&Self, Option<&Keeper>) {
        match self {
            Self::Unkept(asked, keeper) => (asked, Some(keeper)),
            asked => (asked, None),
        }
    }

    /// Whether a write may go on, given what is there. The mark of a deletion is no object to a client.
    pub(crate) fn check(&self, there: Option<&ObjectRow>) -> Result<(), IndexError> {
        if let (asked, Some(keeper)) = self.parts() {
            asked.check(there)?;
            let kept = there.is_some_and(|row| row.is_object() && keeper.keeps(row));
            return if kept { Err(IndexError::Kept) } else { Ok(()) };
        }
        let object = there.filter(|row| row.is_object());
        let holds = match (self, there, object) {
            (Self::None, ..) | (Self::IfAbsent, _, None) | (Self::IfPresent, _, Some(_)) => true,
            (Self::IfEtag(etag), _, Some(row)) => *etag == row.etag,
            (Self::IfVersion(version), Some(row), _) => *version == row.version_id,
            (Self::IfSame(same), Some(row), _) => **same == *row,
            (Self::IfEtag(_) | Self::IfPresent, _, None) | (Self::IfVersion(_) | Self::IfSame(_), None, _) => {
                return Err(IndexError::NoSuchObject);
            }
            (Self::IfAbsent, _, Some(_)) | (Self::Unkept(..), ..) => false,
        };
        if holds { Ok(()) } else { Err(IndexError::Condition) }
    }
}

/// An object row, sealed for its place, with what the writer needs to know of it.
pub(crate) struct SealedObject {
    pub(crate) row_key: Bytes,
    pub(crate) row: Arc<ObjectRow>,
    pub(crate) sealed: Value,
    /// The `d` row that goes with it.
    pub(crate) inline: Option<(Bytes, Value)>,
    /// The due row that goes with it.
    pub(crate) due: Option<(Bytes, Value)>,
}

/// An object's row sealed anew because its due time is another one.
pub(crate) struct Dated {
    pub(crate) row: ResealedRow,
    /// The due row to be taken away.
    pub(crate) spent: Option<Bytes>,
    /// The due row to be written.
    pub(crate) due: Option<(Bytes, Value)>,
}

/// An upload that becomes an object.
pub(crate) struct TakenUpload {
    pub(crate) upload: UploadId,
    /// The part rows that the object is made of, as they were read: none may have been replaced since.
    pub(crate) chosen: Vec<(Bytes, Stamp)>,
}

/// A row sealed anew, and where it goes: an object's row key holds a token of the key.
pub(crate) struct ResealedRow {
    pub(crate) from: Bytes,
    pub(crate) to: Bytes,
    pub(crate) sealed: Value,
    /// The row as it was read: it may not have been written since.
    pub(crate) old: Stamp,
}

/// How a new version takes its place among those that its name has.
pub(crate) struct Succession {
    pub(crate) keep: Keep,
    pub(crate) dating: Option<Dating>,
}

/// What a put took the place of.
pub(crate) struct Replaced {
    /// What is gone for good.
    pub(crate) object: Option<ObjectRow>,
    /// Of an upload that was completed: all its part rows, sealed.
    pub(crate) parts: Vec<(Bytes, Bytes)>,
}

pub(crate) enum Act {
    Put {
        bucket: Arc<OpenBucket>,
        object: SealedObject,
        condition: Condition,
        succession: Succession,
        from_upload: Option<TakenUpload>,
        /// The rows of its data subjects that go with it.
        places: Vec<SubjectPlace>,
        reply: Reply<Replaced>,
    },
    Delete {
        bucket: Arc<OpenBucket>,
        row_key: Bytes,
        name: String,
        condition: Condition,
        reply: Reply<Option<ObjectRow>>,
    },
    /// Removes one version; of the current one, the newest superseded one takes the place.
    DeleteVersion {
        bucket: Arc<OpenBucket>,
        name: String,
        asked: VersionAsked,
        condition: Condition,
        dating: Option<Dating>,
        reply: Reply<Option<ObjectRow>>,
    },
    Replace {
        bucket: Arc<OpenBucket>,
        object: SealedObject,
        old: Stamp,
        condition: Condition,
        /// The rows of its data subjects that go with it.
        places: Vec<SubjectPlace>,
        /// Of the long work that this is part of.
        fence: Option<Fence>,
        reply: Reply<bool>,
    },
    CreateUpload {
        bucket: Arc<OpenBucket>,
        row_key: Bytes,
        sealed: Value,
        /// The due row that goes with it.
        due: (Bytes, Value),
        /// The rows of its data subjects that go with it.
        places: Vec<SubjectPlace>,
        reply: Reply<()>,
    },
    /// Answers whether the upload's row was still the one that was read.
    ReplaceUpload {
        bucket: Arc<OpenBucket>,
        row_key: Bytes,
        sealed: Value,
        old: Stamp,
        fence: Option<Fence>,
        reply: Reply<bool>,
    },
    /// Answers the sealed row of the part that had the number.
    PutPart {
        bucket: Arc<OpenBucket>,
        upload: UploadId,
        row_key: Bytes,
        sealed: Value,
        /// Plaintext bytes of the part.
        len: u64,
        reply: Reply<Option<Bytes>>,
    },
    /// Answers the upload's part rows, sealed.
    Abort {
        bucket: Arc<OpenBucket>,
        upload: UploadId,
        reply: Reply<Vec<(Bytes, Bytes)>>,
    },
    /// Rows sealed anew under the bucket's new key. Answers how many were still as they were read, and so were replaced.
    Reseal {
        bucket: Arc<OpenBucket>,
        rows: Vec<ResealedRow>,
        fence: Fence,
        reply: Reply<u64>,
    },
    /// Places of data subjects, sealed anew for another token. Answers how many were still as they were read, and so left
    /// their old token.
    MovePlaces {
        rows: Vec<ResealedRow>,
        fence: Fence,
        reply: Reply<u64>,
    },
    /// Objects whose due time is another one. Answers how many were still as they were read, and so were changed.
    Date {
        bucket: Arc<OpenBucket>,
        rows: Vec<Dated>,
        reply: Reply<u64>,
    },
    CloseBucket {
        bucket: BucketId,
        reply: Reply<()>,
    },
    /// Answers how many rows went, and the last of them; fewer than `limit`: none are left behind `after`.
    DropRows {
        bucket: BucketId,
        after: Option<Bytes>,
        limit: usize,
        reply: Reply<(usize, Option<Bytes>)>,
    },
    /// Counts what there is of a bucket, from here on in every commit.
    Count {
        bucket: Arc<OpenBucket>,
        reply: Reply<()>,
    },
    /// Answers the row of a bucket from which something was removed; from here on a removal writes it anew.
    TakeRemoval {
        bucket: BucketId,
        row_key: Bytes,
        reply: Reply<Option<Bytes>>,
    },
    /// Answers whether the row was still that one, and so went.
    DropRemoval {
        row_key: Bytes,
        value: Bytes,
        reply: Reply<bool>,
    },
    /// Rows that stand for themselves: due rows.
    Write {
        rows: Vec<(Bytes, Option<Value>)>,
        reply: Reply<()>,
    },
    /// The same of rows that are sealed under a bucket's key.
    WriteFor {
        bucket: Arc<OpenBucket>,
        rows: Vec<(Bytes, Option<Value>)>,
        reply: Reply<()>,
    },
    Tick {
        now: Millis,
    },
    Stop {
        reply: Reply<()>,
    },
}

impl Act {
    /// Whether it must not share a commit with acts before it.
    pub(crate) fn stands_alone(&self) -> bool {
        matches!(self, Self::Count { .. } | Self::DropRows { .. } | Self::TakeRemoval { .. } | Self::Stop { .. })
    }

    /// Tells who asked that it was not done.
    pub(crate) fn refuse(self) {
        let refusal = IndexError::Refusing;
        match self {
            Self::Put { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Delete { reply, .. } | Self::DeleteVersion { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Replace { reply, .. } | Self::ReplaceUpload { reply, .. } => drop(reply.send(Err(refusal))),
            Self::PutPart { reply, .. } | Self::TakeRemoval { reply, .. } => drop(reply.send(Err(refusal))),
            Self::DropRemoval { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Abort { reply, .. } => drop(reply.send(Err(refusal))),
            Self::DropRows { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Reseal { reply, .. } | Self::MovePlaces { reply, .. } | Self::Date { reply, .. } => {
                drop(reply.send(Err(refusal)))
            }
            Self::CreateUpload { reply, .. }
            | Self::CloseBucket { reply, .. }
            | Self::Count { reply, .. }
            | Self::Write { reply, .. }
            | Self::WriteFor { reply, .. } => {
                drop(reply.send(Err(refusal)));
            }
            Self::Stop { reply } => drop(reply.send(Err(refusal))),
            Self::Tick { .. } => {}
        }
    }
}
