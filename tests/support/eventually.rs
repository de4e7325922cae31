//! Waiting for a state, bounded and by name, so that no test sleeps and hopes.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How often a condition is looked at: seldom enough to leave the machine to the tested.
const LOOK_AGAIN: Duration = Duration::from_millis(15);

/// What a condition answers: `bool`, `Option` with a value, or `Result` with the reason why not yet.
pub trait Answer {
    /// What there is once the condition holds.
    type Found;
    /// The value, or what was seen instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl Answer for bool {
    type Found = ();
    fn found(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "false".to_owned())
    }
}

impl<T> Answer for Option<T> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "none".to_owned())
    }
}

impl<T, E: Debug> Answer for Result<T, E> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Looks until the condition holds and returns what it found.
///
/// # Panics
/// With the name and what was seen last, when it does not hold in time.
#[track_caller]
pub fn eventually<A: Answer>(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> A) -> impl Future<Output = A::Found> {
    let caller = std::panic::Location::caller();
    async move {
        let mut seen = "nothing, the first look did not end".to_owned();
        let look = async {
            loop {
                match condition().await.found() {
                    Ok(found) => return found,
                    Err(instead) => seen = instead,
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let found = timeout(within, look).await;
        found.unwrap_or_else(|_| panic!("not within {within:?}: {what} (at {caller}); last seen: {seen}"))
    }
}
