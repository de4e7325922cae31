//! What is set for a schedule: `PUT /v1/schedules/{name}`.

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    fields::Object,
    name::ScheduleName,
    new::{NewJob, When},
    parse::{self, InvalidJob},
};
use crate::{
    cron::{self, Cron},
    fault::Faults,
};

const FIELDS: &str = "name, cron, timezone, job, paused, catch_up, overlap";
/// What a schedule is shown with and nobody sets: taken, so that what was read can be put back.
const SHOWN: [&str; 2] = ["next_run_at", "last_run_at"];

/// What becomes of due times that were missed, since nothing ran or the database was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are passed over.
    None,
    /// The last of them is made up for.
    #[default]
    Last,
    /// All of them are, a thousand at most.
    All,
}

/// What happens at a due time at which a job of the schedule is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Another one is enqueued.
    #[default]
    Allow,
    /// Nothing.
    Skip,
}

impl CatchUp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Last, Self::All];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Last => "last",
            Self::All => "all",
        }
    }
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Skip];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
        }
    }
}

/// What is set for a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// As it was given.
    pub cron: String,
    /// As it was given.
    pub timezone: String,
    /// When it is due, by these two.
    pub rule: Cron,
    /// What it enqueues.
    pub job: NewJob,
    /// Whether it enqueues nothing.
    pub paused: bool,
    /// What becomes of missed due times.
    pub catch_up: CatchUp,
    /// Whether its jobs may overlap.
    pub overlap: Overlap,
}

impl ScheduleSettings {
    /// Reads the settings of the schedule with that name. What is absent, or null where null is no value, gets its default.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8], name: &ScheduleName) -> Result<Self, InvalidJob> {
        let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(parse::malformed(&error)))?;
        let mut faults = Faults::default();
        match Self::read(value, name, &mut faults) {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(InvalidJob::Faults(faults.into_vec())),
        }
    }

    fn read(value: &RawValue, name: &ScheduleName, faults: &mut Faults) -> Option<Self> {
        let mut fields = Object::read(value, "", faults)?;
        if fields.take_as::<String>("name", "", "a text", faults).is_some_and(|given| *given != **name) {
            faults.add("/name", format!("must be \"{name}\", as in the path: a schedule is not renamed"));
        }
        let timezone = fields.take_as::<String>("timezone", "", "the name of a time zone", faults).unwrap_or_else(|| "UTC".to_owned());
        let zone = cron::zone(&timezone).map_err(|why| faults.add("/timezone", why)).ok();
        let (cron, rule) = read_cron(&mut fields, zone.unwrap_or(TimeZone::UTC), faults).unzip();
        let job = read_job(&mut fields, faults);
        let paused = fields.take_as("paused", "", "true or false", faults).unwrap_or(false);
        let catch_up = read_word(&mut fields, "catch_up", &CatchUp::ALL, CatchUp::word, faults);
        let overlap = read_word(&mut fields, "overlap", &Overlap::ALL, Overlap::word, faults);
        for field in SHOWN {
            fields.take(field, "", faults);
        }
        fields.refuse_rest("", FIELDS, faults);
        Some(Self { cron: cron?, timezone, rule: rule?, job: job?, paused, catch_up, overlap })
    }
}

fn read_cron(fields: &mut Object<'_>, zone: TimeZone, faults: &mut Faults) -> Option<(String, Cron)> {
    if !fields.has("cron") {
        fields.take("cron", "", faults);
        faults.add("/cron", "is missing: when the job is enqueued, such as \"*/5 * * * *\"");
        return None;
    }
    let text: String = fields.take_as("cron", "", "a text such as \"*/5 * * * *\"", faults)?;
    match Cron::parse(&text, zone) {
        Ok(rule) => Some((text, rule)),
        Err(why) => {
            faults.add("/cron", why);
            None
        }
    }
}

/// A job as in `POST /v1/jobs`; when it runs is the schedule's to say.
fn read_job(fields: &mut Object<'_>, faults: &mut Faults) -> Option<NewJob> {
    let Some(value) = fields.take("job", "", faults) else {
        faults.add("/job", "is missing: what is enqueued, as in POST /v1/jobs");
        return None;
    };
    faults.below("/job", |faults| {
        let job = NewJob::read(value, faults)?;
        if matches!(job.when, When::At(_)) {
            faults.add("/run_at", "must not be given: the job is enqueued at each due time; a delay after that may be");
        }
        Some(job)
    })
}

fn read_word<T: Copy + Default>(fields: &mut Object<'_>, name: &str, all: &[T], word: fn(T) -> &'static str, faults: &mut Faults) -> T {
    let words = || all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(", ");
    let Some(text) = fields.take_as::<String>(name, "", &format!("one of {}", words()), faults) else { return T::default() };
    all.iter().copied().find(|one| word(*one) == text).unwrap_or_else(|| {
        faults.add(&format!("/{name}"), format!("must be one of {}, is \"{text}\"", words()));
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ScheduleSettings, InvalidJob> {
        ScheduleSettings::parse(text.as_bytes(), &ScheduleName::new("nightly").expect("a name"))
    }

    #[test]
    fn what_is_absent_gets_its_default() {
        let plain = parsed(r#"{"cron":"@daily","job":{"kind":"a"}}"#).expect("fine");
        assert_eq!((&*plain.timezone, plain.paused, plain.catch_up, plain.overlap), ("UTC", false, CatchUp::Last, Overlap::Allow));
        let full = r#"{"name":"nightly","cron":"0 3 * * *","timezone":"Europe/Berlin","job":{"kind":"a","delay":"5m"},"paused":true,"catch_up":"all",
            "overlap":"skip","next_run_at":null,"last_run_at":"2030-01-01T00:00:00Z"}"#;
        let full = parsed(full).expect("what was shown may be put back");
        assert_eq!((full.paused, full.catch_up, full.overlap), (true, CatchUp::All, Overlap::Skip));
    }

    #[test]
    fn every_fault_is_told() {
        let text = r#"{"name":"other","cron":"61 * * * *","timezone":"Europe/Berln","job":{"kind":"a b","run_at":"2030-01-01T00:00:00Z"},"paused":1,
            "catch_up":"some","overlap":7,"colour":"red"}"#;
        let Err(InvalidJob::Faults(faults)) = parsed(text) else { panic!("must be refused") };
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/timezone", "/cron", "/job/kind", "/paused", "/catch_up", "/overlap", "/colour"], "{faults:#?}");
        let Err(InvalidJob::Faults(faults)) = parsed(r#"{"cron":"@daily","job":{"kind":"a","run_at":"2030-01-01T00:00:00Z"}}"#) else { panic!("refused") };
        assert_eq!(faults[0].pointer, "/job/run_at");
        let Err(InvalidJob::Faults(faults)) = parsed("{}") else { panic!("refused") };
        assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), ["/cron", "/job"]);
    }
}
