//! Events that are taken, with the name and metadata that an upload of them has, and many that are not.

use super::{BadBody, BadEvent, Form};
use crate::model::limits::{INGEST_EVENT_BYTES_MAX, INGEST_EVENTS_MAX};
use serde_json::{Value, json};

fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "e-1",
        "source": "urn:email-provider:ses",
        "type": "email.interaction.opened",
        "time": "2026-11-20T01:30:00.250+02:00",
        "subject": "ada@example.com",
        "data": { "message_id": "m-1", "contact_kind": "contact", "contact_id": "4711", "machine": false }
    })
}

fn read(event: &Value) -> Result<(String, Vec<(String, String)>), BadEvent> {
    let text = event.to_string();
    let mut events = Form::Single.read(text.as_bytes()).expect("JSON");
    let event = events.pop().expect("one")?;
    assert_eq!(event.bytes, text);
    Ok((event.name.as_str().to_owned(), event.metadata))
}

fn first_follows(event: &Value) -> bool {
    Form::Single.read(event.to_string().as_bytes()).expect("JSON")[0].as_ref().expect("a good event").follows()
}

fn with(path: &str, value: Value) -> Value {
    let mut event = event();
    *event.pointer_mut(path).expect("it has one") = value;
    event
}

fn without(path: &str) -> Value {
    let mut event = event();
    let (parent, name) = path.rsplit_once('/').expect("a path");
    event.pointer_mut(parent).and_then(Value::as_object_mut).expect("it has one").remove(name).expect("it was there");
    event
}

#[test]
fn an_event_is_what_an_upload_of_it_would_be() {
    let (name, metadata) = read(&event()).expect("a good event");
    assert!(!first_follows(&event()));
    // printf '22:urn:email-provider:ses3:e-1' | sha256sum
    let token = "078a93fcf0b594d2761b9193580b171a05b6b84da1478ccae41cc1993924dadd";
    assert_eq!(name, format!("interactions/dt=2026-11-19/hr=23/{token}.json"));
    let metadata: Vec<_> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        metadata,
        [
            ("geoseal-class", "interaction"),
            ("geoseal-message", "m-1"),
            ("geoseal-occurred", "2026-11-19T23:30:00Z"),
            ("geoseal-subject", "contact:4711"),
        ]
    );
    let mut first = event();
    first["geosealfollow"] = json!(true);
    first["data"]["contact_kind"] = json!("lead");
    let (same, metadata) = read(&first).expect("a good event");
    assert_eq!(same, name, "who it speaks of is not what it is");
    assert!(first_follows(&first));
    assert!(metadata.contains(&("geoseal-follow".into(), "true".into())));
    assert!(metadata.contains(&("geoseal-subject".into(), "lead:4711".into())));
}

#[test]
fn another_source_or_id_is_another_event() {
    let names: Vec<_> = [event(), with("/id", json!("e-2")), with("/source", json!("urn:email-provider:s"))]
        .iter()
        .chain(&[with("/id", json!("3:e-1")), with("/time", json!("2026-11-20T00:00:00Z"))])
        .map(|event| read(event).expect("a good event").0)
        .collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn what_the_adapters_made_has_their_name() {
    let id = "0123456789abcdef".repeat(4);
    let (name, _) = read(&with("/id", json!(id))).expect("a good event");
    assert_eq!(name, format!("interactions/dt=2026-11-19/hr=23/{id}.json"));
    let mut other = with("/id", json!(id));
    other["source"] = json!("urn:other");
    for event in [other, with("/id", json!(id.to_uppercase())), with("/id", json!(id[1..]))] {
        assert!(!read(&event).expect("a good event").0.contains(&id[1..]), "anybody else's id is hashed");
    }
    // printf '22:urn:email-provider:ses1:ü' | sha256sum: characters, not bytes.
    let (name, _) = read(&with("/id", json!("\u{fc}"))).expect("a good event");
    assert!(name.ends_with("/99c932ab4e7c41f2d257d9e45635543f13ca269ed6d32ae2d237fca877d3d45b.json"), "{name}");
}

#[test]
fn what_is_missing_or_something_else_is_told_by_its_name() {
    for path in ["/specversion", "/id", "/source", "/type", "/time", "/data"] {
        let Err(BadEvent::Malformed(rule)) = read(&without(path)) else { panic!("{path}") };
        assert!(rule.starts_with(&path[1..]), "{path}: {rule}");
        for value in [json!(7), json!(null), json!(["secret"]), json!({ "secret": 1 }), json!("")] {
            let Err(BadEvent::Malformed(rule)) = read(&with(path, value)) else { panic!("{path}") };
            assert!(rule.starts_with(&path[1..]) && !rule.contains("secret"), "{path}: {rule}");
        }
    }
    for path in ["/data/message_id", "/data/contact_kind", "/data/contact_id"] {
        let word = &path[1..].replace('/', ".");
        let Err(BadEvent::Malformed(rule)) = read(&without(path)) else { panic!("{path}") };
        assert!(rule.starts_with(word), "{path}: {rule}");
        for value in [json!(7), json!(""), json!(" secret"), json!("sec\nret"), json!("s".repeat(2100))] {
            let Err(BadEvent::Malformed(rule)) = read(&with(path, value)) else { panic!("{path}") };
            assert!(rule.contains(word) && !rule.contains("secret"), "{path}: {rule}");
        }
    }
    for (path, value) in [
        ("/specversion", json!("0.3")),
        ("/time", json!("yesterday")),
        ("/time", json!("2026-11-20T11:30:00")),
        ("/time", json!("1969-12-31T23:59:59Z")),
        ("/data/contact_kind", json!("person")),
    ] {
        assert_eq!(read(&with(path, value)).expect_err(path).code(), "MalformedEvent");
    }
    let mut event = event();
    event["geosealfollow"] = json!("yes");
    assert_eq!(read(&event).expect_err("no truth value").code(), "MalformedEvent");
    for kind in ["email.interaction.", "email.interaction.forwarded", "com.example.opened", "opened"] {
        assert_eq!(read(&with("/type", json!(kind))), Err(BadEvent::UnknownType), "{kind}");
    }
}

#[test]
fn a_malformed_event_costs_no_other() {
    let long = with("/data/machine", json!("x".repeat(INGEST_EVENT_BYTES_MAX)));
    let batch =
        format!(" [ {}, 7, {}, [], {{\"id\":\"a\",\"id\":\"b\"}}, {} ] ", event(), long, with("/id", json!("e-2")));
    let read = Form::Batch.read(batch.as_bytes()).expect("a batch");
    let codes: Vec<_> = read.iter().map(|event| event.as_ref().err().map(|bad| bad.code())).collect();
    let malformed = Some("MalformedEvent");
    assert_eq!(codes, [None, malformed, Some("EventTooLarge"), malformed, malformed, None]);
    assert_eq!(read[0].as_ref().map(|event| event.bytes), Ok(&*event().to_string()), "as it came");
    // As large as it may be.
    let room = INGEST_EVENT_BYTES_MAX - with("/data/machine", json!("")).to_string().len();
    let largest = format!("[{}]", with("/data/machine", json!("x".repeat(room))));
    assert!(Form::Batch.read(largest.as_bytes()).expect("a batch")[0].is_ok());
}

#[test]
fn a_body_that_is_no_batch_is_refused_whole() {
    assert_eq!(Form::Batch.read(b"[]").map(|events| events.len()), Ok(0));
    let truncated = format!("[{}", event());
    for body in ["", "{}", "7", "[1,", "[] []", &truncated, "\u{feff}[]", "[1,]"] {
        assert_eq!(Form::Batch.read(body.as_bytes()), Err(BadBody::Malformed), "{body}");
    }
    assert_eq!(Form::Batch.read(b"[\"\xff\"]"), Err(BadBody::Malformed));
    assert_eq!(Form::Single.read(b"{} {}"), Err(BadBody::Malformed));
    assert_eq!(Form::Single.read(b"[]").map(|events| events[0].is_err()), Ok(true));
    let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert_eq!(Form::Batch.read(many(INGEST_EVENTS_MAX).as_bytes()).map(|e| e.len()), Ok(INGEST_EVENTS_MAX));
    assert_eq!(Form::Batch.read(many(INGEST_EVENTS_MAX + 1).as_bytes()), Err(BadBody::TooMany));
    // Deep nesting is no recursion of ours.
    let deep = format!("[{}{}]", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(Form::Batch.read(deep.as_bytes()).map(|events| events[0].is_err()), Ok(true));
}

#[test]
fn content_types() {
    assert_eq!(Form::of("application/cloudevents+json; charset=utf-8"), Some(Form::Single));
    assert_eq!(Form::of("Application/CloudEvents-Batch+JSON"), Some(Form::Batch));
    for other in ["", "application/json", "application/cloudevents", "text/cloudevents+json"] {
        assert_eq!(Form::of(other), None, "{other}");
    }
}
