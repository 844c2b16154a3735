//! A broker's server.properties.

use std::fmt::{Display, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

/// What all brokers of the tests have: short times, so that a test sees a death or a rebalance soon,
/// and little memory. Records keep for ever, whatever their timestamps say.
const COMMON: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,GUARDED:SASL_PLAINTEXT
auto.create.topics.enable=false
log.retention.ms=-1
log.cleaner.backoff.ms=100
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=2
share.coordinator.state.topic.num.partitions=2
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=3000
replica.lag.time.max.ms=3000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=5000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
group.share.min.session.timeout.ms=1000
group.share.session.timeout.ms=5000
group.share.min.heartbeat.interval.ms=100
group.share.heartbeat.interval.ms=500
";

/// What a guarded listener needs. Whoever comes by the plain one may do everything, the brokers among
/// them; who logs in may do what is allowed to that user.
const GUARDED: &str = "\
sasl.enabled.mechanisms=PLAIN
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
";

/// Where a broker listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// 127.0.0.1, or that of a namespace of its own.
    pub(super) address: Ipv4Addr,
    pub(super) clients: u16,
    pub(super) controller: u16,
    /// A listener of its own for those that come through a proxy, and where the proxy listens.
    pub(super) proxied: Option<(u16, u16)>,
    /// A listener where one has to log in.
    pub(super) guarded: Option<u16>,
}

/// The properties of broker `number` of those with these ports. `users` are those of the guarded
/// listener, with their passwords; `more` comes last and wins.
pub(super) fn properties(
    number: usize,
    ports: &[Ports],
    data: &Path,
    users: &[(String, String)],
    more: &[(String, String)],
) -> String {
    let brokers = ports.len();
    let own = ports[number - 1];
    let voters: Vec<String> =
        (1..).zip(ports).map(|(id, ports)| format!("{id}@{}:{}", ports.address, ports.controller)).collect();
    // A majority in sync, so that a broker can be lost at any time, and nothing with it.
    let in_sync = brokers / 2 + 1;
    // Name, where it listens, and where clients are told to come.
    let mut listeners = vec![("PLAINTEXT", own.clients, own.clients)];
    listeners.extend(own.proxied.map(|(port, proxy)| ("PROXIED", port, proxy)));
    listeners.extend(own.guarded.map(|port| ("GUARDED", port, port)));
    let advertised: Vec<_> =
        listeners.iter().map(|(name, _, told)| format!("{name}://{}:{told}", own.address)).collect();
    listeners.push(("CONTROLLER", own.controller, 0));
    let listeners: Vec<_> =
        listeners.iter().map(|(name, port, _)| format!("{name}://{}:{port}", own.address)).collect();
    let mut text = COMMON.to_owned();
    if own.guarded.is_some() {
        text.push_str(GUARDED);
    }
    let mut set = |name: &str, value: &dyn Display| writeln!(text, "{name}={value}").expect("a string");
    if own.guarded.is_some() {
        let users: String =
            users.iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let jaas = format!("{module} required{users};");
        set("listener.name.guarded.plain.sasl.jaas.config", &jaas);
    }
    set("node.id", &number);
    set("broker.rack", &format!("rack-{number}"));
    set("controller.quorum.voters", &voters.join(","));
    set("listeners", &listeners.join(","));
    set("advertised.listeners", &advertised.join(","));
    set("log.dirs", &data.display());
    set("default.replication.factor", &brokers);
    set("min.insync.replicas", &in_sync);
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.replication.factor"), &brokers);
    }
    set("transaction.state.log.min.isr", &in_sync);
    set("share.coordinator.state.topic.min.isr", &in_sync);
    for (name, value) in more {
        set(name, value);
    }
    text
}
