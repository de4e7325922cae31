//! A call of many jobs at once, by filter: `POST /v1/jobs/cancel`, `/retry` and `/delete`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{
    call::Call,
    fields::Object,
    filter::JobFilter,
    parse::{self, InvalidJob},
    state::JobState,
};
use crate::fault::Faults;

/// Jobs a call at most.
pub const MAX_JOBS: usize = 10_000;

/// A call of many jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    /// What is asked.
    pub call: Call,
    /// Of which jobs.
    pub filter: JobFilter,
    /// Of a retry: how fast.
    pub rate: Option<Rate>,
    /// Only tell which they would be.
    pub dry_run: bool,
}

/// At most so many in a time, evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many.
    pub limit: u32,
    /// In which time.
    pub per: Duration,
    /// When the first is due; `None`: now.
    pub from: Option<Timestamp>,
}

impl Rate {
    /// How many at most.
    pub const LIMIT: std::ops::RangeInclusive<i64> = 1..=1_000_000;
    /// In which time.
    pub const PER: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

    /// How long after the first one, of index 0, that of this index is due; in whole microseconds, as PostgreSQL keeps times.
    pub fn after(&self, index: usize) -> Duration {
        let micros = self.per.as_micros() * index as u128 / u128::from(self.limit);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl Bulk {
    /// Reads the body of a call. Only a retry has a rate.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8], call: Call) -> Result<Self, InvalidJob> {
        let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(parse::malformed(&error)))?;
        let mut faults = Faults::default();
        match Self::read(value, call, &mut faults) {
            Some(bulk) if faults.is_empty() => Ok(bulk),
            _ => Err(InvalidJob::Faults(faults.into_vec())),
        }
    }

    fn read(value: &RawValue, call: Call, faults: &mut Faults) -> Option<Self> {
        let mut fields = Object::read(value, "", faults)?;
        let filter = fields.take("filter", "", faults).filter(|value| value.get() != "null");
        let filter = filter.map(|value| JobFilter::read(value, "/filter", faults)).unwrap_or_default();
        let all = fields.take_as("all", "", "true or false", faults).unwrap_or(false);
        let dry_run = fields.take_as("dry_run", "", "true or false", faults).unwrap_or(false);
        let rate = if call == Call::Retry { fields.take("rate", "", faults).filter(|value| value.get() != "null") } else { None };
        let rate = rate.and_then(|value| read_rate(value, faults));
        fields.refuse_rest("", if call == Call::Retry { "filter, all, dry_run, rate" } else { "filter, all, dry_run" }, faults);
        if filter.is_empty() && !all && faults.is_empty() {
            faults.add("/filter", "is empty, which every job meets; say which are meant, or \"all\": true");
        }
        Some(Self { call, filter, rate, dry_run })
    }

    /// The states of the jobs that the call is for: of those that the filter names, the ones that it goes with. Where there is a
    /// rate, finished ones only: those that were spread before wait, and would be spread again.
    pub fn states(&self) -> Vec<JobState> {
        let named = |state: &JobState| self.filter.states.is_empty() || self.filter.states.contains(state);
        let meant = |state: &JobState| state.on(self.call).is_ok() && (self.rate.is_none() || state.is_finished());
        JobState::ALL.into_iter().filter(named).filter(meant).collect()
    }
}

fn read_rate(value: &RawValue, faults: &mut Faults) -> Option<Rate> {
    let mut fields = Object::read(value, "/rate", faults)?;
    let (least, most) = (Rate::LIMIT.start(), Rate::LIMIT.end());
    let expected = format!("an integer from {least} to {most}");
    let (limit_given, per_given) = (fields.has("limit"), fields.has("per"));
    let limit = fields.take_as::<i64>("limit", "/rate", &expected, faults);
    if let Some(limit) = limit.filter(|limit| !Rate::LIMIT.contains(limit)) {
        faults.add("/rate/limit", format!("must be {expected}, is {limit}"));
    }
    let per = parse::read_duration(&mut fields, "per", "/rate", Rate::PER, faults);
    for (name, given) in [("/rate/limit", limit_given), ("/rate/per", per_given)] {
        if !given {
            faults.add(name, "is missing");
        }
    }
    fields.refuse_rest("/rate", "limit, per", faults);
    Some(Rate { limit: u32::try_from(limit?).ok()?, per: per?, from: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str, call: Call) -> Vec<String> {
        match Bulk::parse(text.as_bytes(), call) {
            Err(InvalidJob::Faults(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_given_is_read() {
        let bulk = Bulk::parse(br#"{"filter": {"queue": "a"}, "dry_run": true, "rate": {"limit": 10, "per": "1s"}}"#, Call::Retry).expect("fine");
        assert_eq!((bulk.filter.queues.as_slice(), bulk.dry_run), (["a".to_owned()].as_slice(), true));
        assert_eq!(bulk.rate, Some(Rate { limit: 10, per: Duration::from_secs(1), from: None }));
        for text in [r#"{"all": true}"#, r#"{"filter": {}, "all": true}"#, r#"{"filter": null, "all": true, "dry_run": null}"#] {
            assert!(Bulk::parse(text.as_bytes(), Call::Delete).expect("fine").filter.is_empty(), "{text}");
        }
    }

    #[test]
    fn every_fault_is_told() {
        for text in ["{}", r#"{"filter": {}}"#, r#"{"filter": null}"#, r#"{"filter": {}, "all": false}"#] {
            assert_eq!(faults(text, Call::Cancel), ["/filter"], "{text}");
        }
        assert_eq!(faults(r#"{"filter": {"queue": null}}"#, Call::Cancel), ["/filter/queue"]);
        assert_eq!(faults("[]", Call::Cancel), [""]);
        assert_eq!(faults(r#"{"filter": [], "all": 1, "dry_run": "yes", "rate": {}}"#, Call::Cancel), ["/filter", "/all", "/dry_run", "/rate"]);
        let rates = [
            ("{}", vec!["/rate/limit", "/rate/per"]),
            ("7", vec!["/rate"]),
            (r#"{"limit": 0, "per": "25h"}"#, vec!["/rate/limit", "/rate/per"]),
            (r#"{"limit": 1000001, "per": 0}"#, vec!["/rate/limit", "/rate/per"]),
            (r#"{"limit": 1.5, "per": "1 month", "from": 1}"#, vec!["/rate/limit", "/rate/per", "/rate/from"]),
        ];
        for (rate, expected) in rates {
            assert_eq!(faults(&format!(r#"{{"all": true, "rate": {rate}}}"#), Call::Retry), expected, "{rate}");
        }
        assert_eq!(faults(r#"{"filter": {"state": ["x"]}, "filter": {}}"#, Call::Retry), ["/filter"]);
        assert!(matches!(Bulk::parse(b"{", Call::Retry), Err(InvalidJob::Malformed(_))));
    }

    #[test]
    fn a_rate_is_even_and_does_not_drift() {
        let rate = Rate { limit: 3, per: Duration::from_secs(1), from: None };
        assert_eq!([0, 1, 2, 3, 3000].map(|index| rate.after(index).as_micros()), [0, 333_333, 666_666, 1_000_000, 1_000_000_000]);
    }

    #[test]
    fn a_call_is_for_the_states_it_goes_with() {
        use JobState::{Cancelled, Failed, Retryable, Succeeded};
        let of = |text: &str, call| Bulk::parse(text.as_bytes(), call).expect("fine").states();
        assert_eq!(of(r#"{"all": true}"#, Call::Retry), [Retryable, Succeeded, Failed, Cancelled]);
        assert_eq!(of(r#"{"all": true, "rate": {"limit": 1, "per": 1}}"#, Call::Retry), [Succeeded, Failed, Cancelled]);
        assert_eq!(of(r#"{"filter": {"state": ["failed", "running"]}}"#, Call::Delete), [Failed]);
        assert_eq!(of(r#"{"filter": {"state": "succeeded"}}"#, Call::Cancel), []);
    }
}
