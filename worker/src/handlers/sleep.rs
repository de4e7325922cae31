use std::time::Duration;

use longshore_common::duration;
use serde::{Deserialize, Deserializer};

use crate::handler::{Context, Handler, HandlerError};

/// Does nothing for a while: `{"for": "2s"}`.
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
        tokio::select! {
            () = tokio::time::sleep(args.length) => Ok(()),
            () = context.cancellation().cancelled() => Err(HandlerError::failed("woken up: the job was cancelled")),
        }
    }
}
