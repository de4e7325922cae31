use longshore_common::json::RawJson;

use crate::handler::{Context, Handler, HandlerError};

/// Returns its args.
pub(super) struct Echo;

impl Handler for Echo {
    type Args = RawJson;
    type Output = RawJson;

    async fn handle(&self, args: RawJson, _: Context) -> Result<RawJson, HandlerError> {
        Ok(args)
    }
}
