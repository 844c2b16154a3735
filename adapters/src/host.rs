//! What an adapter finds out about its host: the only place that looks at the environment and at
//! the wall clock.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::identity::{HostFacts, consumer_id};
use tidegate_core::{ConsumerId, HostId, Instant, Timestamp};

/// What is known of this host: `HOST_ID`, the process's cgroup and mounts, and the hardware
/// addresses of its network interfaces except `lo`, in the order of their names.
pub fn facts() -> HostFacts {
    HostFacts {
        override_: std::env::var("HOST_ID").ok(),
        cgroup: std::fs::read_to_string("/proc/self/cgroup").ok(),
        mountinfo: std::fs::read_to_string("/proc/self/mountinfo").ok(),
        macs: macs(Path::new("/sys/class/net")),
    }
}

/// A member's name that nobody else has. `host` is `None` where there is no host id; a random
/// number then takes its place.
pub fn generated_consumer(host: Option<&HostId>) -> ConsumerId {
    let id = |host: &HostId| consumer_id(host, std::process::id(), thread_number(), unique_millis());
    if let Some(host) = host {
        return id(host);
    }
    let random = format!("{:016x}", seed());
    match HostId::resolve(&HostFacts { override_: Some(random.clone()), ..HostFacts::default() }) {
        Ok(host) => id(&host),
        Err(_) => ConsumerId::from(random),
    }
}

/// A number that is different each time.
pub fn seed() -> u64 {
    // The standard library keys each of these hashers anew, from the operating system's
    // randomness.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_i64(unique_millis());
    hasher.finish()
}

/// What the wall clock showed when the driver's clock, which shows `now`, was at its origin.
pub fn wall_clock(now: Instant) -> Timestamp {
    Timestamp::from_millis(unix_millis()).minus(now.since(Instant::ZERO))
}

fn macs(interfaces: &Path) -> Vec<[u8; 6]> {
    let Ok(entries) = std::fs::read_dir(interfaces) else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.retain(|name| name != "lo");
    names.sort();
    let text = |name| std::fs::read_to_string(interfaces.join(name).join("address")).ok();
    names.iter().filter_map(text).filter_map(|text| mac(text.trim())).collect()
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// As the standard library prints it: `ThreadId(7)`.
fn thread_number() -> u64 {
    let text = format!("{:?}", std::thread::current().id());
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Milliseconds since the Unix epoch, never the same twice in a process: one thread may make two
/// consumers in a millisecond.
fn unique_millis() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    let now = unix_millis();
    let next = |last: i64| now.max(last.saturating_add(1));
    let mut last = LAST.load(Ordering::Relaxed);
    while let Err(seen) = LAST.compare_exchange_weak(last, next(last), Ordering::Relaxed, Ordering::Relaxed) {
        last = seen;
    }
    next(last)
}

/// Milliseconds since the Unix epoch.
fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_clocks_show_the_same_moment() {
        let before = unix_millis();
        let now = Instant::ZERO + Duration::from_secs(90);
        let shown = wall_clock(now).plus(now.since(Instant::ZERO)).as_millis();
        assert!((before..=unix_millis()).contains(&shown), "{shown}, and it was {before}");
    }

    #[test]
    fn hardware_addresses_are_six_hex_pairs() {
        assert_eq!(mac("00:16:3e:01:02:ff"), Some([0, 0x16, 0x3e, 1, 2, 0xff]));
        for odd in ["", "00:16:3e:01:02", "00:16:3e:01:02:ff:00", "zz:16:3e:01:02:ff", "00000000000:0"] {
            assert_eq!(mac(odd), None, "{odd}");
        }
    }

    #[test]
    fn interfaces_are_read_in_the_order_of_their_names_without_lo() {
        let dir = std::env::temp_dir().join(format!("tidegate-host-{}-{:x}", std::process::id(), seed()));
        for (name, address) in [("eth1", "02:00:00:00:00:02\n"), ("lo", "00:00:00:00:00:00\n")]
            .into_iter()
            .chain([("eth0", "02:00:00:00:00:01\n"), ("odd", "none\n")])
        {
            std::fs::create_dir_all(dir.join(name)).unwrap();
            std::fs::write(dir.join(name).join("address"), address).unwrap();
        }
        let found = macs(&dir);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]]);
        assert!(macs(&dir).is_empty());
    }

    #[test]
    fn names_and_seeds_are_never_the_same_twice() {
        let names: std::collections::BTreeSet<_> = (0..1000).map(|_| generated_consumer(None)).collect();
        assert_eq!(names.len(), 1000);
        assert_ne!(seed(), seed());
        let facts = HostFacts { override_: Some("web-1".into()), ..HostFacts::default() };
        let host = HostId::resolve(&facts).unwrap();
        assert!(generated_consumer(Some(&host)).to_string().starts_with("web-1-"));
    }
}
