use std::time::Duration;

use longshore_common::duration;
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;

use crate::handler::{Context, Handler, HandlerError};

/// How often it tells how far it is.
const TELLS_EVERY: Duration = Duration::from_secs(1);

/// Does nothing for a while: `{"for": "2s"}`; and tells how far it is, so that there is something to see.
pub(super) struct Sleep;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    #[serde(rename = "for", deserialize_with = "read")]
    length: Duration,
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(f64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => duration::from_seconds(seconds),
        Written::Text(text) => duration::parse(&text),
    }
    .map_err(serde::de::Error::custom)
}

impl Handler for Sleep {
    type Args = Args;
    type Output = ();

    async fn handle(&self, args: Args, context: Context) -> Result<(), HandlerError> {
        context.log(format!("sleeps for {}", duration::display(args.length)));
        let begin = Instant::now();
        let mut left = args.length;
        while !left.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(left.min(TELLS_EVERY)) => {}
                () = context.cancellation().cancelled() => {
                    context.log("woken up");
                    return Err(HandlerError::failed("woken up: the job was cancelled"));
                }
            }
            left = args.length.saturating_sub(begin.elapsed());
            // rounded, as people read it
            context.progress((begin.elapsed().div_duration_f64(args.length).min(1.0) * 100.0).round() / 100.0)?;
        }
        context.progress(1)?;
        context.log("woke up");
        Ok(())
    }
}
