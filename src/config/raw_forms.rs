//! Forms of values that serde and schemars do not have: maps in the order of the file, whole numbers, and values
//! with a short form.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A map from names to definitions, in the order of the file.
#[derive(Debug)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// A whole number, not negative; `5.0` is 5.
#[derive(Debug, Clone, Copy)]
pub struct Whole(pub u64);

impl Whole {
    /// The number, where the schema has held it below 2^32.
    pub fn small(self) -> u32 {
        u32::try_from(self.0).expect("the schema bounds this number")
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        // A float without a fraction prints as digits, `.0` at most.
        let digits = number.to_string();
        let digits = digits.strip_suffix(".0").unwrap_or(&digits);
        digits.parse().map(Whole).map_err(|_| D::Error::custom("not a whole number"))
    }
}

impl JsonSchema for Whole {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Whole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}

/// A whole number or text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum NumberOrText {
    Number(Whole),
    Text(String),
}

impl JsonSchema for NumberOrText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NumberOrText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "maximum": 1_000_000_000_000_u64 })
    }
}

/// A structure, or the text that is its short form.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum StructureOrText<T> {
    Text(String),
    Structure(T),
}

impl<T: JsonSchema> JsonSchema for StructureOrText<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_text", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        also(T::json_schema(generator), "string")
    }
}

/// One value, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum ListOrOne<T> {
    List(Vec<T>),
    One(T),
}

impl<T> ListOrOne<T> {
    pub fn as_slice(&self) -> &[T] {
        match self {
            ListOrOne::List(items) => items,
            ListOrOne::One(item) => std::slice::from_ref(item),
        }
    }
}

impl<T: JsonSchema> JsonSchema for ListOrOne<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_list", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = T::json_schema(generator);
        let mut schema = also(item.clone(), "array");
        schema.insert("items".to_owned(), item.to_value());
        schema.insert("minItems".to_owned(), json!(1));
        schema
    }
}

/// The schema, with one more type allowed; its other keywords speak only of the types they know.
fn also(mut schema: Schema, another: &str) -> Schema {
    let mut types = match schema.remove("type") {
        Some(Value::Array(types)) => types,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    types.push(json!(another));
    schema.insert("type".to_owned(), Value::Array(types));
    schema
}
