//! The key or the group breaks under a blocked read: a notice, no storm, and on again once mended.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::{Duration, Instant};

use tidegate_live::{Client, Consume, RedisServer, wait};

/// A consumer that has done three messages, committed them, and waits in a blocked read.
struct Scene {
    consumer: Consume,
    redis: Client,
    notices: usize,
    _server: RedisServer,
}

impl Scene {
    fn new(args: &[&str]) -> Self {
        let server = RedisServer::start();
        let mut redis = server.client();
        redis.add("orders", ["first"]);
        let consumer =
            Consume::of(&server.url("orders")).args(args).args(["--commit-interval", "100ms"]).start();
        wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
        redis.add("orders", ["second", "third"]);
        consumer.wait_for_payloads(["second", "third"], wait::PATIENCE);
        let groups = redis.groups("orders");
        wait::until_true("committed, and waiting", wait::PATIENCE, || {
            groups.iter().all(|group| redis.pending("orders", group) == 0) && redis.someone_waits()
        });
        let notices = consumer.seen().notices.len();
        Self { consumer, redis, notices, _server: server }
    }

    fn member() -> Self {
        Self::new(&["--mode", "load-balanced", "--group", "crew", "--consumer", "one"])
    }

    /// What broke is said on stderr.
    #[track_caller]
    fn is_said(&self) {
        let notices = self.notices;
        self.consumer.wait_for("a notice", wait::PATIENCE, |seen| seen.notices.len() > notices);
    }

    /// Fewer than 50 commands a second for three seconds, and it neither ends nor floods stderr.
    #[track_caller]
    fn is_calm(&mut self) {
        let before = self.redis.calls();
        let began = Instant::now();
        let consumer = &mut self.consumer;
        wait::always("the consumer lives on", Duration::from_secs(3), || consumer.is_running());
        let after = self.redis.calls();
        let seconds = began.elapsed().as_secs_f64();
        let sum = |calls: &std::collections::BTreeMap<String, u64>| calls.values().sum::<u64>();
        let rate = (sum(&after) - sum(&before)) as f64 / seconds;
        assert!(rate < 50.0, "{rate} commands a second; before {before:?}, after {after:?}");
        let notices = self.consumer.seen().notices.len() - self.notices;
        assert!(notices < 50, "{notices} lines on stderr");
    }

    #[track_caller]
    fn consumes(&mut self, payloads: &[&str]) {
        self.redis.add("orders", payloads);
        self.shows(payloads);
    }

    #[track_caller]
    fn shows(&self, payloads: &[&str]) {
        self.consumer.wait_for_payloads(payloads.iter().copied(), wait::PATIENCE);
    }

    #[track_caller]
    fn ends(mut self) {
        wait::until_true("all committed", wait::PATIENCE, || self.redis.pending("orders", "crew") == 0);
        self.consumer.interrupt();
    }
}

#[test]
fn xgroup_destroy_is_healed_from_the_last_position() {
    let mut scene = Scene::member();
    scene.redis.tell(&["XGROUP", "DESTROY", "orders", "crew"]);
    scene.is_said();
    scene.is_calm();
    scene.consumes(&["after"]);
    // And with an entry that comes before the group is there again.
    wait::until_true("a blocked read", wait::PATIENCE, || scene.redis.someone_waits());
    scene
        .redis
        .atomically(&[&["XGROUP", "DESTROY", "orders", "crew"], &["XADD", "orders", "*", "msg", "between"]]);
    scene.shows(&["between"]);
    scene.ends();
}

#[test]
fn del_is_waited_out_and_the_new_stream_is_read_from_its_beginning() {
    let mut scene = Scene::member();
    scene.redis.tell(&["DEL", "orders"]);
    scene.is_said();
    scene.is_calm();
    scene.consumes(&["new-1", "new-2"]);
    scene.ends();
}

#[test]
fn flushall_is_waited_out() {
    let mut scene = Scene::member();
    scene.redis.tell(&["FLUSHALL"]);
    scene.is_said();
    scene.is_calm();
    scene.consumes(&["new-1", "new-2"]);
    scene.ends();
}

#[test]
fn a_key_of_another_type_is_waited_out() {
    let mut scene = Scene::member();
    scene.redis.tell(&["SET", "orders", "a string"]);
    scene.is_said();
    scene.is_calm();
    scene.redis.tell(&["DEL", "orders"]);
    scene.consumes(&["new-1", "new-2"]);
    scene.ends();
}

#[test]
fn a_stream_renamed_away_and_back_goes_on_where_it_was() {
    let mut scene = Scene::member();
    scene.redis.tell(&["RENAME", "orders", "aside"]);
    scene.is_said();
    scene.is_calm();
    scene.redis.add("aside", ["meanwhile"]);
    scene.redis.tell(&["RENAME", "aside", "orders"]);
    scene.shows(&["meanwhile"]);
    scene.consumes(&["after"]);
    scene.ends();
}

#[test]
fn del_and_recreation_in_one_multi_wakes_nobody_and_is_found_all_the_same() {
    let mut scene = Scene::member();
    scene.redis.atomically(&[&["DEL", "orders"], &["XADD", "orders", "*", "msg", "reborn"]]);
    scene.is_calm();
    scene.shows(&["reborn"]);
    scene.is_said();
    scene.is_calm();
    scene.consumes(&["after"]);
    scene.ends();
}

#[test]
fn a_group_recreated_by_somebody_else_is_simply_used() {
    let mut scene = Scene::member();
    scene.redis.atomically(&[
        &["XGROUP", "DESTROY", "orders", "crew"],
        &["XGROUP", "CREATE", "orders", "crew", "$"],
        &["XADD", "orders", "*", "msg", "after"],
    ]);
    scene.shows(&["after"]);
    scene.is_calm();
    scene.ends();
}

#[test]
fn with_create_a_deleted_stream_is_made_again() {
    let mut scene =
        Scene::new(&["--mode", "load-balanced", "--group", "crew", "--consumer", "one", "--create"]);
    scene.redis.tell(&["DEL", "orders"]);
    scene.is_said();
    scene.is_calm();
    scene.consumes(&["new-1"]);
    scene.ends();
}

#[test]
fn real_time_reads_on_after_a_deletion_and_after_another_type() {
    let mut scene = Scene::new(&[]);
    scene.redis.tell(&["DEL", "orders"]);
    scene.is_calm();
    scene.consumes(&["new-1", "new-2"]);
    wait::until_true("a blocked read", wait::PATIENCE, || scene.redis.someone_waits());
    scene.redis.tell(&["SET", "orders", "a string"]);
    scene.is_calm();
    scene.redis.tell(&["DEL", "orders"]);
    scene.redis.add("orders", ["new-3"]);
    scene.shows(&["new-3"]);
    scene.consumer.interrupt();
}

#[test]
fn a_broken_key_delays_no_exit() {
    for how in [&["DEL", "orders"][..], &["SET", "orders", "a string"]] {
        let mut scene = Scene::member();
        scene.redis.tell(how);
        scene.is_said();
        scene.consumer.interrupt();
    }
}

#[test]
fn one_broken_stream_does_not_hold_up_another() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    redis.add("returns", ["second"]);
    let mut consumer = Consume::of(&server.url("orders,returns")).member("crew", "one").start();
    consumer.wait_for_payloads(["first", "second"], wait::PATIENCE);
    wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
    redis.tell(&["SET", "orders", "a string"]);
    for round in 0..5 {
        let payload = format!("return-{round}");
        redis.add("returns", [payload.as_str()]);
        consumer.wait_for_payloads([payload], wait::PATIENCE);
    }
    redis.tell(&["DEL", "orders"]);
    redis.add("orders", ["mended"]);
    consumer.wait_for_payloads(["mended"], wait::PATIENCE);
    consumer.interrupt();
}
