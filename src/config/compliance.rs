//! `[compliance]`: what a processor's record of processing activities says of whoever runs this server.

use schemars::JsonSchema;
use serde::Deserialize;

/// The longest text taken, in bytes.
const TEXT_BYTES_MAX: usize = 500;

/// Who runs this server, and whom else he engages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComplianceConfig {
    /// The processor's name.
    pub processor: Option<String>,
    /// How to reach it.
    pub contact: Option<String>,
    /// How to reach its data protection officer.
    pub data_protection_officer: Option<String>,
    /// Other processors engaged.
    pub subprocessors: Vec<SubprocessorConfig>,
}

/// Another processor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubprocessorConfig {
    /// Its name.
    pub name: String,
    /// What it does.
    pub purpose: String,
    /// Where.
    pub location: String,
}

impl ComplianceConfig {
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        let own = [("processor", &self.processor), ("contact", &self.contact)];
        let own = own.into_iter().chain([("data_protection_officer", &self.data_protection_officer)]);
        let own = own.filter_map(|(name, text)| Some((name, text.as_ref()?)));
        let others = self.subprocessors.iter().flat_map(|other| {
            [
                ("subprocessors.name", &other.name),
                ("subprocessors.purpose", &other.purpose),
                ("subprocessors.location", &other.location),
            ]
        });
        for (name, text) in own.chain(others) {
            if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
                wrong.push(format!("compliance.{name}: 1 to {TEXT_BYTES_MAX} bytes of text"));
            }
        }
    }
}
