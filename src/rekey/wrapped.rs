//! A wrapped data key in a row, and which versions of the tenant's data key open it, or opened it before a rotation.

use crate::index::rows::v1::{ObjectRow, UploadRow};
use crate::seal::{DekRecord, parent_version};

/// The data key of an object, or of an upload in progress, as its row has it.
#[derive(Clone, Copy)]
pub(super) struct Wrapped<'a> {
    record: &'a DekRecord,
    of_subject: bool,
    born_under: Option<u32>,
}

impl<'a> From<&'a ObjectRow> for Wrapped<'a> {
    fn from(row: &'a ObjectRow) -> Self {
        Self { record: &row.dek_record, of_subject: row.subject.is_some(), born_under: row.born_under }
    }
}

impl<'a> From<&'a UploadRow> for Wrapped<'a> {
    fn from(row: &'a UploadRow) -> Self {
        Self { record: &row.dek_record, of_subject: row.subject.is_some(), born_under: row.born_under }
    }
}

impl Wrapped<'_> {
    /// Whether it hangs under a version before this one. One of a data subject hangs under the subject's key.
    pub(super) fn is_older_than(self, version: u32) -> bool {
        !self.of_subject && parent_version(self.record) < version
    }

    /// Whether this version opens it, or opened it once: who has the version and an older copy of the row has the data key,
    /// however often it was wrapped again since. Rows of older releases do not say where they began: any version may have.
    pub(super) fn was_opened_by(self, version: u32) -> bool {
        let first = self.born_under.unwrap_or(1);
        !self.of_subject && (first..=parent_version(self.record)).contains(&version)
    }

    /// Whether it hangs under a later version than this one.
    pub(super) fn is_newer_than(self, version: u32) -> bool {
        !self.of_subject && parent_version(self.record) > version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_from_the_first_to_the_one_it_is_under_opened_it() {
        let mut record = [0; 152];
        record[12..16].copy_from_slice(&4_u32.to_be_bytes());
        let opened = |born_under, of_subject| {
            let wrapped = Wrapped { record: &record, of_subject, born_under };
            (0..8).filter(|version| wrapped.was_opened_by(*version)).collect::<Vec<_>>()
        };
        assert_eq!(opened(Some(2), false), [2, 3, 4]);
        assert_eq!(opened(Some(4), false), [4], "never wrapped again");
        assert_eq!(opened(None, false), [1, 2, 3, 4], "nobody says where it began");
        assert_eq!(opened(None, true), [0; 0], "a data subject's");
        let wrapped = Wrapped { record: &record, of_subject: false, born_under: Some(2) };
        assert_eq!((3..6).filter(|v| wrapped.is_older_than(*v)).collect::<Vec<_>>(), [5]);
        assert_eq!((3..6).filter(|v| wrapped.is_newer_than(*v)).collect::<Vec<_>>(), [3]);
    }
}
