use serde::Deserialize;

use crate::handler::{Context, Handler, HandlerError};

/// Fails its first attempts: `{"message": "no luck", "times": 2}`; always, where `times` is absent.
pub(super) struct Fail;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    message: Option<String>,
    times: Option<u32>,
}

impl Handler for Fail {
    type Args = Args;
    type Output = ();

    async fn handle(&self, args: Args, context: Context) -> Result<(), HandlerError> {
        if args.times.is_none_or(|times| u32::try_from(context.attempt()).unwrap_or(0) <= times) {
            return Err(HandlerError::failed(args.message.unwrap_or_else(|| "failed as it was told to".to_owned())));
        }
        Ok(())
    }
}
