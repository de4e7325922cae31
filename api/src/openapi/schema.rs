//! Words to describe JSON with: a table of fields instead of types that exist for their description only.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use serde_json::Value;

/// A type whose JSON is described in the document.
pub trait Schema: Sized {
    /// Its name there.
    const NAME: &'static str;

    /// Its description.
    fn schema() -> MetaSchema;

    /// The schemas that it refers to.
    fn register_parts(_registry: &mut Registry) {}

    /// A reference to it.
    fn reference() -> MetaSchemaRef {
        MetaSchemaRef::Reference(Self::NAME.to_owned())
    }

    /// Puts it into the document, with its parts.
    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(Self::NAME.to_owned(), |registry| {
            Self::register_parts(registry);
            Self::schema()
        });
    }
}

/// A field: its name, what it is, what it means.
pub type Field = (&'static str, MetaSchema, &'static str);

/// An object whose fields are all there in every answer.
pub fn object(description: &'static str, fields: Vec<Field>) -> MetaSchema {
    let required = fields.iter().map(|(name, ..)| *name).collect();
    MetaSchema { required, ..optional(description, fields) }
}

/// An object of a request: only the fields that are required need be there, the others may be null, and there are no others.
pub fn input(description: &'static str, required: &[&'static str], mut fields: Vec<Field>) -> MetaSchema {
    for (_, schema, _) in fields.iter_mut().filter(|(name, ..)| !required.contains(name)) {
        *schema = nullable(std::mem::replace(schema, any()));
    }
    let none = MetaSchema { title: Some(NO_OTHERS.to_owned()), ..MetaSchema::ANY };
    MetaSchema { required: required.to_vec(), additional_properties: Some(Box::new(inline(none))), ..optional(description, fields) }
}

/// Stands for `false` in `additionalProperties`, for which poem-openapi has no word, until [`close`].
const NO_OTHERS: &str = "no other fields";

/// Puts `false` where an object has no other fields.
pub fn close(document: &str) -> String {
    let none = format!("\"title\": \"{NO_OTHERS}\"");
    let mut parts = document.split(&none);
    let mut closed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let before = closed.trim_end().trim_end_matches('{').len();
        closed.truncate(before);
        closed += "false";
        closed += part.trim_start().strip_prefix('}').unwrap_or(part);
    }
    closed
}

/// The parameters of a query string.
pub fn parameters(fields: Vec<Field>) -> MetaSchemaRef {
    inline(optional("", fields))
}

/// An object whose fields are there only sometimes.
pub fn optional(description: &'static str, fields: Vec<Field>) -> MetaSchema {
    let properties = fields.into_iter().map(|(name, schema, meaning)| (name, inline(MetaSchema { description: Some(meaning), ..schema }))).collect();
    MetaSchema { description: Some(description), properties, ..MetaSchema::new("object") }
}

/// A schema in place.
pub fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}

/// A text.
pub fn text() -> MetaSchema {
    MetaSchema::new("string")
}

/// One of some words.
pub fn word(words: impl IntoIterator<Item = &'static str>) -> MetaSchema {
    MetaSchema { enum_items: words.into_iter().map(Value::from).collect(), ..text() }
}

/// A name of a kind or queue.
pub fn name() -> MetaSchema {
    MetaSchema { pattern: Some("^[A-Za-z0-9_.:-]{1,128}$".to_owned()), ..text() }
}

/// A time.
pub fn time() -> MetaSchema {
    MetaSchema::new_with_format("string", "date-time")
}

/// A whole number.
pub fn integer(least: f64, most: f64) -> MetaSchema {
    MetaSchema { minimum: Some(least), maximum: Some(most), ..MetaSchema::new_with_format("integer", "int64") }
}

/// An id of a job: below 2^53, so that every language reads it.
pub fn id() -> MetaSchema {
    integer(1.0, 9_007_199_254_740_991.0)
}

/// A number of things.
pub fn count() -> MetaSchema {
    MetaSchema { minimum: Some(0.0), ..MetaSchema::new_with_format("integer", "int64") }
}

/// Seconds, or any number.
pub fn number() -> MetaSchema {
    MetaSchema::new("number")
}

/// A duration in a request.
pub fn length() -> MetaSchema {
    MetaSchema { any_of: vec![inline(number()), inline(text())], example: Some("30s".into()), ..MetaSchema::ANY }
}

/// Yes or no.
pub fn flag() -> MetaSchema {
    MetaSchema::new("boolean")
}

/// Any JSON value.
pub fn any() -> MetaSchema {
    MetaSchema::ANY
}

/// An object whose fields are the caller's.
pub fn free_object() -> MetaSchema {
    MetaSchema { additional_properties: Some(Box::new(inline(any()))), ..MetaSchema::new("object") }
}

/// A list.
pub fn list(items: MetaSchemaRef) -> MetaSchema {
    MetaSchema { items: Some(Box::new(items)), ..MetaSchema::new("array") }
}

/// Or null, which is then one of the words where there are some.
pub fn nullable(mut schema: MetaSchema) -> MetaSchema {
    if !schema.nullable && !schema.enum_items.is_empty() {
        schema.enum_items.push(Value::Null);
    }
    MetaSchema { nullable: true, ..schema }
}
