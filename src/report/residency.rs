//! Where a tenant's bytes are, and under which of the published exceptions any of them left its geo: under none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/residency/{tenant}`. With `after`, only the next objects: regions were counted for the first page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Residency {
    /// The tenant, by opaque id.
    pub tenant: String,
    /// Its geo.
    pub geo: String,
    /// Its home region.
    pub home: String,
    /// As of when, by the compliance clock.
    pub at: String,
    /// Every region of the geo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<InRegion>,
    /// Objects, by opaque id, each with its region; a page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectAt>,
    /// Where the next page goes on: give it as `after`. Absent: these were the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Copies and transfers out of the geo. There is no way to make one: the register is empty, and says so.
    pub transfers: Vec<Transfer>,
    /// What the empty register means.
    pub transfers_note: String,
    /// The exceptions that providers of such services publish, and whether any is used here.
    pub exceptions: Vec<Exception>,
}

/// What lies in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InRegion {
    /// The region.
    pub region: String,
    /// Whether this server serves it: others were not looked at, and hold nothing of a tenant that this server knows.
    pub served: bool,
    /// Buckets of the tenant.
    pub buckets: u64,
    /// Versions of objects in their rows, counted by row key.
    pub objects: u64,
    /// All rows, counted by row key.
    pub rows: u64,
    /// Sealed bytes of these rows.
    pub row_bytes: u64,
    /// Blobs that bear the tenant's id in their own header: found by reading every blob of the region, not by rows.
    pub blobs_found: u64,
}

/// Where one object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectAt {
    /// Its bucket, by opaque id.
    pub bucket: String,
    /// The object, by opaque id.
    pub object: String,
    /// Its version, by opaque id.
    pub version: String,
    /// Its region.
    pub region: String,
}

/// Bytes that left the geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// Why, from a closed list.
    pub reason: String,
    /// Where to.
    pub destination: String,
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A published exception from "customer data stays in its geo".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exception {
    /// Its name.
    pub id: String,
    /// What it would allow.
    pub allows: String,
    /// Whether anything of this tenant falls under it.
    pub used: bool,
    /// Why not, or how.
    pub note: String,
}

/// The register's statement.
pub const NO_TRANSFERS: &str =
    "empty: this release has no replica, export sink or collaboration that leaves a geo, and no support access";

/// The exceptions, none of which is used.
pub fn exceptions() -> Vec<Exception> {
    let all = [
        (
            "support",
            "staff of the provider reads data to help",
            "not built: nobody but the tenant's logins reads objects",
        ),
        (
            "troubleshoot",
            "staff reads data to find a fault",
            "not built: logs and metrics hold no names and no payload",
        ),
        ("legal", "a court orders disclosure", "not built: an export is the customer's administrator's act, on record"),
        ("collaboration", "another tenant gets a copy in its geo", "not built: no read path crosses tenants"),
        (
            "customer-sink",
            "the customer sends data to a service elsewhere",
            "not built: the server opens no such connection",
        ),
        ("preview", "a preview feature stores data elsewhere", "not built: there are no preview buckets"),
        (
            "global-app-metadata",
            "name, logo and description of an application",
            "not built: nothing is stored globally",
        ),
        ("identity", "identity data is kept in a global directory", "not used: logins are rows of the geo's directory"),
        (
            "global-routing",
            "a global service routes requests",
            "not used: clients name the region's address themselves",
        ),
        ("marketing-mail", "mail is sent from a global service", "not implemented: the store sends no mail"),
    ];
    all.map(|(id, allows, note)| Exception { id: id.into(), allows: allows.into(), used: false, note: note.into() })
        .into()
}
