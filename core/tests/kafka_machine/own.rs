//! Assignors that a service brings itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_core::assign::{
    AssignError, Assignor, Member, MemberAssignment, RebalanceProtocol, Topic as Described,
};
use tidegate_core::kafka::Machine;
use tidegate_core::kafka::wire::*;
use tidegate_core::trace::{Recorder, Trace, replay};
use tidegate_core::{
    Command, ConsumerOptions, Event, GroupProtocol, Instant, KafkaOptions, Machine as _, Notice, OwnAssignor,
    Setup,
};

use crate::classic::{another, cluster, given};
use crate::world::{Fate, World, group, millis, secs, setup};

type Plan = for<'a> fn(&'a [Described], &'a [Member]) -> Vec<MemberAssignment<'a>>;

type Question = (Vec<Described>, Vec<Member>);

#[derive(Debug)]
struct Mine {
    protocol: RebalanceProtocol,
    plan: Plan,
    /// What it was asked.
    seen: Arc<Mutex<Vec<Question>>>,
}

impl Mine {
    fn new(plan: Plan) -> Self {
        Self { protocol: RebalanceProtocol::Eager, plan, seen: Arc::default() }
    }
}

impl Assignor for Mine {
    fn name(&self) -> &str {
        "mine"
    }

    fn protocol(&self) -> RebalanceProtocol {
        self.protocol
    }

    fn user_data(&self, topics: &[String]) -> Bytes {
        Bytes::from(format!("wants {}", topics.join(",")))
    }

    fn assign<'a>(
        &self,
        topics: &'a [Described],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        self.seen.lock().unwrap().push((topics.to_vec(), members.to_vec()));
        Ok((self.plan)(topics, members))
    }
}

fn options(own: Mine) -> ConsumerOptions {
    let kafka = KafkaOptions::default().protocol(GroupProtocol::Classic);
    group().kafka(kafka.own_assignors([OwnAssignor::new(own)]))
}

/// All to the member of the greatest id.
fn last_takes_all<'a>(topics: &'a [Described], members: &'a [Member]) -> Vec<MemberAssignment<'a>> {
    let mut all = MemberAssignment::new(members.iter().map(|member| member.id.as_str()).max().unwrap());
    for topic in topics {
        (0..topic.partitions).for_each(|partition| all.push(&topic.name, partition));
    }
    vec![all]
}

fn table(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let row = |(member, parts): &(&str, &[&str])| {
        ((*member).to_owned(), parts.iter().map(ToString::to_string).collect())
    };
    rows.iter().map(row).collect()
}

const ALL: [&str; 4] = ["orders/0", "orders/1", "orders/2", "orders/3"];

#[test]
fn it_is_offered_first_and_where_the_group_takes_it_its_plan_is_the_plan() {
    let mut cluster = cluster(1);
    cluster.group.others = vec![another(&["orders"])];
    let mine = Mine::new(last_takes_all);
    let seen = mine.seen.clone();
    let mut world = World::new(options(mine), cluster);
    world.until(secs(5), |world| world.count::<SyncGroupRequest>() == 1);
    world.run(secs(1));
    let join = world.all::<JoinGroupRequest>()[1];
    let names: Vec<_> = join.protocols.iter().map(|protocol| protocol.name.as_str()).collect();
    assert_eq!(names, ["mine", "range", "cooperative-sticky"]);
    assert_eq!(given(&world), table(&[("member-1", &[]), ("zoe", &ALL)]));
    assert!(world.owned().is_empty() && world.got.is_empty());
    assert_eq!(world.all::<SyncGroupRequest>()[0].protocol_name.as_deref(), Some("mine"));
    // It was asked once, with all that there is.
    let seen = seen.lock().unwrap();
    let [(topics, members)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((topics[0].name.as_str(), topics[0].partitions), ("orders", 4));
    let known: Vec<_> = members.iter().map(|one| (one.id.as_str(), &one.user_data[..])).collect();
    assert_eq!(known, [("member-1", &b"wants orders"[..]), ("zoe", b"")]);
    assert!(!world.notices.iter().any(|notice| matches!(notice, Notice::LeftOut { .. })));
}

#[test]
fn where_the_group_agrees_on_another_that_one_decides() {
    let mut cluster = cluster(1);
    cluster.group.others = vec![another(&["orders"])];
    let mine = Mine::new(last_takes_all);
    let seen = mine.seen.clone();
    let mut world = World::new(options(mine), cluster);
    world.on::<JoinGroupRequest>(usize::MAX, |_, answer| {
        answer.protocol_name = Some("range".into());
        Fate::Reply
    });
    world.until(secs(5), |world| world.owned().len() == 2);
    assert_eq!(given(&world), table(&[("member-1", &ALL[..2]), ("zoe", &ALL[2..])]));
    assert!(seen.lock().unwrap().is_empty());
}

/// Everything to everybody, and to whom and what there is not.
fn hostile<'a>(topics: &'a [Described], members: &'a [Member]) -> Vec<MemberAssignment<'a>> {
    let mut plan = Vec::new();
    for id in members.iter().map(|member| member.id.as_str()).chain(["nobody", "", "zoe", "zo\ne"]).rev() {
        let mut one = MemberAssignment::new(id);
        for name in topics.iter().map(|topic| topic.name.as_str()).chain(["nowhere", "", "orders", "\n"]) {
            for partition in [3, 1, 1, 2, 4, -1, i32::MIN, i32::MAX] {
                one.push(name, partition);
            }
        }
        plan.push(one);
    }
    plan
}

#[test]
fn what_is_wrong_in_its_plan_is_left_out_and_said() {
    let mut cluster = cluster(1);
    cluster.create("extra", 5);
    cluster.group.others = vec![another(&["extra", "nowhere"]), {
        JoinGroupResponseMember {
            member_id: "yan".into(),
            metadata: Bytes::from_static(b"?"),
            ..another(&[])
        }
    }];
    let mut world = World::reading(options(Mine::new(hostile)), &["orders"], cluster);
    world.until(secs(5), |world| world.got.len() == 30);
    let extra = ["extra/1", "extra/2", "extra/3", "extra/4"];
    assert_eq!(given(&world), table(&[("member-1", &ALL[1..]), ("yan", &[]), ("zoe", &extra)]));
    assert_eq!(world.owned(), ALL[1..]);
    let told: Vec<_> = world
        .notices
        .iter()
        .filter(|notice| matches!(notice, Notice::LeftOut { assignor, .. } if **assignor == *"mine"))
        .map(ToString::to_string)
        .collect();
    assert_eq!(told.len(), 1, "once for each plan");
    assert!(told[0].contains("\"mine\"") && told[0].contains("is no member"), "{told:?}");
    assert!(!told[0].contains('\n'), "{told:?}");
}

#[test]
fn an_empty_plan_leaves_everybody_without_work_and_in_the_group() {
    let mut cluster = cluster(1);
    cluster.group.others = vec![another(&["orders"])];
    let mut world = World::new(options(Mine::new(|_, _| Vec::new())), cluster);
    world.run(secs(10));
    assert_eq!(given(&world), table(&[("member-1", &[]), ("zoe", &[])]));
    assert!(world.count::<HeartbeatRequest>() > 1 && !world.ended());
}

#[test]
fn a_cooperative_one_need_not_know_that_what_moves_is_let_go_first() {
    let mine = Mine { protocol: RebalanceProtocol::Cooperative, ..Mine::new(last_takes_all) };
    let mut options = options(mine);
    options.kafka.assignors.clear();
    let mut world = World::new(options, cluster(1));
    world.until(secs(5), |world| world.got.len() == 40);
    world.cluster.group.others = vec![another(&["orders"])];
    world.cluster.group.rebalancing = true;
    world.until(secs(10), |world| world.count::<SyncGroupRequest>() == 2);
    assert_eq!(given(&world), table(&[("member-1", &[]), ("zoe", &[])]), "it is ours until we let it go");
    world.until(secs(10), |world| world.count::<SyncGroupRequest>() == 3);
    world.run(millis(500));
    assert_eq!(given(&world), table(&[("member-1", &[]), ("zoe", &ALL)]));
    assert!(world.owned().is_empty());
    assert!((0..4).all(|index| world.committed("orders", index) == Some(10)), "committed before");
}

#[test]
fn a_trace_names_it_and_replays_where_it_is_put_back() {
    let mine = || vec![OwnAssignor::new(Mine::new(last_takes_all))];
    let kafka = KafkaOptions::default().protocol(GroupProtocol::Classic).own_assignors(mine());
    let setup: Setup = setup(group().kafka(kafka), &["orders"], 1);
    let mut recorded = String::new();
    let machine = Machine::new(setup.clone()).unwrap();
    let mut recorder = Recorder::new(machine, "kafka", &setup, |line| recorded.push_str(line));
    recorder.handle(Instant::from_nanos(1), Event::Tick);
    while !matches!(recorder.poll_command(), Command::Wait(_)) {}
    drop(recorder);
    assert!(recorded.contains("= kafka own_assignor \"mine\"\n"), "{recorded}");
    let mut trace = Trace::parse(recorded.as_bytes()).unwrap();
    assert_eq!(trace.setup, setup);
    let said = Machine::new(trace.setup.clone()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(["own_assignor", "\"mine\"", "trace", "replay"].iter().all(|word| said.contains(word)), "{said}");
    trace.setup.options.kafka.own_assignors = mine();
    let machine = Machine::new(trace.setup.clone()).unwrap();
    assert!(replay(&trace, machine).unwrap().outputs > 1);
}
