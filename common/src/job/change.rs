//! A change to a job that waits: `PATCH /v1/jobs/{id}`.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{
    fields::Object,
    parse::{self, InvalidJob, MAX_ARGS_BYTES},
};
use crate::{
    fault::Faults,
    json::{self, RawJson},
};

const FIELDS: &str = "priority, run_at, args, max_attempts, tags, meta";

/// Fields of a job that are to be others; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Lower first.
    pub priority: Option<i16>,
    /// Not before; the past means now.
    pub run_at: Option<Timestamp>,
    /// What the handler gets.
    pub args: Option<RawJson>,
    /// 1 to 1000.
    pub max_attempts: Option<i16>,
    /// For searching; an empty list takes all away.
    pub tags: Option<Vec<String>>,
    /// For searching, and the caller's own notes: an object.
    pub meta: Option<RawJson>,
}

impl Change {
    /// Reads a change. A field that is null stays as it is, but for `args`, of which null is a value.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJob> {
        let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(parse::malformed(&error)))?;
        let mut faults = Faults::default();
        match Self::read(value, &mut faults) {
            Some(change) if faults.is_empty() => Ok(change),
            _ => Err(InvalidJob::Faults(faults.into_vec())),
        }
    }

    fn read(value: &RawValue, faults: &mut Faults) -> Option<Self> {
        let mut fields = Object::read(value, "", faults)?;
        let priority = parse::read_int(&mut fields, "priority", -32_768..=32_767, faults);
        let run_at = fields.take("run_at", "", faults).filter(|v| v.get() != "null").and_then(|v| parse::time_of(v, "/run_at", faults));
        let args = fields.take("args", "", faults).map(RawJson::from);
        if let Some(why) = args.as_ref().and_then(|args| json::fault(args.as_str(), MAX_ARGS_BYTES)) {
            faults.add("/args", why);
        }
        let max_attempts = parse::read_int(&mut fields, "max_attempts", 1..=1000, faults);
        let (tags_given, meta_given) = (fields.has("tags"), fields.has("meta"));
        let (tags, meta) = (parse::read_tags(&mut fields, faults), parse::read_meta(&mut fields, faults));
        let (tags, meta) = (tags_given.then_some(tags), meta_given.then(|| meta.unwrap_or_else(RawJson::empty_object)));
        fields.refuse_rest("", FIELDS, faults);
        Some(Self { priority, run_at, args, max_attempts, tags, meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_read_and_the_rest_left() {
        assert_eq!(Change::parse(b"{}"), Ok(Change::default()));
        let change =
            Change::parse(br#"{"priority": -1, "run_at": "1900-01-01T00:00:00Z", "args": null, "tags": [], "meta": {}, "max_attempts": 3}"#).expect("fine");
        assert_eq!((change.priority, change.run_at, change.max_attempts), (Some(-1), Some(Timestamp::UNIX_EPOCH), Some(3)));
        assert_eq!((change.args.expect("is a value").as_str(), change.tags, change.meta), ("null", Some(vec![]), Some(RawJson::empty_object())));
    }

    #[test]
    fn every_fault_is_told() {
        let Err(InvalidJob::Faults(faults)) = Change::parse(br#"{"priority": 1e9, "run_at": "soon", "max_attempts": 0, "tags": [1], "meta": 7, "queue": "x"}"#)
        else {
            panic!("must be refused")
        };
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/priority", "/run_at", "/max_attempts", "/tags/0", "/meta", "/queue"], "{faults:#?}");
    }
}
