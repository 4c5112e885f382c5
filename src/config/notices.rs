//! `[notices]`: where notices of a tenant's coming end go.

use super::{SecretFile, TOKEN_BYTES_MIN};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where notices go, and the secret that they are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticesConfig {
    /// `https://…`.
    pub url: String,
    /// The authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The secret.
    pub secret: SecretFile,
}

/// `[notices]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileNotices {
    /// Where a POST goes for every notice.
    url: String,
    /// PEM file of the authorities to trust instead of the system's.
    ca_file: Option<PathBuf>,
    /// The secret that its HMAC-SHA256 is made with.
    secret_file: PathBuf,
}

impl NoticesConfig {
    pub(super) fn check(file: FileNotices, base: &Path, wrong: &mut Vec<String>) -> Self {
        let host = file.url.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_none_or(|host| host.is_empty() || host.contains('@')) {
            wrong.push("notices.url begins with https://, names a host and holds no login".into());
        }
        let secret = SecretFile::text(base.join(file.secret_file), TOKEN_BYTES_MIN);
        Self { url: file.url, ca_file: file.ca_file.map(|path| base.join(path)), secret }
    }
}
