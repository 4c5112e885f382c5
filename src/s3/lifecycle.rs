//! PutBucketLifecycleConfiguration and its kin, and the header that says when an object goes.
//!
//! A rule that this store would not carry out is refused as a whole with 501 and the reason: transitions, because there
//! is one storage class. Source: S3 API reference, "PutBucketLifecycleConfiguration", and the S3 user guide, "Lifecycle
//! configuration elements".

use super::convert::{fits_xml, millis, timestamp};
use super::{Face, error, owner};
use crate::gate::act::{Delete, Read};
use crate::model::ids::OperationId;
use crate::model::lifecycle::{
    Expire, Expiry, Filter, Form, NEWER_MAX, RULE_ID_CHARS_MAX, RULES_MAX, Rule, Rules, Superseded, is_midnight,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, ExpirationStatus,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use std::collections::HashSet;

/// Replaces the rules of a bucket. Needs what removing an object needs: that is what a rule does.
pub(super) async fn put(
    face: &Face,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    owner(at.login().tenant, &request, "x-amz-expected-bucket-owner")?;
    let given = request.input.lifecycle_configuration.ok_or_else(|| malformed("There is no configuration."))?;
    let rules = rules(given.rules)?;
    face.store.set_lifecycle(&at, Some(rules)).await.map_err(|e| error::store(&e))?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

/// The rules of a bucket, as they were given.
pub(super) async fn get(
    face: &Face,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    owner(at.login().tenant, &request, "x-amz-expected-bucket-owner")?;
    let rules = face.store.lifecycle(&at).await.map_err(|e| error::store(&e))?;
    let none = || s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist");
    let rules = rules.ok_or_else(none)?.0.iter().map(shown).collect();
    let output = GetBucketLifecycleConfigurationOutput { rules: Some(rules), ..Default::default() };
    Ok(S3Response::new(output))
}

/// Removes the rules of a bucket. That there were none is no error.
pub(super) async fn delete(
    face: &Face,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    owner(at.login().tenant, &request, "x-amz-expected-bucket-owner")?;
    face.store.set_lifecycle(&at, None).await.map_err(|e| error::store(&e))?;
    let mut response = S3Response::new(DeleteBucketLifecycleOutput {});
    response.status = Some(http::StatusCode::NO_CONTENT);
    Ok(response)
}

/// What `x-amz-expiration` says: when, and by which rule, its id encoded as in a URL.
pub(super) fn header(expiry: &Expiry) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(expiry.at.0).ok()?;
    let rule = encoded(&expiry.rule);
    Some(format!("expiry-date=\"{}\", rule-id=\"{rule}\"", at.strftime("%a, %d %b %Y %T GMT")))
}

/// A rule's id as headers have it, encoded as in a URL.
pub(super) fn encoded(rule: &str) -> String {
    utf8_percent_encode(rule, ID).to_string()
}

const ID: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn malformed(what: &'static str) -> s3s::S3Error {
    s3_error!(MalformedXML, "{}", what)
}

fn invalid(what: &'static str) -> s3s::S3Error {
    s3_error!(InvalidArgument, "{}", what)
}

fn not_built(what: &'static str) -> s3s::S3Error {
    s3_error!(NotImplemented, "{}", what)
}

/// The rules, or why they are not taken.
pub(super) fn rules(given: Vec<LifecycleRule>) -> S3Result<Rules> {
    if !(1..=RULES_MAX).contains(&given.len()) {
        return Err(malformed("A lifecycle configuration has 1 to 1000 rules."));
    }
    let rules: Vec<_> = given.into_iter().map(rule).collect::<S3Result<_>>()?;
    let ids: HashSet<_> = rules.iter().map(|rule| &rule.id).collect();
    if ids.len() < rules.len() {
        return Err(invalid("Rule ID must be unique. Found same ID for more than one rule"));
    }
    Ok(Rules(rules))
}

fn rule(given: LifecycleRule) -> S3Result<Rule> {
    if given.transitions.is_some() || given.noncurrent_version_transitions.is_some() {
        return Err(not_built("There is one storage class: transitions are not implemented."));
    }
    let enabled = match given.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed("The Status of a rule is Enabled or Disabled.")),
    };
    let filter = match (given.filter, given.prefix) {
        (Some(filter), None) => parse(filter)?,
        (None, Some(prefix)) => Filter { prefix: Some(prefix), form: Form::Prefix, ..Filter::default() },
        _ => return Err(malformed("A rule has either a Filter or a Prefix.")),
    };
    let (expire, lone_markers) = given.expiration.map(expire).transpose()?.unwrap_or_default();
    let superseded = given.noncurrent_version_expiration.map(superseded).transpose()?;
    let abort_days = given.abort_incomplete_multipart_upload.map(abort).transpose()?;
    let narrow = !filter.tags.is_empty() || filter.larger_than.or(filter.smaller_than).is_some();
    if abort_days.is_some() && narrow {
        return Err(s3_error!(
            InvalidRequest,
            "AbortIncompleteMultipartUpload cannot be specified with tags or sizes: an upload in progress has neither"
        ));
    }
    if lone_markers.is_some() && narrow {
        return Err(s3_error!(
            InvalidRequest,
            "ExpiredObjectDeleteMarker cannot be specified with tags or sizes: a delete marker has neither"
        ));
    }
    if superseded.is_some_and(|superseded| superseded.keep.is_some()) && filter.form == Form::Prefix {
        return Err(s3_error!(InvalidRequest, "NewerNoncurrentVersions needs a Filter element in its rule"));
    }
    if expire.is_none() && abort_days.is_none() && superseded.is_none() && lone_markers.is_none() {
        return Err(s3_error!(InvalidRequest, "At least one action needs to be specified in a rule"));
    }
    let id = given.id.filter(|id| !id.is_empty()).unwrap_or_else(|| OperationId::random().to_string());
    if id.chars().count() > RULE_ID_CHARS_MAX || !fits_xml(&id) {
        return Err(invalid("ID length should not exceed allowed limit of 255"));
    }
    Ok(Rule { id, enabled, filter, expire, abort_days, superseded, lone_markers })
}

/// When objects go, or whether lone markers do: a rule's Expiration is one of them.
fn expire(given: LifecycleExpiration) -> S3Result<(Option<Expire>, Option<bool>)> {
    match (given.days, given.date, given.expired_object_delete_marker) {
        (Some(days), None, None) => Ok((Some(Expire::After(positive(days)?)), None)),
        (None, Some(date), None) => {
            let day = millis(date);
            let day = if is_midnight(day) { Ok(day) } else { Err(invalid("'Date' must be at midnight GMT")) };
            Ok((Some(Expire::On(day?)), None))
        }
        (None, None, Some(lone_markers)) => Ok((None, Some(lone_markers))),
        _ => Err(malformed("An Expiration has either Days, a Date or ExpiredObjectDeleteMarker.")),
    }
}

fn superseded(given: NoncurrentVersionExpiration) -> S3Result<Superseded> {
    let days = given.noncurrent_days.ok_or_else(|| malformed("NoncurrentDays is missing."))?;
    let keep = given.newer_noncurrent_versions.map(|keep| {
        let keep = u32::try_from(keep).ok().filter(|keep| (1..=NEWER_MAX).contains(keep));
        keep.ok_or_else(|| invalid("NewerNoncurrentVersions must be an integer between 1 and 100"))
    });
    Ok(Superseded { days: positive(days)?, keep: keep.transpose()? })
}

fn abort(given: AbortIncompleteMultipartUpload) -> S3Result<u32> {
    positive(given.days_after_initiation.ok_or_else(|| malformed("DaysAfterInitiation is missing."))?)
}

fn positive(days: i32) -> S3Result<u32> {
    let days = u32::try_from(days).ok().filter(|days| *days > 0);
    days.ok_or_else(|| invalid("A number of days must be a positive integer"))
}

fn parse(given: LifecycleRuleFilter) -> S3Result<Filter> {
    let LifecycleRuleFilter { and, object_size_greater_than, object_size_less_than, prefix, tag } = given;
    let alone = [
        and.is_some(),
        object_size_greater_than.is_some(),
        object_size_less_than.is_some(),
        prefix.is_some(),
        tag.is_some(),
    ];
    if alone.iter().filter(|set| **set).count() > 1 {
        return Err(malformed("A Filter has one condition; several stand in And."));
    }
    let (prefix, tags, larger, smaller, form) = match and {
        Some(and) => {
            let LifecycleRuleAndOperator { object_size_greater_than, object_size_less_than, prefix, tags } = and;
            (prefix, tags.unwrap_or_default(), object_size_greater_than, object_size_less_than, Form::And)
        }
        None => (prefix, tag.into_iter().collect(), object_size_greater_than, object_size_less_than, Form::Filter),
    };
    let tags = tags.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
    let tags = super::convert::tag_rule(tags)?;
    let bytes =
        |given: Option<i64>| given.map(u64::try_from).transpose().map_err(|_| invalid("A size is not negative"));
    let (larger_than, smaller_than) = (bytes(larger)?, bytes(smaller)?);
    if let (Some(larger), Some(smaller)) = (larger_than, smaller_than)
        && larger.saturating_add(1) >= smaller
    {
        return Err(invalid("ObjectSizeGreaterThan must leave room below ObjectSizeLessThan"));
    }
    if form == Form::And && usize::from(prefix.is_some()) + tags.len() + alone_sizes(larger_than, smaller_than) < 2 {
        return Err(malformed("And has at least two conditions."));
    }
    if prefix.as_deref().is_some_and(|prefix| !fits_xml(prefix)) {
        return Err(invalid("The Prefix has a character that XML cannot hold"));
    }
    Ok(Filter { prefix, tags, larger_than, smaller_than, form })
}

fn alone_sizes(larger: Option<u64>, smaller: Option<u64>) -> usize {
    usize::from(larger.is_some()) + usize::from(smaller.is_some())
}

fn shown(rule: &Rule) -> LifecycleRule {
    let filter = &rule.filter;
    let size = |bytes: Option<u64>| bytes.and_then(|bytes| i64::try_from(bytes).ok());
    let tag = |(key, value): &(String, String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    let (greater, less, prefix) = (size(filter.larger_than), size(filter.smaller_than), filter.prefix.clone());
    let (shown_filter, outer) = match filter.form {
        Form::Prefix => (None, prefix),
        Form::Filter => {
            let filter = LifecycleRuleFilter {
                and: None,
                object_size_greater_than: greater,
                object_size_less_than: less,
                prefix,
                tag: filter.tags.first().map(tag),
            };
            (Some(filter), None)
        }
        Form::And => {
            let and = LifecycleRuleAndOperator {
                object_size_greater_than: greater,
                object_size_less_than: less,
                prefix,
                tags: (!filter.tags.is_empty()).then(|| filter.tags.iter().map(tag).collect()),
            };
            (Some(LifecycleRuleFilter { and: Some(and), ..LifecycleRuleFilter::default() }), None)
        }
    };
    let days = |days: u32| i32::try_from(days).ok();
    LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_days
            .map(|n| AbortIncompleteMultipartUpload { days_after_initiation: days(n) }),
        expiration: match (rule.expire, rule.lone_markers) {
            (None, None) => None,
            (Some(Expire::After(n)), _) => Some(LifecycleExpiration { days: days(n), ..Default::default() }),
            (Some(Expire::On(day)), _) => {
                Some(LifecycleExpiration { date: Some(timestamp(day)), ..Default::default() })
            }
            (None, lone) => Some(LifecycleExpiration { expired_object_delete_marker: lone, ..Default::default() }),
        },
        filter: shown_filter,
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.superseded.map(|superseded| NoncurrentVersionExpiration {
            newer_noncurrent_versions: superseded.keep.and_then(|keep| i32::try_from(keep).ok()),
            noncurrent_days: days(superseded.days),
        }),
        noncurrent_version_transitions: None,
        prefix: outer,
        status: ExpirationStatus::from_static(if rule.enabled {
            ExpirationStatus::ENABLED
        } else {
            ExpirationStatus::DISABLED
        }),
        transitions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Millis;

    fn given() -> LifecycleRule {
        LifecycleRule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(LifecycleExpiration { days: Some(3), ..Default::default() }),
            filter: Some(LifecycleRuleFilter { prefix: Some("logs/".into()), ..Default::default() }),
            id: Some("a b".into()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        }
    }

    fn code(change: impl FnOnce(&mut LifecycleRule)) -> String {
        let mut rule = given();
        change(&mut rule);
        rules(vec![rule]).err().map_or("taken".into(), |error| error.code().as_str().to_owned())
    }

    #[test]
    fn what_is_not_carried_out_is_not_taken() {
        assert_eq!(code(|rule| rule.transitions = Some(vec![Default::default()])), "NotImplemented");
        assert_eq!(code(|rule| rule.noncurrent_version_transitions = Some(vec![Default::default()])), "NotImplemented");
        assert_eq!(code(|_| ()), "taken");
    }

    #[test]
    fn rules_that_mean_nothing_or_two_things_are_refused() {
        let days = |days| Some(LifecycleExpiration { days, ..Default::default() });
        assert_eq!(code(|rule| rule.expiration = days(Some(0))), "InvalidArgument");
        assert_eq!(code(|rule| rule.expiration = days(None)), "MalformedXML");
        let noon = LifecycleExpiration { date: Some(timestamp(Millis(43_200_000))), ..Default::default() };
        assert_eq!(code(|rule| rule.expiration = Some(noon)), "InvalidArgument");
        assert_eq!(code(|rule| rule.expiration = None), "InvalidRequest");
        assert_eq!(code(|rule| rule.prefix = Some(String::new())), "MalformedXML", "a Filter and a Prefix");
        assert_eq!(code(|rule| rule.filter = None), "MalformedXML");
        assert_eq!(code(|rule| rule.id = Some("x".repeat(256))), "InvalidArgument");
        let two = |rule: &mut LifecycleRule| rule.filter.as_mut().unwrap().object_size_less_than = Some(5);
        assert_eq!(code(two), "MalformedXML");
        let upload = |rule: &mut LifecycleRule| {
            rule.abort_incomplete_multipart_upload =
                Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(1) });
            rule.filter = Some(LifecycleRuleFilter { object_size_less_than: Some(5), ..Default::default() });
        };
        assert_eq!(code(upload), "InvalidRequest");
        assert!(rules(vec![]).is_err() && rules(vec![given(), given()]).is_err(), "none, and one id twice");
    }

    #[test]
    fn what_is_said_of_versions_has_one_meaning() {
        let noncurrent =
            |days, newer| Some(NoncurrentVersionExpiration { newer_noncurrent_versions: newer, noncurrent_days: days });
        for (days, newer, want) in [
            (Some(1), None, "taken"),
            (Some(1), Some(100), "taken"),
            (Some(0), None, "InvalidArgument"),
            (Some(1), Some(0), "InvalidArgument"),
            (Some(1), Some(101), "InvalidArgument"),
            (None, Some(1), "MalformedXML"),
        ] {
            assert_eq!(code(|rule| rule.noncurrent_version_expiration = noncurrent(days, newer)), want, "{newer:?}");
        }
        let outside = |rule: &mut LifecycleRule| {
            (rule.filter, rule.prefix) = (None, Some(String::new()));
            rule.noncurrent_version_expiration = noncurrent(Some(1), Some(1));
        };
        assert_eq!(code(outside), "InvalidRequest", "S3 wants a Filter for this");
        let marker = |days| {
            let expired_object_delete_marker = Some(true);
            Some(LifecycleExpiration { days, expired_object_delete_marker, ..Default::default() })
        };
        assert_eq!(code(|rule| rule.expiration = marker(None)), "taken");
        assert_eq!(code(|rule| rule.expiration = marker(Some(1))), "MalformedXML");
        let sized = |rule: &mut LifecycleRule| {
            rule.expiration = marker(None);
            rule.filter = Some(LifecycleRuleFilter { object_size_less_than: Some(5), ..Default::default() });
        };
        assert_eq!(code(sized), "InvalidRequest");
    }

    #[test]
    fn rules_come_back_as_they_were_given() {
        let tag = |key: &str| Tag { key: Some(key.into()), value: Some("1".into()) };
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: Some(10),
            object_size_less_than: Some(100),
            prefix: Some("p".into()),
            tags: Some(vec![tag("a"), tag("b")]),
        };
        let mut several = vec![given(), given(), given(), given(), given()];
        several[1].filter = Some(LifecycleRuleFilter { and: Some(and), ..Default::default() });
        several[1].expiration =
            Some(LifecycleExpiration { date: Some(timestamp(Millis(86_400_000))), ..Default::default() });
        (several[2].filter, several[2].prefix) = (None, Some("old/".into()));
        several[3].filter = Some(LifecycleRuleFilter { tag: Some(tag("c")), ..Default::default() });
        several[3].status = ExpirationStatus::from_static(ExpirationStatus::DISABLED);
        several[4].expiration =
            Some(LifecycleExpiration { expired_object_delete_marker: Some(false), ..Default::default() });
        several[4].noncurrent_version_expiration =
            Some(NoncurrentVersionExpiration { newer_noncurrent_versions: Some(3), noncurrent_days: Some(30) });
        for (at, rule) in several.iter_mut().enumerate() {
            rule.id = Some(at.to_string());
        }
        let back: Vec<_> = rules(several.clone()).unwrap().0.iter().map(shown).collect();
        assert_eq!(back, several);
        let unnamed = rules(vec![LifecycleRule { id: None, ..given() }]).unwrap();
        assert!(!unnamed.0[0].id.is_empty(), "S3 names it");
    }

    #[test]
    fn the_header_is_that_of_s3() {
        let expiry = Expiry { at: "2026-11-24T00:00:00Z".parse().unwrap(), rule: "a b".into() };
        assert_eq!(header(&expiry).unwrap(), "expiry-date=\"Tue, 24 Nov 2026 00:00:00 GMT\", rule-id=\"a%20b\"");
    }
}
