//! When a failed attempt is followed by another one.

use serde::{Deserialize, Serialize, Serializer};

use super::view::Seconds;

/// How the delay grows from one failed attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// `min(max, base * 2^(n-1))` after attempt n.
    Exponential,
    /// `min(max, base * n)` after attempt n.
    Linear,
    /// Always `base`.
    Fixed,
}

/// A job's own backoff. The delay itself is reckoned in one place, the SQL function `longshore.backoff`, since the
/// rescue of a dead worker's jobs needs it where no worker is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How the delay grows.
    pub backoff: Backoff,
    /// Seconds, 0 to 30 days.
    #[serde(serialize_with = "short")]
    pub base: f64,
    /// Seconds at most, 0 to 30 days.
    #[serde(serialize_with = "short")]
    pub max: f64,
    /// Share by which the delay is lengthened or shortened at random, 0 to 1.
    #[serde(serialize_with = "short")]
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { backoff: Backoff::Exponential, base: 1.0, max: 86_400.0, jitter: 0.1 }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn short<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Seconds(*number).serialize(serializer) // without a fraction where it has none
}
