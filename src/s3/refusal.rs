//! A refusal that is decided around `s3s` rather than by it, and how it looks on the wire.
//!
//! Used by the pre-check (before `s3s` sees the request), by body inspection and by the few answers that need an
//! element which `s3s` cannot write. Promises that the message is a constant: nothing of the request is repeated.

use crate::model::atlas::Region;
use crate::model::request::RequestId;
use http::{HeaderValue, Method, StatusCode};
use s3s::{Body, HttpResponse};

/// An S3 error answer: code, status, a constant message, and the right region where S3 tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The `Code` element.
    pub code: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// The `Message` element.
    pub message: &'static str,
    /// The region that would have been right: element `Region` and header `x-amz-bucket-region`.
    pub region: Option<&'static Region>,
}

impl Refusal {
    /// A refusal without a region.
    pub const fn new(code: &'static str, status: StatusCode, message: &'static str) -> Self {
        Self { code, status, message, region: None }
    }

    /// 400.
    pub const fn bad(code: &'static str, message: &'static str) -> Self {
        Self::new(code, StatusCode::BAD_REQUEST, message)
    }

    /// 403.
    pub const fn forbidden(code: &'static str, message: &'static str) -> Self {
        Self::new(code, StatusCode::FORBIDDEN, message)
    }

    /// 501.
    pub const fn not_built(message: &'static str) -> Self {
        Self::new("NotImplemented", StatusCode::NOT_IMPLEMENTED, message)
    }

    /// The request was signed for another region than the one it needs. Clients read the region and sign again.
    pub const fn wrong_region(expected: &'static Region) -> Self {
        Self {
            region: Some(expected),
            ..Self::bad(
                "AuthorizationHeaderMalformed",
                "The authorization header is malformed; the region is wrong. Region names the expected one.",
            )
        }
    }

    /// The bucket lies in a region that another endpoint serves.
    pub const fn elsewhere(region: &'static Region) -> Self {
        Self {
            region: Some(region),
            ..Self::new(
                "PermanentRedirect",
                StatusCode::MOVED_PERMANENTLY,
                "The bucket must be addressed through the endpoint of its region.",
            )
        }
    }

    /// The answer. A `HEAD` gets no body.
    pub fn response(&self, method: &Method, id: RequestId) -> HttpResponse {
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = self.status;
        if let Some(region) = self.region {
            response.headers_mut().insert("x-amz-bucket-region", HeaderValue::from_static(region.id));
        }
        if method != Method::HEAD && self.status != StatusCode::NOT_MODIFIED {
            let region = self.region.map_or(String::new(), |region| format!("<Region>{}</Region>", region.id));
            let (code, message) = (self.code, self.message);
            let xml = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
                 {region}<RequestId>{id}</RequestId></Error>"
            );
            response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            *response.body_mut() = Body::from(xml);
        }
        response
    }
}
