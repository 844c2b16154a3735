//! Brokers that belong together.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::admin::Admin;
use super::broker::{self, Broker};
use super::helper;
use super::paths::Version;
use super::settings::{self, Ports};
use crate::{Namespace, Proxy, port, wait};

/// Any will do: clusters that don't know of each other may have the same.
const CLUSTER_ID: &str = "dGlkZWdhdGUtdGVzdHMtMA";

/// How a [`Cluster`] is started.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Which release the brokers are.
    pub version: Version,
    /// More settings for each broker, as in server.properties.
    pub settings: Vec<(String, String)>,
    /// Features that are on or off from the start, such as `group.version=0`.
    pub features: Vec<String>,
    /// A second way to each broker through a [`Proxy`] ([`Cluster::proxied_url`]).
    pub proxied: bool,
    /// A second way to each broker on which these users must log in with these passwords
    /// ([`Cluster::guarded_url`]), and may do only what [`Admin::allow`] lets them.
    pub users: Vec<(String, String)>,
    /// A network namespace for each broker, which it listens in at that one's address. Nothing: all are
    /// on loopback. Who uses the cluster then has to be inside a namespace of the same network.
    pub namespaces: Vec<Namespace>,
}

/// Brokers 1 to n, killed when dropped. On a failed test it prints the ends of their logs.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Broker>,
    ports: Vec<Ports>,
    proxies: Vec<Proxy>,
    admin: Admin,
    took: Duration,
}

impl Cluster {
    /// This many brokers of the newest release, each a controller too, ready to answer.
    pub fn start(brokers: usize) -> Self {
        Self::with(brokers, &ClusterOptions::default())
    }

    /// This many brokers, each a controller too, ready to answer.
    pub fn with(brokers: usize, options: &ClusterOptions) -> Self {
        let began = Instant::now();
        let mut format = vec![CLUSTER_ID.to_owned()];
        format.extend(options.features.iter().flat_map(|feature| ["--feature".into(), feature.clone()]));
        // Between choosing a port and using it another process may come first: then choose again.
        for _ in 0..5 {
            let mut proxies = Vec::new();
            let ports: Vec<Ports> = (0..brokers).map(|at| choose(at, options, &mut proxies)).collect();
            let mut started: Vec<Broker> = (1..=brokers)
                .map(|number| {
                    let listens = address(&ports[number - 1]);
                    let namespace = options.namespaces.get(number - 1);
                    Broker::spawn(number, listens, namespace, options.version, &format, |data| {
                        settings::properties(number, &ports, data, &options.users, &options.settings)
                    })
                })
                .collect();
            if started.iter_mut().all(|broker| {
                let up = broker.ready(brokers);
                if !up {
                    eprintln!("broker {} ended at once:\n{}", broker.number, broker.tail(20));
                }
                up
            }) {
                let admin = Admin::of(&list(ports.iter().map(address)));
                return Self { brokers: started, ports, proxies, admin, took: began.elapsed() };
            }
        }
        panic!("no broker starts");
    }

    /// How long it took to start.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What an administrator can do here.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// `127.0.0.1:port,127.0.0.1:port…`, in the brokers' order.
    pub fn bootstrap(&self) -> &str {
        self.admin.bootstrap()
    }

    /// `kafka://127.0.0.1:port,…/path`
    pub fn url(&self, path: &str) -> String {
        self.admin.url(path)
    }

    /// The same through the proxies.
    pub fn proxied_url(&self, path: &str) -> String {
        let proxies = self.proxies.iter().map(|proxy| SocketAddrV4::new(Ipv4Addr::LOCALHOST, proxy.port()));
        format!("kafka://{}/{path}", list(proxies))
    }

    /// The proxy before one broker.
    pub fn proxy(&self, broker: usize) -> &Proxy {
        &self.proxies[broker - 1]
    }

    /// `kafka://login@127.0.0.1:port,…/path`, where one has to log in.
    pub fn guarded_url(&self, login: &str, path: &str) -> String {
        let guarded = self
            .ports
            .iter()
            .map(|ports| SocketAddrV4::new(ports.address, ports.guarded.expect("a cluster with users")));
        format!("kafka://{login}@{}/{path}", list(guarded))
    }

    /// The port of one broker on 127.0.0.1, or at its namespace's address.
    pub fn port(&self, broker: usize) -> u16 {
        self.broker(broker).listens.port()
    }

    /// The process id of one broker that runs.
    pub fn pid(&self, broker: usize) -> u32 {
        self.broker(broker).pid().expect("a running broker")
    }

    /// SIGKILL: the broker is gone without a farewell, and its files are as they are.
    pub fn kill9(&mut self, broker: usize) {
        self.brokers[broker - 1].kill9();
    }

    /// Starts a broker again after [`kill9`](Self::kill9), on the same ports with the same files, and
    /// returns when it answers.
    pub fn restart(&mut self, broker: usize) {
        let broker = &mut self.brokers[broker - 1];
        broker.kill9();
        broker.start();
        assert!(broker.ready(1), "broker {} does not start again:\n{}", broker.number, broker.tail(40));
    }

    /// Starts all brokers again, as [`restart`](Self::restart) does one: those that wait for a majority
    /// have one.
    pub fn restart_all(&mut self) {
        let all = self.brokers.len();
        for broker in &mut self.brokers {
            broker.kill9();
            broker.start();
        }
        for broker in &mut self.brokers {
            assert!(broker.ready(all), "broker {} does not start again:\n{}", broker.number, broker.tail(40));
        }
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub fn stop(&self, broker: usize) {
        self.broker(broker).stop();
    }

    /// SIGCONT: goes on after [`stop`](Self::stop).
    pub fn cont(&self, broker: usize) {
        self.broker(broker).cont();
    }

    /// Waits until a broker is known to the others as alive, or as dead.
    pub fn wait_until_known(&self, broker: usize, alive: bool) {
        let others = self.brokers.iter().filter(|b| b.number != broker && b.pid().is_some());
        let others: Vec<_> = others.map(|b| b.listens).collect();
        let what =
            format!("the others know that broker {broker} is {}", if alive { "there" } else { "gone" });
        wait::until_true(&what, wait::PATIENCE, || {
            others.iter().all(|&listens| {
                broker::known_to(listens).is_some_and(|known| known.contains(&(broker as i32)) == alive)
            })
        });
    }

    fn broker(&self, number: usize) -> &Broker {
        &self.brokers[number - 1]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for broker in &self.brokers {
                eprintln!("--- broker {}, the end of its log:\n{}---", broker.number, broker.tail(40));
            }
        }
        helper::forget(self.bootstrap());
    }
}

fn choose(at: usize, options: &ClusterOptions, proxies: &mut Vec<Proxy>) -> Ports {
    let proxied = options.proxied.then(|| {
        let port = port::unused_port();
        let proxy = Proxy::to(port);
        let through = proxy.port();
        proxies.push(proxy);
        (port, through)
    });
    let guarded = (!options.users.is_empty()).then(port::unused_port);
    let address = options.namespaces.get(at).map_or(Ipv4Addr::LOCALHOST, Namespace::address);
    Ports { address, clients: port::unused_port(), controller: port::unused_port(), proxied, guarded }
}

/// Where clients find a broker.
fn address(ports: &Ports) -> SocketAddrV4 {
    SocketAddrV4::new(ports.address, ports.clients)
}

fn list(addresses: impl Iterator<Item = SocketAddrV4>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}

/// The broker that all tests share: the one that `KAFKA_BROKER` names (tests/run starts it once), else
/// one that is started for this test executable and ends with it.
pub fn shared() -> &'static Admin {
    static OWN: OnceLock<Cluster> = OnceLock::new();
    static GIVEN: OnceLock<Option<Admin>> = OnceLock::new();
    let given = GIVEN.get_or_init(|| std::env::var("KAFKA_BROKER").ok().map(|address| Admin::of(&address)));
    match given {
        Some(admin) => admin,
        None => OWN.get_or_init(|| Cluster::start(1)).admin(),
    }
}
