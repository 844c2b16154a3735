//! Who this consumer is: its group, its own name, and the host that both may be named after.
//!
//! Everything here is a pure function of facts that an adapter collects.

use std::fmt;

use bytes::Bytes;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Bytes);

        impl $name {
            /// The name as the broker has it.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(Bytes::copy_from_slice(name.as_bytes()))
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(Bytes::from(name))
            }
        }

        impl From<Bytes> for $name {
            fn from(name: Bytes) -> Self {
                Self(name)
            }
        }

        /// The host id as a name: resumable consumers are called after their host.
        impl From<&HostId> for $name {
            fn from(host: &HostId) -> Self {
                Self::from(host.as_str())
            }
        }

        /// Text as it is; what isn't UTF-8 shows as `\xNN`.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match std::str::from_utf8(&self.0) {
                    Ok(text) => f.write_str(text),
                    Err(_) => write!(f, "{}", self.0.escape_ascii()),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{}\"", self.0.escape_ascii())
            }
        }
    };
}

name! {
    /// A consumer group. Any bytes on Redis, text on Kafka; clones are cheap.
    ///
    /// ```
    /// # use tidegate_core::ConsumerGroup;
    /// assert_eq!(ConsumerGroup::from("billing").as_bytes(), b"billing");
    /// ```
    ConsumerGroup
}

name! {
    /// One member of a group. Any bytes on Redis, text on Kafka; clones are cheap.
    ConsumerId
}

/// What tells this host from all others, and stays the same over restarts of the process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(String);

/// What an adapter finds out about its host. `None` and empty for what can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The variable `HOST_ID`.
    pub override_: Option<String>,
    /// The text of `/proc/self/cgroup`.
    pub cgroup: Option<String>,
    /// The text of `/proc/self/mountinfo`.
    pub mountinfo: Option<String>,
    /// Hardware addresses of the network interfaces, in an order that is the same at each start.
    pub macs: Vec<[u8; 6]>,
}

/// Why there is no host id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Neither a container nor a network interface with an address of its own.
    #[error(
        "this host has no identity: no container id and no hardware address; set HOST_ID to a name that no other host has"
    )]
    NoHostId,
}

impl HostId {
    /// The host id that follows from `facts`: the override unless it is blank; else the id of
    /// the container that the process runs in (64 hex digits; Docker, containerd, CRI-O, Podman,
    /// Kubernetes, ECS on EC2; a Kubernetes sandbox id, shared by the containers of a pod, where
    /// that is all to be seen); else the first hardware address that isn't zero, multicast or
    /// locally administered, as 12 hex digits.
    ///
    /// # Errors
    /// [`IdentityError::NoHostId`] if there is none of these.
    pub fn resolve(facts: &HostFacts) -> Result<Self, IdentityError> {
        let given = facts.override_.as_deref().filter(|id| !id.trim().is_empty());
        if let Some(id) = given {
            return Ok(Self(id.to_owned()));
        }
        let container = facts
            .cgroup
            .as_deref()
            .and_then(container_in_cgroup)
            .or_else(|| facts.mountinfo.as_deref().and_then(container_in_mountinfo));
        if let Some(id) = container {
            return Ok(Self(id.to_ascii_lowercase()));
        }
        let universal = |mac: &&[u8; 6]| **mac != [0; 6] && mac[0] & 0b11 == 0;
        match facts.macs.iter().find(universal) {
            Some(&[a, b, c, d, e, f]) => Ok(Self(format!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}"))),
            None => Err(IdentityError::NoHostId),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member's name that nobody else has: `host-process-thread-timestamp`. The timestamp, in
/// milliseconds since the Unix epoch, tells two processes with the same number apart.
///
/// ```
/// # use tidegate_core::identity::{HostFacts, HostId, consumer_id};
/// let facts = HostFacts { override_: Some("web-1".into()), ..HostFacts::default() };
/// let host = HostId::resolve(&facts).unwrap();
/// assert_eq!(consumer_id(&host, 4711, 2, 1_700_000_000_000).to_string(), "web-1-4711-2-1700000000000");
/// ```
pub fn consumer_id(host: &HostId, process_id: u32, thread_id: u64, timestamp_ms: i64) -> ConsumerId {
    ConsumerId::from(format!("{host}-{process_id}-{thread_id}-{timestamp_ms}"))
}

/// `hierarchy:controllers:path` a line; the path of a container's process ends in its id:
/// `/docker/ID`, `/system.slice/docker-ID.scope`, `…/cri-containerd-ID.scope`, `…:crio:ID`.
/// The innermost one where containers are nested.
fn container_in_cgroup(text: &str) -> Option<&str> {
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(last_container_id)
}

/// A container has its own cgroup namespace with version 2, so that the path there is `/`. What
/// tells it are the mounts that its engine made: a cgroup's root, or one of the three files that
/// every engine keeps beside the container. Only those: on a host, too, other mounts hold ids of
/// containers and of image layers.
fn container_in_mountinfo(text: &str) -> Option<&str> {
    // See proc_pid_mountinfo(5): the fourth field is the root in its file system, the fifth the
    // mount point.
    let mounts = || {
        text.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            Some((fields.next()?, fields.next()?))
        })
    };
    let of_cgroup = |(root, point): (_, &str)| {
        let of_cgroup = point.split('/').take(4).eq(["", "sys", "fs", "cgroup"]);
        if of_cgroup { last_container_id(root) } else { None }
    };
    let of_file = |(root, point): (_, &str)| {
        let own = matches!(point, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf");
        if own { last_container_id(root) } else { None }
    };
    mounts().find_map(of_cgroup).or_else(|| mounts().find_map(of_file))
}

/// The last run of exactly 64 hex digits.
fn last_container_id(path: &str) -> Option<&str> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.split(|c: char| !c.is_ascii_alphanumeric()).rfind(is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3ba29de6db4c7b4f4a7bd5f1f0f3f2c1a9e8d7c6b5a4938271605f4e3d2c1b0a";
    const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn of(cgroup: &str, mountinfo: &str, macs: &[[u8; 6]]) -> Option<String> {
        let facts = HostFacts {
            override_: None,
            cgroup: Some(cgroup.replace("ID", ID).replace("OTHER", OTHER)),
            mountinfo: Some(mountinfo.replace("ID", ID).replace("OTHER", OTHER)),
            macs: macs.to_vec(),
        };
        HostId::resolve(&facts).ok().map(|id| id.to_string())
    }

    #[test]
    fn containers_by_cgroup() {
        for path in [
            "/docker/ID",
            "/docker/OTHER/docker/ID",
            "/system.slice/docker-ID.scope",
            "/kubepods/besteffort/pod8b2a7a4e-1b1f-4c9e-9c5e-6a3bb5f6a1de/ID",
            "/kubepods.slice/kubepods-pod8b2a.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-pod8b2a.slice/crio-ID.scope",
            "/system.slice/containerd.service/kubepods-burstable-pod8b2a.slice:cri-containerd:ID",
            "/machine.slice/libpod-ID.scope/container",
            "/ecs/8d1e5d58-2b2e-4c4f-9a3a-0d5b0c0a9f6f/ID",
        ] {
            let v1 = format!("12:pids:/\n11:cpuset:{path}\n1:name=systemd:{path}\n");
            assert_eq!(of(&v1, "", &[]).as_deref(), Some(ID), "{path}");
            assert_eq!(of(&format!("0::{path}"), "", &[]).as_deref(), Some(ID), "{path}");
        }
    }

    #[test]
    fn containers_by_mountinfo() {
        for root in [
            "/var/lib/docker/containers/ID/hostname /etc/hostname",
            "/docker/data/containers/ID/resolv.conf /etc/resolv.conf",
            "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ID/hostname /etc/hostname",
            "/var/lib/containers/storage/overlay-containers/ID/userdata/hosts /etc/hosts",
            "/kubepods.slice/cri-containerd-ID.scope /sys/fs/cgroup",
            "/kubepods/pod1/ID /sys/fs/cgroup/memory",
        ] {
            let text = format!(
                "610 609 0:51 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/OTHER/diff\n\
                 625 610 254:1 {root} rw,relatime - ext4 /dev/vda1 rw\n"
            );
            assert_eq!(of("0::/\n", &text, &[]).as_deref(), Some(ID), "{root}");
        }
    }

    #[test]
    fn a_host_that_runs_containers_is_none() {
        let mac = [0, 0x16, 0x3e, 1, 2, 0xff];
        let mounts = "\
            80 29 0:45 / /var/lib/docker/overlay2/ID/merged rw - overlay overlay rw,workdir=/l/OTHER\n\
            81 29 0:46 / /var/lib/docker/containers/ID/mounts/shm rw - tmpfs shm rw\n\
            82 29 254:1 /ID /etc/hostnames rw - ext4 /dev/vda1 rw\n\
            30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            short\n\n";
        let cgroup = "0::/system.slice/docker.service\n1:x:/docker/ID0\nnonsense\n2:y:/zID\n";
        assert_eq!(of(cgroup, mounts, &[mac]).as_deref(), Some("00163e0102ff"));
    }

    #[test]
    fn addresses_that_are_nobodys_own_are_passed_over() {
        let loopback = [0; 6];
        let bridge = [0x02, 0x42, 1, 2, 3, 4];
        let multicast = [1, 0, 0x5e, 0, 0, 1];
        let own = [0xac, 0xde, 0x48, 0, 0x11, 0x22];
        assert_eq!(of("", "", &[loopback, bridge, multicast, own]).as_deref(), Some("acde48001122"));
        let facts = HostFacts { macs: vec![loopback, bridge, multicast], ..HostFacts::default() };
        let error = HostId::resolve(&facts).unwrap_err();
        assert_eq!(error, IdentityError::NoHostId);
        assert!(error.to_string().contains("set HOST_ID"));
    }

    #[test]
    fn the_override_wins_unless_it_is_blank() {
        let mut facts = HostFacts {
            override_: Some("my host".into()),
            cgroup: Some(format!("1:x:/docker/{ID}")),
            ..HostFacts::default()
        };
        assert_eq!(HostId::resolve(&facts).unwrap().as_str(), "my host");
        for blank in ["", " \n"] {
            facts.override_ = Some(blank.into());
            assert_eq!(HostId::resolve(&facts).unwrap().as_str(), ID);
        }
    }

    #[test]
    fn names_print_without_breaking_a_line() {
        let odd = ConsumerId::from(Bytes::from_static(b"a\n\xff"));
        assert_eq!(odd.to_string(), "a\\n\\xff");
        assert_eq!(format!("{odd:?}"), "\"a\\n\\xff\"");
        let host = HostId("h".into());
        assert_eq!(ConsumerGroup::from(&host), ConsumerGroup::from("h"));
    }
}
