//! Objects that hold records of several data subjects: read once, and written anew without one of them.
//!
//! Called by `store`, which indexes such an object under each subject, and by `subject`. Pure. Promises that what is left of
//! a batch is byte for byte what it was, that a record is of at most one subject, and bounds. Must not know where it lies.
//!
//! Two forms: `application/x-ndjson`, a JSON object a line; `application/cloudevents-batch+json` or `application/json`, an
//! array of them. A record's subject is its member `geosealsubject` (an extension attribute, as CloudEvents name them), or,
//! without one, `subject`; a record that has neither is nobody's.

use super::names::SubjectName;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// The user metadata that marks a batch: `x-amz-meta-geoseal-subjects: records`.
pub const BATCH_METADATA: &str = "geoseal-subjects";
/// Its only value.
pub const BATCH_OF_RECORDS: &str = "records";
/// Longest batch, in bytes.
pub const BATCH_BYTES_MAX: u64 = 4 << 20;
/// Most subjects of one batch.
pub const BATCH_SUBJECTS_MAX: usize = 1000;

/// Why bytes are no batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBatch {
    /// Neither of the two forms.
    #[error("a batch is application/x-ndjson, application/cloudevents-batch+json or application/json")]
    Form,
    /// Not JSON objects.
    #[error("a batch holds JSON objects, one a line or in an array")]
    Records,
    /// A subject's name is none.
    #[error("a record names a data subject that cannot be one")]
    Subject,
    /// More than there may be.
    #[error("a batch is at most 4 MiB of records of at most 1000 data subjects")]
    TooMany,
    /// As a multipart upload: it is read whole to know of whom it is.
    #[error("a batch is stored with PutObject: multipart uploads of batches are not implemented")]
    Multipart,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Lines,
    Array,
}

/// A batch as it was read.
pub struct Batch<'a> {
    form: Form,
    records: Vec<(&'a str, Option<SubjectName>)>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    geosealsubject: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    subject: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> Batch<'a> {
    /// Reads a batch of this content type.
    pub fn parse(content_type: Option<&str>, body: &'a [u8]) -> Result<Self, BadBatch> {
        if body.len() as u64 > BATCH_BYTES_MAX {
            return Err(BadBatch::TooMany);
        }
        let essence = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let text = std::str::from_utf8(body).map_err(|_| BadBatch::Records)?;
        let (form, found): (_, Vec<&str>) = match essence {
            "application/x-ndjson" => (Form::Lines, text.lines().filter(|line| !line.trim().is_empty()).collect()),
            "application/cloudevents-batch+json" | "application/json" => {
                let array: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| BadBatch::Records)?;
                (Form::Array, array.into_iter().map(RawValue::get).collect())
            }
            _ => return Err(BadBatch::Form),
        };
        let mut records = Vec::with_capacity(found.len());
        for record in found {
            if !record.trim_start().starts_with('{') {
                return Err(BadBatch::Records);
            }
            let named: Named<'_> = serde_json::from_str(record).map_err(|_| BadBatch::Records)?;
            let name = named.geosealsubject.or(named.subject);
            let name = name.map(|name| SubjectName::parse(&name)).transpose().map_err(|_| BadBatch::Subject)?;
            records.push((record, name));
        }
        let batch = Self { form, records };
        if batch.subjects().len() > BATCH_SUBJECTS_MAX { Err(BadBatch::TooMany) } else { Ok(batch) }
    }

    /// Who is in it, each once, in order.
    pub fn subjects(&self) -> Vec<SubjectName> {
        let names: BTreeSet<_> =
            self.records.iter().filter_map(|(_, name)| name.as_ref().map(SubjectName::as_str)).collect();
        names.into_iter().filter_map(|name| SubjectName::parse(name).ok()).collect()
    }

    /// The batch without a subject's records. `None`: nothing is left.
    pub fn without(&self, name: &SubjectName) -> Option<Vec<u8>> {
        let left: Vec<_> = self.of(|of| of != Some(name)).collect();
        (!left.is_empty()).then(|| self.written(&left))
    }

    /// A subject's own records, in the batch's form.
    pub fn only(&self, name: &SubjectName) -> Vec<u8> {
        self.written(&self.of(|of| of == Some(name)).collect::<Vec<_>>())
    }

    fn of(&self, wanted: impl Fn(Option<&SubjectName>) -> bool) -> impl Iterator<Item = &'a str> {
        self.records.iter().filter(move |(_, name)| wanted(name.as_ref())).map(|(record, _)| *record)
    }

    fn written(&self, records: &[&str]) -> Vec<u8> {
        match self.form {
            Form::Lines => records.iter().flat_map(|record| [record.as_bytes(), b"\n"].concat()).collect(),
            Form::Array => format!("[{}]", records.join(",")).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> SubjectName {
        SubjectName::parse(name).unwrap()
    }

    #[test]
    fn a_batch_without_one_is_the_rest_as_it_was() {
        let lines = "{\"subject\":\"a\",\"n\": 1.50}\n\n{\"n\":2}\n{\"geosealsubject\":\"b\",\"subject\":\"a\"}\n";
        let batch = Batch::parse(Some("application/x-ndjson; charset=utf-8"), lines.as_bytes()).unwrap();
        assert_eq!(batch.subjects(), [name("a"), name("b")]);
        let left = batch.without(&name("a")).unwrap();
        assert_eq!(left, b"{\"n\":2}\n{\"geosealsubject\":\"b\",\"subject\":\"a\"}\n");
        assert_eq!(batch.only(&name("a")), b"{\"subject\":\"a\",\"n\": 1.50}\n");
        let array = b" [ {\"subject\":\"a\"} , {\"subject\":\"b\", \"x\":1.0} ] ";
        let batch = Batch::parse(Some("application/cloudevents-batch+json"), array).unwrap();
        assert_eq!(batch.without(&name("a")).unwrap(), b"[{\"subject\":\"b\", \"x\":1.0}]");
        assert_eq!(batch.only(&name("c")), b"[]");
        let alone = Batch::parse(Some("application/json"), b"[{\"subject\":\"a\"}]").unwrap();
        assert_eq!(alone.without(&name("a")), None);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let refused = |kind: Option<&str>, body: &str| Batch::parse(kind, body.as_bytes()).err();
        assert_eq!(refused(None, "[]"), Some(BadBatch::Form));
        assert_eq!(refused(Some("text/plain"), "[]"), Some(BadBatch::Form));
        for (kind, body) in [
            ("application/json", "{\"subject\":\"a\"}"),
            ("application/json", "[1]"),
            ("application/json", "[{\"subject\":\"a\"}"),
            ("application/x-ndjson", "{\"subject\":\"a\"}\n[]\n"),
            ("application/x-ndjson", "{\"subject\":7}\n"),
        ] {
            assert_eq!(refused(Some(kind), body), Some(BadBatch::Records), "{body}");
        }
        assert_eq!(refused(Some("application/json"), "[{\"subject\":\" a\"}]"), Some(BadBatch::Subject));
        let many: Vec<_> = (0..=BATCH_SUBJECTS_MAX).map(|n| format!("{{\"subject\":\"{n}\"}}")).collect();
        assert_eq!(refused(Some("application/x-ndjson"), &many.join("\n")), Some(BadBatch::TooMany));
    }
}
