//! What a server is asked, command by command.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// MONITOR on a connection of its own: every command that a server carries out from now on. Ends when
/// dropped.
#[derive(Debug)]
pub struct Monitor {
    stream: TcpStream,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Of the server at this port of 127.0.0.1. Returns when it watches.
    pub fn of(port: u16) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
        stream.write_all(b"MONITOR\r\n").expect("the server takes MONITOR");
        let mut from = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        let mut ok = String::new();
        from.read_line(&mut ok).expect("the server answers MONITOR");
        assert_eq!(ok, "+OK\r\n", "the answer to MONITOR");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in from.lines().map_while(Result::ok) {
                    lock(&lines).push(line);
                }
            }
        });
        Self { stream, lines, reader: Some(reader) }
    }

    /// The commands of this name so far, in the order of execution, each in its words. For words
    /// without quotes and backslashes.
    pub fn commands(&self, name: &str) -> Vec<Vec<String>> {
        let words = |line: &String| -> Vec<String> {
            line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let named = |words: &Vec<String>| words.first().is_some_and(|word| word.eq_ignore_ascii_case(name));
        lock(&self.lines).iter().map(words).filter(named).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stream.shutdown(Shutdown::Both).ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

fn lock(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
