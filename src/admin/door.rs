//! Parse at the door: what a caller wrote becomes the words of the model, or a refusal that says which field and why.

use super::acts::NewTenant;
use super::call::Call;
use super::error::ActError;
use super::wire;
use crate::model::atlas::{GEOS, Geo, Region};
use crate::model::ids::TenantId;
use crate::model::names::{BucketName, SubjectName, TenantName};

/// Longest reason or contact, in bytes.
const TEXT_BYTES_MAX: usize = 200;
/// Furthest single step of a simulated clock: 100 years of 365.25 days, in seconds.
const ADVANCE_S_MAX: u64 = 3_155_760_000;

pub(super) fn geo(id: &str) -> Result<&'static Geo, ActError> {
    Geo::find(id).ok_or(ActError::UnknownGeo)
}

/// The geo that the query asks for, if it asks for one.
pub(super) fn geo_asked(call: &Call) -> Result<Option<&'static Geo>, ActError> {
    call.text("geo").map(geo).transpose()
}

pub(super) fn new_tenant(body: wire::CreateTenant) -> Result<NewTenant, ActError> {
    let rule = "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit, not 32 hexadecimal digits";
    let bad_name = ActError::BadField { field: "name", rule };
    let name = TenantName::parse(&body.name).map_err(|_| bad_name.clone())?;
    if body.name.parse::<TenantId>().is_ok() {
        return Err(bad_name);
    }
    let geo = geo(&body.geo)?;
    let home = home(geo, body.home.as_deref())?;
    match body.replication {
        wire::Replication::None => {}
        wire::Replication::Geo if geo.regions.len() == 1 => return Err(ActError::NoInGeoReplica),
        wire::Replication::Geo => return Err(ActError::NotBuilt),
    }
    let contact = body.contact.as_deref().map(|c| text("contact", c)).transpose()?.map(str::to_owned);
    Ok(NewTenant { name, geo, home, consent: consent(body.consent.as_ref())?, contact })
}

fn home(geo: &'static Geo, id: Option<&str>) -> Result<&'static Region, ActError> {
    match (id, geo.regions) {
        (None, [only]) => Ok(only),
        (None, _) => Err(ActError::HomeRequired),
        (Some(id), _) => match Region::find(id) {
            None => Err(ActError::UnknownRegion),
            Some((of, _)) if of.id != geo.id => Err(ActError::RegionNotInGeo),
            Some((_, region)) => Ok(region),
        },
    }
}

pub(super) fn consent(consent: Option<&wire::Consent>) -> Result<Option<[u8; 32]>, ActError> {
    let Some(consent) = consent else { return Ok(None) };
    let mut digest = [0; 32];
    hex::decode_to_slice(&consent.sha256, &mut digest)
        .map_err(|_| ActError::BadField { field: "consent.sha256", rule: "64 hexadecimal digits" })?;
    Ok(Some(digest))
}

pub(super) fn reason(reason: &str) -> Result<&str, ActError> {
    text("reason", reason)
}

pub(super) fn matter(words: &str) -> Result<&str, ActError> {
    text("matter", words)
}

pub(super) fn bucket(name: Option<&str>) -> Result<Option<BucketName>, ActError> {
    let parsed = name.map(BucketName::parse).transpose();
    parsed.map_err(|_| ActError::BadField { field: "bucket", rule: "the name of a bucket" })
}

pub(super) fn subject(name: &str) -> Result<SubjectName, ActError> {
    let rule = "1 to 256 bytes without control characters and without white space at its ends";
    SubjectName::parse(name).map_err(|_| ActError::BadField { field: "subject", rule })
}

fn text<'a>(field: &'static str, text: &'a str) -> Result<&'a str, ActError> {
    let rule = "1 to 200 bytes without control characters";
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.trim().len()) && !text.chars().any(char::is_control);
    if fits { Ok(text.trim()) } else { Err(ActError::BadField { field, rule }) }
}

pub(super) fn advance(body: &wire::Advance) -> Result<u64, ActError> {
    let rule = "1 to 3155760000";
    let fits = (1..=ADVANCE_S_MAX).contains(&body.seconds);
    if fits { Ok(body.seconds) } else { Err(ActError::BadField { field: "seconds", rule }) }
}

/// The whole atlas; each region says whether it is one of `served`.
pub(super) fn regions(served: &[&'static Region]) -> wire::Regions {
    wire::Regions::of_atlas(GEOS, |region| Some(served.iter().any(|s| s.id == region.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(geo: &str, home: Option<&str>, replication: wire::Replication) -> wire::CreateTenant {
        let (name, geo, home) = ("contoso".into(), geo.into(), home.map(Into::into));
        wire::CreateTenant { name, geo, home, replication, consent: None, contact: None }
    }

    #[test]
    fn geo_and_region_agree_or_the_refusal_says_what_is_wrong() {
        use wire::Replication::{Geo, None as Alone};
        let refusal = |body| new_tenant(body).unwrap_err();
        assert_eq!(new_tenant(asked("europe", Some("northeurope"), Alone)).unwrap().home.id, "northeurope");
        assert_eq!(new_tenant(asked("brazil", None, Alone)).unwrap().home.id, "brazilsouth");
        assert_eq!(refusal(asked("europe", None, Alone)), ActError::HomeRequired);
        assert_eq!(refusal(asked("europe", Some("us-east-1"), Alone)), ActError::UnknownRegion);
        assert_eq!(refusal(asked("europe", Some("eastus"), Alone)), ActError::RegionNotInGeo);
        assert_eq!(refusal(asked("atlantis", Some("eastus"), Alone)), ActError::UnknownGeo);
        assert_eq!(refusal(asked("brazil", None, Geo)), ActError::NoInGeoReplica);
        assert_eq!(refusal(asked("europe", Some("westeurope"), Geo)), ActError::NotBuilt);
    }

    #[test]
    fn an_unknown_region_is_answered_with_the_valid_ones() {
        let problem = ActError::UnknownRegion.problem();
        assert_eq!((problem.status, problem.valid.len()), (422, 18));
        assert!(problem.valid.contains(&"brazilsouth".to_owned()));
    }

    #[test]
    fn a_name_that_looks_like_an_id_is_refused() {
        let body = wire::CreateTenant {
            name: "0123456789abcdef0123456789abcdef".into(),
            ..asked("brazil", None, wire::Replication::None)
        };
        assert!(matches!(new_tenant(body), Err(ActError::BadField { field: "name", .. })));
    }

    #[test]
    fn words_are_short_and_printable() {
        for bad in ["", "  ", "two\nlines", &"x".repeat(201)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
        assert_eq!(reason(" contract-end "), Ok("contract-end"));
        assert!(advance(&wire::Advance { seconds: 0 }).is_err());
        assert_eq!(advance(&wire::Advance { seconds: 7_862_400 }), Ok(7_862_400));
    }
}
