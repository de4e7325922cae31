//! As much of OpenAPI's schemas as the document uses: what is wrong with a value, seen from its schema.

use jiff::Timestamp;
use serde_json::Value;

/// The document, for looking up references.
pub struct Document(pub Value);

impl Document {
    /// The thing itself, where there is a reference to it.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            None => schema,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
                self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
            }
        }
    }

    /// What is wrong with a value; nothing where it is as described.
    pub fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolve(schema);
        let fault = |why: String| vec![format!("{at}: {why}, is {value}")];
        if value.is_null() && schema["nullable"] == true {
            return vec![];
        }
        for several in ["anyOf", "oneOf"] {
            if let Some(any) = schema[several].as_array() {
                let fits = any.iter().any(|one| self.faults(one, value, at).is_empty());
                return if fits { vec![] } else { fault(format!("must be one of {any:?}")) };
            }
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return fault(format!("must be one of {words:?}"));
        }
        match schema["type"].as_str() {
            None => vec![], // anything
            Some("string") => match (value.as_str(), schema["format"].as_str()) {
                (None, _) => fault("must be a text".to_owned()),
                (Some(text), Some("date-time")) if text.parse::<Timestamp>().is_err() => fault("must be a time".to_owned()),
                _ => vec![],
            },
            Some("boolean") => {
                if value.is_boolean() {
                    vec![]
                } else {
                    fault("must be true or false".to_owned())
                }
            }
            Some(kind @ ("integer" | "number")) => {
                let Some(number) = value.as_f64().filter(|_| kind == "number" || value.is_i64()) else { return fault(format!("must be a {kind}")) };
                let bounds = schema["minimum"].as_f64().unwrap_or(f64::MIN)..=schema["maximum"].as_f64().unwrap_or(f64::MAX);
                if bounds.contains(&number) { vec![] } else { fault(format!("must be in {bounds:?}")) }
            }
            Some("array") => match value.as_array() {
                None => fault("must be a list".to_owned()),
                Some(items) => items.iter().enumerate().flat_map(|(index, item)| self.faults(&schema["items"], item, &format!("{at}/{index}"))).collect(),
            },
            Some("object") => self.faults_of_object(schema, value, at),
            Some(other) => fault(format!("has a schema of type {other}")),
        }
    }

    fn faults_of_object(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let Some(fields) = value.as_object() else { return vec![format!("{at}: must be an object, is {value}")] };
        let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name));
        let mut faults: Vec<String> = missing.map(|name| format!("{at}: {name} is missing")).collect();
        for (name, value) in fields {
            match schema["properties"].get(name) {
                Some(property) => faults.extend(self.faults(property, value, &format!("{at}/{name}"))),
                None if schema["additionalProperties"].is_object() => {}
                None => faults.push(format!("{at}: {name} is not described")),
            }
        }
        faults
    }
}
