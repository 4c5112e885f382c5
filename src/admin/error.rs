//! Why an act was refused, and the one match that turns it into an HTTP status, a code and a remedy.
//!
//! Neither message holds a name, an id of another tenant, a path or key bytes. `Broken` is what the caller may know of
//! a fault of ours: the cause goes to the log of the room that found it.

use super::wire::{Problem, TenantState};
use crate::model::atlas::GEOS;
use crate::model::classes::{Class, Feature, Purpose};
use crate::model::time::Millis;
use crate::tenant::access::No;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A refusal. Grouped by who must act: the caller, the tenant's administrator, the operator, us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// No credentials, or none that this server knows.
    #[error("this route needs an administrator's bearer token")]
    Unauthenticated,
    /// A known caller whose role does not reach.
    #[error("the token's role does not allow this")]
    Forbidden,
    /// The body is not the JSON that this route takes. The text says where, not what.
    #[error("the body is not what this route takes: {0}")]
    BadBody(String),
    /// A query parameter that this route does not take, or a value that it cannot be.
    #[error("the query is not what this route takes: {0}")]
    BadQuery(String),
    /// A header that this route cannot use.
    #[error("the header {0} is not what this route takes")]
    BadHeader(&'static str),
    /// A field with a value that cannot be.
    #[error("{field}: {rule}")]
    BadField {
        /// Which field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Longer than the bound of an admin body.
    #[error("the body is too long")]
    TooLarge,
    /// No such path.
    #[error("there is nothing at this path")]
    NoSuchRoute,
    /// The path exists, the method does not.
    #[error("this path does not take this method")]
    MethodNotAllowed,
    /// Not one of the atlas.
    #[error("the atlas has no such geo")]
    UnknownGeo,
    /// Not one of the atlas.
    #[error("the atlas has no such region")]
    UnknownRegion,
    /// Both exist, apart.
    #[error("the region is not in this geo")]
    RegionNotInGeo,
    /// The geo has several regions and none was named.
    #[error("this geo has several regions: name the tenant's home")]
    HomeRequired,
    /// The geo has one region.
    #[error("this geo has one region: no copy inside the geo is possible")]
    NoInGeoReplica,
    /// Known, but not served here.
    #[error("this server does not serve this geo")]
    GeoNotServed,
    /// Known, but not served here.
    #[error("this server does not serve this region")]
    RegionNotServed,
    /// Not built in this release.
    #[error("this release does not do this yet")]
    NotBuilt,
    /// `confirm` is not the tenant's name.
    #[error("the confirmation is not the tenant's name")]
    ConfirmMismatch,
    /// The settings do not allow destructions before the 90 days are over.
    #[error("destroying a tenant early is switched off")]
    EarlyPurgeDisabled,
    /// Nobody could administer anything any more.
    #[error("this is the last administrator")]
    LastAdmin,
    /// It is due no later than an early destruction could be.
    #[error("the tenant is due within 72 hours anyway")]
    DueSoon,
    /// The act needs a recorded consent.
    #[error("this needs a consent")]
    ConsentRequired,
    /// No such feature.
    #[error("there is no such feature")]
    NoSuchFeature,
    /// Not one of the classes of data, or one that cannot be asked for.
    #[error("there is no such class of data")]
    UnknownClass,
    /// Never stored, so nothing can be said of it.
    #[error("objects of the class transient are never stored")]
    ClassNotStorable,
    /// Not one of the purposes.
    #[error("there is no such purpose")]
    UnknownPurpose,
    /// The feature is not enabled.
    #[error("the feature is not enabled for the tenant")]
    FeatureDisabled,
    /// Another tenant of the geo has the name.
    #[error("the name is taken")]
    NameTaken,
    /// No such tenant, or none that this caller may see.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// No such bucket of this tenant.
    #[error("the tenant has no such bucket")]
    NoSuchBucket,
    /// No key of this id.
    #[error("there is no such key")]
    NoSuchKey,
    /// Records need the version, or it is the active one.
    #[error("the key is in use: {remaining} of {scanned} records need it")]
    KeyInUse {
        /// Records that need it; 0: it is the active version, or a request under way holds it.
        remaining: u64,
        /// Records read.
        scanned: u64,
    },
    /// Two administrators have to agree, and this one proposed it.
    #[error("another administrator than the one who proposed it has to agree")]
    AnotherNeeded,
    /// No such login of this tenant.
    #[error("there is no such credential")]
    NoSuchCredential,
    /// No such piece of work, or it ended long ago.
    #[error("there is no such operation")]
    NoSuchOperation,
    /// No such request of a data subject.
    #[error("there is no such request")]
    NoSuchRequest,
    /// No link has this token.
    #[error("there is no such link")]
    NoSuchLink,
    /// The link was used, or has ended.
    #[error("the link was used, or has ended")]
    LinkOver,
    /// A name without a kind of which nothing is stored, while something is of the kinds that are listed.
    #[error("the data subject is ambiguous: nothing is stored of the name itself, but of this id of another kind")]
    AmbiguousSubject(Vec<&'static str>),
    /// The request's state does not allow the step.
    #[error("the request's state does not allow this: it is {0}")]
    WrongRequestState(&'static str),
    /// The tenant has no such object, or it does not speak of who asks.
    #[error("there is no such object of who asks")]
    NoSuchObject,
    /// The tenant is not purged.
    #[error("there is no certificate: the tenant is not purged")]
    NoCertificate,
    /// The log names no such certificate.
    #[error("the log names no certificate of this SHA-256")]
    NotInLog,
    /// The request has no certificate.
    #[error("there is no certificate: the request is no erasure, or not done")]
    NotErased,
    /// The state does not allow the act.
    #[error("the tenant's state does not allow this")]
    WrongState(TenantState),
    /// Destruction began.
    #[error("the tenant is being destroyed")]
    TenantPurging,
    /// Destroyed.
    #[error("the tenant is destroyed; its certificate remains")]
    TenantPurged,
    /// A hold stands in the way.
    #[error("a hold stands in the way")]
    Held(Vec<String>),
    /// A legal hold keeps what this would destroy; it is recorded and done when that is released.
    #[error("a legal hold keeps this: it is recorded, and done by the first sweep after the release")]
    LegalHold(Vec<String>),
    /// A legal hold keeps what this would replace; what takes its place is kept until that is released.
    #[error("a legal hold keeps this: what it is to hold is kept, sealed, until the first sweep after the release")]
    PutOff(Vec<String>),
    /// What the table of states and operations says.
    #[error("the tenant's state does not allow this")]
    StateRefuses(No),
    /// Another hold has this number.
    #[error("there is a hold of this number already")]
    HoldExists,
    /// No hold of this number.
    #[error("there is no such hold")]
    NoSuchHold,
    /// The scope covers nothing now.
    #[error("the scope covers nothing now")]
    UnknownScope,
    /// Two principals have to agree, and this one is the first.
    #[error("another administrator has to agree: this one asked for it")]
    SamePrincipal,
    /// The record was changed by someone else.
    #[error("the record was changed since it was read")]
    RevisionChanged,
    /// Another piece of work on the same keys.
    #[error("another operation on this is under way")]
    Busy,
    /// The settings demand that disabled master keys soak before they are destroyed.
    #[error("this server's settings do not allow a close without a soak")]
    SoakRequired,
    /// No close is under way, or it destroys already.
    #[error("no close of an epoch is under way that could be taken back")]
    NoSuchEpoch,
    /// A backup cannot be put there.
    #[error("a backup cannot be put there: {0}")]
    BadPlace(&'static str),
    /// This clock cannot be moved.
    #[error("this server's clock is real")]
    ClockIsReal,
    /// The version of the key is destroyed already.
    #[error("the key is destroyed")]
    KeyGone,
    /// A backup that is not too old yet will still need the version on the day that was asked for.
    #[error("backup {backup} needs the key until {until}")]
    KeptByBackup {
        /// Which backup.
        backup: String,
        /// When it is older than `backup_age_max_days`.
        until: Millis,
    },
    /// The same Idempotency-Key with another request.
    #[error("the Idempotency-Key was used for another request")]
    IdempotencyReused,
    /// The same Idempotency-Key while the first request is still under way.
    #[error("the first request under this Idempotency-Key is still under way")]
    IdempotencyInFlight,
    /// The tenant's keys are suspended, and the act needs them.
    #[error("the tenant's keys are suspended")]
    KeysSuspended,
    /// The key service or an engine is out of reach; nothing was left behind.
    #[error("{0} is out of reach")]
    Unavailable(&'static str),
    /// A fault of ours; the log has the cause.
    #[error("the server failed; its log says why")]
    Broken,
}

/// What a caller sees of an [`ActError`]: status, code, remedy.
struct Face(StatusCode, &'static str, Option<&'static str>);

impl ActError {
    fn face(&self) -> Face {
        use StatusCode as S;
        match self {
            Self::Unauthenticated => Face(S::UNAUTHORIZED, "Unauthenticated", Some("send `Authorization: Bearer …`")),
            Self::Forbidden => Face(S::FORBIDDEN, "AccessDenied", Some("use an administrator's token")),
            Self::BadBody(_) => Face(S::BAD_REQUEST, "BadBody", Some("see /admin/v1/openapi.json")),
            Self::BadQuery(_) => Face(S::BAD_REQUEST, "BadQuery", Some("see /admin/v1/openapi.json")),
            Self::BadHeader(_) => Face(S::BAD_REQUEST, "BadHeader", None),
            Self::BadField { .. } => Face(S::UNPROCESSABLE_ENTITY, "BadField", None),
            Self::TooLarge => Face(S::PAYLOAD_TOO_LARGE, "TooLarge", None),
            Self::NoSuchRoute => Face(S::NOT_FOUND, "NoSuchRoute", Some("see /admin/v1/openapi.json")),
            Self::MethodNotAllowed => Face(S::METHOD_NOT_ALLOWED, "MethodNotAllowed", None),
            Self::UnknownGeo => Face(S::UNPROCESSABLE_ENTITY, "UnknownGeo", Some("use one of the valid ids")),
            Self::UnknownRegion => Face(S::UNPROCESSABLE_ENTITY, "UnknownRegion", Some("use one of the valid ids")),
            Self::RegionNotInGeo => Face(S::UNPROCESSABLE_ENTITY, "RegionNotInGeo", Some("see `geoseal region list`")),
            Self::HomeRequired => Face(S::UNPROCESSABLE_ENTITY, "HomeRequired", Some("name the home region")),
            Self::NoInGeoReplica => Face(S::UNPROCESSABLE_ENTITY, "NoInGeoReplica", Some("use replication `none`")),
            Self::GeoNotServed => Face(S::UNPROCESSABLE_ENTITY, "GeoNotServed", Some("ask a server of that geo")),
            Self::RegionNotServed => {
                Face(S::UNPROCESSABLE_ENTITY, "RegionNotServed", Some("ask a server of that region"))
            }
            Self::NotBuilt => Face(S::NOT_IMPLEMENTED, "NotImplemented", None),
            Self::ConfirmMismatch => {
                Face(S::UNPROCESSABLE_ENTITY, "ConfirmMismatch", Some("repeat the tenant's name exactly"))
            }
            Self::ConsentRequired => {
                Face(S::FORBIDDEN, "ConsentRequired", Some("give the SHA-256 of a new consent (--consent FILE)"))
            }
            Self::NoSuchFeature => Face(S::NOT_FOUND, "NoSuchFeature", Some("use one of the valid names")),
            Self::UnknownClass => Face(S::UNPROCESSABLE_ENTITY, "UnknownClass", Some("name the classes one by one")),
            Self::ClassNotStorable => Face(S::UNPROCESSABLE_ENTITY, "ClassNotStorable", Some("name another class")),
            Self::UnknownPurpose => Face(S::UNPROCESSABLE_ENTITY, "UnknownPurpose", Some("use one of the valid names")),
            Self::FeatureDisabled => Face(S::CONFLICT, "FeatureDisabled", Some("see `geoseal feature show`")),
            Self::NameTaken => Face(S::CONFLICT, "NameTaken", Some("choose another name")),
            Self::NoSuchTenant => Face(S::NOT_FOUND, "NoSuchTenant", Some("see `geoseal tenant list`")),
            Self::NoSuchBucket => Face(S::NOT_FOUND, "NoSuchBucket", Some("name a bucket of this tenant")),
            Self::NoSuchKey => Face(S::NOT_FOUND, "NoSuchKey", Some("see `geoseal key status`")),
            Self::AnotherNeeded => Face(
                S::CONFLICT,
                "AnotherAdministratorNeeded",
                Some("let another administrator ask for the same, with a token of his own; or withdraw the proposal"),
            ),
            Self::KeyInUse { .. } => {
                Face(S::CONFLICT, "KeyInUse", Some("rotate or re-encrypt first; the destruction scans again"))
            }
            Self::KeysSuspended => {
                Face(S::CONFLICT, "KeysSuspended", Some("`geoseal key resume tenant` first; terminating needs no keys"))
            }
            Self::KeyGone => Face(S::GONE, "KeyDestroyed", Some("see `geoseal key status`")),
            Self::KeptByBackup { .. } => Face(
                S::CONFLICT,
                "KeptByBackup",
                Some("choose a later day with --after, or shorten backup_age_max_days in the key service's settings"),
            ),
            Self::NoSuchCredential => Face(S::NOT_FOUND, "NoSuchCredential", Some("see `geoseal credential list`")),
            Self::NoSuchOperation => Face(S::NOT_FOUND, "NoSuchOperation", None),
            Self::NoSuchRequest => Face(S::NOT_FOUND, "NoSuchRequest", Some("see `geoseal dsr list`")),
            Self::NoSuchLink => Face(S::NOT_FOUND, "NoSuchLink", None),
            Self::LinkOver => Face(S::GONE, "LinkOver", Some("ask whoever sent it for another")),
            Self::AmbiguousSubject(_) => {
                Face(S::NOT_FOUND, "AmbiguousSubject", Some("write the kind before the id, as in KIND:ID"))
            }
            Self::WrongRequestState(_) => Face(S::CONFLICT, "WrongRequestState", Some("see `geoseal dsr show`")),
            Self::NoSuchObject => Face(S::NOT_FOUND, "NoSuchObject", Some("name an object that names who asks")),
            Self::NoCertificate => Face(S::NOT_FOUND, "NoCertificate", Some("it is made when the purge has ended")),
            Self::NotInLog => Face(S::NOT_FOUND, "NoCertificate", Some("give it as the population lists it")),
            Self::NotErased => Face(S::NOT_FOUND, "NoCertificate", Some("it is made when the erasure has ended")),
            Self::WrongState(_) => Face(S::CONFLICT, "WrongState", Some("see `geoseal tenant show`")),
            Self::TenantPurging => Face(S::GONE, "TenantPurging", None),
            Self::TenantPurged => Face(S::GONE, "TenantPurged", Some("`geoseal certificate get` still works")),
            Self::Held(_) => Face(S::CONFLICT, "PurgeHeld", Some("release the holds first")),
            Self::LegalHold(_) => Face(S::FORBIDDEN, "LegalHold", Some("see `geoseal hold show`")),
            Self::PutOff(_) => Face(S::CONFLICT, "LegalHold", Some("see `geoseal hold show`")),
            Self::StateRefuses(no) => {
                let status = StatusCode::from_u16(no.status).unwrap_or(S::CONFLICT);
                Face(status, no.code, Some("see `geoseal tenant show`"))
            }
            Self::HoldExists => Face(S::CONFLICT, "HoldExists", Some("choose another number")),
            Self::NoSuchHold => Face(S::NOT_FOUND, "NoSuchHold", Some("see `geoseal hold list`")),
            Self::UnknownScope => Face(
                S::UNPROCESSABLE_ENTITY,
                "UnknownScope",
                Some("check it, or place the hold with --prospective: it keeps what matches later"),
            ),
            Self::EarlyPurgeDisabled => Face(
                S::FORBIDDEN,
                "EarlyPurgeDisabled",
                Some(
                    "set early_purge = true in the server's settings and, where the key service is another process, in its own",
                ),
            ),
            Self::LastAdmin => Face(
                S::CONFLICT,
                "LastAdmin",
                Some("name another administrator's token in the settings and restart first"),
            ),
            Self::DueSoon => Face(S::CONFLICT, "DueSoon", Some("wait for its due time")),
            Self::SamePrincipal => Face(S::FORBIDDEN, "SamePrincipal", Some("use another administrator's token")),
            Self::RevisionChanged => {
                Face(S::PRECONDITION_FAILED, "RevisionChanged", Some("read it again, then decide"))
            }
            Self::Busy => Face(S::CONFLICT, "Busy", Some("wait for the other operation to end")),
            Self::SoakRequired => Face(S::FORBIDDEN, "SoakRequired", Some("close it with the soak")),
            Self::NoSuchEpoch => Face(S::CONFLICT, "NoSuchEpoch", Some("see `geoseal key epoch status`")),
            Self::BadPlace(_) => Face(S::UNPROCESSABLE_ENTITY, "BadPlace", Some("name a new directory of its own")),
            Self::ClockIsReal => {
                Face(S::CONFLICT, "ClockIsReal", Some("only `geoseal dev --simulated-clock` has one that moves"))
            }
            Self::IdempotencyReused => {
                Face(S::UNPROCESSABLE_ENTITY, "IdempotencyReused", Some("take a fresh Idempotency-Key"))
            }
            Self::IdempotencyInFlight => Face(S::CONFLICT, "IdempotencyInFlight", Some("ask again in a moment")),
            Self::Unavailable(_) => Face(S::SERVICE_UNAVAILABLE, "Unavailable", Some("try again; nothing was changed")),
            Self::Broken => Face(S::INTERNAL_SERVER_ERROR, "InternalError", None),
        }
    }

    /// The body that the caller gets.
    pub fn problem(&self) -> Problem {
        let Face(status, code, remedy) = self.face();
        let valid = match self {
            Self::UnknownGeo => GEOS.iter().map(|g| g.id.to_owned()).collect(),
            Self::UnknownRegion | Self::RegionNotInGeo | Self::HomeRequired => {
                GEOS.iter().flat_map(|g| g.regions).map(|r| r.id.to_owned()).collect()
            }
            Self::NoSuchFeature => Feature::ALL.iter().map(Feature::to_string).collect(),
            Self::UnknownClass | Self::ClassNotStorable => {
                Class::ALL.iter().filter(|class| **class != Class::Transient).map(Class::to_string).collect()
            }
            Self::UnknownPurpose => Purpose::ALL.iter().map(Purpose::to_string).collect(),
            Self::AmbiguousSubject(kinds) => kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            _ => Vec::new(),
        };
        let detail = match self {
            Self::WrongState(state) => format!("{self}: it is {}", state.as_str()),
            _ => self.to_string(),
        };
        Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            code: code.into(),
            detail,
            remedy: remedy.map(Into::into),
            valid,
            holds: match self {
                Self::Held(holds) | Self::LegalHold(holds) | Self::PutOff(holds) => holds.clone(),
                _ => Vec::new(),
            },
        }
    }
}

impl IntoResponse for ActError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).expect("it came from a StatusCode");
        let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Unavailable(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
