//! Vault or OpenBao Transit: one key of type `aes256-gcm96` per geo, whose versions are the versions of the master key.
//! A blob is Transit's own text, `vault:v<version>:<base64>`, with the 80-byte binding as `associated_data`.
//!
//! Transit has no *disabled*: it has two floors, below which a version neither encrypts nor decrypts. So a disabled
//! version above one that is still in use is refused by the ledger alone, and versions are destroyed oldest first: raise
//! both floors, then `trim`, which is permanent. (OpenBao's soft delete is not destruction and is not used.)
//!
//! The token comes from a file and is read again when it changes, so a sidecar may replace it. One that can be renewed is
//! renewed when less than a third of its time is left, before a call that needs it.

use super::external::{Binding, Vault};
use super::http::{Answer, Http};
use super::{MasterState, MasterVersion, ProviderFault, ProviderTime};
use crate::context::Id;
use crate::material::{Secret, random_array};
use crate::record::{BLOB_BYTES_MAX, KeyName, ProviderKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use zeroize::{Zeroize, Zeroizing};

const TOKEN_BYTES_MAX: u64 = 4096;
/// Wrapped keys in one batch.
const BATCH_MAX: usize = 64;

/// Where the master keys of a geo are, in Transit's terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransitSettings {
    /// `https://HOST[:PORT]`.
    pub address: String,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A file with the token.
    pub token_file: PathBuf,
    /// Where the Transit engine is mounted.
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// Vault Enterprise's or OpenBao's namespace.
    pub namespace: Option<String>,
    /// The end of one request.
    pub timeout: Duration,
}

pub(super) struct Transit {
    settings: TransitSettings,
    http: Http,
    time: Arc<dyn ProviderTime>,
    login: Mutex<Login>,
}

#[derive(Default)]
struct Login {
    token: Option<Zeroizing<String>>,
    /// The token file as it was when it was read.
    seen: Option<(SystemTime, u64)>,
    /// When to renew, by [`ProviderTime::elapsed`].
    renew_at: Option<Duration>,
}

#[derive(Deserialize)]
struct KeyInfo {
    #[serde(rename = "type")]
    kind: String,
    latest_version: u32,
    min_decryption_version: u32,
    min_encryption_version: u32,
    #[serde(default)]
    min_available_version: u32,
    exportable: bool,
    allow_plaintext_backup: bool,
    derived: bool,
    #[serde(default)]
    soft_deleted: bool,
}

impl KeyInfo {
    fn check(&self) -> Result<(), ProviderFault> {
        let is_safe = self.kind == "aes256-gcm96" && !self.exportable && !self.allow_plaintext_backup && !self.derived;
        match (is_safe, self.soft_deleted) {
            (false, _) => Err(ProviderFault::Exportable),
            (true, true) => Err(ProviderFault::PendingDeletion),
            (true, false) => Ok(()),
        }
    }
}

impl Transit {
    pub(super) fn open(settings: TransitSettings, time: Arc<dyn ProviderTime>) -> Result<Self, ProviderFault> {
        let is_path = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if !settings.mount.split('/').all(is_path) || !is_path(&settings.key) {
            return Err(ProviderFault::Setting("mount and key are of letters, digits, - _ and ."));
        }
        let http = Http::new(&settings.address, settings.ca_file.as_deref(), settings.timeout)?;
        Ok(Self { settings, http, time, login: Mutex::new(Login::default()) })
    }

    fn path(&self, act: &str, rest: &str) -> String {
        format!("/v1/{}/{act}/{}{rest}", self.settings.mount, self.settings.key)
    }

    fn token(&self) -> Result<Zeroizing<String>, ProviderFault> {
        let mut login = self.login.lock();
        let meta = std::fs::metadata(&self.settings.token_file).map_err(|_| ProviderFault::SecretFile)?;
        let seen = Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()));
        if login.token.is_none() || login.seen != seen {
            let bytes = crate::disk::read(&self.settings.token_file, TOKEN_BYTES_MAX).ok().flatten();
            let bytes = Zeroizing::new(bytes.ok_or(ProviderFault::SecretFile)?);
            let text = std::str::from_utf8(bytes.trim_ascii()).map_err(|_| ProviderFault::SecretFile)?;
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(ProviderFault::SecretFile);
            }
            *login = Login { token: Some(Zeroizing::new(text.to_owned())), seen, renew_at: None };
            let token = Zeroizing::new(text.to_owned());
            login.renew_at = self.renewal(&self.ask_as(&token, "GET", "/v1/auth/token/lookup-self", None)?)?;
        }
        let token = Zeroizing::new(login.token.as_ref().expect("set above").to_string());
        if login.renew_at.is_some_and(|at| self.time.elapsed() >= at) {
            // Refused or not: the call itself will tell. Not again before long.
            let renewed = self.ask_as(&token, "POST", "/v1/auth/token/renew-self", Some("{}"));
            login.renew_at = match renewed.and_then(|answer| self.renewal(&answer)) {
                Ok(next) => next,
                Err(_) => Some(self.time.elapsed() + Duration::from_secs(10)),
            };
        }
        Ok(token)
    }

    /// When a token with this description has used two thirds of its time; `None` for one that cannot be renewed.
    fn renewal(&self, answer: &Answer) -> Result<Option<Duration>, ProviderFault> {
        let answer: Value = serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)?;
        let (from, ttl) = match &answer["auth"] {
            auth if auth.is_object() => (auth, auth["lease_duration"].as_u64()),
            _ => (&answer["data"], answer["data"]["ttl"].as_u64()),
        };
        let (renewable, ttl) = (from["renewable"].as_bool().unwrap_or(false), ttl.unwrap_or(0));
        Ok((renewable && ttl > 0).then(|| self.time.elapsed() + Duration::from_secs(ttl) * 2 / 3))
    }

    /// One request with a JSON answer; nothing secret is in either.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ProviderFault> {
        let body = body.map(Value::to_string);
        let answer = self.ask_text(method, path, body.as_deref())?;
        if answer.status == 204 {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)
    }

    fn ask_text(&self, method: &str, path: &str, body: Option<&str>) -> Result<Answer, ProviderFault> {
        let token = self.token()?;
        let answer = self.ask_as(&token, method, path, body);
        if matches!(answer, Err(ProviderFault::Expired | ProviderFault::Denied)) {
            // Read the file anew next time: somebody may have replaced it within its time stamp's grain.
            self.login.lock().token = None;
        }
        answer
    }

    fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<&str>) -> Result<Answer, ProviderFault> {
        let mut request = if method == "GET" { self.http.get(path) } else { self.http.post(path) };
        let mut value = reqwest::header::HeaderValue::from_str(token).map_err(|_| ProviderFault::SecretFile)?;
        value.set_sensitive(true);
        request = request.header("x-vault-token", value).header("x-vault-request", "true");
        if let Some(namespace) = &self.settings.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = Http::send(request)?;
        if matches!(answer.status, 200 | 204) { Ok(answer) } else { Err(refusal(&answer)) }
    }

    fn info(&self) -> Result<KeyInfo, ProviderFault> {
        let mut answer = self.ask("GET", &self.path("keys", ""), None)?;
        let info: KeyInfo = serde_json::from_value(answer["data"].take()).map_err(|_| ProviderFault::Garbage)?;
        info.check()?;
        Ok(info)
    }

    fn configure(&self, settings: &Value) -> Result<(), ProviderFault> {
        self.ask("POST", &self.path("keys", "/config"), Some(settings)).map(|_| ())
    }
}

/// What an answer that is no success says. Only whole known phrases of it are looked at, and none is kept.
fn refusal(answer: &Answer) -> ProviderFault {
    let text = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut errors = list(&text["errors"]);
    errors.extend(list(&text["data"]["batch_results"]).iter_mut().map(|result| result["error"].take()));
    let says = |what: &str| errors.iter().filter_map(Value::as_str).any(|error| error.contains(what));
    match answer.status {
        400 if says("authentication failed") || says("invalid ciphertext") => ProviderFault::WrongKey,
        400 if says("soft-deleted") => ProviderFault::PendingDeletion,
        400 if says("disallowed by policy") || says("too old") || says("version") => ProviderFault::Disabled,
        400 if says("key not found") || says("not found") => ProviderFault::KeyMissing,
        400 => ProviderFault::Garbage,
        403 if says("invalid token") || says("bad token") => ProviderFault::Expired,
        401 | 403 => ProviderFault::Denied,
        404 => ProviderFault::KeyMissing,
        412 | 429 => ProviderFault::Throttled,
        503 if says("sealed") || says("not initialized") => ProviderFault::Sealed,
        501 => ProviderFault::Sealed,
        status if status >= 500 => ProviderFault::Server(status),
        _ => ProviderFault::Garbage,
    }
}

impl Vault for Transit {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Transit
    }

    fn make(&self, version: u32) -> Result<Id, ProviderFault> {
        if version == 1 {
            let wanted = json!({
                "type": "aes256-gcm96", "exportable": false, "allow_plaintext_backup": false, "derived": false
            });
            match self.info() {
                Err(ProviderFault::KeyMissing) => {
                    self.ask("POST", &self.path("keys", ""), Some(&wanted)).map(|_| ())?
                }
                Ok(info) if info.latest_version == 1 => {}
                Ok(_) => return Err(ProviderFault::Occupied),
                Err(fault) => return Err(fault),
            }
        }
        let mut info = self.info()?;
        if info.latest_version + 1 == version {
            self.ask("POST", &self.path("keys", "/rotate"), Some(&json!({})))?;
            info = self.info()?;
        }
        if info.latest_version >= version { Ok(random_array()) } else { Err(ProviderFault::State) }
    }

    fn wrap(&self, master: KeyName, secret: &Secret, binding: &Binding) -> Result<Vec<u8>, ProviderFault> {
        // Written by hand into a buffer that is cleared: a JSON value would keep copies of the key.
        let mut plain = Zeroizing::new([0u8; 44]);
        BASE64.encode_slice(secret.bytes(), plain.as_mut_slice()).map_err(|_| ProviderFault::Garbage)?;
        let plain = std::str::from_utf8(plain.as_slice()).map_err(|_| ProviderFault::Garbage)?;
        let aad = BASE64.encode(binding.to_bytes());
        let mut body = Zeroizing::new(String::with_capacity(512));
        for part in ["{\"plaintext\":\"", plain, "\",\"associated_data\":\"", &aad, "\",\"key_version\":"] {
            body.push_str(part);
        }
        body.push_str(&master.version.to_string());
        body.push('}');
        let answer = self.ask_text("POST", &self.path("encrypt", ""), Some(&body))?;
        let answer: Sealed = serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)?;
        let text = answer.data.ciphertext;
        if text.len() > BLOB_BYTES_MAX || !text.starts_with(&format!("vault:v{}:", master.version)) {
            return Err(ProviderFault::Garbage);
        }
        Ok(text.into_bytes())
    }

    fn unwrap(&self, master: KeyName, blob: &[u8], binding: &Binding) -> Result<Secret, ProviderFault> {
        let mut all = self.unwrap_many(&[(master, blob, *binding)])?;
        all.pop().ok_or(ProviderFault::Garbage)
    }

    fn unwrap_many(&self, wrapped: &[(KeyName, &[u8], Binding)]) -> Result<Vec<Secret>, ProviderFault> {
        let mut secrets = Vec::with_capacity(wrapped.len());
        for batch in wrapped.chunks(BATCH_MAX) {
            let mut inputs = Vec::with_capacity(batch.len());
            for (master, blob, binding) in batch {
                let text = std::str::from_utf8(blob).map_err(|_| ProviderFault::WrongKey)?;
                if !text.starts_with(&format!("vault:v{}:", master.version)) {
                    return Err(ProviderFault::WrongKey);
                }
                inputs.push(json!({ "ciphertext": text, "associated_data": BASE64.encode(binding.to_bytes()) }));
            }
            let body = json!({ "batch_input": inputs }).to_string();
            let answer = self.ask_text("POST", &self.path("decrypt", ""), Some(&body))?;
            let answer: Opened<'_> = serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)?;
            if answer.data.batch_results.len() != batch.len() {
                return Err(ProviderFault::Garbage);
            }
            for result in &answer.data.batch_results {
                secrets.push(result.secret()?);
            }
        }
        Ok(secrets)
    }

    fn enforce(&self, versions: &[MasterVersion]) -> Result<(), ProviderFault> {
        let of = |wanted: fn(MasterState) -> bool| {
            versions.iter().filter(|version| wanted(version.state)).map(|version| version.name.version).min()
        };
        let open = of(|state| matches!(state, MasterState::Active | MasterState::DecryptOnly));
        let active = of(|state| state == MasterState::Active);
        let (Some(open), Some(active)) = (open, active) else { return Err(ProviderFault::State) };
        let info = self.info()?;
        // Zero means "the newest" here, and "none" in some releases' answers.
        if info.min_decryption_version.max(1) != open || info.min_encryption_version != active {
            self.configure(&json!({ "min_decryption_version": open, "min_encryption_version": active }))?;
        }
        Ok(())
    }

    fn may_destroy(&self, version: u32, versions: &[MasterVersion]) -> Result<(), ProviderFault> {
        let older = |entry: &&MasterVersion| entry.name.version < version && entry.state != MasterState::Destroyed;
        if versions.iter().any(|entry| older(&entry)) { Err(ProviderFault::OlderFirst) } else { Ok(()) }
    }

    fn destroy(&self, master: KeyName) -> Result<String, ProviderFault> {
        let kept = master.version + 1;
        let info = self.info()?;
        if info.min_available_version < kept {
            let floors = (info.min_decryption_version.max(kept), info.min_encryption_version.max(kept));
            self.configure(&json!({ "min_decryption_version": floors.0, "min_encryption_version": floors.1 }))?;
            let trim = json!({ "min_available_version": kept });
            self.ask("POST", &self.path("keys", "/trim"), Some(&trim))?;
        }
        if self.info()?.min_available_version < kept {
            return Err(ProviderFault::Garbage);
        }
        Ok(format!("transit:{}:v{}:trimmed", self.settings.key, master.version))
    }
}

#[derive(Deserialize)]
struct Sealed {
    data: SealedData,
}

#[derive(Deserialize)]
struct SealedData {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Opened<'a> {
    #[serde(borrow)]
    data: OpenedData<'a>,
}

#[derive(Deserialize)]
struct OpenedData<'a> {
    #[serde(borrow)]
    batch_results: Vec<OpenedOne<'a>>,
}

/// Borrows from the answer's buffer, which is cleared. (Base64 needs no JSON escapes; an answer with one is garbage.)
#[derive(Deserialize)]
struct OpenedOne<'a> {
    plaintext: Option<&'a str>,
    #[serde(default)]
    error: Option<String>,
}

impl OpenedOne<'_> {
    fn secret(&self) -> Result<Secret, ProviderFault> {
        if let Some(error) = self.error.as_deref().filter(|error| !error.is_empty()) {
            let body = json!({ "errors": [error] }).to_string().into_bytes();
            return Err(refusal(&Answer { status: 400, body: Zeroizing::new(body) }));
        }
        let text = self.plaintext.filter(|text| text.len() == 44).ok_or(ProviderFault::Garbage)?;
        decoded(text.as_bytes())
    }
}

/// 32 bytes from 44 characters, written where they stay.
pub(super) fn decoded(text: &[u8]) -> Result<Secret, ProviderFault> {
    let mut bytes = Zeroizing::new([0u8; 33]);
    let len = BASE64.decode_slice(text, bytes.as_mut_slice()).map_err(|_| ProviderFault::Garbage)?;
    if len != 32 {
        return Err(ProviderFault::Garbage);
    }
    let secret = Secret::filled(|out| out.copy_from_slice(&bytes[..32]));
    bytes.zeroize();
    Ok(secret)
}
