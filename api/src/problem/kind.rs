//! The sorts of problems: what a caller may branch on.

use poem::http::StatusCode;

/// A sort of problem: its URI, its title, its status. The document lists them; each title says what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Malformed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    QueueFull,
    Internal,
    Unavailable,
}

impl Kind {
    /// URI, title and status: stable, a caller may branch on them.
    pub fn facts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Malformed => ("urn:longshore:problem:malformed", "The body is malformed", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("urn:longshore:problem:unauthorized", "An API key is needed", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("urn:longshore:problem:forbidden", "The request is refused", StatusCode::FORBIDDEN),
            Self::NotFound => ("urn:longshore:problem:not-found", "There is no such thing", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("urn:longshore:problem:method-not-allowed", "The path does not know the method", StatusCode::METHOD_NOT_ALLOWED),
            Self::Conflict => ("urn:longshore:problem:conflict", "Something else stands in the way", StatusCode::CONFLICT),
            Self::TooLarge => ("urn:longshore:problem:too-large", "The body is too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => {
                ("urn:longshore:problem:unsupported-media-type", "The body is of the wrong media type", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::Invalid => ("urn:longshore:problem:invalid", "The input is invalid", StatusCode::UNPROCESSABLE_ENTITY),
            Self::QueueFull => ("urn:longshore:problem:queue-full", "The queue is full", StatusCode::TOO_MANY_REQUESTS),
            Self::Internal => ("urn:longshore:problem:internal", "Something went wrong here", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => ("urn:longshore:problem:unavailable", "Not now; try again", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
