//! The OpenAPI document, made of the table of routes and the types of `wire`: it cannot tell of a route that is not
//! there, nor forget one that is.

use super::auth::Role;
use super::routes::{Effect, Route, routes};
use super::wire::{Plan, Problem};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The document, made on first use.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(write);
    &DOCUMENT
}

fn write() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in routes() {
        let path = paths.entry(template(&route)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(&route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "geoseal admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// A path as the document writes it: it does not know of placeholders for the rest of one.
fn template(route: &Route) -> String {
    route.path.replace("{*", "{")
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut made = json!({
        "operationId": route.name,
        "summary": route.summary,
        "x-geoseal-role": route.role.as_str(),
        "security": if route.role == Role::Open { json!([]) } else { json!([{ "bearer": [] }]) },
        "parameters": parameters(route),
        "responses": {
            "2XX": { "description": "Done", "content": gives(route, schemas) },
            "default": {
                "description": "Refused",
                "content": { "application/problem+json": { "schema": schemas.subschema_for::<Problem>() } },
            },
        },
    });
    if let Some(takes) = route.takes {
        let schema = takes(schemas);
        made["requestBody"] = match route.effect {
            Effect::ActsOnStream => json!({
                "description": "A line of JSON as in x-geoseal-first-line, a line feed, and the content",
                "x-geoseal-first-line": schema,
                "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } },
            }),
            _ => json!({ "content": { "application/json": { "schema": schema } } }),
        };
    }
    made
}

fn gives(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let schema = (route.gives)(schemas);
    match route.effect {
        Effect::Spends => {
            json!({ "application/zip": { "schema": { "type": "string", "format": "binary" } } })
        }
        Effect::Looks if route.name == "metrics" => json!({ "application/openmetrics-text": { "schema": schema } }),
        Effect::Looks if route.path.starts_with("/audit/") => {
            let bytes = ["publishedTile", "publishedEntries"].contains(&route.name);
            json!({ if bytes { "application/octet-stream" } else { "text/plain" }: { "schema": schema } })
        }
        Effect::Looks => json!({ "application/json": { "schema": schema } }),
        Effect::Acts | Effect::ActsOnRecord | Effect::ActsOnStream => {
            let plan = schemas.subschema_for::<Plan>();
            json!({ "application/json": { "schema": { "anyOf": [schema, plan] } } })
        }
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let path = template(route);
    let placeholders = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = placeholders.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let in_query = route.query.iter().map(|name| json!({ "name": name, "in": "query", "schema": text }));
    let dry_run = json!({ "name": "dryRun", "in": "query", "schema": { "type": "boolean" } });
    let header = |name: &str| json!({ "name": name, "in": "header", "schema": text });
    let act = match route.effect {
        Effect::Looks | Effect::Spends => vec![],
        Effect::Acts => vec![dry_run, header("Idempotency-Key")],
        Effect::ActsOnRecord => vec![dry_run, header("Idempotency-Key"), header("If-Match")],
        Effect::ActsOnStream => vec![dry_run],
    };
    in_path.chain(in_query).chain(act).collect()
}
