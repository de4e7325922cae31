//! The argument by which a route says what it is for: it lets in who may do that, and tells the document so.

use std::{marker::PhantomData, ops::Deref};

use longshore_common::key::Scope;
use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};

use crate::{auth::Access, problem::ApiError};

/// The schemes, as the document calls them.
const SCHEMES: [&str; 2] = ["bearer", "cookie"];

/// What a route needs of the key that a request bears.
pub trait Needs: Send + Sync + 'static {
    /// The scope; `None`: any key will do.
    const SCOPE: Option<Scope>;
}

/// It enqueues.
#[derive(Debug)]
pub enum Enqueue {}
impl Needs for Enqueue {
    const SCOPE: Option<Scope> = Some(Scope::Enqueue);
}

/// It shows something.
#[derive(Debug)]
pub enum Read {}
impl Needs for Read {
    const SCOPE: Option<Scope> = Some(Scope::Read);
}

/// It leases jobs, and reports what became of them.
#[derive(Debug)]
pub enum Work {}
impl Needs for Work {
    const SCOPE: Option<Scope> = Some(Scope::Work);
}

/// It controls what is there.
#[derive(Debug)]
pub enum Admin {}
impl Needs for Admin {
    const SCOPE: Option<Scope> = Some(Scope::Admin);
}

/// It is for everybody who has a key.
#[derive(Debug)]
pub enum Any {}
impl Needs for Any {
    const SCOPE: Option<Scope> = None;
}

/// Who calls, and may do what the route needs. The first argument of a route, so that nothing else of a request is looked
/// at before.
#[derive(Debug)]
pub struct Caller<N>(Access, PhantomData<N>);

impl<N> Deref for Caller<N> {
    type Target = Access;
    fn deref(&self) -> &Access {
        &self.0
    }
}

impl<'a, N: Needs> ApiExtractor<'a> for Caller<N> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = |ty, description| MetaSecurityScheme {
            ty,
            description: Some(description),
            name: None,
            key_in: None,
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let [bearer, cookie] = SCHEMES;
        let in_header = scheme("http", "An API key: ls_…");
        registry.create_security_scheme(bearer, MetaSecurityScheme { scheme: Some("bearer"), bearer_format: Some("ls_<prefix>_<secret>"), ..in_header });
        let in_cookie = scheme("apiKey", "The cookie that POST /login sets.");
        registry.create_security_scheme(cookie, MetaSecurityScheme { name: Some(crate::auth::COOKIE), key_in: Some("cookie"), ..in_cookie });
    }

    fn security_schemes() -> Vec<&'static str> {
        SCHEMES.to_vec()
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        // a request that nobody looked at comes no further
        let access = request.data::<Access>().ok_or(ApiError::Unauthorized(crate::auth::NO_KEY))?;
        if let Some(scope) = N::SCOPE {
            access.want(scope)?;
        }
        Ok(Self(access.clone(), PhantomData))
    }
}
