//! The pages: the dashboard at `/` and the interactive description of the API at `/docs`, from files inside the program. They hold
//! no data, so they need no key: what they show they ask the API for, like any client.

mod dashboard;
mod docs;

use std::collections::HashMap;

use bytes::Bytes;
use poem::{
    Endpoint, EndpointExt, Request, Response, Result,
    endpoint::BoxEndpoint,
    http::{Method, StatusCode, header},
};

/// May be kept by the browser, and is asked for again each time: after an upgrade it is another one.
const CHANGES: &str = "no-cache";
/// Never changes: its name holds a hash of what is in it.
const NEVER_CHANGES: &str = "public, max-age=31536000, immutable";

/// The pages and what they load, by path. `document` is what `/docs` shows.
pub fn pages(document: &str) -> HashMap<String, HashMap<Method, BoxEndpoint<'static>>> {
    let get = |endpoint: BoxEndpoint<'static>| HashMap::from([(Method::GET, endpoint)]);
    let files = dashboard::files().into_iter().chain(docs::files(document.to_owned()));
    files.map(|file| (file.path.clone(), get(file.boxed()))).collect()
}

/// A file that is served as it is.
#[derive(Debug)]
struct File {
    path: String,
    media_type: &'static str,
    cache: &'static str,
    /// What the browser may load and run for it; for pages.
    policy: Option<&'static str>,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Whole(Bytes),
    /// Made when it is first asked for: most programs never are.
    Made(fn() -> Bytes),
}

impl Endpoint for File {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let contents = match &self.contents {
            Contents::Whole(bytes) => bytes.clone(),
            Contents::Made(make) => make(),
        };
        let tag = tag(&contents);
        let known = request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
        let known = known.map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag);
        let mut response = Response::builder()
            .header(header::CACHE_CONTROL, self.cache)
            .header(header::ETAG, tag)
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(header::REFERRER_POLICY, "no-referrer");
        if let Some(policy) = self.policy {
            response = response.header(header::CONTENT_SECURITY_POLICY, policy);
        }
        Ok(if known { response.status(StatusCode::NOT_MODIFIED).finish() } else { response.content_type(self.media_type).body(contents) })
    }
}

/// Tells one content from another; nothing hangs on its being hard to forge.
fn tag(contents: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hasher};
    let mut hash = DefaultHasher::new();
    hash.write(contents);
    format!("\"{:016x}\"", hash.finish())
}
