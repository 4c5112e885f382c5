//! The command line's way to the server: HTTPS to the admin API, and to nothing else.
//!
//! Promises that the token only leaves over verified TLS to the address that was named (no redirect is followed), and
//! that a POST whose answer was lost is asked again under the same `Idempotency-Key`, so it acts once.

use super::args::Common;
use super::failure::Failure;
use crate::admin::wire::{Plan, Problem};
use futures::{StreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, IF_MATCH};
use reqwest::{Certificate, Method, RequestBuilder, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

/// How often a request is sent before its loss is a failure.
const SENT_MAX: u32 = 4;
/// How long an answer may keep us waiting, and each piece of it.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(250);

/// Where the server is and how to speak to it.
pub(super) struct Client {
    http: reqwest::Client,
    /// Waits for an answer as long as a body takes to be sent.
    patient: reqwest::Client,
    base: Url,
    token: HeaderValue,
}

/// How an act is asked for.
#[derive(Clone, Copy, Default)]
pub(super) struct How {
    /// Change nothing, answer with the plan.
    pub(super) dry_run: bool,
    /// The revision that was shown to the caller.
    pub(super) revision: Option<u64>,
}

/// What the server answered to an act.
pub(super) enum Reply<T> {
    /// It would do this.
    Planned(Plan),
    /// It did it.
    Done(T),
}

/// Where the admin API is, as told by flags, by the environment, or by a `dev.env`.
#[derive(Clone)]
pub(super) struct Address {
    /// Such as `https://127.0.0.1:9001`.
    pub(super) url: String,
    /// The file that holds the token.
    pub(super) token_file: std::path::PathBuf,
    /// The authority to trust, if not the system's.
    pub(super) ca: Option<std::path::PathBuf>,
}

impl Address {
    /// What flags and environment say.
    pub(super) fn of(common: &Common) -> Result<Self, Failure> {
        let usage = |what: &str, name: &str, flag: &str| {
            Failure::Usage(format!(
                "{what}: set {name} or give --{flag}\nwhat to do: with `geoseal dev` running, `set -a; . geoseal-dev/dev.env; set +a`"
            ))
        };
        let url = common.admin_url.clone();
        let url = url.ok_or_else(|| usage("where is the admin API?", "GEOSEAL_ADMIN_URL", "admin-url"))?;
        let token = common.admin_token_file.clone();
        let token_file = token.ok_or_else(|| usage("which token?", "GEOSEAL_ADMIN_TOKEN_FILE", "admin-token-file"))?;
        Ok(Self { url, token_file, ca: common.ca.clone() })
    }
}

/// All but RFC 3986's unreserved characters, dots aside, which make a path of their own: the router takes a fixed segment as it is written.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

impl Client {
    /// Reads the token and the authority; connects to nothing yet.
    pub(super) fn new(address: &Address) -> Result<Self, Failure> {
        let base = Url::parse(&address.url).map_err(|_| Failure::Usage("the admin URL is not a URL".into()))?;
        let host = base.host_str().map(str::to_owned).filter(|_| base.scheme() == "https");
        let host = host.ok_or_else(|| Failure::Usage("the admin URL begins with https://".into()))?;
        let token = Zeroizing::new(read(&address.token_file, "the token file")?);
        let token = token.trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(Failure::Usage(format!("{} holds no token", address.token_file.display())));
        }
        let token = Zeroizing::new([b"Bearer ", token].concat());
        let mut token = HeaderValue::from_bytes(&token).expect("graphic ASCII after a word and a space");
        token.set_sensitive(true);
        // An answer of Err only says that a provider was installed before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = |answer_within| http(address, &host, answer_within);
        Ok(Self { http: built(Some(ANSWER_WITHIN))?, patient: built(None)?, base, token })
    }

    /// Reads.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        let request = self.http.get(self.target(path, query));
        let (_, body) = self.send(request).await?;
        parse(&body)
    }

    /// Acts.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
        how: How,
    ) -> Result<Reply<T>, Failure> {
        self.act(Method::POST, path, body, how).await
    }

    /// Puts something in a state, whatever state it is in.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
        how: How,
    ) -> Result<Reply<T>, Failure> {
        self.act(Method::PUT, path, body, how).await
    }

    async fn act<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
        how: How,
    ) -> Result<Reply<T>, Failure> {
        let query: &[_] = if how.dry_run { &[("dryRun", "true".to_owned())] } else { &[] };
        let body = serde_json::to_vec(body).expect("a wire type is plain JSON");
        let mut request = self
            .http
            .request(method, self.target(path, query))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", crate::model::ids::OperationId::random().to_string())
            .body(body);
        if let Some(revision) = how.revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        let (_, body) = self.send(request).await?;
        if how.dry_run { parse(&body).map(Reply::Planned) } else { parse(&body).map(Reply::Done) }
    }

    /// Acts, and answers with a body that is read as it comes. Never sent twice: there is nothing to take up.
    pub(super) async fn post_for_stream(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<reqwest::Response, Failure> {
        let body = serde_json::to_vec(body).expect("a wire type is plain JSON");
        let request = self.http.request(Method::POST, self.target(path, &[])).header(CONTENT_TYPE, "application/json");
        let request = request.header(AUTHORIZATION, self.token.clone()).body(body);
        let failed = |e: reqwest::Error| match self.lost(&e) {
            Lost::Answer(failure) | Lost::Cause(failure) => failure,
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(failed)?;
        Err(Failure::Refused(Box::new(problem(status, &body))))
    }

    /// Acts, with a body of one line that says something, and a file behind it that is read as it goes. Never sent twice:
    /// it is not all in memory.
    pub(super) async fn post_file<T: DeserializeOwned>(
        &self,
        path: &[&str],
        line: &impl Serialize,
        file: &Path,
        how: How,
    ) -> Result<Reply<T>, Failure> {
        let unread = |e: std::io::Error| Failure::Usage(format!("{}: {e}", file.display()));
        let opened = tokio::fs::File::open(file).await.map_err(unread)?;
        let about = opened.metadata().await.map_err(unread)?;
        if !about.is_file() {
            return Err(Failure::Usage(format!("{} is not a file", file.display())));
        }
        let mut first = serde_json::to_vec(line).expect("a wire type is plain JSON");
        first.push(b'\n');
        // A rehearsal needs what is said of the content, and not the content.
        let content = if how.dry_run { 0 } else { about.len() };
        let length = first.len() as u64 + content;
        let content = tokio_util::io::ReaderStream::with_capacity(opened.take(content), 64 * 1024);
        let body = stream::iter([Ok(bytes::Bytes::from(first))]).chain(content);
        let query: &[_] = if how.dry_run { &[("dryRun", "true".to_owned())] } else { &[] };
        let request = self.patient.post(self.target(path, query)).header(AUTHORIZATION, self.token.clone());
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, length);
        let failed = |e: reqwest::Error| match self.lost(&e) {
            Lost::Answer(failure) | Lost::Cause(failure) => failure,
        };
        let response = request.body(reqwest::Body::wrap_stream(body)).send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        if !status.is_success() {
            return Err(Failure::Refused(Box::new(problem(status, &body))));
        }
        if how.dry_run { parse(&body).map(Reply::Planned) } else { parse(&body).map(Reply::Done) }
    }

    /// The address, for messages.
    pub(super) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn target(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        let path: String = path.iter().map(|part| format!("/{}", utf8_percent_encode(part, SEGMENT))).collect();
        url.set_path(&format!("{}/admin/v1{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The address of what the admin listener has beside its API.
    pub(super) fn beside(&self, path: &str) -> String {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.to_string()
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Zeroizing<Vec<u8>>), Failure> {
        let request = request.header(AUTHORIZATION, self.token.clone());
        let mut sent = 0;
        loop {
            sent += 1;
            let copy = request.try_clone().expect("the body is bytes, not a stream");
            match self.once(copy).await {
                Err(Lost::Answer(_)) if sent < SENT_MAX => tokio::time::sleep(PAUSE).await,
                Err(Lost::Answer(failure) | Lost::Cause(failure)) => return Err(failure),
                Ok((status, body)) if status.is_success() => return Ok((status, body)),
                Ok((status, body)) => {
                    let problem = problem(status, &body);
                    let in_flight = problem.code == "IdempotencyInFlight";
                    if !in_flight || sent >= SENT_MAX {
                        return Err(Failure::Refused(Box::new(problem)));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn once(&self, request: RequestBuilder) -> Result<(StatusCode, Zeroizing<Vec<u8>>), Lost> {
        let response = request.send().await.map_err(|e| self.lost(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.lost(&e))?;
        Ok((status, Zeroizing::new(body.to_vec())))
    }

    fn lost(&self, error: &reqwest::Error) -> Lost {
        let cause = innermost(error);
        if error.is_connect() {
            let remedy =
                if cause.contains("certificate") { "is --ca the server's authority?" } else { "is it running?" };
            return Lost::Cause(Failure::Unreachable(format!(
                "no connection to {}: {cause}\nwhat to do: {remedy}",
                self.address()
            )));
        }
        Lost::Answer(Failure::Unreachable(format!("{} did not answer: {cause}", self.address())))
    }
}

fn http(address: &Address, host: &str, answer_within: Option<Duration>) -> Result<reqwest::Client, Failure> {
    let mut http = reqwest::Client::builder()
        .https_only(true)
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10));
    if let Some(within) = answer_within {
        http = http.read_timeout(within);
    }
    if let Some(ca) = &address.ca {
        let pem = Certificate::from_pem_bundle(&read(ca, "the certificate authority's file")?);
        let pem = pem.map_err(|_| Failure::Usage("the certificate authority's file is not PEM".into()))?;
        http = http.tls_certs_only(pem);
    }
    if loopback(host) {
        http = http.no_proxy();
    }
    http.build().map_err(|e| Failure::Failed(format!("TLS cannot be set up: {e}")))
}

enum Lost {
    /// It was sent, perhaps; asking again is safe.
    Answer(Failure),
    /// Asking again would end the same way.
    Cause(Failure),
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}

fn problem(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        status: status.as_u16(),
        code: "NotGeoseal".into(),
        detail: format!("the answer was {status} and not from a geoseal admin API"),
        ..Problem::default()
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|_| Failure::Failed("the answer is not from a geoseal admin API".into()))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::Usage(format!("{what} {}: {e}", path.display())))
}

#[cfg(test)]
mod tests;
