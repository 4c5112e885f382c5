//! The operator's pages against the code: what they name has to exist.

use geoseal::edge::EdgeMeters;
use geoseal::store::{Alarm, StoreMeters};
use geoseal::telemetry::{KeeperCalls, KeeperMeters, Metrics, Observed, ProviderMeters, encode, registry};
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;

/// Where each request is logged: named on the page, and no metric.
const LOG_TARGET: &str = "geoseal_access";

/// An alert on a metric that nobody exports never fires, and nobody notices.
#[test]
fn the_alerts_and_the_page_name_metrics_that_exist() {
    let mut registry = registry();
    let metrics = Metrics::register(&mut registry);
    EdgeMeters::register(&mut registry, "s3");
    Alarm::new(HashMap::new(), &mut registry);
    ProviderMeters::register(&mut registry).called("unwrap", "done", std::time::Duration::ZERO);
    KeeperMeters::register(&mut registry, vec![("europe", Box::new(KeeperCalls::default))]);
    StoreMeters::register(&mut registry);
    // A request that is dropped at once, so that the families of requests have a member.
    let service = hyper::service::service_fn(async |_: http::Request<String>| {
        Ok::<_, Infallible>(http::Response::new(String::new()))
    });
    drop(hyper::service::Service::call(&Observed::new(service, metrics), http::Request::new(String::new())));
    let exported = encode(&registry);
    let pages = [include_str!("../deploy/alerts.yml"), include_str!("../docs/operations.md")].concat();
    let between = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let named: BTreeSet<_> = pages.split(between).filter(|w| w.starts_with("geoseal_") && *w != LOG_TARGET).collect();
    assert!(named.len() >= 7, "the pages name {named:?}");
    for name in named {
        assert!(exported.contains(name), "nobody exports {name}");
    }
}
