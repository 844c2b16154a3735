//! The wire floor: what one blocking socket and the cheapest scan can do. Nothing that delivers messages can
//! be expected to pass it; how far from it a client stays is what the client costs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use tidegate_benches::Failure;
use tidegate_benches::tally::Tally;

use crate::contender::{COUNT, Contender, GROUP, Job, MEMBER};
use tidegate_benches::redis::scan::{Fact, Scan};
use tidegate_benches::redis::wire::encode;

/// Room for what one read from the socket brings. A larger one falls out of the processor's cache.
const BUFFER: usize = 256 * 1024;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    vec![Box::new(Floor { acks: true }), Box::new(Floor { acks: false })]
}

struct Floor {
    acks: bool,
}

impl Contender for Floor {
    fn name(&self) -> &'static str {
        if self.acks { "floor" } else { "floor-immediate" }
    }

    fn title(&self) -> String {
        let kind = if self.acks { "acked" } else { "Immediate" };
        format!("wire floor, {kind}")
    }

    fn acks(&self) -> bool {
        self.acks
    }

    fn is_floor(&self) -> bool {
        true
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, job.port))?;
        stream.set_nodelay(true)?;
        let mut read = Vec::new();
        encode_read(&mut read, job, !self.acks);
        stream.write_all(&read.repeat(job.depth()))?;

        let mut buffer = vec![0; BUFFER];
        let (mut start, mut end) = (0, 0);
        let mut scan = Scan::default();
        let mut outgoing = Vec::new();
        let mut acked = 0;
        while !tally.is_full() || (self.acks && acked < job.entries) {
            if end == buffer.len() {
                if start == 0 {
                    buffer.resize(buffer.len() * 2, 0);
                } else {
                    buffer.copy_within(start..end, 0);
                    (start, end) = (0, end - start);
                }
            }
            let received = stream.read(&mut buffer[end..])?;
            if received == 0 {
                return Err("the server closed the connection".into());
            }
            end += received;
            start += scan.scan(&buffer[start..end], |fact| match fact {
                Fact::Begin(entries) if self.acks => {
                    outgoing.extend_from_slice(format!("*{}\r\n", entries + 3).as_bytes());
                    for word in ["XACK", &job.key, GROUP] {
                        outgoing.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
                    }
                }
                Fact::Begin(_) => {}
                Fact::Entry { id, payload } => {
                    tally.take(payload);
                    if self.acks {
                        outgoing.extend_from_slice(id);
                    }
                }
                Fact::End | Fact::Nothing if tally.is_full() => {}
                Fact::End | Fact::Nothing => outgoing.extend_from_slice(&read),
                Fact::Acked(number) => acked += number,
            })?;
            if start == end {
                (start, end) = (0, 0);
            }
            // An XACK whose ids are still arriving is sent as far as it goes: the server waits for its rest.
            if !outgoing.is_empty() {
                stream.write_all(&outgoing)?;
                outgoing.clear();
            }
        }
        tally.finish();
        Ok(())
    }
}

fn encode_read(into: &mut Vec<u8>, job: &Job, noack: bool) {
    let count = COUNT.to_string();
    let block = job.block().map(|millis| millis.to_string());
    let mut words: Vec<&[u8]> =
        vec![b"XREADGROUP", b"GROUP", GROUP.as_bytes(), MEMBER.as_bytes(), b"COUNT", count.as_bytes()];
    if let Some(block) = &block {
        words.extend([b"BLOCK".as_slice(), block.as_bytes()]);
    }
    if noack {
        words.push(b"NOACK");
    }
    words.extend([b"STREAMS".as_slice(), job.key.as_bytes(), b">"]);
    encode(into, &words);
}
