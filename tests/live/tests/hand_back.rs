//! A member that leaves in order hands on what it was given and didn't ack.

use std::time::Duration;

use tidegate_live::{Consume, RedisServer, wait};

#[test]
fn what_a_leaving_member_did_not_ack_goes_to_the_others_at_once() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let entries = || (0..2_500).map(|n| format!("entry-{n}"));
    redis.add("orders", entries());
    // No name of its own, so nobody will come back under it. It is given far more than it takes.
    let leaver = ["--mode", "load-balanced", "--group", "crew", "--count", "5", "--claim-idle", "60s"];
    Consume::of(&server.url("orders")).args(leaver).start().ends_within(wait::PATIENCE);
    let left = redis.pending("orders", "crew");
    assert!(left > 100, "it was given {left} more than it took: the test shows nothing");
    let claims = ["--claim-interval", "500ms", "--claim-idle", "60s"];
    let mut other = Consume::of(&server.url("orders")).member("crew", "other").args(claims).start();
    // Long before anything has been idle for 60 s.
    other.wait_for_payloads(entries().skip(5), Duration::from_secs(30));
    wait::until_true("nothing pending", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    other.interrupt();
}

#[test]
fn a_member_with_a_name_keeps_what_is_its_own() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", (0..50).map(|n| format!("entry-{n}")));
    let few = ["--count", "5", "--claim-idle", "60s"];
    Consume::of(&server.url("orders")).member("crew", "named").args(few).start().ends_within(wait::PATIENCE);
    let list = redis.pending_list("orders", "crew");
    assert_eq!(list.len(), 45);
    assert!(list.iter().all(|entry| entry.owner == "named" && entry.idle_ms < 60_000), "it will come back");
}
