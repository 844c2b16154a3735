//! One broker process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::paths::{self, Version};
use crate::{Namespace, Signal, process, wait};

/// Quick to start, small in memory: no archive of compiled code, one collector thread, no second
/// compiler.
const JVM: [&str; 5] = ["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

/// A broker is given this long to answer: three that start side by side on a busy machine need some.
const START: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) number: usize,
    pub(super) listens: SocketAddrV4,
    /// Where its process lives, if not beside the test.
    namespace: Option<Namespace>,
    version: Version,
    /// The cluster's id, and options for the formatting of its directory.
    format: Vec<String>,
    dir: TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Writes the properties that `text` makes of the data folder, and starts the process.
    pub(super) fn spawn(
        number: usize,
        listens: SocketAddrV4,
        namespace: Option<&Namespace>,
        version: Version,
        format: &[String],
        text: impl FnOnce(&Path) -> String,
    ) -> Self {
        let dir =
            tempfile::Builder::new().prefix("tidegate-kafka-").tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("server.properties"), text(&dir.path().join("data")))
            .expect("a file in the temporary directory");
        let (namespace, format) = (namespace.cloned(), format.into());
        let mut broker = Self { number, listens, namespace, version, format, dir, child: None };
        broker.start();
        broker
    }

    /// Starts the process, again with the same files.
    pub(super) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("the broker's log");
        let errors = log.try_clone().expect("a file can be duplicated");
        let mut command = Command::new(paths::java());
        command
            .args(JVM)
            .args(["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dlog4j2.level=OFF"])
            .arg("-cp")
            .arg(paths::class_path(self.version))
            .arg("Broker")
            .arg(self.dir.path().join("server.properties"))
            .args(&self.format)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors);
        let spawned = match &self.namespace {
            Some(namespace) => namespace.inside(|| command.spawn()),
            None => command.spawn(),
        };
        self.child = Some(spawned.unwrap_or_else(|error| {
            panic!("cannot run {}: {error}; run tests/run", paths::java().to_string_lossy())
        }));
    }

    /// Waits until it answers that it knows this many brokers, itself among them. False when it ended
    /// instead.
    pub(super) fn ready(&mut self, brokers: usize) -> bool {
        let (listens, number) = (self.listens, self.number as i32);
        let child = self.child.as_mut().expect("a started broker");
        wait::until(&format!("broker {number} is ready"), START, || {
            if child.try_wait().expect("a child can be waited for").is_some() {
                return Some(false);
            }
            let known = known_to(listens)?;
            (known.len() >= brokers && known.contains(&number)).then_some(true)
        })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::end(&mut child);
        }
    }

    pub(super) fn stop(&self) {
        process::stop(self.pid().expect("a running broker"));
    }

    pub(super) fn cont(&self) {
        process::signal(self.pid().expect("a running broker"), Signal::CONT);
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("broker.log")
    }

    /// The end of its log.
    pub(super) fn tail(&self, lines: usize) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The ids of the brokers that the one at this loopback port knows to be alive; `None` where it doesn't
/// answer.
pub fn metadata(port: u16) -> Option<Vec<i32>> {
    known_to(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// The same of any address, by a Metadata request of version 1 about no topic.
pub(super) fn known_to(listens: SocketAddrV4) -> Option<Vec<i32>> {
    const WITHIN: Duration = Duration::from_secs(2);
    let mut request = Vec::new();
    request.extend(3_i16.to_be_bytes()); // Metadata
    request.extend(1_i16.to_be_bytes());
    request.extend(7_i32.to_be_bytes()); // correlation id
    request.extend(5_i16.to_be_bytes());
    request.extend(b"tests");
    request.extend(0_i32.to_be_bytes()); // no topics
    let mut stream = TcpStream::connect_timeout(&listens.into(), WITHIN).ok()?;
    stream.set_read_timeout(Some(WITHIN)).ok()?;
    stream.write_all(&(request.len() as i32).to_be_bytes()).ok()?;
    stream.write_all(&request).ok()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size)).ok()?];
    stream.read_exact(&mut answer).ok()?;
    let mut rest = answer.get(4..)?;
    let mut ids = Vec::new();
    for _ in 0..i32::from_be_bytes(*take::<4>(&mut rest)?) {
        ids.push(i32::from_be_bytes(*take::<4>(&mut rest)?));
        skip_text(&mut rest)?; // host
        take::<4>(&mut rest)?; // port
        skip_text(&mut rest)?; // rack, or null
    }
    Some(ids)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, more) = rest.split_first_chunk()?;
    *rest = more;
    Some(first)
}

fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let length = usize::try_from(i16::from_be_bytes(*take::<2>(rest)?)).unwrap_or(0);
    *rest = rest.get(length..)?;
    Some(())
}
