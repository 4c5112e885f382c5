//! The router: every request of the admin listener passes here once: admit, read, remember, act, answer.
//!
//! Invariants:
//! - the caller is admitted before a byte of the body is read; an unknown path is not found only for callers who are
//!   known, and unauthenticated for the rest;
//! - an unknown or repeated query parameter is refused: `?dryrun=true` must not run for real;
//! - an act runs in a task of its own, so that a caller who hangs up cannot stop it half-way.

use super::acts::{Actor, Acts, Mode, Order};
use super::auth::{Logins, Role};
use super::call::{Answer, Call, Sent};
use super::error::ActError;
use super::replay::{Remembered, Replay, Seen, Slot};
use super::routes::{Effect, Route, routes};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::store::types::BodyFault;

/// Longest body of an admin request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest `Idempotency-Key`, in characters.
const IDEMPOTENCY_CHARS_MAX: usize = 128;

const IDEMPOTENCY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The admin listener's service.
pub fn router(acts: Arc<dyn Acts>, logins: Logins) -> Router {
    let face = Arc::new(Face { acts, logins, replay: Replay::default() });
    let mut router = Router::new();
    for route in routes() {
        let (face, route) = (face.clone(), Arc::new(route));
        let filter = MethodFilter::try_from(route.method.clone()).expect("the table names GET and POST");
        let path = route.path;
        let serve = move |params: RawPathParams, request: Request| serve(face.clone(), route.clone(), params, request);
        router = router.route(path, on(filter, serve));
    }
    let (lost, other) = (face.clone(), face);
    router
        .fallback(move |request: Request| refuse(lost.clone(), request, ActError::NoSuchRoute))
        .method_not_allowed_fallback(move |request: Request| refuse(other.clone(), request, ActError::MethodNotAllowed))
}

struct Face {
    acts: Arc<dyn Acts>,
    logins: Logins,
    replay: Replay,
}

/// Where there is no route: only a known caller learns that.
async fn refuse(face: Arc<Face>, request: Request, error: ActError) -> Response {
    let known = face.logins.admit(request.headers(), Role::Auditor);
    finish(known.err().unwrap_or(error).into_response())
}

async fn serve(face: Arc<Face>, route: Arc<Route>, params: RawPathParams, request: Request) -> Response {
    let (actor, response) = match face.logins.admit(request.headers(), route.role) {
        Ok((actor, role)) => {
            let by = (actor.clone(), role);
            let answered = AssertUnwindSafe(answer(&face, &route, by, params, request)).catch_unwind().await;
            let answered = answered.unwrap_or(Err(ActError::Broken));
            (actor.0, answered.unwrap_or_else(IntoResponse::into_response))
        }
        Err(error) => ("unknown".to_owned(), error.into_response()),
    };
    tracing::info!(target: "geoseal::admin", act = route.name, status = response.status().as_u16(), actor, "admin request");
    finish(response)
}

fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn answer(
    face: &Face,
    route: &Arc<Route>,
    (by, role): (Actor, Role),
    params: RawPathParams,
    request: Request,
) -> Result<Response, ActError> {
    let (head, body) = request.into_parts();
    if route.effect == Effect::Spends && head.method == Method::HEAD {
        return Err(ActError::MethodNotAllowed);
    }
    let mut query = query(route, &head.uri)?;
    let mode = mode(query.remove("dryRun").as_deref())?;
    let expect = expected(route, &head.headers)?;
    let sent = idempotency(route, &head.headers)?;
    let (body, stream) = match route.effect {
        Effect::ActsOnStream => (Bytes::new(), Some(sent_as_stream(&head.headers, body)?)),
        _ => (to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| ActError::TooLarge)?, None),
    };
    if !body.is_empty() {
        takes_json(route, &head.headers)?;
    }
    let slot = match sent.filter(|_| mode == Mode::Run) {
        None => None,
        Some(sent) => match face.replay.enter(&by.0, &sent, digest(&head.uri, expect, &body))? {
            Seen::Again(remembered) => return Ok(again(remembered)),
            Seen::First(slot) => Some(slot),
        },
    };
    let call = Call {
        acts: face.acts.clone(),
        order: Order { by, role, mode, expect },
        route: route.name,
        params: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        query,
        body: Zeroizing::new(body.to_vec()),
        stream: Mutex::new(stream),
    };
    run(route, call, slot).await
}

/// An act's task also holds its slot: a caller who hangs up and asks again finds the first request, not a free key.
async fn run(route: &Arc<Route>, call: Call, slot: Option<Slot>) -> Result<Response, ActError> {
    let act = (route.run)(call);
    if !route.effect.acts() {
        return act.await.map(Answer::into_response);
    }
    let task = tokio::spawn(async move {
        let answer = act.await?;
        let Some(slot) = slot.filter(|_| answer.memorable()) else { return Ok(answer.into_response()) };
        let answer = answer.remembered();
        slot.remember(answer.clone());
        Ok(answer.into_response())
    });
    task.await.unwrap_or(Err(ActError::Broken))
}

fn again(remembered: Remembered) -> Response {
    let mut response = remembered.into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn query(route: &Route, uri: &Uri) -> Result<BTreeMap<String, String>, ActError> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| ActError::BadQuery("not name=value pairs".into()))?;
    let mut query = BTreeMap::new();
    for (name, value) in pairs.0 {
        let known = route.query.contains(&name.as_str()) || (route.effect.acts() && name == "dryRun");
        if !known {
            return Err(ActError::BadQuery("an unknown parameter".into()));
        }
        if query.insert(name, value).is_some() {
            return Err(ActError::BadQuery("a parameter stands twice".into()));
        }
    }
    Ok(query)
}

fn mode(dry_run: Option<&str>) -> Result<Mode, ActError> {
    match dry_run {
        None | Some("false") => Ok(Mode::Run),
        Some("true") => Ok(Mode::Plan),
        Some(_) => Err(ActError::BadQuery("`dryRun` is true or false".into())),
    }
}

/// `If-Match`, where the route has a record to match; elsewhere it is refused, for a condition must not be ignored.
fn expected(route: &Route, headers: &HeaderMap) -> Result<Option<u64>, ActError> {
    let bad = ActError::BadHeader("If-Match");
    match (one(headers, &header::IF_MATCH, "If-Match")?, route.effect) {
        (None | Some("*"), _) => Ok(None),
        (Some(_), Effect::Looks | Effect::Acts | Effect::ActsOnStream | Effect::Spends) => Err(bad),
        (Some(tag), Effect::ActsOnRecord) => {
            let digits = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or(bad.clone())?;
            digits.parse().map(Some).map_err(|_| bad)
        }
    }
}

fn idempotency(route: &Route, headers: &HeaderMap) -> Result<Option<String>, ActError> {
    match one(headers, &IDEMPOTENCY, "Idempotency-Key")? {
        _ if !route.effect.acts() => Ok(None),
        None => Ok(None),
        // What is not read whole cannot be told from another request.
        Some(_) if route.effect == Effect::ActsOnStream => Err(ActError::BadHeader("Idempotency-Key")),
        Some(text) if (1..=IDEMPOTENCY_CHARS_MAX).contains(&text.len()) => Ok(Some(text.to_owned())),
        Some(_) => Err(ActError::BadHeader("Idempotency-Key")),
    }
}

fn takes_json(route: &Route, headers: &HeaderMap) -> Result<(), ActError> {
    if route.takes.is_none() {
        return Err(ActError::BadBody("this route takes none".into()));
    }
    takes_kind(headers, "application/json")
}

fn takes_kind(headers: &HeaderMap, wanted: &str) -> Result<(), ActError> {
    let kind = one(headers, &header::CONTENT_TYPE, "Content-Type")?.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(ActError::BadHeader("Content-Type")) }
}

fn sent_as_stream(headers: &HeaderMap, body: axum::body::Body) -> Result<Sent, ActError> {
    takes_kind(headers, "application/octet-stream")?;
    let length = one(headers, &header::CONTENT_LENGTH, "Content-Length")?.and_then(|length| length.parse().ok());
    let length = length.ok_or(ActError::BadHeader("Content-Length"))?;
    let body = body.into_data_stream().map_err(|_| BodyFault::Incomplete).boxed();
    Ok(Sent { body, length })
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName, shown: &'static str) -> Result<Option<&'a str>, ActError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ActError::BadHeader(shown)),
        (Some(_), Some(_)) => Err(ActError::BadHeader(shown)),
    }
}

/// What makes two requests the same: target, condition and body, each with its length before it.
fn digest(uri: &Uri, expect: Option<u64>, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [uri.to_string().as_bytes(), format!("{expect:?}").as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes")
}
