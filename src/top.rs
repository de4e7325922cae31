//! `longshore top`
use std::process::ExitCode;
use crate::backend::Place;
#[derive(Debug, clap::Args)]
pub struct Args {}
pub async fn run(_args: &Args, _place: &Place) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
