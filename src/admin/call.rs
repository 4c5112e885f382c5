//! One request after its caller was admitted, and the answer to it.

use super::acts::{Acts, Order, Sight, Streamed, TenantRef};
use super::auth::Role;
use super::error::ActError;
use super::wire::Plan;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use zeroize::Zeroizing;

use super::replay::Remembered;
use crate::model::request::PURGE_DUE;
use crate::model::time::Millis;
use crate::store::types::Upload;
use futures::{StreamExt, stream};
use parking_lot::Mutex;

/// What a route is run with.
pub(super) struct Call {
    pub(super) acts: Arc<dyn Acts>,
    pub(super) order: Order,
    pub(super) route: &'static str,
    pub(super) params: BTreeMap<String, String>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Of a route that reads its body as it comes.
    pub(super) stream: Mutex<Option<Sent>>,
}

/// A body that is still to come.
pub(super) struct Sent {
    pub(super) body: Upload,
    /// Bytes of it.
    pub(super) length: u64,
}

/// Longest first line of such a body, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;

impl Call {
    /// What the first line of a streamed body says, and what comes behind it with its length. Once.
    pub(super) async fn line_and_rest<T: DeserializeOwned>(&self) -> Result<(T, Upload, u64), ActError> {
        let sent = self.stream.lock().take();
        let Sent { mut body, length } = sent.ok_or_else(|| ActError::BadBody("there is none".into()))?;
        let mut line = Zeroizing::new(Vec::new());
        let rest = loop {
            let piece = body.next().await.transpose().map_err(|fault| ActError::BadBody(fault.to_string()))?;
            let mut piece = piece.ok_or_else(|| ActError::BadBody("its first line has no end".into()))?;
            if let Some(at) = piece.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&piece.split_to(at));
                break piece.split_off(1);
            }
            line.extend_from_slice(&piece);
            if line.len() > LINE_BYTES_MAX {
                return Err(ActError::BadBody("its first line is too long".into()));
            }
        };
        let said = serde_json::from_slice(&line).map_err(|e| ActError::BadBody(without_values(&e)))?;
        let left = length.saturating_sub(line.len() as u64 + 1);
        Ok((said, stream::iter([Ok(rest)]).chain(body).boxed(), left))
    }

    /// What the caller may be shown.
    pub(super) fn sight(&self) -> Sight {
        if self.order.role > Role::Auditor { Sight::Everything } else { Sight::NoNames }
    }

    /// A placeholder of the path.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The tenant that the path names.
    pub(super) fn tenant(&self) -> Result<TenantRef, ActError> {
        self.param("tenant").parse()
    }

    /// A query parameter as text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A query parameter.
    pub(super) fn query<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, ActError> {
        let bad = |_| ActError::BadQuery(format!("`{name}` cannot have this value"));
        self.text(name).map(|text| text.parse().map_err(bad)).transpose()
    }

    /// The query parameter `limit`, 1 to `max`.
    pub(super) fn limit(&self, default: usize, max: usize) -> Result<usize, ActError> {
        match self.query("limit")? {
            None => Ok(default),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(_) => Err(ActError::BadQuery(format!("`limit` is 1 to {max}"))),
        }
    }

    /// The body; no body at all is an empty object.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ActError> {
        let bytes: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(bytes).map_err(|e| ActError::BadBody(without_values(&e)))
    }

    /// The plan with its id: equal plans for equal requests have equal ids.
    pub(super) fn with_plan_id(&self, mut plan: Plan) -> Plan {
        let mut context = Context::new(&SHA256);
        let mut field = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        field(self.route.as_bytes());
        for (name, value) in &self.params {
            field(name.as_bytes());
            field(value.as_bytes());
        }
        field(&self.body);
        for step in &plan.steps {
            field(step.as_bytes());
        }
        for (name, n) in &plan.counts {
            field(name.as_bytes());
            field(&n.to_be_bytes());
        }
        plan.plan_id = hex::encode(&context.finish().as_ref()[..8]);
        plan
    }
}

/// What serde says, without the caller's values: it quotes unknown fields and wrong strings between backquotes or
/// quotes, and a mistyped body may hold anything.
fn without_values(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let kinds = [
                "unknown field",
                "missing field",
                "duplicate field",
                "unknown variant",
                "invalid type",
                "invalid value",
            ];
            let kind = kinds.into_iter().find(|k| text.starts_with(k)).unwrap_or("wrong data");
            let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            match missing {
                Some(field) => format!("missing field `{field}`"),
                None => format!("{kind} at {place}"),
            }
        }
        serde_json::error::Category::Eof => "the JSON ends too early".into(),
        _ => format!("not JSON at {place}"),
    }
}

/// An answer before it is an HTTP response, so that it can be remembered.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
    /// In the place of `body`.
    stream: Option<Streamed>,
    /// Whether it may be given again to the same `Idempotency-Key`.
    memorable: bool,
}

impl Answer {
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = Zeroizing::new(serde_json::to_vec(body).expect("a wire type is plain JSON"));
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, headers: HeaderMap::from_iter([json]), body, stream: None, memorable: true }
    }

    /// An archive as it is made.
    pub(super) fn tar(stream: Streamed) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))]);
        let body = Zeroizing::default();
        Self { status: StatusCode::OK, headers, body, stream: Some(stream), memorable: false }
    }

    /// A zip archive as it is made.
    pub(super) fn zip(stream: Streamed) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"))]);
        Self { headers, ..Self::tar(stream) }
    }

    /// The same, to be saved under this name.
    pub(super) fn with_file_name(mut self, name: &str) -> Self {
        let saved = format!("attachment; filename=\"{name}\"");
        let saved = HeaderValue::from_str(&saved).expect("the name of a file of ours is ASCII");
        self.headers.insert(header::CONTENT_DISPOSITION, saved);
        self
    }

    /// The same, kept nowhere once it is sent.
    pub(super) fn once(self) -> Self {
        Self { memorable: false, ..self }
    }

    /// Whether it may be kept.
    pub(super) fn memorable(&self) -> bool {
        self.memorable
    }

    pub(super) fn open_metrics(text: String) -> Self {
        Self::document("application/openmetrics-text; version=1.0.0; charset=utf-8", text.into_bytes())
    }

    /// Something else than JSON.
    pub(super) fn document(kind: &'static str, body: Vec<u8>) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Self { status: StatusCode::OK, headers, body: Zeroizing::new(body), stream: None, memorable: true }
    }

    pub(super) fn with_revision(mut self, revision: u64) -> Self {
        let tag = HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits between quotes");
        self.headers.insert(header::ETAG, tag);
        self
    }

    /// Of a terminated tenant: when it will be destroyed.
    pub(super) fn with_purge_due(mut self, due: Millis) -> Self {
        let due = HeaderValue::from_str(&due.to_string()).expect("a time is ASCII");
        self.headers.insert(PURGE_DUE, due);
        self
    }

    pub(super) fn with_location(mut self, path: &str) -> Self {
        let path = HeaderValue::from_str(path).expect("a path of ours is ASCII");
        self.headers.insert(header::LOCATION, path);
        self
    }

    pub(super) fn remembered(self) -> Remembered {
        Remembered { status: self.status, headers: self.headers, body: Arc::new(self.body) }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self.stream {
            None => self.remembered().into_response(),
            Some(stream) => (self.status, self.headers, Body::from_stream(stream)).into_response(),
        }
    }
}

impl IntoResponse for Remembered {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body.to_vec()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
