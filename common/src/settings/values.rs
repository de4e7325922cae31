//! How the text of a setting is read; what is wrong is said in words that follow the text.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use super::{QueuePattern, QueueShare};
use crate::{duration, job::QueueName, key::Credential};

pub(super) fn check_url(text: &str) -> Result<String, String> {
    crate::store::connect::parse(text).map(|_| text.to_owned())
}

/// Reads where an API is: `https://jobs.example`, or a path below it where a proxy puts it.
///
/// # Errors
/// Says in words what is wrong.
pub fn api_url(text: &str) -> Result<String, String> {
    const FORM: &str = "must be where an API is, such as http://127.0.0.1:8000 or https://jobs.example";
    let url = url::Url::parse(text).map_err(|why| format!("{FORM} ({why})"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(FORM.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{FORM}, and nothing more: a key goes into LONGSHORE_CLIENT__KEY"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn api_key(text: &str) -> Result<String, String> {
    let form = || "must be an API key as `longshore keys create` prints it: ls_…".to_owned();
    Credential::of(text).map(|_| text.to_owned()).ok_or_else(form)
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address such as 127.0.0.1:8000 or [::]:8000".to_owned())
}

pub(super) fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("must be a number from {least} to {most}"))
}

pub(super) fn length(text: &str, least: &str, most: &str) -> Result<Duration, String> {
    let (shortest, longest) = (duration::parse(least)?, duration::parse(most)?);
    // the line names the value before it says what is wrong with it
    let length = duration::parse(text).map_err(|why| why.trim_start_matches(&format!("\"{}\" ", text.trim())).to_owned())?;
    if (shortest..=longest).contains(&length) { Ok(length) } else { Err(format!("must be from {least} to {most}")) }
}

pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// Reads `"default=50,emails=10"` or `"*=50"`.
pub(super) fn parse_queues(text: &str) -> Result<Vec<QueueShare>, String> {
    const FORM: &str = "must be queues and how many jobs of each at once, such as \"default=50,emails=10\" or \"*=50\"";
    let mut shares: Vec<QueueShare> = Vec::new();
    for part in list(text) {
        let (name, slots) = part.split_once('=').ok_or_else(|| format!("{FORM}; \"{part}\" has no ="))?;
        let slots = number(slots.trim(), 1, 10_000).map_err(|why| format!("{FORM}; the number in \"{part}\" {why}"))?;
        let pattern = match name.trim() {
            "*" => QueuePattern::Other,
            name => QueuePattern::Named(QueueName::new(name).map_err(|why| format!("{FORM}; the name in \"{part}\" {why}"))?),
        };
        if shares.iter().any(|s| s.pattern == pattern) {
            return Err(format!("{FORM}; \"{name}\" stands twice"));
        }
        shares.push(QueueShare { pattern, slots });
    }
    if shares.is_empty() { Err(FORM.to_owned()) } else { Ok(shares) }
}

/// Reads networks such as `"127.0.0.0/8,10.0.0.0/8"`; an address alone is a network of one.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    list(text)
        .into_iter()
        .map(|part| {
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("must be networks separated by commas, such as \"127.0.0.0/8,10.0.0.0/8\"; \"{part}\" is none"))
        })
        .collect()
}

/// Reads the base URL of a collector.
pub(super) fn collector(text: &str) -> Result<String, String> {
    const FORM: &str = "must be the base URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318";
    let url = url::Url::parse(text).map_err(|why| format!("{FORM}: {why}"))?;
    let path = url.path().trim_end_matches('/');
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() || url.fragment().is_some() {
        return Err(FORM.to_owned());
    }
    if path.ends_with("/v1/traces") {
        return Err(format!("{FORM}; /v1/traces is added to it"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Reads a number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "must be a number from 0 to 1".to_owned())
}
