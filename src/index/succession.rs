//! How the versions of one name follow each other: what a new one does to the one before, and who comes after one that is
//! removed. All of it in the commit of the write itself, on the writer's thread.
//!
//! Invariants:
//! * the current version of a name stands at the largest order, whether its bucket keeps versions or not; superseded ones
//!   stand before it, the newest first;
//! * a name that has any version has a current one: an object, or the mark of a deletion;
//! * a version that moves takes its trailing segment with it. Its blobs, its `d` row and the places of its data subjects
//!   hang on ids, and stay as they are;
//! * a version that was replaced for good and stays because a hold keeps it ([`Beside::Kept`]) never becomes current.

use super::acts::{Condition, Dating, Keep, Keeper, SealedObject, Succession};
use super::anchor::Value;
use super::bucket::OpenBucket;
use super::due::{Due, due_key, second};
use super::engine::Direction;
use super::error::{Damage, IndexError};
use super::group::{self, Current, Group, Prepared};
use super::row_keys::{self, ORDER_CURRENT, RowKind, order_of};
use super::rows::v1::{Beside, LeafEntry, ObjectRow};
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What becomes of the versions that a name has when another one is written. Everything that may fail has been done.
#[derive(Default)]
pub(super) struct Displaced {
    moves: Vec<Moved>,
    /// The version that is gone for good.
    gone: Option<Current>,
    /// Whether the new version has to say that others are kept beside it.
    keeps: bool,
}

/// A version that goes to another order of its name.
struct Moved {
    from: Bytes,
    to: SealedObject,
    /// The due row to be taken away.
    spent: Option<Bytes>,
}

impl VersionAsked {
    /// Whether this is the version that was asked for. What was replaced is not, unless it is asked for by its id.
    pub(super) fn is(&self, row: &ObjectRow) -> bool {
        match self {
            Self::Null => row.is_null() && !row.is_kept(),
            Self::Id(id) => row.version_id == *id,
        }
    }
}

impl Group<'_> {
    /// Settles what becomes of the versions that the name of `object` has.
    pub(super) async fn displace(
        &mut self,
        bucket: &OpenBucket,
        object: &SealedObject,
        current: Option<&Current>,
        succession: &Succession,
        keeper: Option<&Keeper>,
    ) -> Result<Displaced, IndexError> {
        let Some(current) = current else { return Ok(Displaced::default()) };
        let Succession { keep, dating } = succession;
        let held = |row: &ObjectRow| row.is_object() && keeper.is_some_and(|keeper| keeper.keeps(row));
        let (at, mut displaced) = (object.row.age_from(), Displaced::default());
        let ends = match keep {
            Keep::Replace => true,
            Keep::Beside => false,
            Keep::BesideNull => current.row.is_null(),
        } || current.row.is_cover();
        if ends && !held(&current.row) {
            displaced.gone = Some(current.clone());
            displaced.keeps = *keep == Keep::Replace && current.row.beside == Some(Beside::Keeps);
        } else {
            let order = self.next_order();
            let row = ObjectRow { superseded: Some(at), order: Some(order), beside: None, ..(*current.row).clone() };
            let row = if ends { kept(row, at) } else { dated(row, dating.as_ref()) };
            displaced.moves.push(self.moved(bucket, current, row).await?);
            displaced.keeps = *keep == Keep::Replace;
        }
        if *keep == Keep::BesideNull && !current.row.is_null() {
            let beside = self.beside(bucket, &object.row.name, usize::MAX).await?;
            let null = beside.into_iter().find(|there| VersionAsked::Null.is(&there.row));
            match null {
                Some(null) if held(&null.row) => {
                    let row = kept((*null.row).clone(), at);
                    displaced.moves.push(self.moved(bucket, &null, row).await?);
                }
                null => displaced.gone = null,
            }
        }
        Ok(displaced)
    }

    /// Makes `object` the current version. Answers the one that is gone for good.
    pub(super) fn succeed(
        &mut self,
        bucket: &Arc<OpenBucket>,
        object: SealedObject,
        displaced: Displaced,
        prepared: Prepared,
    ) -> Result<Option<ObjectRow>, IndexError> {
        let Displaced { moves, gone, keeps } = displaced;
        let object = if keeps { with_keeps(bucket, object)? } else { object };
        let in_its_place = gone.as_ref().filter(|gone| gone.row.is_current());
        moves.into_iter().for_each(|moved| self.go(moved));
        if gone.is_some() {
            self.removed(bucket.bucket, bucket.tenant);
        }
        if let Some(gone) = gone.as_ref().filter(|gone| !gone.row.is_current()) {
            self.drop_version(bucket, gone);
        }
        self.put(bucket, object, in_its_place, Some(prepared));
        Ok(gone.map(|gone| (*gone.row).clone()))
    }

    /// Removes the object that has a name, in a bucket that keeps no versions. What a hold keeps beside it stays, under a
    /// mark of deletion.
    pub(super) async fn remove_object_of_name(
        &mut self,
        bucket: &Arc<OpenBucket>,
        current: &Current,
    ) -> Result<ObjectRow, IndexError> {
        let beside = match current.row.beside {
            Some(Beside::Keeps) => self.beside(bucket, &current.row.name, 1).await?,
            _ => Vec::new(),
        };
        let prepared = self.prepare(bucket, &current.row.name).await?;
        self.removed(bucket.bucket, bucket.tenant);
        self.drop_version(bucket, current);
        if beside.is_empty() {
            self.change(bucket, prepared, &current.row.name, None);
        } else {
            self.cover(bucket, &current.row, prepared);
        }
        Ok((*current.row).clone())
    }

    /// Removes one version. The newest superseded one takes the place of the current one.
    pub(super) async fn remove_version(
        &mut self,
        bucket: &Arc<OpenBucket>,
        name: &str,
        asked: VersionAsked,
        condition: &Condition,
        dating: Option<&Dating>,
    ) -> Result<Option<ObjectRow>, IndexError> {
        let Some(current) = self.standing(bucket, &bucket.object_row_key(name), name).await? else {
            condition.check(None)?;
            return Ok(None);
        };
        let beside = self.beside(bucket, name, usize::MAX).await?;
        if asked.is(&current.row) {
            condition.check(Some(&current.row))?;
            self.remove_current(bucket, &current, &beside, dating).await?;
            return Ok(Some((*current.row).clone()));
        }
        let Some(gone) = beside.iter().find(|there| asked.is(&there.row)) else {
            condition.check(None)?;
            return Ok(None);
        };
        condition.check(Some(&gone.row))?;
        // The mark that stood over what was kept has nothing left to cover.
        let covered = current.row.is_cover() && beside.len() == 1;
        let prepared = if covered { Some(self.prepare(bucket, name).await?) } else { None };
        self.removed(bucket.bucket, bucket.tenant);
        self.drop_version(bucket, gone);
        if let Some(prepared) = prepared {
            self.drop_version(bucket, &current);
            self.change(bucket, prepared, name, None);
        }
        Ok(Some((*gone.row).clone()))
    }

    async fn remove_current(
        &mut self,
        bucket: &Arc<OpenBucket>,
        current: &Current,
        beside: &[Current],
        dating: Option<&Dating>,
    ) -> Result<(), IndexError> {
        let name = &current.row.name;
        let heir = match beside.iter().find(|there| !there.row.is_kept()) {
            Some(heir) => {
                let row = ObjectRow { superseded: None, order: None, beside: None, ..(*heir.row).clone() };
                let row = match dating {
                    Some(dating) => dated(row, Some(dating)),
                    // Who removed the one before it does not know the rules: the next sweep looks.
                    None => ObjectRow { due: Some(second(heir.row.superseded.unwrap_or(row.mtime))), ..row },
                };
                Some(self.moved(bucket, heir, row).await?)
            }
            None => None,
        };
        let prepared = self.prepare(bucket, name).await?;
        self.removed(bucket.bucket, bucket.tenant);
        self.drop_version(bucket, current);
        match heir {
            Some(heir) => {
                let entry = LeafEntry::of(&heir.to.row, ORDER_CURRENT);
                self.go(heir);
                self.change(bucket, prepared, name, Some(entry));
            }
            None if beside.is_empty() => self.change(bucket, prepared, name, None),
            None => self.cover(bucket, &current.row, prepared),
        }
        Ok(())
    }

    /// Puts a mark of deletion, as of the object that is gone, over what is kept of its name.
    fn cover(&mut self, bucket: &Arc<OpenBucket>, gone: &ObjectRow, prepared: Prepared) {
        let marker = ObjectRow::marker(gone.name.clone(), gone.mtime, gone.age_from());
        let row = Arc::new(ObjectRow { beside: Some(Beside::Keeps), ..marker });
        let row_key = bucket.object_row_key(&row.name);
        let sealed = Value::new(bucket.seal(RowKind::Object, &row_key, &*row, &[]));
        let object = SealedObject { row_key, row, sealed, inline: None, due: None };
        self.put(bucket, object, None, Some(prepared));
    }

    /// Up to `limit` superseded versions of a name as the next act finds them, the newest first.
    pub(super) async fn beside(
        &self,
        bucket: &OpenBucket,
        name: &str,
        limit: usize,
    ) -> Result<Vec<Current>, IndexError> {
        let mut found = BTreeMap::new();
        for token in bucket.tokens(name) {
            let range = row_keys::superseded(bucket.bucket, token);
            let (start, end) = (Bytes::from(range.start.clone()), range.end.clone().map(Bytes::from));
            let changed = self.overlay.range(start..).take_while(|(at, _)| end.as_ref().is_none_or(|end| *at < end));
            let changed: Vec<_> = changed.collect();
            let more = limit.saturating_add(changed.len());
            let stored = self.shared.engine.scan(range, more, Direction::Ascending).await?;
            let stored = stored.into_iter().filter(|(at, _)| !self.overlay.contains_key(at));
            let changed = changed.into_iter();
            let changed = changed.filter_map(|(at, value)| Some((at.clone(), value.as_ref()?.bytes.clone())));
            found.extend(stored.chain(changed).map(|(at, value)| (order_of(&at), (at, value))));
        }
        let found = found.into_values().take(limit);
        found.map(|(at, value)| group::open(bucket, at, &value, name)).collect()
    }

    fn next_order(&mut self) -> u64 {
        let order = row_keys::order_superseded(self.commit, self.superseded);
        self.superseded += 1;
        order
    }

    /// Seals a version for the order that `row` names.
    async fn moved(&self, bucket: &OpenBucket, there: &Current, row: ObjectRow) -> Result<Moved, IndexError> {
        let value = self.value(&there.at).await?.ok_or(IndexError::from(Damage::Missing))?;
        let (_, trailing) = bucket.open_trailing::<ObjectRow>(RowKind::Object, &there.at, &value)?;
        let row_key = bucket.version_row_key(&row.name, row.order.unwrap_or(ORDER_CURRENT));
        let sealed = Value::new(bucket.seal(RowKind::Object, &row_key, &row, &trailing));
        let is_dated_anew = row.due != there.row.due;
        let spent = due_key(bucket, &there.row).filter(|_| is_dated_anew).map(|key| row_keys::due(&key));
        let due = if is_dated_anew { Due::of_object(bucket, &row) } else { None };
        let to = SealedObject { row_key, row: Arc::new(row), sealed, inline: None, due };
        Ok(Moved { from: there.at.clone(), to, spent })
    }

    fn go(&mut self, moved: Moved) {
        let Moved { from, to, spent } = moved;
        self.remove_object(from);
        if let Some(spent) = spent {
            self.write(spent, None);
        }
        self.put_row(to);
    }
}

/// A version that was replaced for good, and stays because a hold keeps it: the next sweep looks whether one still does.
fn kept(row: ObjectRow, at: Millis) -> ObjectRow {
    ObjectRow { beside: Some(Beside::Kept), due: Some(second(at)), ..row }
}

fn dated(row: ObjectRow, dating: Option<&Dating>) -> ObjectRow {
    let due = dating.map_or(row.due, |dating| dating.due(&row));
    ObjectRow { due, ..row }
}

/// The same object, which says that others are kept beside it.
fn with_keeps(bucket: &OpenBucket, object: SealedObject) -> Result<SealedObject, IndexError> {
    let (row, trailing) = bucket.open_trailing::<ObjectRow>(RowKind::Object, &object.row_key, &object.sealed.bytes)?;
    let row = Arc::new(ObjectRow { beside: Some(Beside::Keeps), ..row });
    let sealed = Value::new(bucket.seal(RowKind::Object, &object.row_key, &*row, &trailing));
    Ok(SealedObject { row, sealed, ..object })
}
