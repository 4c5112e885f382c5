//! `POST /ingest/v1/events`: a batch of CloudEvents, each stored as an upload of it would be.
//!
//! The pre-check finds it by [`is_for`] and the guard marks it, so that no other request ever gets here; `s3s` verifies
//! its signature like any other's. Order: head → gate → body, whole, its signature and digests verified → events read →
//! stored, many at a time, so that they share commits → answer. What is counted as accepted is durable. A crash or an
//! answer that is lost leaves some of them stored: sent again they are duplicates.
//!
//! What concerns one event is told of that event; what concerns the caller, the tenant or the service is the answer to
//! the whole request, as an RFC 9457 problem (`problem`).

use super::entry::Access;
use super::hosts::Hosts;
use super::precheck::{BodyRule, SUBRESOURCES};
use super::refusal::Refusal;
use super::trace::Trace;
use super::{Face, body, caller, convert, error, query};
use crate::gate::act::Write;
use crate::gate::{Admitted, Need};
use crate::ingest::{EVENT_TYPE, Event, Form};
use crate::model::classes::Class;
use crate::model::limits::INGEST_BYTES_MAX;
use crate::model::request::Operation;
use crate::store::digest::Hashing;
use crate::store::types::{About, BodyFault, ContentHeaders, Expected, Incoming, Put, StoreError, WriteCondition};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use s3s::dto::StreamingBlob;
use s3s::route::S3Route;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde::Serialize;
use std::collections::HashSet;

/// Where events are posted. To S3 it would be an object of the bucket `ingest`, to which nothing can be posted.
const PATH: &str = "/ingest/v1/events";
/// Events of one request that are being stored at a time.
const AT_ONCE: usize = 128;

/// The mark that the guard puts on a request for this route.
#[derive(Clone, Copy)]
pub(super) struct ForIngest;

/// Whether a request is for this route, and not for S3. Pure, of the head only.
pub(super) fn is_for(hosts: &Hosts, host: &str, parts: &Parts) -> bool {
    if parts.method != Method::POST || parts.uri.path() != PATH || hosts.names_bucket(host) {
        return false;
    }
    let query = query::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    !query.iter().any(|(name, _)| SUBRESOURCES.contains(&name.as_str()))
}

/// What the head says of the body. Errors: what the route does not take.
pub(super) fn body_rule(headers: &HeaderMap) -> Result<BodyRule, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text("x-amz-content-sha256").starts_with("STREAMING-") || headers.contains_key("x-amz-trailer") {
        return Err(Refusal::bad("InvalidRequest", "Events are not taken in chunks: send the body as it is, hashed."));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        let told = "Events are taken as they are: leave out Content-Encoding.";
        return Err(Refusal::new("UnsupportedMediaType", StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let meant = |name: &str| name.starts_with("x-amz-meta-") || name == "x-amz-tagging";
    if headers.keys().any(|name| meant(name.as_str())) {
        return Err(Refusal::bad("InvalidRequest", "Events bring their own metadata: send neither metadata nor tags."));
    }
    let length = text("content-length").parse::<u64>().map_err(|_| {
        let told = "You must provide the Content-Length HTTP header.";
        Refusal::new("MissingContentLength", StatusCode::LENGTH_REQUIRED, told)
    })?;
    if length > INGEST_BYTES_MAX as u64 {
        let told = "A batch has at most 4194304 bytes: send its events in several.";
        return Err(Refusal::new("EntityTooLarge", StatusCode::PAYLOAD_TOO_LARGE, told));
    }
    Ok(BodyRule::Events)
}

const _: () = assert!(INGEST_BYTES_MAX == 4_194_304, "the message says how many");

/// The route.
pub(super) struct Ingest {
    pub(super) face: Face,
    pub(super) access: Access,
}

#[async_trait::async_trait]
impl S3Route for Ingest {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, extensions: &mut Extensions) -> bool {
        extensions.get::<ForIngest>().is_some()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        self.access.welcome(&caller(request)?, Operation::Ingest, &request.extensions).await
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let form = form(&request.headers)?;
        let at = self.bucket(&request).await?;
        let whole = whole(&mut request).await?;
        let events = form.read(&whole).map_err(|bad| problem("MalformedBatch", StatusCode::BAD_REQUEST, bad))?;
        let answer = self.store(&at, &whole, events).await?;
        let json = serde_json::to_vec(&answer).map_err(S3Error::internal_error)?;
        let mut response = S3Response::new(Body::from(json));
        response.status = Some(StatusCode::MULTI_STATUS);
        response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers.insert("x-geoseal-region", HeaderValue::from_static(at.bucket().region.id));
        Ok(response)
    }
}

/// What became of a batch. Source: docs/ingest.md, "The answer".
#[derive(Serialize)]
struct Answer {
    accepted: usize,
    duplicate: usize,
    rejected: Vec<Rejected>,
}

/// An event that was not stored.
#[derive(Serialize)]
struct Rejected {
    /// Its place in the batch, from 0.
    i: usize,
    code: &'static str,
    message: String,
}

impl Ingest {
    /// The bucket that the request names; without a name the tenant's only one for interactions.
    async fn bucket(&self, request: &S3Request<Body>) -> S3Result<Admitted<Write>> {
        let mut named = None;
        for (name, value) in query::parse(request.uri.query().unwrap_or_default()).unwrap_or_default() {
            match name.as_str() {
                "bucket" => named = Some(value),
                _ if name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) => {}
                _ => return Err(s3_error!(InvalidArgument, "The only query parameter here is bucket.")),
            }
        }
        if let Some(name) = named {
            return self.face.admit(request, &name).await;
        }
        let tenant = self.face.admit_tenant::<Write, _>(request).await?;
        let found = self.face.store.buckets_for(&tenant, Class::Interaction).await.map_err(|e| error::store(&e))?;
        let [only] = &found[..] else {
            let told = "Say which bucket: ?bucket=NAME. It can be left out where exactly one bucket of the tenant has \
                        the default class interaction (geoseal bucket set NAME --default-class interaction).";
            return Err(problem("BucketRequired", StatusCode::BAD_REQUEST, told));
        };
        self.face.admit(request, only.as_str()).await
    }

    /// Stores what can be stored. Errors: what is wrong with more than single events. Those that were stored stay.
    async fn store(
        &self,
        at: &Admitted<Write>,
        whole: &Bytes,
        events: Vec<Result<Event<'_>, crate::ingest::BadEvent>>,
    ) -> S3Result<Answer> {
        let mut answer = Answer { accepted: 0, duplicate: 0, rejected: Vec::new() };
        let (mut seen, mut rounds) = (HashSet::new(), [Vec::new(), Vec::new(), Vec::new()]);
        for (i, event) in events.into_iter().enumerate() {
            match event {
                Ok(event) => {
                    // What follows a message comes before the rest; what stands twice in a batch, after it stood once: the
                    // first is the one that is stored.
                    let round = match (seen.insert(event.name.clone()), event.follows()) {
                        (true, true) => 0,
                        (true, false) => 1,
                        (false, _) => 2,
                    };
                    rounds[round].push((i, put(whole, event)));
                }
                Err(bad) => answer.rejected.push(Rejected { i, code: bad.code(), message: bad.to_string() }),
            }
        }
        // Once something is wrong with more than an event nothing more is begun, and what is under way comes to its end.
        let (mut off, mut failed) = (false, None);
        for round in rounds {
            let (mut waiting, mut under_way) = (round.into_iter(), FuturesUnordered::<BoxFuture<'_, _>>::new());
            loop {
                while failed.is_none() && under_way.len() < AT_ONCE {
                    let Some((i, put)) = waiting.next() else { break };
                    under_way.push(self.face.store.put(at, put).map(move |done| (i, done)).boxed());
                }
                let Some((i, done)) = under_way.next().await else { break };
                match done {
                    Ok(_) => answer.accepted += 1,
                    Err(StoreError::PreconditionFailed) => answer.duplicate += 1,
                    Err(refused) => match advice(&refused) {
                        Some(message) => {
                            off |= matches!(refused, StoreError::FeatureDisabled(_));
                            answer.rejected.push(Rejected { i, code: error::code(&refused).0, message });
                        }
                        None => failed = failed.or(Some(refused)),
                    },
                }
            }
        }
        if let Some(failed) = failed {
            return Err(error::store(&failed));
        }
        if off && answer.accepted + answer.duplicate == 0 {
            return Err(error::store(&StoreError::FeatureDisabled(Need::Write)));
        }
        answer.rejected.sort_by_key(|rejected| rejected.i);
        Ok(answer)
    }
}

/// The upload that an event is.
fn put(whole: &Bytes, event: Event<'_>) -> Put {
    let bytes = whole.slice_ref(event.bytes.as_bytes());
    let headers = ContentHeaders { content_type: Some(EVENT_TYPE.to_owned()), ..ContentHeaders::default() };
    Put {
        name: event.name,
        incoming: Incoming {
            length: bytes.len() as u64,
            body: stream::iter([Ok(bytes)]).boxed(),
            expected: Expected::default(),
        },
        about: About { headers, metadata: event.metadata, tags: Vec::new() },
        condition: WriteCondition::IfAbsent,
    }
}

/// What to do about an event that the store refused; `None` when it is not about the event.
fn advice(refused: &StoreError) -> Option<String> {
    let told = match refused {
        StoreError::OptedOut => "the contact has opted out: nothing more is collected of it, do not send it again",
        StoreError::SubjectErased => {
            "the contact is being erased, or was and is not to be stored again: do not send it again"
        }
        StoreError::NotFollowed => {
            "only events of messages that were followed by then are taken: register the message (geoseal follow add, or \
             geosealfollow: true in the event of its sending) before it is sent"
        }
        StoreError::FeatureDisabled(_) => {
            "the feature email-engagement is not enabled for the tenant: nothing is collected until an administrator \
             enables it, and this event is not to be sent again"
        }
        StoreError::ConditionalConflict => "another request wrote the same event: send it again",
        StoreError::InvalidSubject | StoreError::SubjectRestricted | StoreError::TooLarge | StoreError::Held => {
            return Some(refused.to_string());
        }
        _ => return None,
    };
    Some(told.to_owned())
}

fn form(headers: &HeaderMap) -> S3Result<Form> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    Form::of(kind).ok_or_else(|| {
        let told = "Content-Type is application/cloudevents-batch+json or application/cloudevents+json.";
        problem("UnsupportedMediaType", StatusCode::UNSUPPORTED_MEDIA_TYPE, told)
    })
}

/// The body, all of it, once it is known to be what was signed and what its digests claim.
async fn whole(request: &mut S3Request<Body>) -> S3Result<Bytes> {
    let told = |error: StoreError| error::store(&error);
    let expected = convert::expected(&request.headers, None)?;
    let trace = request.extensions.get::<Trace>().cloned().ok_or_else(|| s3_error!(AccessDenied))?;
    let length = request.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length: usize = length.ok_or_else(|| s3_error!(MissingContentLength))?;
    let mut stream = body::upload(Some(StreamingBlob::from(std::mem::take(&mut request.input))), trace);
    let (mut whole, mut hashing) = (BytesMut::with_capacity(length.min(INGEST_BYTES_MAX)), Hashing::of(&expected));
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|fault| told(fault.into()))?;
        if whole.len() + piece.len() > length.min(INGEST_BYTES_MAX) {
            return Err(told(BodyFault::Incomplete.into()));
        }
        hashing.update(&piece).await;
        whole.extend_from_slice(&piece);
    }
    if whole.len() != length {
        return Err(told(BodyFault::Incomplete.into()));
    }
    hashing.finish().await.check(expected).map_err(told)?;
    Ok(whole.freeze())
}

fn problem(code: &'static str, status: StatusCode, message: impl ToString) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).expect("our codes are ASCII");
    let mut answer = S3Error::with_message(code, message.to_string());
    answer.set_status_code(status);
    answer
}
