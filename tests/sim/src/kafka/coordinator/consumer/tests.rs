#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use tidegate_core::kafka::wire::ConsumerGroupHeartbeatRequestTopicPartitions as Owned;

use super::*;

/// A group, its clock and its topics: `a` with three partitions, `b` with two.
struct World {
    group: ConsumerGroup,
    topics: Topics,
    config: ConsumerGroups,
    now: Instant,
}

type Answer = (i32, Option<Vec<(char, i32)>>);

impl World {
    fn new(release: Release) -> Self {
        let config = ConsumerGroups { assignment_interval: Duration::ZERO, ..ConsumerGroups::default() };
        let mut topics = Topics::default();
        topics.create("a", 3, 1, &[1]);
        topics.create("b", 2, 1, &[1]);
        Self { group: ConsumerGroup::new(release), topics, config, now: Instant::from_nanos(1) }
    }

    fn send(&mut self, request: &Request) -> Result<Answer, ErrorCode> {
        let response = self.group.heartbeat(self.now, request, &self.topics, &self.config);
        self.group.check().unwrap();
        let response = response?;
        let assignment = response.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            let spots = topics
                .flat_map(|topic| topic.partitions.into_iter().map(move |index| (topic.topic_id, index)));
            spots
                .map(|(id, index)| {
                    (self.topics.name_of(id, "").unwrap_or("?").chars().next().unwrap(), index)
                })
                .collect()
        });
        Ok((response.member_epoch, assignment))
    }

    fn join(&mut self, id: &str, names: &[&str]) -> Result<Answer, ErrorCode> {
        self.send(&joining(id, names))
    }

    fn beat(&mut self, id: &str, epoch: i32) -> Result<Answer, ErrorCode> {
        self.send(&request(id, epoch))
    }

    fn owning(&mut self, id: &str, epoch: i32, owned: &[(char, i32)]) -> Result<Answer, ErrorCode> {
        let request = Request { topic_partitions: Some(self.spots(owned)), ..request(id, epoch) };
        self.send(&request)
    }

    fn spots(&self, owned: &[(char, i32)]) -> Vec<Owned> {
        let one = |(name, index): &(char, i32)| Owned {
            topic_id: self.topics.id_of(&name.to_string()),
            partitions: vec![*index],
        };
        owned.iter().map(one).collect()
    }

    fn spot(&self, name: &str, index: i32) -> Spot {
        (self.topics.id_of(name), index)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.group.pass_time(self.now, &self.topics);
        self.group.check().unwrap();
    }
}

fn request(id: &str, epoch: i32) -> Request {
    Request { group_id: "g".into(), member_id: id.into(), member_epoch: epoch, ..Request::default() }
}

fn joining(id: &str, names: &[&str]) -> Request {
    Request {
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        topic_partitions: Some(Vec::new()),
        ..request(id, 0)
    }
}

fn of(name: char, indices: &[i32]) -> Option<Vec<(char, i32)>> {
    Some(indices.iter().map(|index| (name, *index)).collect())
}

#[test]
fn a_partition_is_given_only_when_its_owner_let_go_of_it() {
    let mut world = World::new(Release::V4_3);
    assert_eq!(world.join("m1", &["a"]), Ok((2, of('a', &[0, 1, 2]))));
    assert_eq!(world.beat("m1", 2), Ok((2, None)));
    // The other one is at the new epoch at once, and has nothing.
    assert_eq!(world.join("m2", &["a"]), Ok((3, of('a', &[]))));
    assert_eq!(world.beat("m2", 3), Ok((3, None)));
    // The first one is told, and stays where it is until it did.
    let (epoch, kept) = world.beat("m1", 2).unwrap();
    assert_eq!((epoch, kept.clone().unwrap().len()), (2, 2));
    assert_eq!(world.owning("m1", 2, &[('a', 0), ('a', 1), ('a', 2)]), Ok((2, None)));
    assert_eq!(world.beat("m2", 3), Ok((3, None)));
    assert_eq!(world.owning("m1", 2, &kept.unwrap()), Ok((3, None)));
    let given = world.beat("m2", 3).unwrap().1.unwrap();
    assert_eq!(given.len(), 1);
    assert_eq!(world.beat("m2", 3), Ok((3, None)));
}

#[test]
fn who_leaves_leaves_all_to_the_others() {
    let mut world = World::new(Release::V4_2);
    assert_eq!(world.join("m1", &["a"]), Ok((1, of('a', &[0, 1, 2]))));
    world.join("m2", &["a"]).unwrap();
    assert_eq!(world.beat("m1", LEAVES), Ok((-1, None)));
    assert_eq!(world.beat("m1", LEAVES), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(world.beat("m2", 2), Ok((3, of('a', &[0, 1, 2]))));
    assert_eq!(world.beat("m2", LEAVES), Ok((-1, None)));
    assert!(world.group.is_empty());
    assert_eq!(world.group.next_timer(), None);
}

#[test]
fn a_full_request_gets_a_full_answer() {
    let mut world = World::new(Release::V4_3);
    world.join("m1", &["a"]).unwrap();
    let full = Request {
        member_epoch: 2,
        topic_partitions: Some(world.spots(&[('a', 0), ('a', 1), ('a', 2)])),
        ..joining("m1", &["a"])
    };
    assert_eq!(world.send(&full), Ok((2, of('a', &[0, 1, 2]))));
}

#[test]
fn an_older_epoch_is_taken_from_who_may_have_missed_the_answer() {
    let mut world = World::new(Release::V4_3);
    world.join("m1", &["a"]).unwrap();
    world.join("m2", &["a"]).unwrap();
    let kept = world.beat("m1", 2).unwrap().1.unwrap();
    world.owning("m1", 2, &kept).unwrap();
    // It is at 3 now, and may say 2 as long as it has no more than it should.
    assert_eq!(world.owning("m1", 2, &kept), Ok((3, None)));
    assert_eq!(world.beat("m1", 2), Err(ErrorCode::FENCED_MEMBER_EPOCH));
    let all = [('a', 0), ('a', 1), ('a', 2)];
    assert_eq!(world.owning("m1", 2, &all), Err(ErrorCode::FENCED_MEMBER_EPOCH));
    assert_eq!(world.beat("m1", 1), Err(ErrorCode::FENCED_MEMBER_EPOCH));
    assert_eq!(world.beat("m1", 4), Err(ErrorCode::FENCED_MEMBER_EPOCH));
    assert_eq!(world.beat("m3", 4), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn time_outs_put_members_out() {
    let mut world = World::new(Release::V4_3);
    world.join("m1", &["a"]).unwrap();
    world.join("m2", &["a"]).unwrap();
    world.beat("m1", 2).unwrap();
    // It has ten seconds to let go.
    assert_eq!(world.group.next_timer(), Some(world.now + Duration::from_secs(10)));
    world.pass(9);
    world.beat("m1", 2).unwrap();
    world.pass(1);
    assert_eq!(world.beat("m1", 2), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(world.beat("m2", 3), Ok((4, of('a', &[0, 1, 2]))));
    world.pass(44);
    assert!(!world.group.is_empty());
    world.pass(1);
    assert!(world.group.is_empty());
    let lost = world.group.take_changes().into_iter().filter_map(|change| change.lost);
    assert_eq!(lost.collect::<Vec<_>>(), [Lost::Expired; 6]);
}

#[test]
fn a_static_member_finds_its_place_again() {
    let mut world = World::new(Release::V4_3);
    let fixed = |request: Request| Request { instance_id: Some("i".into()), ..request };
    world.send(&fixed(joining("m1", &["a"]))).unwrap();
    assert_eq!(world.send(&fixed(joining("m2", &["a"]))), Err(ErrorCode::UNRELEASED_INSTANCE_ID));
    assert_eq!(world.send(&fixed(request("m2", 2))), Err(ErrorCode::FENCED_INSTANCE_ID));
    assert_eq!(world.send(&fixed(request("m2", LEAVES_FOR_NOW))), Err(ErrorCode::FENCED_INSTANCE_ID));
    assert_eq!(world.send(&fixed(request("m1", LEAVES_FOR_NOW))), Ok((-2, None)));
    // Its partitions stay its own, and no epoch is spent.
    assert_eq!(world.join("m3", &["a"]), Ok((3, of('a', &[]))));
    assert_eq!(world.beat("m3", LEAVES), Ok((-1, None)));
    let (epoch, assigned) = world.send(&fixed(joining("m2", &["a"]))).unwrap();
    assert_eq!((epoch, assigned), (4, of('a', &[0, 1, 2])));
    assert_eq!(world.send(&fixed(request("m1", 4))), Err(ErrorCode::FENCED_INSTANCE_ID));
    assert_eq!(world.beat("m1", 4), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    // One that doesn't come back is out when its session is over.
    world.send(&fixed(request("m2", LEAVES_FOR_NOW))).unwrap();
    world.pass(45);
    assert!(world.group.is_empty());
}

#[test]
fn topics_come_grow_and_go() {
    let mut world = World::new(Release::V4_3);
    assert_eq!(world.join("m1", &["a", "c"]), Ok((2, of('a', &[0, 1, 2]))));
    world.topics.create("d", 1, 1, &[1]);
    assert_eq!(world.beat("m1", 2), Ok((2, None)));
    world.topics.create("c", 1, 1, &[1]);
    let (epoch, assigned) = world.beat("m1", 2).unwrap();
    assert_eq!((epoch, assigned.unwrap().len()), (3, 4));
    world.topics.grow("c", 2, 1, &[1]);
    let (epoch, assigned) = world.beat("m1", 3).unwrap();
    assert_eq!((epoch, assigned.unwrap().len()), (4, 5));
    world.topics.delete("a");
    assert_eq!(world.beat("m1", 4), Ok((4, of('c', &[0, 1]))));
    assert_eq!(world.owning("m1", 4, &[('c', 0), ('c', 1)]), Ok((5, None)));
}

#[test]
fn patterns_match_whole_names_and_are_resolved_after_the_answer() {
    let mut world = World::new(Release::V4_3);
    let pattern = |text: &str| Request {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(text.into()),
        ..joining("m1", &[])
    };
    assert_eq!(world.send(&pattern("[")), Err(ErrorCode::INVALID_REGULAR_EXPRESSION));
    assert_eq!(world.send(&pattern("a)|(b")), Err(ErrorCode::INVALID_REGULAR_EXPRESSION));
    world.topics.create("aa", 1, 1, &[1]);
    assert_eq!(world.send(&pattern("a|z")), Ok((1, Some(vec![]))));
    assert_eq!(world.beat("m1", 1), Ok((2, of('a', &[0, 1, 2]))));
    // A topic that is made later is found by the next heartbeats, but not within ten seconds.
    world.topics.create("z", 1, 1, &[1]);
    assert_eq!(world.beat("m1", 2), Ok((2, None)));
    world.pass(11);
    assert_eq!(world.beat("m1", 2), Ok((2, None)));
    let (epoch, assigned) = world.beat("m1", 2).unwrap();
    assert_eq!((epoch, assigned.unwrap().len()), (3, 4));
}

#[test]
fn since_4_3_targets_are_not_computed_at_once() {
    for (release, epochs) in [(Release::V4_2, [1, 2, 2]), (Release::V4_3, [2, 2, 3])] {
        let mut world = World::new(release);
        world.config.assignment_interval = Duration::from_secs(1);
        assert_eq!(world.join("m1", &["a"]).unwrap().0, epochs[0]);
        assert_eq!(world.join("m2", &["a"]).unwrap().0, epochs[1]);
        world.pass(1);
        assert_eq!(world.beat("m2", epochs[1]).unwrap().0, epochs[2]);
    }
}

#[test]
fn commits_of_an_older_epoch() {
    for release in [Release::V4_2, Release::V4_3] {
        let mut world = World::new(release);
        assert_eq!(world.group.may_commit("", -1, 9, []), Ok(()));
        let first = world.join("m1", &["a"]).unwrap().0;
        let spot = world.spot("a", 0);
        assert_eq!(world.group.may_commit("", -1, 9, [spot]), Err(ErrorCode::UNKNOWN_MEMBER_ID));
        assert_eq!(world.group.may_commit("m1", first, 8, [spot]), Err(ErrorCode::UNSUPPORTED_VERSION));
        assert_eq!(world.group.may_commit("m1", first + 1, 9, [spot]), Err(ErrorCode::STALE_MEMBER_EPOCH));
        let wider =
            Request { subscribed_topic_names: Some(vec!["a".into(), "b".into()]), ..request("m1", first) };
        assert_eq!(world.send(&wider).unwrap().0, first + 1);
        assert_eq!(world.group.may_fetch_offsets(Some("m1"), first + 1), Ok(()));
        assert_eq!(world.group.may_fetch_offsets(Some("m1"), first), Err(ErrorCode::STALE_MEMBER_EPOCH));
        assert_eq!(world.group.may_fetch_offsets(Some("m2"), first), Err(ErrorCode::UNKNOWN_MEMBER_ID));
        assert_eq!(world.group.may_fetch_offsets(None, -1), Ok(()));
        let old = world.group.may_commit("m1", first, 9, [spot]);
        let stale = Err(ErrorCode::STALE_MEMBER_EPOCH);
        assert_eq!(old, if release == Release::V4_3 { Ok(()) } else { stale });
        // What it got with the new epoch, and what it doesn't have, it didn't have at the old one.
        assert_eq!(world.group.may_commit("m1", first, 9, [spot, world.spot("b", 0)]), stale);
        assert_eq!(world.group.may_commit("m1", first, 9, [world.spot("a", 7)]), stale);
        assert_eq!(world.group.may_commit("m1", first + 1, 9, [world.spot("a", 7)]), Ok(()));
    }
}

#[test]
fn what_is_wrong_whoever_sends_it() {
    let right = joining("m1", &["a"]);
    assert_eq!(refusal(&right, 1), Ok(()));
    let wrong = [
        Request { member_id: String::new(), ..right.clone() },
        Request { group_id: String::new(), ..right.clone() },
        Request { instance_id: Some(String::new()), ..right.clone() },
        Request { rebalance_timeout_ms: -1, ..right.clone() },
        Request { topic_partitions: None, ..right.clone() },
        Request { topic_partitions: Some(vec![Owned::default()]), ..right.clone() },
        Request { subscribed_topic_names: None, ..right.clone() },
        Request { member_epoch: LEAVES_FOR_NOW, ..right.clone() },
        Request { member_epoch: -3, ..right.clone() },
    ];
    for request in wrong {
        assert_eq!(refusal(&request, 1), Err(ErrorCode::INVALID_REQUEST), "{request:?}");
    }
    assert_eq!(refusal(&Request { member_id: String::new(), ..right.clone() }, 0), Ok(()));
    let assignor = Request { server_assignor: Some("sticky".into()), ..right };
    assert_eq!(refusal(&assignor, 1), Err(ErrorCode::UNSUPPORTED_ASSIGNOR));
}

#[test]
fn a_group_has_a_most() {
    let mut world = World::new(Release::V4_3);
    world.config.max_size = 1;
    world.join("m1", &["a"]).unwrap();
    assert_eq!(world.join("m2", &["a"]), Err(ErrorCode::GROUP_MAX_SIZE_REACHED));
    assert_eq!(world.beat("m2", 2), Err(ErrorCode::GROUP_MAX_SIZE_REACHED));
    assert!(world.beat("m1", 2).is_ok());
}

#[test]
fn ranges_go_side_by_side() {
    let mut world = World::new(Release::V4_3);
    let range = |id: &str, epoch| Request {
        server_assignor: Some("range".into()),
        member_epoch: epoch,
        ..joining(id, &["a", "b"])
    };
    world.send(&range("m1", 0)).unwrap();
    world.send(&range("m2", 0)).unwrap();
    assert_eq!(world.beat("m1", 2), Ok((2, Some(vec![('a', 0), ('a', 1), ('b', 0)]))));
    world.owning("m1", 2, &[('a', 0), ('a', 1), ('b', 0)]).unwrap();
    assert_eq!(world.beat("m2", 3), Ok((3, Some(vec![('a', 2), ('b', 1)]))));
}

/// Any heartbeats at all, of members that do as they should or not: the invariants hold, and once
/// all do as they should, all is assigned.
#[test]
fn any_heartbeats_keep_the_invariants() {
    for seed in 0..100 {
        let mut tape = crate::Tape::from_seed(seed);
        let mut world = World::new(if seed % 2 == 0 { Release::V4_2 } else { Release::V4_3 });
        let mut known: BTreeMap<String, (i32, Vec<(char, i32)>)> = BTreeMap::new();
        for _ in 0..80 {
            let id = format!("m{}", tape.below(5));
            let names: &[&str] = [&["a"][..], &["b"], &["a", "b"], &["a", "b", "c"]][tape.below(4) as usize];
            let (epoch, owned) = known.get(&id).cloned().unwrap_or_default();
            let answer = match tape.below(12) {
                0..=2 => world.join(&id, names),
                3 => world.beat(&id, LEAVES),
                4 => {
                    world.pass(tape.below(20));
                    continue;
                }
                5 => {
                    match tape.below(3) {
                        0 => drop(world.topics.create("c", 2, 1, &[1])),
                        1 => drop(world.topics.grow("b", 4, 1, &[1])),
                        _ => drop(world.topics.delete("c")),
                    }
                    continue;
                }
                6 => world.send(&Request {
                    subscribed_topic_names: Some(names.iter().map(|name| (*name).into()).collect()),
                    ..request(&id, epoch)
                }),
                _ => world.owning(&id, epoch, &owned),
            };
            match answer {
                Ok((-1, _)) | Err(_) => drop(known.remove(&id)),
                Ok((epoch, assigned)) => drop(known.insert(id, (epoch, assigned.unwrap_or(owned)))),
            }
        }
        // Those who are left settle.
        for _ in 0..6 {
            for (id, (epoch, owned)) in &mut known {
                if let Ok((new, assigned)) = world.owning(id, *epoch, &owned.clone()) {
                    *epoch = new;
                    *owned = assigned.unwrap_or(owned.clone());
                }
            }
        }
        let group = &world.group;
        let settled = group.members.values().filter(|member| known.contains_key(&member.id)).count();
        if settled == group.members.len() && !group.is_empty() {
            assert!(group.members.values().all(|member| member.state == State::Stable), "seed {seed}");
            let wanted: BTreeSet<Uuid> =
                group.members.values().flat_map(|member| group.wanted(member, &world.topics)).collect();
            let all: usize = group
                .metadata(&world.topics)
                .values()
                .filter(|(id, _)| wanted.contains(id))
                .map(|(_, count)| count)
                .sum();
            assert_eq!(group.owners.len(), all, "seed {seed}");
        }
    }
}
