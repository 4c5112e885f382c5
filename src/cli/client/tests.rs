//! The client against a small TLS server of its own that answers from a script and remembers what it was asked.

use super::*;
use crate::admin::wire::Nothing;
use crate::cli::authority::Certificates;
use crate::model::time::Millis;
use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the server does with one connection.
enum Step {
    Answer(u16, Value),
    Redirect(&'static str),
    HangUp,
}

struct Server {
    address: Address,
    asked: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Its certificate is valid now: the machine's clock decides for the client, too.
    async fn with(script: Vec<Step>) -> Self {
        use crate::model::clock::{Source, SystemSource};
        Self::at(SystemSource::new().sample().wall, script).await
    }

    async fn at(now: Millis, script: Vec<Step>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certificates = Certificates::under(dir.path());
        certificates.ensure(&["127.0.0.1".into()], now).unwrap();
        let token_file = dir.path().join("token");
        std::fs::write(&token_file, "the-token\n").unwrap();
        let chain = vec![CertificateDer::from_pem_file(&certificates.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(vec![]));
        tokio::spawn(play(listener, Arc::new(config).into(), script, asked.clone()));
        Self { address: Address { url, token_file, ca: Some(certificates.ca) }, asked, _dir: dir }
    }

    fn client(&self) -> Client {
        Client::new(&self.address).unwrap()
    }

    /// One header of each request, or its first line.
    fn saw(&self, what: &str) -> Vec<String> {
        let asked = self.asked.lock();
        let of = |text: &String| {
            let mut lines = text.lines();
            if what.is_empty() {
                return lines.next().unwrap_or_default().to_owned();
            }
            let line = lines.find(|l| l.to_lowercase().starts_with(&format!("{what}: ")));
            line.map_or(String::new(), |l| l[what.len() + 2..].to_owned())
        };
        asked.iter().map(of).collect()
    }
}

async fn play(
    listener: TcpListener,
    tls: tokio_rustls::TlsAcceptor,
    script: Vec<Step>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut script = script.into_iter();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(mut socket) = tls.accept(socket).await else { continue };
        let Some(step) = script.next() else { return };
        let mut request = vec![0; 16 * 1024];
        let length = socket.read(&mut request).await.unwrap();
        asked.lock().push(String::from_utf8_lossy(&request[..length]).into_owned());
        let (status, header, body) = match step {
            Step::HangUp => continue,
            Step::Redirect(to) => (307, format!("location: {to}\r\n"), String::new()),
            Step::Answer(status, body) => (status, String::new(), body.to_string()),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n");
        socket.write_all((head + &body).as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
    }
}

async fn act(client: &Client) -> Result<Reply<Value>, Failure> {
    client.post(&["tenants", "a/../b?c", "disable"], &Nothing {}, How { dry_run: false, revision: Some(7) }).await
}

#[tokio::test]
async fn a_request_carries_the_token_the_revision_and_names_as_data() {
    let server = Server::with(vec![Step::Answer(200, json!({ "ok": 1 }))]).await;
    let Ok(Reply::Done(answer)) = act(&server.client()).await else { panic!("refused") };
    assert_eq!(answer, json!({ "ok": 1 }));
    assert_eq!(server.saw(""), ["POST /admin/v1/tenants/a%2F%2E%2E%2Fb%3Fc/disable HTTP/1.1"]);
    assert_eq!(
        (server.saw("authorization"), server.saw("if-match")),
        (vec!["Bearer the-token".into()], vec!["\"7\"".into()])
    );
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_idempotency_key() {
    let in_flight = json!({ "code": "IdempotencyInFlight", "status": 409 });
    let script = vec![Step::HangUp, Step::Answer(409, in_flight), Step::Answer(200, json!({}))];
    let server = Server::with(script).await;
    assert!(matches!(act(&server.client()).await, Ok(Reply::Done(_))));
    let keys = server.saw("idempotency-key");
    assert_eq!(keys.len(), 3);
    assert!(!keys[0].is_empty() && keys.iter().all(|k| *k == keys[0]));
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let elsewhere = Server::with(vec![Step::Answer(200, json!({}))]).await;
    let to: &'static str = elsewhere.address.url.clone().leak();
    let server = Server::with(vec![Step::Redirect(to)]).await;
    assert!(act(&server.client()).await.is_err());
    assert!(elsewhere.saw("").is_empty());
}

#[tokio::test]
async fn another_authority_is_no_connection_and_the_token_stays_here() {
    let (server, other) = (Server::with(vec![Step::Answer(200, json!({}))]).await, Server::with(vec![]).await);
    let address = Address { ca: other.address.ca.clone(), ..server.address.clone() };
    let failure = Client::new(&address).unwrap().get::<Value>(&["clock"], &[]).await.unwrap_err();
    assert_eq!(failure.exit_code(), 6);
    assert!(failure.to_string().contains("--ca"), "{failure}");
    assert!(server.saw("").is_empty());
}

#[tokio::test]
async fn an_expired_certificate_is_no_connection() {
    let server = Server::at("2020-01-01T00:00:00Z".parse().unwrap(), vec![Step::Answer(200, json!({}))]).await;
    let failure = server.client().get::<Value>(&["clock"], &[]).await.unwrap_err();
    assert_eq!((failure.exit_code(), server.saw("").len()), (6, 0));
}

#[tokio::test]
async fn nobody_there_is_out_of_reach() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server::with(vec![]).await;
    let address = Address { url: format!("https://{closed}"), ..server.address.clone() };
    let failure = Client::new(&address).unwrap().get::<Value>(&["clock"], &[]).await.unwrap_err();
    assert_eq!(failure.exit_code(), 6);
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_words_and_a_stranger_has_none() {
    let denied = json!({ "status": 403, "code": "AccessDenied", "detail": "no", "remedy": "ask" });
    let server = Server::with(vec![Step::Answer(403, denied), Step::Answer(418, json!("teapot"))]).await;
    let failure = act(&server.client()).await.err().unwrap();
    assert_eq!((failure.exit_code(), failure.to_string().as_str()), (5, "no (AccessDenied)\nwhat to do: ask"));
    let stranger = act(&server.client()).await.err().unwrap();
    assert!(stranger.to_string().contains("NotGeoseal"), "{stranger}");
}

#[tokio::test]
async fn plain_http_and_an_empty_token_are_usage() {
    let server = Server::with(vec![]).await;
    for url in ["http://127.0.0.1:9001", "127.0.0.1:9001", "ftp://x", ""] {
        let address = Address { url: url.into(), ..server.address.clone() };
        assert!(matches!(Client::new(&address), Err(Failure::Usage(_))), "{url}");
    }
    std::fs::write(&server.address.token_file, " \n").unwrap();
    assert!(matches!(Client::new(&server.address), Err(Failure::Usage(_))));
}
