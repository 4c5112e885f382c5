//! The processor's record of processing activities (GDPR, Art. 30(2)), as JSON: docs/schemas/processor-record.schema.json.

use super::residency::Transfer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/record`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessorRecord {
    /// [`ProcessorRecord::SCHEMA`].
    pub schema: String,
    /// As of when, by the compliance clock.
    pub generated_at: String,
    /// Who processes: Art. 30(2)(a).
    pub processor: Processor,
    /// On behalf of whom, and what: Art. 30(2)(a) and (b).
    pub controllers: Vec<Controller>,
    /// Transfers to third countries: Art. 30(2)(c).
    pub transfers: Vec<Transfer>,
    /// What the list of transfers means.
    pub transfers_note: String,
    /// Other processors engaged: Art. 28(2).
    pub subprocessors: Vec<Subprocessor>,
    /// Technical and organisational measures, Art. 30(2)(d): each the description of a control.
    pub measures: Vec<String>,
    /// What is missing; empty: the record is complete.
    pub incomplete: Vec<String>,
}

/// `GET /admin/v1/compliance/subprocessors`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subprocessors {
    /// As of when, by the compliance clock.
    pub generated_at: String,
    /// Who runs this server, if the settings say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// Whom he has work for him.
    pub subprocessors: Vec<Subprocessor>,
}

/// Who runs this server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How to reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// How to reach its data protection officer, where there has to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_protection_officer: Option<String>,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// By opaque id.
    pub tenant: String,
    /// Its name: for administrators only, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How to reach it: for administrators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Whether the record has a contact of it.
    pub has_contact: bool,
    /// Where its data is kept.
    pub geo: String,
    /// Its home region.
    pub home: String,
    /// Where it is in its life.
    pub state: String,
    /// Since when.
    pub since: String,
    /// SHA-256 of the consent in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_sha256: Option<String>,
    /// Categories of processing.
    pub processing: Vec<String>,
    /// Until when it is kept, once it was terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<String>,
}

/// Another processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subprocessor {
    /// Its name.
    pub name: String,
    /// What it does.
    pub purpose: String,
    /// Where.
    pub location: String,
}

impl ProcessorRecord {
    /// The shape's name.
    pub const SCHEMA: &'static str = "geoseal/processor-record/v1";

    /// What this software does with any tenant's data.
    pub fn processing() -> Vec<String> {
        let all = [
            "storage of objects at the controller's instruction",
            "retrieval and disclosure to the controller's own logins",
            "erasure at the controller's instruction, at a data subject's request as instructed, and at the end of retention",
        ];
        all.map(str::to_owned).to_vec()
    }

    /// What is missing of it.
    pub fn gaps(processor: &Processor, controllers: &[Controller]) -> Vec<String> {
        let mut gaps = Vec::new();
        if processor.name.is_none() || processor.contact.is_none() {
            gaps.push("the processor's name and contact: set [compliance] processor and contact".to_owned());
        }
        let missing = controllers.iter().filter(|controller| !controller.has_contact && controller.state != "PURGED");
        gaps.extend(missing.map(|controller| format!("controller contact missing: tenant {}", controller.tenant)));
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `GEOSEAL_WRITE_SCHEMAS` set, writes it anew.
    #[test]
    fn r22_the_schema_in_the_documentation_is_that_of_the_record() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/processor-record.schema.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(ProcessorRecord)).unwrap() + "\n";
        if std::env::var_os("GEOSEAL_WRITE_SCHEMAS").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), schema);
    }
}
