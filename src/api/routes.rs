//! Paths with all that is said of them: who may ask, what comes with the question, what the answers look like.
//!
//! A path is added here once, with its handler; the scopes that `gate` asks for and the OpenAPI document follow from the
//! same entry, so that neither can be forgotten. Not responsible for how the document is written (`openapi`).

use std::collections::HashMap;

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::App;
use crate::store::Scope;

/// The schema of a type, put among those of its generator.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What comes back in a success.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Json(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// Server-sent events of these names, each with a JSON document.
    Events(&'static [&'static str]),
    Nothing,
}

/// One path, asked in one way.
#[derive(Debug, Clone)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Unique, in snake case.
    pub id: &'static str,
    pub summary: &'static str,
    /// `None`: open to all.
    pub scope: Option<Scope>,
    pub query: Option<SchemaOf>,
    pub body: Option<SchemaOf>,
    pub needs_body: bool,
    pub answers: Vec<(u16, &'static str, Answer)>,
    /// What a refusal says, as plain JSON; `None`: a problem.
    pub refusal: Option<SchemaOf>,
}

impl Route {
    /// A question; it needs the scope `read` unless more is said.
    pub fn get(path: &'static str, id: &'static str, summary: &'static str) -> Route {
        Route::new(Method::GET, Scope::Read, path, id, summary)
    }

    /// A command.
    pub fn post(
        scope: Scope,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Route {
        Route::new(Method::POST, scope, path, id, summary)
    }

    fn new(
        method: Method,
        scope: Scope,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Route {
        Route {
            method,
            path,
            id,
            summary,
            scope: Some(scope),
            query: None,
            body: None,
            needs_body: false,
            answers: Vec::new(),
            refusal: None,
        }
    }

    /// Whoever asks is answered.
    #[must_use]
    pub fn open(self) -> Route {
        Route { scope: None, ..self }
    }

    #[must_use]
    pub fn query<T: JsonSchema>(self) -> Route {
        Route { query: Some(SchemaGenerator::root_schema_for::<T>), ..self }
    }

    /// A body that may be left out.
    #[must_use]
    pub fn body<T: JsonSchema>(self) -> Route {
        Route { body: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    #[must_use]
    pub fn needed_body<T: JsonSchema>(self) -> Route {
        Route { needs_body: true, ..self.body::<T>() }
    }

    #[must_use]
    pub fn json<T: JsonSchema>(mut self, status: u16, says: &'static str) -> Route {
        self.answers.push((status, says, Answer::Json(SchemaGenerator::subschema_for::<T>)));
        self
    }

    #[must_use]
    pub fn text(mut self, status: u16, says: &'static str, kind: &'static str) -> Route {
        self.answers.push((status, says, Answer::Text(kind)));
        self
    }

    #[must_use]
    pub fn events(mut self, says: &'static str, names: &'static [&'static str]) -> Route {
        self.answers.push((200, says, Answer::Events(names)));
        self
    }

    #[must_use]
    pub fn nothing(mut self, status: u16, says: &'static str) -> Route {
        self.answers.push((status, says, Answer::Nothing));
        self
    }

    #[must_use]
    pub fn refused_as<T: JsonSchema>(self) -> Route {
        Route { refusal: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    /// The names in braces.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// All paths, while they are put together.
#[derive(Debug, Default)]
pub struct Routes {
    pub router: Router<App>,
    pub all: Vec<Route>,
}

impl Routes {
    /// Adds a path and who answers it.
    #[must_use]
    pub fn add(mut self, route: Route, handler: MethodRouter<App>) -> Routes {
        self.router = self.router.route(route.path, handler);
        self.all.push(route);
        self
    }

    /// Adds what another file adds.
    #[must_use]
    pub fn with(self, more: fn(Routes) -> Routes) -> Routes {
        more(self)
    }

    pub fn scopes(&self) -> Scopes {
        let scopes = self.all.iter().map(|route| {
            let key = (route.method.clone(), route.path.to_owned());
            (key, route.scope)
        });
        Scopes(scopes.collect())
    }
}

/// The scope that each path needs.
#[derive(Debug, Clone, Default)]
pub struct Scopes(HashMap<(Method, String), Option<Scope>>);

impl Scopes {
    /// Whether whoever asks is answered, however it is asked: another method is refused anyway.
    pub fn is_open(&self, path: &str) -> bool {
        self.0.get(&(Method::GET, path.to_owned())).is_some_and(Option::is_none)
    }

    /// What a request to this path needs. A path that is served and is not here needs the most.
    pub fn needed(&self, method: &Method, path: &str) -> Scope {
        let asked = if method == Method::HEAD { Method::GET } else { method.clone() };
        match self.0.get(&(asked, path.to_owned())) {
            Some(scope) => scope.unwrap_or(Scope::Read),
            None => Scope::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_scope_of_its_own_needs_the_most() {
        let route = Route::post(Scope::Write, "/api/v1/a/{b}/c", "c", "C");
        assert_eq!(route.parameters().collect::<Vec<_>>(), ["b"]);
        let open = Route::get("/health", "health", "Alive").open();
        let routes = Routes { all: vec![route, open], ..Routes::default() };
        let scopes = routes.scopes();
        assert_eq!(scopes.needed(&Method::POST, "/api/v1/a/{b}/c"), Scope::Write);
        assert_eq!(scopes.needed(&Method::PUT, "/api/v1/a/{b}/c"), Scope::Admin);
        assert_eq!(scopes.needed(&Method::GET, "/api/v1/other"), Scope::Admin);
        assert_eq!(scopes.needed(&Method::HEAD, "/health"), Scope::Read);
        assert!(scopes.is_open("/health") && !scopes.is_open("/api/v1/a/{b}/c"));
    }
}
