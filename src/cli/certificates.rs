//! `geoseal certificate …`: fetched with what shows that the log has it; verified without a server.

use super::args::VerifyCertificate;
use super::client::Client;
use super::failure::Failure;
use super::files::failed;
use super::print::Output;
use super::records::public;
use super::{VerifiedCertificate, Wiring};
use crate::admin::wire;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Longest certificate that is read, in bytes.
const CERTIFICATE_BYTES_MAX: u64 = 16 << 20;

/// `certificate get`: the document as it was signed and its proofs, in either output.
pub(super) async fn get(client: &Client, tenant: &str, since: Option<&Path>) -> Result<(), Failure> {
    fetch(client, &["tenants", tenant, "certificate"], since).await
}

/// The same of whatever certificate lies at a path.
pub(super) async fn fetch(client: &Client, path: &[&str], since: Option<&Path>) -> Result<(), Failure> {
    let since = since.map(size_of).transpose()?;
    let query: Vec<_> = since.map(|size| ("since", size.to_string())).into_iter().collect();
    let certificate: Value = client.get(path, &query).await?;
    Output::Programs.result(&certificate, |_| String::new())
}

/// How many entries a kept checkpoint has. Not verified here: it only says what to ask for.
pub(super) fn size_of(checkpoint: &Path) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(checkpoint).map_err(|error| failed(checkpoint, &error))?;
    let size = text.lines().nth(1).and_then(|line| line.parse().ok());
    size.ok_or_else(|| Failure::Usage(format!("{} is no checkpoint of an audit log", checkpoint.display())))
}

/// `certificate verify`: offline when the log key is given.
pub(super) async fn verify(
    wiring: &dyn Wiring,
    output: Output,
    args: VerifyCertificate,
    connect: impl FnOnce() -> Result<Client, Failure>,
) -> Result<(), Failure> {
    let VerifyCertificate { file, log_key, checkpoint, without_log } = args;
    let text = read(&file)?;
    let document: Value = serde_json::from_slice(&text)
        .map_err(|_| Failure::Failed(format!("{} is not a certificate", file.display())))?;
    let older = checkpoint.map(|path| std::fs::read_to_string(&path).map_err(|error| failed(&path, &error)));
    let older = older.transpose()?;
    let (public, from) = match log_key {
        Some(given) => (public(&given)?, "given".to_owned()),
        None => {
            // Not believed yet: it only says whose key to ask for.
            let geo = document.pointer("/certificate/geo").and_then(Value::as_str);
            let geo = geo.ok_or_else(|| Failure::Failed("the certificate names no geo".into()))?;
            let client = connect()?;
            let key: wire::LogKey = client.get(&["audit", "log-key", geo], &[]).await?;
            (public(&key.public)?, format!("taken from {}", client.address()))
        }
    };
    let verdict = wiring.verify_certificate(&text, &public, older.as_deref()).and_then(|found| match found {
        VerifiedCertificate::OfATenant(None) | VerifiedCertificate::OfASubject(None) if !without_log => Err(
            "nothing in it shows that the log has it: fetch it again with `certificate get` or `dsr certificate`, or look \
                 at its signature alone with --without-log"
                .to_owned(),
        ),
        VerifiedCertificate::OfATenant(logged) | VerifiedCertificate::OfASubject(logged) => Ok(logged),
        VerifiedCertificate::OfAnEpoch => Ok(None),
    });
    let (valid, reason) = (verdict.is_ok(), verdict.as_ref().err());
    let logged = verdict.as_ref().ok().and_then(Option::as_ref);
    let shown = serde_json::json!({
        "valid": valid, "reason": reason, "log_key": hex::encode(public), "log_key_from": from, "in_log": logged,
    });
    output.result(&shown, |_| match (&verdict, logged) {
        (Err(reason), _) => format!("NOT VALID: {reason}; log key {from}"),
        (Ok(_), None) => format!("valid; signature only; log key {from}"),
        (Ok(_), Some(at)) => {
            let since = at.since.map(|since| format!("; consistent {since}→{}", at.entries)).unwrap_or_default();
            format!("valid; in the log as entry {} of {}{since}; log key {from}", at.index, at.entries)
        }
    })?;
    if valid { Ok(()) } else { Err(Failure::Unfit("the certificate is not valid".into())) }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = vec![];
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(CERTIFICATE_BYTES_MAX).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut text))
    };
    read.map_err(|e| failed(file, &e))?;
    Ok(text)
}
