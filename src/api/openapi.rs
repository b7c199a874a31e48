//! The OpenAPI document, from the paths that are served and the types that are read and written.

use axum::http::Method;
use schemars::generate::SchemaSettings;
use schemars::{SchemaGenerator, schema_for};
use serde_json::{Map, Value, json};

use super::command::{Done, LONGEST_KEY};
use super::problem::Body as ProblemBody;
use super::routes::{Answer, Route, Routes};

/// What a request can come to besides what its path says.
const PROBLEMS: [(u16, &str); 11] = [
    (400, "Something of the request cannot be read"),
    (401, "A token is needed"),
    (403, "The token may not do this, or the request names another host"),
    (404, "There is nothing of that name"),
    (409, "It cannot be done as things stand"),
    (413, "The body is too large"),
    (415, "The body is not declared as JSON"),
    (
        422,
        "What the body says makes no sense, or its `Idempotency-Key` was used for another request",
    ),
    (429, "Too many requests; `Retry-After` says when to ask again"),
    (500, "The state could not be read or written"),
    (503, "Not now; ask again"),
];

/// The path that serves it.
pub fn routes(routes: Routes) -> Routes {
    let route = Route::get("/api/v1/openapi.json", "openapi", "This document")
        .json::<Value>(200, "An OpenAPI 3.1 document");
    routes.add(route, axum::routing::get(super::document_of_paths))
}

/// The document of these paths.
pub fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    let mut problem = schema_for!(ProblemBody).to_value();
    problem.as_object_mut().map(|schema| schema.remove("$schema"));
    schemas.insert("Problem".to_owned(), problem);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Counterflow",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Questions and commands of a Counterflow server. On a loopback address a token is needed \
                            once one was made; elsewhere always. Lists begin with the newest; the header `Link` has \
                            the next page.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "Why not, and what to do (RFC 9457)",
                    "content": { "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/Problem" },
                    } },
                },
            },
            "securitySchemes": { "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Made by `counterflow token create NAME --scope read|run|write|admin`",
            } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let is_command = route.method == Method::POST;
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": responses(route, generator, is_command),
        "security": match route.scope {
            Some(_) => json!([{ "token": [] }]),
            None => json!([]),
        },
    });
    if let Some(scope) = route.scope {
        operation["description"] = json!(format!("Needs the scope `{scope}`."));
    }
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": route.needs_body,
            "content": { "application/json": { "schema": body(generator) } },
        });
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters: Vec<Value> = route
        .parameters()
        .map(|name| {
            let schema = match name {
                "run" => json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
                _ => json!({ "type": "string", "minLength": 1 }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if let Some(query) = route.query {
        let mut generator = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let schema = query(&mut generator).to_value();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let (description, schema) = (schema["description"].clone(), not_null(schema.clone()));
            parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required.iter().any(|needed| needed == name),
                "description": description.as_str().unwrap_or_default(),
                "schema": schema,
            }));
        }
    }
    if route.method == Method::POST {
        parameters.extend(headers_of_a_command());
    }
    parameters
}

fn headers_of_a_command() -> [Value; 2] {
    let key = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "A repetition within a day that carries the same key is answered as the first was, and \
                        has no second effect",
        "schema": {
            "type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$",
        },
    });
    let user = json!({
        "name": "Counterflow-User",
        "in": "header",
        "required": false,
        "description": "Who gives the command, for the audit log: `local (NAME)`. It counts only where no token was \
                        ever made, and is believed",
        "schema": {
            "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9_.@-]+$",
        },
    });
    [key, user]
}

/// A query leaves out what is not there; it never says `null`.
fn not_null(mut schema: Value) -> Value {
    let is_null = |value: &Value| value == "null" || value["type"] == "null";
    if let Some(types) = schema["type"].as_array_mut() {
        types.retain(|name| !is_null(name));
        if let [one] = types.as_slice() {
            schema["type"] = one.clone();
        }
    }
    if let Some(options) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        options.retain(|option| !is_null(option));
        if let [one] = options.as_slice() {
            schema = one.clone();
        }
    }
    if let Some(object) = schema.as_object_mut() {
        object.retain(|name, value| {
            !matches!(name.as_str(), "description" | "default") && !value.is_null()
        });
        if let Some(words) = object.get_mut("enum").and_then(Value::as_array_mut) {
            words.retain(|word| !word.is_null());
        }
    }
    schema
}

/// Beside what a command answers, what is said where its key was used before and that answer was lost.
fn done_before(responses: &mut Map<String, Value>, generator: &mut SchemaGenerator) {
    let lost = "done before, and the first answer was lost";
    let done = generator.subschema_for::<Done>();
    let (says, schema) = match responses.remove("200") {
        Some(success) => {
            let says = success["description"].as_str().unwrap_or_default();
            let schema = &success["content"]["application/json"]["schema"];
            (format!("{says}; or it was {lost}"), json!({ "anyOf": [schema, done] }))
        }
        None => (format!("It was {lost}"), json!(done)),
    };
    let content = json!({ "application/json": { "schema": schema } });
    responses.insert("200".to_owned(), json!({ "description": says, "content": content }));
}

fn responses(route: &Route, generator: &mut SchemaGenerator, is_command: bool) -> Value {
    let mut responses = Map::new();
    for (status, says, answer) in &route.answers {
        let content = match answer {
            Answer::Nothing => {
                responses.insert(status.to_string(), json!({ "description": says }));
                continue;
            }
            Answer::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
            Answer::Text(kind) => json!({ *kind: { "schema": { "type": "string" } } }),
            Answer::Events(names) => json!({ "text/event-stream": { "schema": {
                "type": "object",
                "required": ["event", "data"],
                "properties": {
                    "event": { "type": "string", "enum": names },
                    "data": { "type": "string", "contentMediaType": "application/json" },
                },
            } } }),
        };
        responses.insert(status.to_string(), json!({ "description": says, "content": content }));
    }
    if is_command {
        // Another wire has its own words for it.
        if route.refusal.is_none() {
            done_before(&mut responses, generator);
        }
        for success in responses.values_mut() {
            success["headers"] = json!({ "Idempotency-Replayed": {
                "description": "Says `true` of an answer that was given before",
                "schema": { "type": "string", "enum": ["true"] },
            } });
        }
    }
    let is_open = route.scope.is_none();
    let refusal = match route.refusal {
        Some(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        None => json!({ "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" },
        } }),
    };
    for (status, says) in PROBLEMS {
        let can_be = match status {
            401 | 429 => !is_open,
            404 => route.parameters().next().is_some() || route.query.is_some(),
            409 | 413 | 415 | 422 => is_command,
            _ => true,
        };
        if can_be {
            let problem = json!({ "description": says, "content": refusal });
            responses.entry(status.to_string()).or_insert(problem);
        }
    }
    let other = match route.refusal {
        Some(_) => json!({ "description": "Why not, and what to do", "content": refusal }),
        None => json!({ "$ref": "#/components/responses/Problem" }),
    };
    responses.insert("default".to_owned(), other);
    Value::Object(responses)
}
