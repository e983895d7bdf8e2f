//! `content list`: when something was used.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn used_is_when_a_client_asked_for_it_and_not_when_it_was_fetched_ahead() {
    let site = Site::new().await;
    site.origin.put("/a.cab", Object::made(100_000, 3));
    let a = site.origin.url("/a.cab");
    site.well(&["fetch", &a]);
    // Once more: it is held, and looked for by a job that serves nobody.
    site.well(&["fetch", &a]);
    let row = || site.json(&["content", "list"])["rows"][0].clone();
    let before = row();
    assert_eq!((&before["used"], &before["used_at"]), (&false.into(), &before["published_at"]));
    let is_unused = |list: &str| list.lines().nth(1).unwrap().split("  ").map(str::trim).any(|cell| cell == "-");
    let listed = site.well(&["content", "list"]);
    assert!(is_unused(&listed), "{listed}");
    assert!(site.well(&["content", "show", &a]).contains("by no client since it came"));

    let target = format!("/a.cab?cacheHostOrigin={}", site.origin.address());
    let node = site.node.address("http");
    let answer = tokio::task::spawn_blocking(move || node_process::get_bytes(node, &target)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..200]));
    // At once, before the index has been told.
    let after = row();
    assert_eq!(after["used"], true, "{after}");
    assert!(!is_unused(&site.well(&["content", "list"])));
}
