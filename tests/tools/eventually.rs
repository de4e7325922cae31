//! That waits are bounded and named.

use std::time::{Duration, Instant};

use crate::support::eventually::eventually;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(60);

#[tokio::test]
async fn returns_what_it_found_as_soon_as_it_is_there() {
    let begin = Instant::now();
    let mut looks = 0;
    let found = eventually("the third look", LONG, async || {
        looks += 1;
        (looks == 3).then_some(looks)
    })
    .await;
    assert_eq!(found, 3);
    assert!(begin.elapsed() < LONG / 2);
}

#[tokio::test]
#[should_panic(expected = "not within 60ms: the moon to be blue")]
async fn names_what_did_not_come() {
    eventually("the moon to be blue", SHORT, async || false).await;
}

#[tokio::test]
#[should_panic(expected = r#"last seen: "grey""#)]
async fn shows_what_came_instead() {
    eventually("the moon to be blue", SHORT, async || Err::<(), _>("grey")).await;
}

#[tokio::test]
#[should_panic(expected = "the first look did not end")]
async fn does_not_wait_for_a_look_that_hangs() {
    eventually("an answer", SHORT, std::future::pending::<bool>).await;
}
