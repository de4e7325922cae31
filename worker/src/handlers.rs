//! The handlers that settings name: the built-in kinds, for trying things; commands and services, as `[handlers.*]` says.

mod calls;
mod command;
mod echo;
mod fail;
mod http;
mod output;
mod push;
mod sleep;

use std::{cell::OnceCell, sync::Arc};

use jiff::Timestamp;
use longshore_common::{
    job::Kind,
    settings::{HandlerSettings, SettingError, WorkerSettings},
};

use self::calls::Caller;
use crate::handler::Handlers;

/// All handlers that the settings name. Of one kind, `[handlers.*]` counts before a built-in.
///
/// # Errors
/// Where one of them cannot be.
pub fn configured(settings: &WorkerSettings) -> Result<Handlers, SettingError> {
    let commands = command::Shared::new();
    // made where something calls, since it looks for certificates
    let (caller, allow) = (OnceCell::new(), &settings.allow);
    let caller = || caller.get_or_init(|| Caller::new(allow)).clone();
    settings.handlers.iter().try_fold(builtin(settings, &caller)?, |handlers, (kind, handler)| match handler {
        HandlerSettings::Command(settings) => {
            let handler = command::Command::new(kind.clone(), settings.clone(), commands.clone());
            Ok(handlers.with_any(kind.clone(), Arc::new(handler), settings.concurrency))
        }
        HandlerSettings::Http(settings) => {
            let handler = push::Push::new(kind.clone(), settings.clone(), caller())?;
            Ok(handlers.with_any(kind.clone(), Arc::new(handler), settings.concurrency))
        }
    })
}

/// The handlers that `worker.builtins` names.
fn builtin(settings: &WorkerSettings, caller: &dyn Fn() -> Caller) -> Result<Handlers, SettingError> {
    settings.builtins.iter().try_fold(Handlers::new(), |handlers, name| {
        let kind = Kind::new(name).map_err(|why| SettingError(format!("LONGSHORE_WORKER__BUILTINS: \"{name}\" {why}")))?;
        Ok(match name.as_str() {
            "echo" => handlers.with(kind, echo::Echo),
            "sleep" => handlers.with(kind, sleep::Sleep),
            "fail" => handlers.with(kind, fail::Fail),
            "http" => handlers.with(kind, http::Http(caller())),
            _ => return Err(SettingError(format!("LONGSHORE_WORKER__BUILTINS: there is no built-in kind \"{name}\"; there are echo, sleep, fail, http"))),
        })
    })
}

/// The time by this machine's clock, for services that only know that.
#[expect(clippy::disallowed_methods, reason = "who is called has no other clock in common with us")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}
