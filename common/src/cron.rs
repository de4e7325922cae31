//! When a schedule is due. Times are found on the clock of its time zone, and then looked up as instants, so that what happens
//! when clocks change is decided here and nowhere else.
//!
//! Two sorts of expressions, as in Debian's cron(8): one whose minute or hour field begins with `*` follows elapsed time, any other
//! names fixed times of day, each of which happens once on each day that it is due.

use std::time::Duration;

use croner::{
    Cron as Pattern,
    parser::{CronParser, Year},
};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use crate::duration;

/// The shortest time between two runs.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one of `@every`.
const LONGEST: Duration = Duration::from_hours(24 * 365);

const FORM: &str = "must have five fields (minute, hour, day of month, month, day of week), or six with seconds first, or be such as @daily or @every 30s";
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT, where 0 and 7 are Sunday"),
];
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A rule that says when something is due.
#[derive(Debug, Clone)]
pub struct Cron {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Debug, Clone)]
enum Rule {
    /// So long after the last time.
    Every(SignedDuration),
    /// Whenever the clock shows it.
    Elapsed(Box<Pattern>),
    /// Times of day.
    Fixed(Box<Pattern>),
}

/// Reads the name of a time zone of the IANA database.
///
/// # Errors
/// What is wrong with it.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        let near = |other: &String| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
        let known = jiff::tz::db().available().map(|name| name.to_string());
        let best = known.max_by(|a, b| near(a).total_cmp(&near(b))).filter(|best| near(best) > 0.8);
        let meant = best.map_or_else(String::new, |best| format!("; did you mean \"{best}\"?"));
        format!("there is no time zone \"{name}\": must be one of the IANA database, such as \"Europe/Berlin\" or \"UTC\"{meant}")
    })
}

impl Cron {
    /// Reads an expression; its times are those of clocks in `zone`.
    ///
    /// # Errors
    /// What is wrong with it, and in which field.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let text = text.trim();
        if let Some(length) = text.strip_prefix("@every ") {
            let length = duration::parse(length.trim())?;
            let whole = length.subsec_nanos() == 0 && (SHORTEST..=LONGEST).contains(&length);
            let every = SignedDuration::try_from(length).ok().filter(|_| whole);
            return match every {
                Some(every) => Ok(Self { rule: Rule::Every(every), zone }),
                None => Err("@every must be followed by whole seconds, 1s to 365d".to_owned()),
            };
        }
        let fields = match text.strip_prefix('@') {
            None => text,
            Some(_) => match NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
                Some((_, fields)) => fields,
                None => {
                    return Err(format!("there is no \"{text}\"; there are {}, and @every 30s", NICKNAMES.map(|(name, _)| name).join(", ")));
                }
            },
        };
        let pattern = read(fields)?;
        let split: Vec<&str> = fields.split_whitespace().collect();
        let elapsed = split[split.len() - 5..split.len() - 3].iter().any(|field| field.starts_with('*'));
        let rule = if elapsed { Rule::Elapsed(Box::new(pattern)) } else { Rule::Fixed(Box::new(pattern)) };
        Ok(Self { rule, zone })
    }

    /// The first due time after an instant; `None`: there is none any more.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(length) => after.checked_add(*length).ok(),
            Rule::Elapsed(pattern) => self.next_elapsed(pattern, after),
            Rule::Fixed(pattern) => self.next_fixed(pattern, after),
        }
    }

    /// The due times from `first`, which is one, to `until`, in order; where there are more than `most`, the last of them. However
    /// long ago the first was, only so many are looked at.
    pub fn due(&self, first: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        if let Rule::Every(length) = self.rule {
            let passed = until.duration_since(first).as_secs().max(0) / length.as_secs();
            let skipped = passed.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX) - 1).max(0);
            let from = i32::try_from(skipped).ok().and_then(|skipped| length.checked_mul(skipped)).and_then(|ahead| first.checked_add(ahead).ok());
            return self.all_from(from.unwrap_or(first), until);
        }
        let mut span = SignedDuration::from_secs(1);
        loop {
            let from = until.checked_sub(span).ok().filter(|from| *from > first);
            let Some(begin) = from.map_or(Some(first), |from| self.next_after(from)) else { return Vec::new() };
            let mut due = self.all_from(begin, until);
            if from.is_none() || due.len() >= most {
                due.drain(..due.len().saturating_sub(most));
                return due;
            }
            span *= 2;
        }
    }

    fn all_from(&self, first: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        std::iter::successors(Some(first), |at| self.next_after(*at)).take_while(|at| *at <= until).collect()
    }

    /// Within each time in which the clock runs on evenly, what it shows decides: what is skipped does not happen, what is
    /// shown twice happens twice.
    fn next_elapsed(&self, pattern: &Pattern, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next();
            let shown = next_shown(pattern, offset.to_datetime(from), inclusive)?;
            let instant = offset.to_timestamp(shown).ok()?;
            match change {
                Some(change) if instant >= change.timestamp() => (from, inclusive) = (change.timestamp(), true),
                _ => return Some(instant),
            }
        }
    }

    /// Each time of day once: the first of two, and one that is skipped at the first instant after it.
    fn next_fixed(&self, pattern: &Pattern, after: Timestamp) -> Option<Timestamp> {
        // No time of day before what the clock shows now leads to an instant after now: the later a time, the later its instant.
        let mut shown = self.zone.to_datetime(after);
        loop {
            shown = next_shown(pattern, shown, false)?;
            let instant = match self.zone.to_ambiguous_timestamp(shown).offset() {
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok()?,
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok()?,
                AmbiguousOffset::Gap { before, .. } => self.change_before(shown, before)?,
            };
            // the second hour of two that are shown alike
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// The instant at which clocks skipped a time.
    fn change_before(&self, skipped: DateTime, offset: Offset) -> Option<Timestamp> {
        let beyond = offset.to_timestamp(skipped).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
        self.zone.preceding(beyond).next().map(|change| change.timestamp())
    }
}

/// The next time that a clock shows; whole seconds.
fn next_shown(pattern: &Pattern, from: DateTime, inclusive: bool) -> Option<DateTime> {
    let whole = from.with().subsec_nanosecond(0).build().ok()?;
    // an instant between two seconds is after the first of them
    let inclusive = inclusive && from.subsec_nanosecond() == 0;
    pattern.find_next_occurrence(&whole, inclusive).ok()
}

/// Reads five or six fields; names the one that is at fault.
fn read(text: &str) -> Result<Pattern, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let parser = CronParser::builder().year(Year::Disallowed).build();
    if !(5..=6).contains(&fields.len()) {
        return Err(format!("{FORM}; \"{text}\" has {}", if fields.len() == 1 { "one".to_owned() } else { fields.len().to_string() }));
    }
    let names = &FIELDS[FIELDS.len() - fields.len()..];
    for (n, (field, (name, range))) in fields.iter().zip(names).enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[n] = field;
        if parser.parse(&alone.join(" ")).is_err() {
            return Err(format!(
                "the {name}, field {} of {}, is \"{field}\": must be {range}, lists (1,5), ranges (1-5) and steps (*/5) of them",
                n + 1,
                fields.len()
            ));
        }
    }
    let pattern = parser.parse(text).map_err(|error| format!("{FORM}: {error}"))?;
    let somewhen = DateTime::constant(2001, 1, 1, 0, 0, 0, 0);
    match next_shown(&pattern, somewhen, true) {
        Some(_) => Ok(pattern),
        None => Err(format!("\"{text}\" is never due: there is no such day in any month that it names")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str, zone_name: &str, after: &str, n: usize) -> Vec<String> {
        let cron = Cron::parse(text, zone(zone_name).expect("a zone")).expect(text);
        let mut at: Timestamp = after.parse().expect("a time");
        let next = || {
            at = cron.next_after(at)?;
            Some(at.to_string())
        };
        std::iter::from_fn(next).take(n).collect()
    }

    #[test]
    fn usual_expressions() {
        for (text, after, expected) in [
            ("*/15 * * * *", "2026-01-01T00:00:00.5Z", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
            ("*/20 * * * * *", "2026-01-01T00:00:00Z", ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z"]),
            ("0 9 * * MON-FRI", "2026-01-02T09:00:00Z", ["2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z"]),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
            ("0 0 * * sun", "2026-01-01T00:00:00Z", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
            // either of the two days
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", ["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("@daily", "2026-01-01T00:00:00Z", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
            ("@Hourly", "2026-01-01T00:00:00Z", ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]),
            ("@yearly", "2026-01-01T00:00:00Z", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
            ("@every 1h30m", "2026-01-01T00:00:07Z", ["2026-01-01T01:30:07Z", "2026-01-01T03:00:07Z"]),
        ] {
            assert_eq!(times(text, "UTC", after, 2), expected, "{text}");
        }
    }

    #[test]
    fn a_fixed_time_that_is_skipped_fires_at_the_first_instant_after_the_gap_and_one_that_comes_twice_the_first_time() {
        let berlin = |text, after, n| times(text, "Europe/Berlin", after, n);
        // 2026-03-29 02:00 to 03:00 is skipped; 2026-10-25 02:00 to 03:00 comes twice
        assert_eq!(berlin("30 2 * * *", "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        assert_eq!(berlin("15,45 2 * * *", "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"], "once");
        assert_eq!(berlin("0 3 * * *", "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
        assert_eq!(berlin("30 2,3 * * *", "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
        assert_eq!(berlin("30 2 * * *", "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        assert_eq!(berlin("15,45 2 * * *", "2026-10-25T00:20:00Z", 2), ["2026-10-25T00:45:00Z", "2026-10-26T01:15:00Z"]);
        assert_eq!(berlin("30 2 * * *", "2026-10-25T00:45:00Z", 1), ["2026-10-26T01:30:00Z"]);
        // from within the second of the two hours
        assert_eq!(berlin("30 2 * * *", "2026-10-25T01:10:00Z", 1), ["2026-10-26T01:30:00Z"]);
        // half an hour only, in the south; and a day that never was
        assert_eq!(times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2), ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
        assert_eq!(times("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3), ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]);
    }

    #[test]
    fn what_begins_with_a_star_follows_elapsed_time() {
        let berlin = |text, after, n| times(text, "Europe/Berlin", after, n);
        assert_eq!(berlin("*/30 * * * *", "2026-03-29T00:15:00Z", 3), ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
        assert_eq!(berlin("*/30 2 * * *", "2026-03-28T12:00:00Z", 2), ["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"], "it was skipped");
        let autumn = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:00:00Z"];
        assert_eq!(berlin("*/30 2 * * *", "2026-10-24T12:00:00Z", 5), autumn, "in both hours");
        assert_eq!(berlin("0 * * * *", "2026-10-24T23:30:00Z", 3), ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]);
        assert_eq!(berlin("5 */2 * * *", "2026-10-24T23:30:00Z", 3), ["2026-10-25T00:05:00Z", "2026-10-25T01:05:00Z", "2026-10-25T03:05:00Z"]);
    }

    #[test]
    fn the_last_due_times_are_found_however_long_ago_the_first_was() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        for text in ["* * * * * *", "@every 1s"] {
            let cron = Cron::parse(text, TimeZone::UTC).expect("fine");
            let due = cron.due(at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:00.7Z"), 3);
            assert_eq!(due, ["2025-12-31T23:59:58Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"].map(at), "{text}");
            assert_eq!(cron.due(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:04Z"), 1000).len(), 5, "{text}");
            assert_eq!(cron.due(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), 1), [at("2026-01-01T00:00:00Z")], "{text}");
        }
        let daily = Cron::parse("0 3 * * *", zone("Europe/Berlin").expect("a zone")).expect("fine");
        assert_eq!(daily.due(at("2026-01-01T02:00:00Z"), at("2026-07-01T00:00:00Z"), 2), [at("2026-06-29T01:00:00Z"), at("2026-06-30T01:00:00Z")]);
        let hours = Cron::parse("@every 7h", TimeZone::UTC).expect("fine");
        assert_eq!(hours.due(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), 1), [at("2026-01-01T21:00:00Z")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, said) in [
            ("", "must have five fields"),
            ("* * * *", "\"* * * *\" has 4"),
            ("0 0 0 1 1 * 2030", "has 7"),
            ("60 * * * *", "the minute, field 1 of 5, is \"60\": must be 0 to 59"),
            ("0 24 * * *", "the hour, field 2 of 5, is \"24\""),
            ("0 0 0 32 * *", "the day of the month, field 4 of 6, is \"32\""),
            ("0 0 * FOO *", "the month, field 4 of 5, is \"FOO\""),
            ("0 0 * * 8", "the day of the week, field 5 of 5, is \"8\""),
            ("*/0 * * * *", "the minute, field 1 of 5"),
            ("5-1 * * * *", "the minute, field 1 of 5"),
            ("0 0 30 2 *", "is never due"),
            ("@weakly", "there is no \"@weakly\"; there are @yearly, "),
            ("@every soon", "\"soon\" is not a duration"),
            ("@every 500ms", "whole seconds, 1s to 365d"),
            ("@every", "there is no \"@every\""),
        ] {
            let error = Cron::parse(text, TimeZone::UTC).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(zone("Europe/Berln").expect_err("none").contains("did you mean \"Europe/Berlin\"?"));
        assert!(!zone("nowhere").expect_err("none").contains("mean"));
    }

    /// Where clocks change by an hour, by half of one, at midnight, by a day, or never.
    const ZONES: [&str; 7] =
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"];

    #[test]
    fn each_time_is_after_the_one_before_it_in_any_zone() {
        use proptest::prelude::*;
        let minute = prop_oneof!["\\*", "\\*/[1-9]", "[0-9]", "[0-5][0-9]", "[0-9],[3-5][0-9]"];
        let hour = prop_oneof!["\\*", "\\*/[2-6]", "[0-4]", "[0-9],1[0-9]"];
        let any = (minute, hour, proptest::sample::select(&ZONES[..]), 0_i64..2_000_000_000);
        proptest!(ProptestConfig::with_cases(500), |((minute, hour, name, from) in any)| {
            let cron = Cron::parse(&format!("{minute} {hour} * * *"), zone(name).expect("a zone")).expect("an expression");
            let from = Timestamp::from_second(from).expect("a time");
            let mut at = from;
            for _ in 0..20 {
                let next = cron.next_after(at).expect("there is one");
                prop_assert!(next > at);
                // and from anywhere between the two it is the same
                let between = Timestamp::from_second(at.as_second().midpoint(next.as_second() - 1)).expect("a time");
                if between >= at {
                    prop_assert_eq!(cron.next_after(between), Some(next));
                }
                at = next;
            }
        });
    }
}
