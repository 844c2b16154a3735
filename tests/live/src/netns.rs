//! A network of its own, with cables that a test may cut.
//!
//! # Theory of operation
//!
//! A [`Network`] is a switch (a bridge in a namespace of its own) and some network namespaces, each with
//! one cable to it: a veth pair, `eth0` inside and `legN` at the switch. Nothing leads from there to the
//! machine's own network. Who is in a namespace is a matter of each thread and of the processes that it
//! starts: [`Namespace::inside`] runs something in one, [`Namespace::enter`] moves the calling thread.
//!
//! A [`Trouble`] is made with what each Linux has. What one side sends vanishes, and what it gets does
//! not, where its neighbour table has the hardware address of nobody for the other side: connections
//! neither end nor fail by that, as on a real network. A pulled cable is the switch's end of it set down.
//! Delay is netem's, or where the kernel has none of that a line so slow (tbf) that packets queue; loss
//! is netem's, or that of a filter that draws a random number for each packet (cls_bpf).
//!
//! All that takes the rights of root; [`again_as_root`] is for tests that are started without.
//!
//! **Invariant:** troubles are counted: two of the same kind at the same place end with the second end.
//!
//! **Invariant:** namespaces carry this process' id in their names and go when the network is dropped;
//! those of a process that is gone, as it was killed, go before the next network is made, with all that still
//! runs in them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the names of all namespaces of the tests begin with; the process id comes next.
const PREFIX: &str = "tidegate-";

/// Where iproute2 keeps the namespaces that have names.
const NAMES: &str = "/run/netns";

/// The hardware address of nobody here.
const NOBODY: &str = "02:54:47:00:ff:ff";

/// A slow line by netem: half a second to and fro, as by a distant satellite.
const DELAY: [&str; 3] = ["delay", "200ms", "100ms"];

/// A slow line by tbf: up to half a second of packets waits for its turn.
const SLOW_LINE: [&str; 6] = ["rate", "1mbit", "burst", "16kb", "limit", "64kb"];

/// A lossy line by netem.
const LOSS: [&str; 2] = ["loss", "10%"];

/// A lossy line by classic BPF: `ld rand` (the kernel's SKF_AD_OFF + SKF_AD_RANDOM); above a tenth of
/// 2^32 `ret TC_ACT_UNSPEC`, else `ret TC_ACT_SHOT`.
const LOSING_FILTER: &str = "4,32 0 0 4294963256,37 0 1 429496729,6 0 0 4294967295,6 0 0 2";

/// A network namespace with an address in its [`Network`].
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
    address: Ipv4Addr,
}

impl Namespace {
    /// Its address, at `eth0`.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Runs something in it: the processes that it starts stay there.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                what()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into it for good, and the threads and processes that it starts from now on.
    pub fn enter(&self) {
        let file = File::open(self.path()).expect("a namespace is there as long as its network");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the rights of root");
    }

    fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    fn create(name: String, address: Ipv4Addr) -> Result<Self, String> {
        run("ip", &["netns", "add", &name])?;
        Ok(Self { name, address })
    }

    /// `ip` or `tc` about what is in it.
    fn tell(&self, program: &str, args: &[&str]) -> Result<(), String> {
        run(program, &[&["-n", &self.name], args].concat())
    }
}

/// What can be wrong with a [`Network`]. Legs are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// What the first leg sends to the second vanishes.
    Deaf {
        /// Who sends in vain.
        from: usize,
        /// Who doesn't hear it.
        to: usize,
    },
    /// The cable of this leg is pulled.
    Unplugged(usize),
    /// All that this leg sends and gets is late, by about half a second to and fro.
    Slow(usize),
    /// A tenth of what this leg sends and gets is lost.
    Lossy(usize),
}

/// Namespaces around a switch, removed when dropped.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    legs: Vec<Namespace>,
    troubles: Mutex<BTreeMap<Trouble, usize>>,
    delay: Means,
    loss: Means,
}

impl Network {
    /// This many legs, at most 200. The error says what is missing on this machine: the rights of root,
    /// `ip` of iproute2, or the kernel's namespaces, veth pairs or bridges.
    pub fn new(legs: usize) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can make network namespaces".into());
        }
        remove_leftovers();
        let name = |what: &str| format!("{PREFIX}{}-{what}", std::process::id());
        let mut network = Self {
            switch: Namespace::create(name("switch"), Ipv4Addr::UNSPECIFIED)?,
            legs: Vec::new(),
            troubles: Mutex::default(),
            delay: Means::Nothing,
            loss: Means::Nothing,
        };
        network.switch.tell("ip", &["link", "add", "name", "switch", "type", "bridge"])?;
        network.switch.tell("ip", &["link", "set", "switch", "up"])?;
        for leg in 0..legs {
            let address = Ipv4Addr::new(10, 83, 0, leg as u8 + 1);
            network.legs.push(Namespace::create(name(&leg.to_string()), address)?);
            network.plug_in(leg)?;
        }
        for from in 0..legs {
            for to in (0..legs).filter(|&to| to != from) {
                network.set_neighbour(from, to, &hardware(to))?;
            }
        }
        if legs > 0 {
            network.delay = network.try_out(&[Means::Netem, Means::Other], Trouble::Slow(0));
            network.loss = network.try_out(&[Means::Netem, Means::Other], Trouble::Lossy(0));
        }
        Ok(network)
    }

    /// The namespace at the end of a leg.
    pub fn leg(&self, leg: usize) -> &Namespace {
        &self.legs[leg]
    }

    /// Whether this machine can make lines slow.
    pub fn can_delay(&self) -> bool {
        self.delay != Means::Nothing
    }

    /// Whether this machine can make lines lossy.
    pub fn can_lose(&self) -> bool {
        self.loss != Means::Nothing
    }

    /// How it makes lines slow and lossy, for those who read a test's output.
    pub fn means(&self) -> String {
        let words = |means, other| match means {
            Means::Netem => "netem",
            Means::Other => other,
            Means::Nothing => "nothing",
        };
        format!("delay by {}, loss by {}", words(self.delay, "tbf"), words(self.loss, "cls_bpf"))
    }

    /// From now on there is this trouble.
    #[track_caller]
    pub fn begin(&self, trouble: Trouble) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let times = troubles.entry(trouble).or_default();
        *times += 1;
        if *times == 1 {
            self.set(trouble, true, &troubles).unwrap_or_else(|error| panic!("{trouble:?}: {error}"));
        }
    }

    /// Ends a trouble once, after as many [`begin`](Self::begin)s for good.
    #[track_caller]
    pub fn end(&self, trouble: Trouble) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let times = troubles.get_mut(&trouble).expect("what ends has begun");
        *times -= 1;
        if *times == 0 {
            troubles.remove(&trouble);
            self.set(trouble, false, &troubles)
                .unwrap_or_else(|error| panic!("the end of {trouble:?}: {error}"));
        }
    }

    fn plug_in(&self, leg: usize) -> Result<(), String> {
        let (port, inside) = (port(leg), &self.legs[leg]);
        let pair = ["link", "add", "name", &port, "type", "veth", "peer", "name", "eth0"];
        // Both ends are made where they belong, and never seen by the machine's own namespace.
        self.switch.tell("ip", &[&pair[..], &["netns", &inside.name]].concat())?;
        self.switch.tell("ip", &["link", "set", &port, "master", "switch", "up"])?;
        inside.tell("ip", &["link", "set", "lo", "up"])?;
        inside.tell("ip", &["link", "set", "eth0", "address", &hardware(leg)])?;
        inside.tell("ip", &["address", "add", &format!("{}/24", inside.address), "dev", "eth0"])?;
        inside.tell("ip", &["link", "set", "eth0", "up"])
    }

    /// Makes it so, beside these others.
    fn set(&self, trouble: Trouble, wrong: bool, others: &BTreeMap<Trouble, usize>) -> Result<(), String> {
        match trouble {
            Trouble::Deaf { from, to } => {
                let address = if wrong { NOBODY.into() } else { hardware(to) };
                self.set_neighbour(from, to, &address)
            }
            Trouble::Unplugged(leg) => {
                // Not the end inside: that would forget its neighbours.
                let state = if wrong { "down" } else { "up" };
                self.switch.tell("ip", &["link", "set", &port(leg), state])
            }
            Trouble::Slow(leg) | Trouble::Lossy(leg) => {
                let is = |one| if one == trouble { wrong } else { others.contains_key(&one) };
                let (slow, lossy) = (is(Trouble::Slow(leg)), is(Trouble::Lossy(leg)));
                let port = port(leg);
                for (end, device) in [(&self.legs[leg], "eth0"), (&self.switch, port.as_str())] {
                    self.shape(end, device, trouble, slow, lossy)?;
                }
                Ok(())
            }
        }
    }

    /// Changes how one end of a leg sends, as this trouble has begun or ended.
    fn shape(
        &self,
        end: &Namespace,
        device: &str,
        trouble: Trouble,
        slow: bool,
        lossy: bool,
    ) -> Result<(), String> {
        let qdisc = |verb, rest: &[&str]| end.tell("tc", &[&["qdisc", verb, "dev", device], rest].concat());
        let is_delay = matches!(trouble, Trouble::Slow(_));
        match if is_delay { self.delay } else { self.loss } {
            Means::Netem if slow || lossy => {
                let delay: &[&str] = if slow { &DELAY } else { &[] };
                let loss: &[&str] = if lossy { &LOSS } else { &[] };
                qdisc("replace", &[&["root", "netem"], delay, loss].concat())
            }
            Means::Netem => qdisc("del", &["root"]),
            Means::Other if is_delay && slow => {
                qdisc("replace", &[&["root", "tbf"], &SLOW_LINE[..]].concat())
            }
            Means::Other if is_delay => qdisc("del", &["root"]),
            Means::Other if lossy => {
                qdisc("replace", &["clsact"])?;
                let filter =
                    ["filter", "add", "dev", device, "egress", "bpf", "da", "bytecode", LOSING_FILTER];
                end.tell("tc", &filter)
            }
            Means::Other => qdisc("del", &["clsact"]),
            Means::Nothing => Err("this machine has no means for it".into()),
        }
    }

    /// The first means that works.
    fn try_out(&mut self, means: &[Means], trouble: Trouble) -> Means {
        for &means in means {
            match trouble {
                Trouble::Slow(_) => self.delay = means,
                _ => self.loss = means,
            }
            let works = self.set(trouble, true, &BTreeMap::new()).is_ok();
            // What of it was made.
            let ends = self.set(trouble, false, &BTreeMap::new()).is_ok();
            if works && ends {
                return means;
            }
        }
        Means::Nothing
    }

    /// Permanent, so that nobody asks: ARP would heal what is cut.
    fn set_neighbour(&self, of: usize, at: usize, hardware: &str) -> Result<(), String> {
        let address = self.legs[at].address.to_string();
        let entry = ["neighbour", "replace", &address, "lladdr", hardware, "nud", "permanent", "dev", "eth0"];
        self.legs[of].tell("ip", &entry)
    }
}

/// Runs this test again as root, in a process of its own, where nobody is asked for a password, and says
/// whether it passed. `None` where it runs as root already, or can't.
pub fn again_as_root(test: &str) -> Option<bool> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root || run("sudo", &["-n", "true"]).is_err() {
        return None;
    }
    // Built by whom the folders belong to.
    crate::kafka::prepare();
    let command = crate::tidegate().display();
    let kept = |name: &str| {
        name == "PATH" || ["TIDEGATE_", "KAFKA_", "JAVA", "RUST_"].iter().any(|kept| name.starts_with(kept))
    };
    let variables = std::env::vars().filter(|(name, _)| kept(name));
    let status = Command::new("sudo")
        .args(["-n", "env"])
        .args(variables.map(|(name, value)| format!("{name}={value}")))
        .arg(format!("TIDEGATE_BIN={command}"))
        .arg(std::env::current_exe().expect("a test knows its own path"))
        .args(["--exact", test, "--nocapture"])
        .status()
        .expect("sudo was there a moment ago");
    Some(status.success())
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.legs.iter().chain([&self.switch]) {
            remove(&namespace.name);
        }
    }
}

/// How this kernel makes a slow or a lossy line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Netem,
    /// tbf for the delay, cls_bpf for the loss.
    Other,
    Nothing,
}

/// The switch's end of a leg.
fn port(leg: usize) -> String {
    format!("leg{leg}")
}

/// A locally administered address.
fn hardware(leg: usize) -> String {
    format!("02:54:47:00:00:{:02x}", leg + 1)
}

/// The namespaces of processes that are gone, and what they left in there: a member without brokers has
/// nothing to write, and doesn't find out that nobody reads it.
fn remove_leftovers() {
    let Ok(names) = std::fs::read_dir(NAMES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let left = ask("ip", &["netns", "pids", &name]).unwrap_or_default();
            for pid in left.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
                kill_process(pid, Signal::KILL).ok(); // it may be on its way out
            }
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    if let Err(error) = run("ip", &["netns", "delete", name]) {
        eprintln!("namespace {name} stays: {error}");
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    ask(program, args).map(drop)
}

/// What a command answers.
fn ask(program: &str, args: &[&str]) -> Result<String, String> {
    // `tc` is where only root's PATH leads by default.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let done = Command::new(program)
        .env("PATH", path)
        .args(args)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::wait;

    /// Whether a packet of the one comes to the other.
    fn hears(to: &UdpSocket, from: &UdpSocket) -> bool {
        from.send_to(b"?", to.local_addr().unwrap()).unwrap();
        to.recv_from(&mut [0]).is_ok()
    }

    #[test]
    fn cables_are_cut_one_way_and_both() {
        let network = match Network::new(2) {
            Ok(network) => network,
            Err(why) => return eprintln!("left out: cables: {why}"),
        };
        let [first, second] = [0, 1].map(|leg| {
            let home = network.leg(leg);
            let socket = home.inside(|| UdpSocket::bind((home.address(), 0)).unwrap());
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            socket
        });
        // A cable that was plugged in carries the first packet a moment later.
        let up = || {
            wait::until_true("both hear each other", wait::PATIENCE, || {
                hears(&first, &second) && hears(&second, &first)
            });
        };
        up();
        let deaf = Trouble::Deaf { from: 0, to: 1 };
        network.begin(deaf);
        network.begin(deaf);
        assert!(hears(&first, &second) && !hears(&second, &first));
        network.end(deaf);
        assert!(!hears(&second, &first));
        network.end(deaf);
        assert!(hears(&second, &first));
        network.begin(Trouble::Unplugged(0));
        assert!(!hears(&first, &second) && !hears(&second, &first));
        network.end(Trouble::Unplugged(0));
        up();
    }
}
