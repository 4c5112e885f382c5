//! ListObjects, version 1 and 2. Names come from the store in order; here they only get their shape in XML.

use super::convert::{etag, fits_xml, length, page_size, timestamp};
use super::{Face, error};
use crate::gate::Admitted;
use crate::gate::act::Read;
use crate::model::ids::TenantId;
use crate::store::types::{List, Page, StoreError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// How names are written into the XML of one answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spelling {
    /// As they are.
    Plain,
    /// Percent-encoded, and the answer says so.
    Url,
}

/// What stays as it is under `encoding-type=url`. Source: observed of S3, which leaves the slash alone.
const URL_SAFE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

impl Spelling {
    /// What the client asked for; or URL, if XML 1.0 could not hold one of the texts.
    pub(super) fn of<'a>(asked: Option<&EncodingType>, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let url = asked.is_some_and(|asked| asked.as_str() == EncodingType::URL);
        if url || !texts.into_iter().all(fits_xml) { Self::Url } else { Self::Plain }
    }

    /// One text in this spelling.
    pub(super) fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => utf8_percent_encode(text, URL_SAFE).to_string(),
        }
    }

    /// The element that tells the client.
    pub(super) fn element(self) -> Option<EncodingType> {
        (self == Self::Url).then(|| EncodingType::from_static(EncodingType::URL))
    }
}

fn texts(page: &Page) -> impl Iterator<Item = &str> {
    page.entries.iter().map(|entry| entry.name.as_str()).chain(page.common_prefixes.iter().map(String::as_str))
}

fn contents(page: &Page, spelling: Spelling, owner: Option<TenantId>) -> Vec<Object> {
    let owner = owner.map(|tenant| Owner { id: Some(tenant.to_string()), display_name: None });
    let object = |entry: &crate::store::types::Listed| Object {
        key: Some(spelling.write(&entry.name)),
        size: Some(length(entry.size)),
        e_tag: Some(etag(&entry.etag)),
        last_modified: Some(timestamp(entry.modified)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner: owner.clone(),
        ..Object::default()
    };
    page.entries.iter().map(object).collect()
}

/// Common prefixes in this spelling; none when there are none.
pub(super) fn prefixes(prefixes: &[String], spelling: Spelling) -> Option<Vec<CommonPrefix>> {
    let one = |prefix: &String| CommonPrefix { prefix: Some(spelling.write(prefix)) };
    (!prefixes.is_empty()).then(|| prefixes.iter().map(one).collect())
}

/// The only spelling that a client can ask for is URL.
pub(super) fn asked(encoding: Option<&EncodingType>) -> S3Result<()> {
    match encoding {
        Some(other) if other.as_str() != EncodingType::URL => {
            Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
        }
        _ => Ok(()),
    }
}

/// An empty delimiter is none.
pub(super) fn delimiter(given: Option<String>) -> Option<String> {
    given.filter(|delimiter| !delimiter.is_empty())
}

/// Version 2: continues with an opaque sealed token.
pub(super) async fn v2(
    face: &Face,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let limit = page_size(input.max_keys)?;
    asked(input.encoding_type.as_ref())?;
    let after = match input.continuation_token.as_deref() {
        Some(token) => Some(opened(face, &at, token).await?),
        None => input.start_after.clone(),
    };
    let prefix = input.prefix.unwrap_or_default();
    let delimiter = delimiter(input.delimiter);
    let list = List { prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = face.store.list(&at, list).await.map_err(|e| error::store(&e))?;
    let next = match page.last.as_deref().filter(|_| page.truncated) {
        Some(last) => Some(face.store.seal_token(&at, last.as_bytes()).await.map_err(|e| error::store(&e))?),
        None => None,
    };
    let echoed = [Some(&prefix), delimiter.as_ref(), input.start_after.as_ref()].into_iter().flatten();
    let spelling = Spelling::of(input.encoding_type.as_ref(), texts(&page).chain(echoed.map(String::as_str)));
    let owner = input.fetch_owner.unwrap_or(false).then_some(at.login().tenant);
    let keys = page.entries.len() + page.common_prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(spelling.write(&prefix)),
        delimiter: delimiter.map(|delimiter| spelling.write(&delimiter)),
        start_after: input.start_after.map(|after| spelling.write(&after)),
        encoding_type: spelling.element(),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(keys).ok(),
        is_truncated: Some(page.truncated),
        continuation_token: input.continuation_token,
        next_continuation_token: next,
        contents: Some(contents(&page, spelling, owner)),
        common_prefixes: prefixes(&page.common_prefixes, spelling),
        request_charged: None,
    }))
}

async fn opened(face: &Face, at: &Admitted<Read>, token: &str) -> S3Result<String> {
    let plain = face.store.open_token(at, token).await.map_err(|e| error::store(&e))?;
    String::from_utf8(plain).map_err(|_| error::store(&StoreError::BadToken))
}

/// Version 1: continues after a name.
pub(super) async fn v1(face: &Face, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let limit = page_size(input.max_keys)?;
    asked(input.encoding_type.as_ref())?;
    let prefix = input.prefix.unwrap_or_default();
    let delimiter = delimiter(input.delimiter);
    let marker = input.marker.unwrap_or_default();
    let after = (!marker.is_empty()).then(|| marker.clone());
    let list = List { prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = face.store.list(&at, list).await.map_err(|e| error::store(&e))?;
    let echoed = [Some(&prefix), delimiter.as_ref(), Some(&marker)].into_iter().flatten();
    let spelling = Spelling::of(input.encoding_type.as_ref(), texts(&page).chain(echoed.map(String::as_str)));
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.write(&prefix)),
        delimiter: delimiter.map(|delimiter| spelling.write(&delimiter)),
        marker: Some(spelling.write(&marker)),
        encoding_type: spelling.element(),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(page.truncated),
        next_marker: page.last.as_deref().filter(|_| page.truncated).map(|last| spelling.write(last)),
        contents: Some(contents(&page, spelling, Some(at.login().tenant))),
        common_prefixes: prefixes(&page.common_prefixes, spelling),
        request_charged: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_xml_cannot_hold_are_encoded_unasked() {
        for text in ["a\u{1}b", "line\nbreak", "\u{ffff}", "\r", "\u{0}"] {
            assert_eq!(Spelling::of(None, [text]), Spelling::Url, "{text:?}");
        }
        assert_eq!(Spelling::of(None, ["ü/<&>\u{202e}"]), Spelling::Plain);
        let url = EncodingType::from_static(EncodingType::URL);
        assert_eq!(Spelling::of(Some(&url), ["a"]), Spelling::Url);
        assert_eq!(Spelling::Url.write("a b/c+d\u{1}ü~*"), "a%20b/c%2Bd%01%C3%BC~*");
    }

    proptest::proptest! {
        #[test]
        fn the_spelling_can_be_undone(text in ".{0,40}") {
            let written = Spelling::Url.write(&text);
            let read = percent_encoding::percent_decode_str(&written).decode_utf8().unwrap().into_owned();
            proptest::prop_assert_eq!(read, text);
        }
    }
}
