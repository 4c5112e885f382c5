//! Around a service: gives each request its id, and when its answer's last byte is out (or its client has left) writes
//! one line and counts it.

use super::metrics::Metrics;
use crate::model::request::{Received, RequestId, RequestNote};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// A service whose requests are logged and counted. Each answer carries its request's id in `x-amz-request-id`.
#[derive(Debug, Clone)]
pub struct Observed<S> {
    inner: S,
    metrics: Metrics,
}

impl<S> Observed<S> {
    /// Puts itself around `inner`.
    pub fn new(inner: S, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl<S, In, Out> Service<Request<In>> for Observed<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<Counted<Out>>;
    type Error = S::Error;
    type Future = ObservedFuture<S::Future>;

    fn call(&self, mut request: Request<In>) -> Self::Future {
        let id = RequestId::next();
        request.extensions_mut().insert(id);
        let received = Received::default();
        request.extensions_mut().insert(received.clone());
        let line = Line::begin(id, received, self.metrics.clone());
        ObservedFuture { inner: self.inner.call(request), line: Some(line) }
    }
}

pin_project! {
    /// The answer of an [`Observed`] service, on its way.
    #[derive(Debug)]
    pub struct ObservedFuture<F> {
        #[pin]
        inner: F,
        line: Option<Line>,
    }
}

impl<F, Out, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
{
    type Output = Result<Response<Counted<Out>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let mut line = this.line.take().expect("a future is not polled after it is ready");
        Poll::Ready(match answer {
            Ok(mut response) => {
                line.note = response.extensions().get().copied().unwrap_or_default();
                line.status = Some(response.status().as_u16());
                let id = HeaderValue::from_str(&line.id.to_string()).expect("hexadecimal digits are a header value");
                response.headers_mut().insert(REQUEST_ID, id);
                Ok(response.map(|inner| Counted { inner, line }))
            }
            Err(e) => {
                line.status = Some(500);
                Err(e)
            }
        })
    }
}

pin_project! {
    /// A response body that counts its bytes; dropped, at the end or before, it writes the request's line.
    #[derive(Debug)]
    pub struct Counted<B> {
        #[pin]
        inner: B,
        line: Line,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        use bytes::Buf;
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            this.line.sent += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// One request's line, written when dropped.
#[derive(Debug)]
struct Line {
    id: RequestId,
    begun: Instant,
    note: RequestNote,
    status: Option<u16>,
    received: Received,
    sent: u64,
    metrics: Metrics,
}

impl Line {
    fn begin(id: RequestId, received: Received, metrics: Metrics) -> Self {
        metrics.request_began();
        Self { id, begun: Instant::now(), note: RequestNote::default(), status: None, received, sent: 0, metrics }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let (took, received) = (self.begun.elapsed(), self.received.bytes());
        self.metrics.request_ended(self.note.operation, self.status, received, self.sent, took);
        tracing::info!(
            target: "geoseal_access",
            request = %self.id,
            operation = self.note.operation.name(),
            status = self.status,
            received,
            sent = self.sent,
            micros = took.as_micros() as u64,
            tenant = self.note.tenant.as_ref().map(tracing::field::display),
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;
    use crate::model::request::Operation;
    use crate::telemetry::{encode, registry};
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_request_is_counted_when_its_last_byte_is_out() {
        let mut registry = registry();
        let metrics = Metrics::register(&mut registry);
        let service = service_fn(async |request: Request<Full<Bytes>>| {
            let id = request.extensions().get::<RequestId>().unwrap().to_string();
            request.extensions().get::<Received>().unwrap().add(5);
            let mut response = Response::new(Full::new(Bytes::from(id)));
            let note = RequestNote { operation: Operation::GetObject, tenant: Some(TenantId([7; 16])) };
            response.extensions_mut().insert(note);
            Ok::<_, Infallible>(response)
        });
        let observed = Observed::new(service, metrics);
        let response = observed.call(Request::new(Full::new(Bytes::from("12345")))).await.unwrap();
        let id = response.headers()["x-amz-request-id"].to_str().unwrap().to_owned();
        assert!(encode(&registry).contains("geoseal_requests_in_flight 1"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), id);
        let text = encode(&registry);
        for line in [
            "geoseal_requests_in_flight 0",
            "geoseal_requests_total{operation=\"GetObject\",status=\"2xx\"} 1",
            "geoseal_received_bytes_total 5",
            "geoseal_sent_bytes_total 16",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_counted_too() {
        let mut registry = registry();
        let observed = Observed::new(
            service_fn(async |_: Request<Full<Bytes>>| {
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }),
            Metrics::register(&mut registry),
        );
        drop(observed.call(Request::new(Full::new(Bytes::new()))));
        let text = encode(&registry);
        assert!(text.contains("geoseal_requests_total{operation=\"Other\",status=\"gone\"} 1"), "{text}");
    }
}
