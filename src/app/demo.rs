//! What `dev` finds at its first start: the tenant `demo`, its bucket and a login.

use super::AppError;
use super::house::House;
use crate::audit::Actor;
use crate::cli::dev::{BUCKET, GEO, Login, REGION, TENANT};
use crate::directory::Detail;
use crate::feature::Terms;
use crate::model::atlas::{Geo, Region};
use crate::model::classes::Feature;
use crate::model::ids::TenantId;
use crate::model::login::Role;
use crate::model::names::{AccessId, BucketName, TenantName};
use crate::tenant::{NewTenant, Replication};

/// The consent that the demo tenant's owner, whoever runs `dev`, gives by running it.
const CONSENT: &[u8] = b"geoseal dev: a demonstration tenant on this machine";

/// What the demo tenant's records belong to.
const EMAIL: Feature = Feature::EmailEngagement;

/// Makes what is missing; keeps `last` if it still opens.
pub(super) async fn demo(house: &House, last: Option<&Login>) -> Result<Login, AppError> {
    let failed = |error: &dyn std::fmt::Display| AppError::Demo(error.to_string());
    let tenancy = house.tenancy(GEO).ok_or(AppError::NoRegion)?;
    let (directory, actor) = (tenancy.directory.clone(), Actor::part("dev"));
    let name = TenantName::parse(TENANT).expect("a good name");
    let (geo, home) = (Geo::find(GEO).expect("in the atlas"), Region::find(REGION).expect("in the atlas").1);
    let known = directory.tenant_named(&name).await.map_err(|error| failed(&error))?;
    let entry = match known {
        Some(entry) => entry,
        None => {
            let consent = Some(crate::audit::Hash::of(&[CONSENT]).0);
            let new = NewTenant { id: TenantId::random(), geo, home, replication: Replication::None, consent };
            let detail = Detail { name: TENANT.into(), contact: None };
            tenancy.create(&actor, new, detail).await.map_err(|error| failed(&error))?
        }
    };
    let id = entry.standing.id;
    if entry.standing.state != crate::tenant::State::Active {
        // It was terminated in a try-out: what there is stays as it is.
        return Ok(Login { access_id: String::new(), secret: String::new().into() });
    }
    // Only at the first start: what an administrator disabled later stays disabled.
    if directory.features(id).await.map_err(|error| failed(&error))?.setting(EMAIL).is_none() {
        // A try-out replays events of messages that nobody could have registered before they happened.
        let consent = Some(crate::audit::Hash::of(&[CONSENT]).0);
        let terms = Terms { consent, follow_only: Some(false), ..Terms::default() };
        tenancy.enable_feature(&actor, id, EMAIL, &terms, None).await.map_err(|error| failed(&error))?;
    }
    let bucket = BucketName::parse(BUCKET).expect("a good name");
    if directory.bucket(id, &bucket).await.map_err(|error| failed(&error))?.is_none() {
        let now = house.clock.now().wall;
        directory.create_bucket(id, &bucket, home, now).await.map_err(|error| failed(&error))?;
    }
    if let Some(last) = last
        && let Ok(access_id) = AccessId::parse(&last.access_id)
        && let Some(login) = directory.login(&access_id).await.map_err(|error| failed(&error))?
        && login.secret.as_str() == last.secret.as_str()
    {
        return Ok(Login { access_id: last.access_id.clone(), secret: last.secret.clone() });
    }
    let login = tenancy.create_login(&actor, id, Role::Service).await.map_err(|error| failed(&error))?;
    Ok(Login { access_id: login.access_id.as_str().to_owned(), secret: login.secret })
}
