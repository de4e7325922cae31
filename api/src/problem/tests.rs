//! What callers and the log are told.

use longshore_common::store::Away;

use super::*;

async fn shown(error: ApiError) -> (Response, serde_json::Value) {
    let mut response = error.as_response();
    let body = response.take_body().into_vec().await.expect("in memory");
    (response, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn faults_are_listed() {
    let faults = vec![Fault { pointer: "/kind".into(), detail: "is missing".into() }, Fault { pointer: "/a".into(), detail: "b".into() }];
    let (response, problem) = shown(ApiError::Invalid(faults)).await;
    assert_eq!(response.content_type(), Some(MEDIA_TYPE));
    assert_eq!((problem["status"].as_u64(), &problem["errors"][0]["pointer"]), (Some(422), &"/kind".into()));
}

#[tokio::test]
async fn a_cause_is_for_the_log_only() {
    let source = Away::new(AwayCause::Other, "password=secret");
    let (response, problem) = shown(ApiError::Store(StoreError::Unavailable { what: "read a job", source })).await;
    assert_eq!((problem["status"].as_u64(), response.header("retry-after")), (Some(503), Some("1")));
    assert!(!problem.to_string().contains("secret"));
    assert!(response.data::<Cause>().is_some_and(|cause| cause.0.contains("secret")));
}

#[tokio::test]
async fn a_method_that_is_not_allowed_says_which_are() {
    let (response, _) = shown(ApiError::MethodNotAllowed { allowed: "GET, HEAD".to_owned() }).await;
    assert_eq!((response.status().as_u16(), response.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn who_bears_no_key_is_told_what_sort_is_wanted() {
    let (response, problem) = shown(ApiError::Unauthorized("x")).await;
    assert_eq!((response.status().as_u16(), response.header("www-authenticate"), &problem["detail"]), (401, Some("Bearer"), &"x".into()));
    let (response, _) = shown(ApiError::OutOfScope { key: "k".to_owned(), scope: Scope::Read }).await;
    assert_eq!((response.status().as_u16(), response.header("www-authenticate")), (403, None), "another header would not help");
}

#[test]
fn errors_of_poem_become_problems() {
    assert_eq!(from_poem(poem::error::NotFoundError.into()).status(), StatusCode::NOT_FOUND);
    assert_eq!(from_poem(poem::Error::from_status(StatusCode::IM_A_TEAPOT)).status(), StatusCode::BAD_REQUEST);
    assert_eq!(from_poem(ApiError::CrossSite.into()).status(), StatusCode::FORBIDDEN);
}
