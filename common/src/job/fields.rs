//! The fields of a JSON object, one after the other, with every fault noted: unknown fields, fields that come twice,
//! values of the wrong type. serde alone would stop at the first.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::fault::{Faults, token};

/// A JSON object whose values have not been looked at yet.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Option<&'a RawValue>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key<'a>(Cow<'a, str>);
        impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct KeyVisitor;
                impl<'de> Visitor<'de> for KeyVisitor {
                    type Value = Key<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a key")
                    }
                    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                        Ok(Key(Cow::Borrowed(key)))
                    }
                    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                        Ok(Key(Cow::Owned(key.to_owned())))
                    }
                }
                deserializer.deserialize_str(KeyVisitor)
            }
        }
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key()? {
                    fields.push((key, Some(map.next_value::<&RawValue>()?)));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

impl<'a> Object<'a> {
    /// Reads an object below `path`; a fault and `None` where the value is something else.
    pub fn read(value: &'a RawValue, path: &str, faults: &mut Faults) -> Option<Self> {
        match serde_json::from_str(value.get()) {
            Ok(object) => Some(object),
            Err(error) => {
                faults.add(
                    path,
                    if error.is_data() { format!("must be an object, is {}", type_of(value)) } else { "has a key that is not valid text".to_owned() },
                );
                None
            }
        }
    }

    /// Whether a field is given, and not as null.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && value.is_some_and(|value| value.get() != "null"))
    }

    /// Whether a field is there, whatever its value.
    pub fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Takes the value of a field. The same field again is a fault.
    pub fn take(&mut self, name: &str, path: &str, faults: &mut Faults) -> Option<&'a RawValue> {
        let mut found = None;
        let mut times = 0;
        for (_, value) in self.0.iter_mut().filter(|(key, _)| key == name) {
            found = value.take();
            times += 1;
        }
        if times > 1 {
            faults.add(&format!("{path}{}", token(name)), "is given more than once");
        }
        found
    }

    /// Takes the value of a field as `T`; `null` counts as absent.
    pub fn take_as<T: DeserializeOwned>(&mut self, name: &str, path: &str, expected: &str, faults: &mut Faults) -> Option<T> {
        let value = self.take(name, path, faults).filter(|value| value.get() != "null")?;
        let read = serde_json::from_str(value.get()).ok();
        if read.is_none() {
            faults.add(&format!("{path}{}", token(name)), format!("must be {expected}, is {}", type_of(value)));
        }
        read
    }

    /// All that nobody took, in their order, as often as they were given.
    pub fn into_fields(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.0.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }

    /// Notes what nobody took.
    pub fn refuse_rest(self, path: &str, allowed: &str, faults: &mut Faults) {
        for (key, _) in self.0.into_iter().filter(|(_, value)| value.is_some()) {
            faults.add(&format!("{path}{}", token(&key)), format!("is not a known field; allowed are {allowed}"));
        }
    }
}

/// What a value is, for a message: its type, and the value itself where it is short.
pub fn type_of(value: &RawValue) -> String {
    let text = value.get();
    let name = match text.as_bytes().first() {
        Some(b'{') => return "an object".to_owned(),
        Some(b'[') => return "an array".to_owned(),
        Some(b'n') => return "null".to_owned(),
        Some(b'"') => "the text",
        Some(b't' | b'f') => "",
        _ => "the number",
    };
    if text.len() <= 40 { format!("{name} {text}").trim_start().to_owned() } else { format!("{name} of {} bytes", text.len()) }
}
