//! The built-in kinds, for trying things.

mod echo;
mod fail;
mod sleep;

use longshore_common::{
    job::Kind,
    settings::{SettingError, WorkerSettings},
};

use crate::handler::Handlers;

/// The handlers that `worker.builtins` names.
///
/// # Errors
/// Where it names one that there is not.
pub fn builtin(settings: &WorkerSettings) -> Result<Handlers, SettingError> {
    settings.builtins.iter().try_fold(Handlers::new(), |handlers, name| {
        let kind = Kind::new(name).map_err(|why| SettingError(format!("LONGSHORE_WORKER__BUILTINS: \"{name}\" {why}")))?;
        Ok(match name.as_str() {
            "echo" => handlers.with(kind, echo::Echo),
            "sleep" => handlers.with(kind, sleep::Sleep),
            "fail" => handlers.with(kind, fail::Fail),
            _ => return Err(SettingError(format!("LONGSHORE_WORKER__BUILTINS: there is no built-in kind \"{name}\"; there are echo, sleep, fail"))),
        })
    })
}
