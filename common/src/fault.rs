//! What is wrong with an input, and where. All faults of an input are collected before it is refused.

use std::borrow::Cow;

use serde::Serialize;

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) to the value at fault, such as `/jobs/3/kind`; empty for the input as a whole.
    pub pointer: String,
    /// What is wrong and what is allowed, in a form that reads after the pointer: "must be …".
    pub detail: Cow<'static, str>,
}

/// The place in an input that is being looked at, and the faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    prefix: String,
    found: Vec<Fault>,
}

impl Faults {
    /// Nothing found yet; pointers start with `prefix`, such as `/jobs/3`.
    pub fn under(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), found: Vec::new() }
    }

    /// Notes a fault of the value at `path` below the prefix (`"/unique/key"`, or `""` for the thing itself).
    pub fn add(&mut self, path: &str, detail: impl Into<Cow<'static, str>>) {
        self.found.push(Fault { pointer: format!("{}{path}", self.prefix), detail: detail.into() });
    }

    /// Reads a part of the input, whose pointers start with `path` below the prefix.
    pub fn below<T>(&mut self, path: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.prefix.len();
        self.prefix.push_str(path);
        let value = read(self);
        self.prefix.truncate(length);
        value
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The faults, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Fault> {
        self.found
    }
}

/// Writes a key as a reference token of a JSON pointer (RFC 6901, section 3): `~` and `/` are escaped.
pub fn token(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}
