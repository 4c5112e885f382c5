//! The outermost service of the S3 listener: gives each request an id, lets the pre-check look at its head, puts the
//! inspection around its body, hands it to `s3s`, finishes the answer, and reports it.
//!
//! Called by `edge`. Promises that every answer carries `x-amz-request-id`, every error body a `RequestId`, and that
//! the report holds ids and enums only.

use super::body::inspect;
use super::convert;
use super::precheck::{self, BodyRule, Passed, Rules};
use super::refusal::Refusal;
use super::trace::Trace;
use crate::model::atlas::Region;
use crate::model::ids::TenantId;
use crate::store::types::Expected;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use s3s::service::S3Service;
use s3s::{Body, HttpRequest, HttpResponse};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The region that the signature of a request names, as a request extension.
#[derive(Clone, Copy, Debug)]
pub struct Scope(pub &'static Region);

/// What is reported of a request, when its answer's head is ready.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// As S3 calls it; `None` when refused before it was known.
    pub operation: Option<&'static str>,
    /// The answer's status.
    pub status: StatusCode,
    /// From the request's head to the answer's head.
    pub took: Duration,
    /// Whose request, when its signature was right.
    pub tenant: Option<TenantId>,
}

/// Is told of every answer: metrics.
pub type Observer = Arc<dyn Fn(&Answered) + Send + Sync>;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    rules: Rules,
    service: S3Service,
    observer: Observer,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Guard {
    /// Puts itself in front of `service`.
    pub fn new(rules: Rules, service: S3Service, observer: Observer) -> Self {
        Self { inner: Arc::new(Inner { rules, service, observer }) }
    }

    /// Answers one request.
    pub async fn handle(&self, request: HttpRequest) -> HttpResponse {
        let started = Instant::now();
        let trace = Trace::new();
        let method = request.method().clone();
        let (parts, body) = request.into_parts();
        let mut response = match precheck::check(&self.inner.rules, &parts) {
            Ok(passed) => self.pass(HttpRequest::from_parts(parts, body), passed, &trace).await,
            Err(refusal) => refusal.response(&method, trace.id()),
        };
        if let Some(refusal) = trace.refusal() {
            response = refusal.response(&method, trace.id());
        }
        finish(&mut response, &trace);
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        self.report(&trace, response.status(), started.elapsed());
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
        };
        let body = inspect(body, passed.body, expected, trace);
        match self.inner.service.call(HttpRequest::from_parts(parts, body)).await {
            Ok(response) => response,
            Err(_) => FAILED.response(&method, trace.id()),
        }
    }

    fn report(&self, trace: &Trace, status: StatusCode, took: Duration) {
        let answered = Answered { operation: trace.operation(), status, took, tenant: trace.tenant() };
        (self.inner.observer)(&answered);
        tracing::info!(
            target: "geoseal::access",
            request = trace.id().as_str(),
            operation = answered.operation.unwrap_or("-"),
            tenant = answered.tenant.map(tracing::field::display),
            status = status.as_u16(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
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
    let id = HeaderValue::from_str(trace.id().as_str()).expect("hexadecimal digits are a header value");
    response.headers_mut().insert(REQUEST_ID, id);
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
