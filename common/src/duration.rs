//! Durations as people write them: seconds as a number, or "200ms", "30s", "5m", "1h30m", "7d".

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};

/// What every message about a duration says is allowed.
pub const ALLOWED: &str = "seconds as a number, or a text such as \"200ms\", \"30s\", \"5m\", \"1h30m\", \"7d\"";

/// Reads a duration from text. A bare number is seconds.
///
/// # Errors
/// Says in words what is wrong; months and years are refused, since their length is not fixed.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return from_seconds(seconds);
    }
    let span: Span = text.parse().map_err(|_| format!("\"{text}\" is not a duration; allowed are {ALLOWED}"))?;
    let seconds =
        span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).map_err(|_| format!("\"{text}\" has no fixed length; allowed are {ALLOWED}"))?;
    from_seconds(seconds)
}

/// Takes a number of seconds.
///
/// # Errors
/// Refuses negative and endless ones.
pub fn from_seconds(seconds: f64) -> Result<Duration, String> {
    if seconds < 0.0 {
        return Err("must not be negative".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "is too long".to_owned())
}

/// Writes a duration the shortest way that [`parse`] reads back: `1h30m`, `200ms`.
pub fn display(duration: Duration) -> String {
    let (mut seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            text += &format!("{}{unit}", seconds / length);
            seconds %= length;
        }
    }
    if millis > 0 {
        text += &format!("{millis}ms");
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_contract_names() {
        for (text, millis) in [("200ms", 200), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("90", 90_000), ("0.25", 250)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_with_words() {
        for (text, why) in [
            ("", "not a duration"),
            ("soon", "not a duration"),
            ("1 month", "no fixed length"),
            ("-5s", "negative"),
            ("-5", "negative"),
            ("inf", "too long"),
            ("NaN", "too long"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["1h30m", "200ms", "7d", "1m5s250ms", "0s"] {
            assert_eq!(display(parse(text).expect(text)), text);
        }
    }
}
