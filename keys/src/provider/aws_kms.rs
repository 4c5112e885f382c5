//! AWS KMS, and what speaks its wire format: JSON 1.1 POSTs signed with Signature Version 4. A version of the master key is
//! a KMS key of its own, because KMS' own rotation keeps old material for good; its id is the key's UUID.
//!
//! The encryption context has ids only (`geoseal-record`, `geoseal-tenant`, `geoseal-geo`): CloudTrail shows it.
//!
//! Destruction is `ScheduleKeyDeletion`: the key refuses at once and is gone after the waiting time, 7 to 30 days. The receipt
//! says the date. Until then an administrator of the KMS can take the deletion back.

use super::external::{Binding, Vault};
use super::http::{Answer, Http};
use super::transit::decoded;
use super::{MasterState, MasterVersion, ProviderFault, ProviderTime};
use crate::context::Id;
use crate::material::Secret;
use crate::memory::scrubbed;
use crate::record::{BLOB_BYTES_MAX, KeyName, ProviderKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest;
use s3s_sigv4::{AmzDate, Payload};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// Wrapped keys that are on their way to KMS at one time, for one tenant.
const AT_ONCE_MAX: usize = 8;
const CREDENTIALS_BYTES_MAX: u64 = 16 << 10;

/// Where the master keys of a geo are, in AWS KMS' terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsKmsSettings {
    /// Such as `https://kms.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// The region that signatures name.
    pub region: String,
    /// TOML file with `access_key_id`, `secret_access_key`, and `session_token` where needed; read at every call.
    pub credentials_file: PathBuf,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Between a destruction and its being final: 7 to 30 days.
    pub deletion_days: u8,
    /// The end of one request.
    pub timeout: Duration,
}

pub(super) struct Kms {
    settings: AwsKmsSettings,
    geo: String,
    http: Http,
    time: Arc<dyn ProviderTime>,
}

impl Kms {
    pub(super) fn open(settings: AwsKmsSettings, geo: Id, time: Arc<dyn ProviderTime>) -> Result<Self, ProviderFault> {
        if !(7..=30).contains(&settings.deletion_days) {
            return Err(ProviderFault::Setting("deletion_days is 7 to 30"));
        }
        let http = Http::new(&settings.endpoint, settings.ca_file.as_deref(), settings.timeout)?;
        Credentials::read(&settings)?;
        Ok(Self { settings, geo: geo_text(&geo), http, time })
    }

    fn ask(&self, act: &str, body: &Value) -> Result<Value, ProviderFault> {
        let answer = self.ask_text(act, &body.to_string())?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)
    }

    /// `body` may hold a key, and the answer, too.
    fn ask_text(&self, act: &str, body: &str) -> Result<Answer, ProviderFault> {
        let credentials = Credentials::read(&self.settings)?;
        let date = amz_date(self.time.wall_seconds()).ok_or(ProviderFault::Setting("the machine's date"))?;
        let stamp = date.fmt_iso8601();
        let target = format!("TrentService.{act}");
        let token = credentials.session_token.as_deref();
        // In order of names: the canonical request demands it.
        let mut headers = vec![("content-type", "application/x-amz-json-1.1"), ("host", self.http.host())];
        headers.push(("x-amz-date", stamp.as_str()));
        headers.extend(token.map(|token| ("x-amz-security-token", token.as_str())));
        headers.push(("x-amz-target", target.as_str()));
        let hash = hex::encode(digest::digest(&digest::SHA256, body.as_bytes()));
        let no_query: [(&str, &str); 0] = [];
        let payload = Payload::SingleChunk(&hash);
        let canonical = s3s_sigv4::create_canonical_request("POST", "/", &no_query, headers.as_slice(), payload);
        let to_sign = s3s_sigv4::create_string_to_sign(&canonical, &date, &self.settings.region, "kms");
        let secret = credentials.secret_access_key.as_bytes();
        let signature = s3s_sigv4::calculate_signature(&to_sign, secret, &date, &self.settings.region, "kms");
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/{}/kms/aws4_request, SignedHeaders={}, Signature={signature}",
            credentials.access_key_id.as_str(),
            date.fmt_date(),
            self.settings.region,
            names.join(";"),
        );
        let mut request = self.http.post("/").header("authorization", authorization);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, *value);
        }
        let answer = Http::send(request.body(body.to_owned()))?;
        if answer.status == 200 { Ok(answer) } else { Err(refusal(&answer)) }
    }

    fn describe(&self, master: KeyName) -> Result<Description, ProviderFault> {
        let mut answer = self.ask("DescribeKey", &json!({ "KeyId": uuid(&master.id) }))?;
        serde_json::from_value(answer["KeyMetadata"].take()).map_err(|_| ProviderFault::Garbage)
    }
}

#[derive(Deserialize)]
struct Description {
    #[serde(rename = "KeyId")]
    id: String,
    #[serde(rename = "KeyState")]
    state: String,
    #[serde(rename = "DeletionDate")]
    deletion: Option<f64>,
}

/// What KMS says when it does not do what was asked. Only the error's type is looked at.
fn refusal(answer: &Answer) -> ProviderFault {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let kind = body["__type"].as_str().unwrap_or_default();
    match kind.rsplit_once('#').map_or(kind, |(_, kind)| kind) {
        "DisabledException" => ProviderFault::Disabled,
        "KMSInvalidStateException" => ProviderFault::PendingDeletion,
        "NotFoundException" => ProviderFault::KeyMissing,
        "AccessDeniedException" => ProviderFault::Denied,
        "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch" => ProviderFault::Expired,
        "InvalidCiphertextException" | "IncorrectKeyException" => ProviderFault::WrongKey,
        "ThrottlingException" | "LimitExceededException" | "RequestLimitExceeded" => ProviderFault::Throttled,
        "KeyUnavailableException" | "DependencyTimeoutException" | "KMSInternalException" => {
            ProviderFault::Server(answer.status)
        }
        _ if answer.status == 429 => ProviderFault::Throttled,
        _ if answer.status >= 500 => ProviderFault::Server(answer.status),
        _ if matches!(answer.status, 401 | 403) => ProviderFault::Denied,
        _ => ProviderFault::Garbage,
    }
}

impl Vault for Kms {
    fn kind(&self) -> ProviderKind {
        ProviderKind::AwsKms
    }

    /// A crash between this and the ledger leaves an unused key behind; its description and tags say whose.
    fn make(&self, version: u32) -> Result<Id, ProviderFault> {
        let mut answer = self.ask(
            "CreateKey",
            &json!({
                "KeySpec": "SYMMETRIC_DEFAULT",
                "KeyUsage": "ENCRYPT_DECRYPT",
                "Description": format!("geoseal master key of {}, version {version}", self.geo),
                "Tags": [
                    { "TagKey": "geoseal-geo", "TagValue": self.geo },
                    { "TagKey": "geoseal-version", "TagValue": version.to_string() },
                ],
            }),
        )?;
        let made: Description =
            serde_json::from_value(answer["KeyMetadata"].take()).map_err(|_| ProviderFault::Garbage)?;
        parse_uuid(&made.id).ok_or(ProviderFault::Garbage)
    }

    fn wrap(&self, master: KeyName, secret: &Secret, binding: &Binding) -> Result<Vec<u8>, ProviderFault> {
        let mut plain = Zeroizing::new([0u8; 44]);
        BASE64.encode_slice(secret.bytes(), plain.as_mut_slice()).map_err(|_| ProviderFault::Garbage)?;
        let plain = std::str::from_utf8(plain.as_slice()).map_err(|_| ProviderFault::Garbage)?;
        // By hand into a buffer that is cleared: a JSON value would keep copies of the key.
        let mut body = Zeroizing::new(String::with_capacity(1024));
        for part in ["{\"KeyId\":\"", &uuid(&master.id), "\",\"Plaintext\":\"", plain, "\",\"EncryptionContext\":"] {
            body.push_str(part);
        }
        body.push_str(&context(binding).to_string());
        body.push('}');
        let answer = self.ask_text("Encrypt", &body)?;
        let answer: Encrypted<'_> = serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)?;
        let blob = BASE64.decode(answer.blob).map_err(|_| ProviderFault::Garbage)?;
        if blob.len() > BLOB_BYTES_MAX || blob.len() < 48 || !is_of(answer.key, &master.id) {
            return Err(ProviderFault::Garbage);
        }
        Ok(blob)
    }

    fn unwrap(&self, master: KeyName, blob: &[u8], binding: &Binding) -> Result<Secret, ProviderFault> {
        let body = json!({
            "KeyId": uuid(&master.id),
            "CiphertextBlob": BASE64.encode(blob),
            "EncryptionContext": context(binding),
        });
        let answer = self.ask_text("Decrypt", &body.to_string())?;
        let answer: Decrypted<'_> = serde_json::from_slice(&answer.body).map_err(|_| ProviderFault::Garbage)?;
        if !is_of(answer.key, &master.id) {
            return Err(ProviderFault::WrongKey);
        }
        decoded(answer.plaintext.as_bytes())
    }

    /// KMS opens one at a time, so several are asked for at once: a tenant with many versions waits no longer for a slow
    /// KMS than one with few.
    fn unwrap_many(&self, wrapped: &[(KeyName, &[u8], Binding)]) -> Result<Vec<Secret>, ProviderFault> {
        let mut secrets = Vec::with_capacity(wrapped.len());
        for some in wrapped.chunks(AT_ONCE_MAX) {
            let answers: Vec<_> = std::thread::scope(|scope| {
                // A thread that ends leaves its stack to somebody else.
                let asked = some.iter().map(|&(master, blob, binding)| {
                    scope.spawn(move || scrubbed(|| self.unwrap(master, blob, &binding)))
                });
                let asked: Vec<_> = asked.collect();
                asked.into_iter().map(|asked| asked.join().unwrap_or(Err(ProviderFault::Garbage))).collect()
            });
            for answer in answers {
                secrets.push(answer?);
            }
        }
        Ok(secrets)
    }

    fn enforce(&self, versions: &[MasterVersion]) -> Result<(), ProviderFault> {
        for version in versions {
            let wanted = match version.state {
                MasterState::Destroyed => continue,
                MasterState::Disabled => "DisableKey",
                MasterState::Active | MasterState::DecryptOnly => "EnableKey",
            };
            match (self.describe(version.name)?.state.as_str(), wanted) {
                ("Enabled", "EnableKey") | ("Disabled", "DisableKey") => {}
                ("Enabled" | "Disabled", act) => {
                    self.ask(act, &json!({ "KeyId": uuid(&version.name.id) }))?;
                }
                ("PendingDeletion", _) => return Err(ProviderFault::PendingDeletion),
                _ => return Err(ProviderFault::State),
            }
        }
        Ok(())
    }

    fn may_destroy(&self, _: u32, _: &[MasterVersion]) -> Result<(), ProviderFault> {
        Ok(())
    }

    fn destroy(&self, master: KeyName) -> Result<String, ProviderFault> {
        let id = uuid(&master.id);
        let deletion = match self.describe(master) {
            Ok(found) if found.state == "PendingDeletion" => found.deletion,
            Ok(_) => {
                let days = self.settings.deletion_days;
                let asked = json!({ "KeyId": id, "PendingWindowInDays": days });
                self.ask("ScheduleKeyDeletion", &asked)?;
                let found = self.describe(master)?;
                if found.state != "PendingDeletion" {
                    return Err(ProviderFault::Garbage);
                }
                found.deletion
            }
            // The waiting time is over.
            Err(ProviderFault::KeyMissing) => return Ok(format!("aws-kms:{id}:deleted")),
            Err(fault) => return Err(fault),
        };
        let at = deletion.filter(|at| at.is_finite()).ok_or(ProviderFault::Garbage)?;
        Ok(format!("aws-kms:{id}:deletion-at-unix-{at:.0}"))
    }
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    #[serde(rename = "CiphertextBlob")]
    blob: &'a str,
    #[serde(rename = "KeyId")]
    key: &'a str,
}

/// Borrows from the answer's buffer, which is cleared.
#[derive(Deserialize)]
struct Decrypted<'a> {
    #[serde(rename = "Plaintext")]
    plaintext: &'a str,
    #[serde(rename = "KeyId")]
    key: &'a str,
}

/// All 80 bytes of the binding, as text; nothing else.
fn context(binding: &Binding) -> Value {
    json!({
        "geoseal-record": hex::encode(binding.record),
        "geoseal-tenant": hex::encode(binding.tenant),
        "geoseal-geo": geo_text(&binding.geo),
    })
}

/// A geo id is ASCII, padded with zeros; anything else is written in hexadecimal, so that no two are alike.
fn geo_text(geo: &Id) -> String {
    let name = geo.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_plain = !name.is_empty()
        && name.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && geo[name.len()..].iter().all(|byte| *byte == 0);
    if is_plain { name.iter().map(|b| char::from(*b)).collect() } else { format!("0x{}", hex::encode(geo)) }
}

fn uuid(id: &Id) -> String {
    let digits = hex::encode(id);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn parse_uuid(text: &str) -> Option<Id> {
    let id: Id = hex::decode(text.replace('-', "")).ok()?.try_into().ok()?;
    (uuid(&id) == text).then_some(id)
}

/// KMS answers with the key's id or its whole name.
fn is_of(key: &str, id: &Id) -> bool {
    key.rsplit('/').next() == Some(uuid(id).as_str())
}

fn amz_date(seconds: i64) -> Option<AmzDate> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    AmzDate::parse(&format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")).ok()
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar. Source: Howard Hinnant,
/// "chrono-compatible low-level date algorithms", civil_from_days.
const fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + (month <= 2) as i64, month, day)
}

struct Credentials {
    access_key_id: Zeroizing<String>,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Credentials {
    fn read(settings: &AwsKmsSettings) -> Result<Self, ProviderFault> {
        let bytes = crate::disk::read(&settings.credentials_file, CREDENTIALS_BYTES_MAX).ok().flatten();
        let mut bytes = bytes.ok_or(ProviderFault::SecretFile)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| ProviderFault::SecretFile)?;
        let file: Result<CredentialsFile, _> = toml::from_str(text);
        bytes.zeroize();
        let file = file.map_err(|_| ProviderFault::SecretFile)?;
        let is_header = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let all = [Some(&file.access_key_id), Some(&file.secret_access_key), file.session_token.as_ref()];
        if !all.into_iter().flatten().all(|text| is_header(text)) {
            return Err(ProviderFault::SecretFile);
        }
        Ok(Self {
            access_key_id: Zeroizing::new(file.access_key_id),
            secret_access_key: Zeroizing::new(file.secret_access_key),
            session_token: file.session_token.map(Zeroizing::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_107_542_399, "21000228T235959Z"),
        ] {
            assert_eq!(amz_date(seconds).unwrap().fmt_iso8601().as_str(), text);
        }
    }

    #[test]
    fn an_id_is_a_uuid_and_nothing_else_is() {
        let id: Id = std::array::from_fn(|i| i as u8 * 16 + 1);
        assert_eq!(parse_uuid(&uuid(&id)), Some(id));
        for wrong in ["", "mrk-0123", &hex::encode(id), &uuid(&id).to_uppercase().replace('0', "A")] {
            assert_eq!(parse_uuid(wrong), None, "{wrong}");
        }
        assert!(is_of(&format!("arn:aws:kms:eu-central-1:1:key/{}", uuid(&id)), &id));
    }

    #[test]
    fn two_geos_never_have_the_same_text() {
        assert_eq!(geo_text(b"europe\0\0\0\0\0\0\0\0\0\0"), "europe");
        assert_eq!(&geo_text(b"eu\0rope\0\0\0\0\0\0\0\0\0")[..2], "0x");
    }
}
