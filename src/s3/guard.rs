//! The outer service of the S3 face: lets the pre-check look at a request's head, puts the inspection around its body,
//! hands it to `s3s`, and finishes the answer.
//!
//! Called by `edge`, through `telemetry`, which gave the request its id. Promises that every answer carries
//! `x-amz-request-id`, every error body a `RequestId`, and a note of what it was for telemetry.

use super::body::inspect;
use super::convert;
use super::ingest::ForIngest;
use super::precheck::{self, BodyRule, Passed, Rules};
use super::problem;
use super::refusal::Refusal;
use super::trace::Trace;
use super::unread::Ended;
use crate::model::atlas::Region;
use crate::model::request::{PURGE_DUE, RequestId};
use crate::store::types::Expected;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use s3s::service::S3Service;
use s3s::{Body, HttpRequest, HttpResponse};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// The region that the signature of a request names, as a request extension.
#[derive(Clone, Copy, Debug)]
pub struct Scope(pub &'static Region);

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    rules: Rules,
    service: S3Service,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Guard {
    /// Puts itself in front of `service`.
    pub fn new(rules: Rules, service: S3Service) -> Self {
        Self { inner: Arc::new(Inner { rules, service }) }
    }

    /// Answers one request.
    pub async fn handle(&self, request: HttpRequest) -> HttpResponse {
        let id = request.extensions().get().copied().unwrap_or_else(RequestId::next);
        let trace = Trace::new(id);
        let method = request.method().clone();
        let (mut parts, body) = request.into_parts();
        let received = parts.extensions.remove().unwrap_or_default();
        let (body, ended) = Ended::watch(body, received);
        let json = precheck::is_for_ingest(&self.inner.rules, &parts);
        let mut response = match precheck::check(&self.inner.rules, &parts) {
            Ok(passed) => {
                let passing = self.pass(HttpRequest::from_parts(parts, body), passed, &trace);
                // A bug costs its own request an answer, not its connection the others.
                let passed = AssertUnwindSafe(passing).catch_unwind().await;
                passed.unwrap_or_else(|_| FAILED.response(&method, trace.id()))
            }
            Err(refusal) => refusal.response(&method, trace.id()),
        };
        if let Some(refusal) = trace.refusal() {
            response = refusal.response(&method, trace.id());
        }
        if json {
            problem::write(&mut response, &trace);
        }
        finish(&mut response, &trace);
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
            // s3s knows 206 for GET only.
            if response.status() == StatusCode::OK && response.headers().contains_key(header::CONTENT_RANGE) {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
        }
        if !ended.so() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(trace.note());
        response
    }

    async fn pass(&self, request: HttpRequest, passed: Passed, trace: &Trace) -> HttpResponse {
        let method = request.method().clone();
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(trace.clone());
        parts.extensions.insert(Scope(passed.region));
        let expected = match passed.body {
            BodyRule::Xml => match convert::xml_digests(&parts) {
                Ok(expected) => expected,
                Err(refusal) => return refusal.response(&method, trace.id()),
            },
            BodyRule::Empty | BodyRule::Object | BodyRule::SignedChunks => Expected::default(),
            BodyRule::Events => {
                parts.extensions.insert(ForIngest);
                Expected::default()
            }
        };
        let body = inspect(body, passed.body, expected, trace);
        match self.inner.service.call(HttpRequest::from_parts(parts, body)).await {
            Ok(response) => response,
            Err(_) => FAILED.response(&method, trace.id()),
        }
    }
}

const FAILED: Refusal = Refusal::new(
    "InternalError",
    StatusCode::INTERNAL_SERVER_ERROR,
    "We encountered an internal error. Please try again.",
);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Puts the request id into head and, if it is an error's, body.
fn finish(response: &mut HttpResponse, trace: &Trace) {
    let id = HeaderValue::from_str(&trace.id().to_string()).expect("hexadecimal digits are a header value");
    response.headers_mut().insert(REQUEST_ID, id);
    if let Some(due) = trace.purge_due() {
        let due = HeaderValue::from_str(&due.to_string()).expect("a time is ASCII");
        response.headers_mut().insert(PURGE_DUE, due);
    }
    let xml = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
    if response.status().as_u16() < 300 || !xml {
        return;
    }
    let Some(bytes) = response.body().bytes() else { return };
    const END: &[u8] = b"</Error>";
    if let Some(head) = bytes.strip_suffix(END)
        && !bytes.windows(11).any(|window| window == b"<RequestId>")
    {
        let id = format!("<RequestId>{}</RequestId>", trace.id());
        *response.body_mut() = Body::from(Bytes::from([head, id.as_bytes(), END].concat()));
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Guard {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move { Ok(guard.handle(request.map(Body::from)).await) })
    }
}
