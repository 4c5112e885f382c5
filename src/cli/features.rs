//! `geoseal feature …` and `geoseal bucket …`.

use super::args::{Bucket, Feature, Follow, Messages};
use super::client::{Client, How};
use super::failure::Failure;
use super::files::failed;
use super::print::{Output, count, counted, record};
use super::tenants::{consented, rehearsed, show};
use crate::admin::features as wire;
use crate::admin::features::{
    Capture, Captured, DisableFeature, EnableFeature, Followed, SetBucketRules, ShownBucketRules, TenantFeature,
    Unfollowed,
};
use std::io::Read;
use std::path::Path;

/// Runs one command.
pub(super) async fn feature(client: &Client, output: Output, command: Feature) -> Result<(), Failure> {
    match command {
        Feature::Enable { feature, tenant, consent, classes, ttl_days, follow_only, rehearse } => {
            let consent = consent.as_deref().map(consented).transpose()?;
            let body = EnableFeature { consent, classes, ttl_days, follow_only };
            change(client, output, [&tenant, &feature, "enable"], &body, rehearsed(rehearse)).await
        }
        Feature::Disable { feature, tenant, reason, rehearse } => {
            let body = DisableFeature { reason };
            change(client, output, [&tenant, &feature, "disable"], &body, rehearsed(rehearse)).await
        }
        Feature::Show { feature, tenant } => {
            let found: TenantFeature = client.get(&["tenants", &tenant, "features", &feature], &[]).await?;
            output.result(&found, described)
        }
    }
}

/// Changes a feature as it was when this command looked: a change in between is refused by the server.
async fn change(
    client: &Client,
    output: Output,
    [tenant, feature, verb]: [&str; 3],
    body: &impl serde::Serialize,
    how: How,
) -> Result<(), Failure> {
    let before: TenantFeature = client.get(&["tenants", tenant, "features", feature], &[]).await?;
    let how = How { revision: Some(before.revision), ..how };
    let reply = client.post(&["tenants", tenant, "features", feature, verb], body, how).await?;
    show(output, reply, |after: &TenantFeature| match after.revision == before.revision {
        true => format!("{}; no change", standing(after)),
        false => standing(after),
    })
}

/// How it stands, in a line.
fn standing(f: &TenantFeature) -> String {
    let since = f.since.map_or(String::new(), |at| at.0.to_string());
    if !f.enabled {
        let kept = f.objects.map(|objects| format!("; {} kept; TTL frozen at {since}", counted(objects, "object")));
        return format!("disabled{}", kept.unwrap_or_default());
    }
    let consent = f.consents.last().map_or(String::new(), |consent| format!("; consent sha256:{}", consent.sha256));
    let back = f.compared.as_ref().map_or(String::new(), |c| {
        let list = if c.same { "the same list" } else { "not the same list" };
        format!("; {}, {} missing, {list}", counted(c.objects, "object"), count(c.missing))
    });
    format!("enabled since {since}{consent}{back}")
}

fn described(f: &TenantFeature) -> String {
    let consents = f.consents.iter().map(|consent| {
        let end = consent.withdrawn_at.map_or(String::new(), |at| format!(", withdrawn {}", at.0));
        let classes = consent.classes.join(", ");
        format!("sha256:{} by {} at {}{end}: {classes}", consent.sha256, consent.by, consent.at.0)
    });
    let mut lines = vec![
        ("feature", Some(f.feature.clone())),
        ("state", Some(standing(f))),
        ("lifetime", Some(format!("{} d{}", f.ttl_days, if f.ttl_frozen { ", stands still" } else { "" }))),
        ("dropped", Some(f.dropped.to_string())),
    ];
    lines.extend(consents.map(|consent| ("consent", Some(consent))));
    record(&lines)
}

/// Runs one command. Ids are read from a file or standard input, never taken as arguments, and are in nothing that is
/// printed.
pub(super) async fn follow(client: &Client, output: Output, command: Follow) -> Result<(), Failure> {
    match command {
        Follow::Add(Messages { tenant, message_file, rehearse }) => {
            let body = wire::Follow { messages: lines(&message_file)? };
            let reply = client.post(&["tenants", &tenant, "follows"], &body, rehearsed(rehearse)).await?;
            show(output, reply, |done: &Followed| {
                format!("{} messages are followed, {} new", done.followed, done.added)
            })
        }
        Follow::Remove(Messages { tenant, message_file, rehearse }) => {
            let body = wire::Follow { messages: lines(&message_file)? };
            let reply = client.post(&["tenants", &tenant, "follows", "remove"], &body, rehearsed(rehearse)).await?;
            show(output, reply, |done: &Unfollowed| format!("{} messages are followed no more", done.removed))
        }
        Follow::Capture { tenant, user_file, on, rehearse } => {
            let mut users = lines(&user_file)?;
            let user = users.pop().filter(|_| users.is_empty());
            let user = user.ok_or_else(|| Failure::Usage(format!("{} holds one user", user_file.display())))?;
            let body = Capture { user, on };
            let reply = client.post(&["tenants", &tenant, "users", "capture"], &body, rehearsed(rehearse)).await?;
            show(output, reply, |done: &Captured| match done.on {
                true => "what this user tracks is captured".to_owned(),
                false => "nothing that this user tracks is captured".to_owned(),
            })
        }
    }
}

/// The lines of a file that say anything.
fn lines(file: &Path) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|e| failed(file, &e))?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() { Err(Failure::Usage(format!("{} is empty", file.display()))) } else { Ok(lines) }
}

/// Longest file of ids that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Runs one command.
pub(super) async fn bucket(client: &Client, output: Output, command: Bucket) -> Result<(), Failure> {
    match command {
        Bucket::Set { bucket, tenant, default_class, mut purposes, ttl_days, rehearse } => {
            let purposes = (!purposes.is_empty()).then(|| {
                purposes.retain(|purpose| !purpose.is_empty());
                purposes
            });
            let body = SetBucketRules { default_class, purposes, ttl_days };
            let path = ["tenants", &tenant, "buckets", &bucket, "rules"];
            show(output, client.post(&path, &body, rehearsed(rehearse)).await?, rules)
        }
        Bucket::Show { bucket, tenant } => {
            let found: ShownBucketRules = client.get(&["tenants", &tenant, "buckets", &bucket, "rules"], &[]).await?;
            output.result(&found, rules)
        }
    }
}

fn rules(r: &ShownBucketRules) -> String {
    record(&[
        ("bucket", Some(r.bucket.clone())),
        ("default class", r.default_class.clone()),
        ("purposes", Some(r.purposes.join(", "))),
        ("lifetime", Some(format!("{} d", r.ttl_days))),
        ("watermark", r.watermark.map(|at| at.0.to_string())),
    ])
}
