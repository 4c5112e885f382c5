//! The S3 listener's service: answers 503 until there is something to serve, then hands every request to the guard.

use super::guard::Guard;
use super::refusal::Refusal;
use crate::model::request::RequestId;
use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use s3s::HttpResponse;
use std::convert::Infallible;
use std::sync::Arc;

/// Clones share it.
#[derive(Clone, Default, Debug)]
pub struct Entrance(Arc<ArcSwapOption<Guard>>);

const CLOSED: Refusal =
    Refusal::new("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE, "The service cannot answer now; try again.");

impl Entrance {
    /// From here on the guard answers.
    pub fn open(&self, guard: Guard) {
        self.0.store(Some(Arc::new(guard)));
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Entrance {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        if let Some(guard) = self.0.load_full() {
            return guard.call(request);
        }
        let id = request.extensions().get().copied().unwrap_or_else(RequestId::next);
        let mut response = CLOSED.response(request.method(), id);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        // Its body was not read: whatever follows it on this connection could not be told from it.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        async move { Ok(response) }.boxed()
    }
}
