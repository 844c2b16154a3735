//! A redis-server of our own, and what is in it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate_benches::Failure;
use tidegate_benches::child::Guard;

use crate::contender::{FIELD, GROUP};
use tidegate_benches::redis::wire::{Wire, encode};

/// Commands that are sent before their replies are read.
const PIPELINE: u64 = 1_000;

/// A running redis-server without persistence; it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    _process: Guard,
    pub(crate) port: u16,
    pub(crate) wire: Wire,
}

impl Server {
    pub(crate) fn start() -> Result<Self, Failure> {
        // Another process can take a free port before the server does.
        let mut last: Failure = "no attempt".into();
        for _ in 0..5 {
            match Self::start_once() {
                Ok(server) => return Ok(server),
                Err(failure) => last = failure,
            }
        }
        Err(format!("redis-server did not start: {last}").into())
    }

    fn start_once() -> Result<Self, Failure> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut process = Guard(command(port).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = process.0.try_wait()? {
                return Err(format!("it ended with {status}").into());
            }
            // A server that loads nothing answers as soon as it listens; its process id proves that it is ours.
            if let Ok(mut wire) = Wire::connect(port)
                && wire.info("process_id")? == process.0.id().to_string()
            {
                return Ok(Self { _process: process, port, wire });
            }
            if Instant::now() > deadline {
                return Err("it does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Adds `entries` entries with payloads of `size` bytes.
    pub(crate) fn fill(
        &mut self,
        key: &str,
        entries: u64,
        size: usize,
        stop: &AtomicBool,
    ) -> Result<(), Failure> {
        let mut commands = Vec::new();
        let mut added = 0;
        while added < entries {
            if stop.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            commands.clear();
            let chunk = PIPELINE.min(entries - added);
            for index in added..added + chunk {
                let payload = format!("{index:0size$}");
                encode(&mut commands, &[b"XADD", key.as_bytes(), b"*", FIELD.as_bytes(), payload.as_bytes()]);
            }
            self.wire.send(&commands)?;
            for _ in 0..chunk {
                self.wire.reply()?;
            }
            added += chunk;
        }
        Ok(())
    }

    /// Creates the group afresh, from the first entry on.
    pub(crate) fn renew_group(&mut self, key: &str) -> Result<(), Failure> {
        let (key, group) = (key.as_bytes(), GROUP.as_bytes());
        // Fails only where neither exists yet.
        let _ = self.wire.call(&[b"XGROUP", b"DESTROY", key, group]);
        self.wire.call(&[b"XGROUP", b"CREATE", key, group, b"0", b"MKSTREAM"])?;
        Ok(())
    }
}

/// `setpriv`, where there is one, ends the server even if this process is killed outright; it replaces itself
/// by the server, so that the process id is the server's.
fn command(port: u16) -> Command {
    let silent = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut command = match silent(Command::new("setpriv").arg("--version")) {
        Ok(status) if status.success() => {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM", "redis-server"]);
            command
        }
        _ => Command::new("redis-server"),
    };
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(std::env::temp_dir());
    command
}
