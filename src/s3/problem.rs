//! The same error as an RFC 9457 problem: what is posted to `/ingest/v1/` is JSON, and so are the answers.
//!
//! Used by the guard, on whatever error comes back, whoever said it: pre-check, `s3s` or the route. Pure. Promises code,
//! status and headers of the S3 error that it was.

use super::trace::Trace;
use http::{HeaderValue, header};
use s3s::{Body, HttpResponse};
use serde::Serialize;

/// Source: RFC 9457, and docs/admin-api.md, which has the same members.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    request_id: String,
}

/// Writes an S3 error's body anew. Any other answer stays.
pub(super) fn write(response: &mut HttpResponse, trace: &Trace) {
    let status = response.status();
    let xml = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
    if status.as_u16() < 300 || !xml {
        return;
    }
    let Some(text) = response.body().bytes() else { return };
    let text = String::from_utf8_lossy(&text);
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        code: &element(&text, "Code"),
        detail: &element(&text, "Message"),
        request_id: trace.id().to_string(),
    };
    let json = serde_json::to_vec(&problem).expect("a problem is plain JSON");
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(json);
}

/// The text of an element of an error's body, which `s3s` or [`Refusal`](super::refusal::Refusal) wrote.
fn element(xml: &str, name: &str) -> String {
    let found = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    let escaped = found.map_or("", |(text, _)| text);
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    pairs.iter().fold(escaped.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::RequestId;
    use http::{Method, StatusCode};

    #[test]
    fn an_error_of_ours_becomes_a_problem_and_nothing_else_does() {
        let trace = Trace::new(RequestId::next());
        let refusal = super::super::refusal::Refusal::bad("InvalidRequest", "It is &apos;this&apos; &amp;amp; that.");
        let mut response = refusal.response(&Method::POST, trace.id());
        write(&mut response, &trace);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let said: serde_json::Value = serde_json::from_slice(&response.body().bytes().unwrap()).unwrap();
        let want = serde_json::json!({
            "type": "about:blank", "title": "Bad Request", "status": 400, "code": "InvalidRequest",
            "detail": "It is 'this' &amp; that.", "request_id": trace.id().to_string(),
        });
        assert_eq!(said, want);

        let mut fine = HttpResponse::new(Body::from("{}".to_owned()));
        *fine.status_mut() = StatusCode::MULTI_STATUS;
        write(&mut fine, &trace);
        assert_eq!(&fine.body().bytes().unwrap()[..], b"{}");
    }
}
