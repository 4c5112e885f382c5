//! What the admin listener answers while what it speaks for is not there yet: alive, not ready and why, and to those
//! who are known, that it is unavailable.

use super::auth::{Logins, Role};
use super::dsrs::LINKS;
use super::error::ActError;
use super::wire;
use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use tower::ServiceExt;

/// The admin listener's service: a closed door with a notice, then the router. Clones share it.
#[derive(Clone)]
pub struct Lobby(Arc<Inner>);

struct Inner {
    logins: Logins,
    notice: &'static str,
    router: ArcSwapOption<Router>,
}

impl std::fmt::Debug for Lobby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lobby({})", if self.0.router.load().is_some() { "open" } else { "closed" })
    }
}

impl Lobby {
    /// Closed; `notice` is what it waits for, in words without names.
    pub fn closed(logins: Logins, notice: &'static str) -> Self {
        Self(Arc::new(Inner { logins, notice, router: ArcSwapOption::empty() }))
    }

    /// From here on the router answers.
    pub fn open(&self, router: Router) {
        self.0.router.store(Some(Arc::new(router)));
    }

    fn wait(&self, request: &http::Request<Incoming>) -> Response {
        match request.uri().path() {
            "/healthz" => axum::Json(wire::Alive { alive: true }).into_response(),
            "/readyz" => {
                let waiting_for = vec![self.0.notice.to_owned()];
                let readiness = wire::Readiness { ready: false, waiting_for };
                (StatusCode::SERVICE_UNAVAILABLE, axum::Json(readiness)).into_response()
            }
            path if path.starts_with(LINKS) => ActError::Unavailable("what this server serves").into_response(),
            _ => match self.0.logins.admit(request.headers(), Role::Auditor) {
                Ok(_) => ActError::Unavailable("what this server serves").into_response(),
                Err(error) => error.into_response(),
            },
        }
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Lobby {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        match self.0.router.load_full() {
            Some(router) => Router::clone(&router).oneshot(Request::map(request, Body::new)).boxed(),
            None => {
                let answer = self.wait(&request);
                async move { Ok(answer) }.boxed()
            }
        }
    }
}
