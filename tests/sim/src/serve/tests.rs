use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use tidegate_core::timer::Wake;

use super::*;
use crate::broker::{BrokerCommand, BrokerEvent, Fact, PeerId};

/// Answers each line with itself; `close` closes, `sleep` answers 50 ms later, `deaf` is not read
/// from until [`Echo::hear`], and `flood` gets 100 kB.
#[derive(Default)]
struct Echo {
    endpoints: Vec<Endpoint>,
    peers: BTreeMap<PeerId, Peer>,
    commands: Vec<BrokerCommand>,
    nobody: BytesMut,
    down: bool,
    accepted: Vec<usize>,
    closed: usize,
}

#[derive(Default)]
struct Peer {
    incoming: BytesMut,
    outgoing: BytesMut,
    deaf: bool,
    closing: bool,
    answer_at: Option<Instant>,
}

impl Echo {
    fn at(endpoints: &[Endpoint]) -> Self {
        Self { endpoints: endpoints.to_vec(), ..Self::default() }
    }

    fn of(nodes: u16, first: u16) -> Self {
        let endpoints: Vec<_> = (0..nodes).map(|node| Endpoint::tcp("127.0.0.1", first + node)).collect();
        Self::at(&endpoints)
    }

    fn say(&mut self, peer: PeerId, words: &[u8]) {
        let Some(of) = self.peers.get_mut(&peer) else { return };
        if of.outgoing.is_empty() {
            self.commands.push(BrokerCommand::Write { peer });
        }
        of.outgoing.extend_from_slice(words);
    }

    fn hear(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.deaf = false);
    }

    fn lines(&mut self, now: Instant, peer: PeerId) {
        while let Some(of) = self.peers.get_mut(&peer).filter(|of| !of.closing) {
            let Some(end) = of.incoming.iter().position(|byte| *byte == b'\n') else { return };
            let line = of.incoming.split_to(end + 1);
            match &line[..] {
                b"close\n" => {
                    of.closing = true;
                    self.say(peer, b"bye\n");
                    self.commands.push(BrokerCommand::Close { peer });
                }
                b"sleep\n" => of.answer_at = Some(now + Duration::from_millis(50)),
                b"deaf\n" => of.deaf = true,
                b"flood\n" => self.say(peer, &[b'x'; 100_000]),
                line => self.say(peer, line),
            }
        }
    }
}

impl Broker for Echo {
    fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    fn accepts(&self, _: usize) -> bool {
        !self.down
    }

    fn handle(&mut self, now: Instant, event: BrokerEvent) {
        match event {
            BrokerEvent::Tick => {}
            BrokerEvent::Accepted { peer, node } => {
                self.accepted.push(node);
                self.peers.insert(peer, Peer::default());
            }
            BrokerEvent::Received { peer } => self.lines(now, peer),
            BrokerEvent::Wrote { peer, n } => {
                if let Some(of) = self.peers.get_mut(&peer) {
                    let _ = of.outgoing.split_to(n);
                    if of.closing && of.outgoing.is_empty() {
                        self.peers.remove(&peer);
                    }
                }
            }
            BrokerEvent::Closed { peer } => {
                self.closed += 1;
                self.peers.remove(&peer);
            }
        }
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            let of = self.peers.get_mut(&peer).unwrap();
            if of.answer_at.is_some_and(|at| at <= now) {
                of.answer_at = None;
                self.say(peer, b"slept\n");
            }
        }
    }

    fn poll_command(&mut self) -> BrokerCommand {
        if self.commands.is_empty() {
            let at = self.peers.values().filter_map(|peer| peer.answer_at).min();
            return BrokerCommand::Wait(at.map(|at| Wake { at, why: "sleep" }));
        }
        self.commands.remove(0)
    }

    fn outgoing(&self, peer: PeerId) -> &[u8] {
        self.peers.get(&peer).map_or(&[], |peer| &peer.outgoing)
    }

    fn incoming(&mut self, peer: PeerId) -> &mut BytesMut {
        self.peers.get_mut(&peer).map_or(&mut self.nobody, |peer| &mut peer.incoming)
    }

    fn wants_read(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| !peer.deaf)
    }

    fn watch(&mut self, _: &[bytes::Bytes]) {}

    fn facts(&mut self) -> &mut Vec<Fact> {
        unreachable!("nobody watches")
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

fn serve(nodes: u16, options: Options) -> Server<Echo> {
    Server::start_with(usize::from(nodes), 0, options, |first| Echo::of(nodes, first)).unwrap()
}

fn connect(server: &Server<Echo>) -> TcpStream {
    let client = TcpStream::connect(server.addr(0).unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

#[track_caller]
fn asks(client: &mut TcpStream, words: &str, answer: &str) {
    client.write_all(words.as_bytes()).unwrap();
    let mut got = vec![0; answer.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), answer);
}

/// Whether the peer was closed, whatever was said before.
fn is_over(client: &mut TcpStream) -> bool {
    // A reset says it too.
    !matches!(client.read_to_end(&mut Vec::new()), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[track_caller]
fn until(server: &Server<Echo>, what: impl Fn(&Echo) -> bool) {
    let started = time::Instant::now();
    while !server.with(|echo| what(echo)) {
        assert!(started.elapsed() < Duration::from_secs(10), "it never came");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn answers_splits_and_coalesced_lines() {
    let server = serve(1, Options::default());
    let mut client = connect(&server);
    asks(&mut client, "a", "");
    thread::sleep(Duration::from_millis(20));
    asks(&mut client, "b\nc\nd", "ab\nc\n");
    asks(&mut client, "\n", "d\n");
    drop(client);
    until(&server, |echo| echo.closed == 1 && echo.peers.is_empty());
    assert!(server.is_running());
}

#[test]
fn the_broker_is_woken_when_it_wants_to_be() {
    let server = serve(1, Options::default());
    let started = time::Instant::now();
    asks(&mut connect(&server), "sleep\n", "slept\n");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(50) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_hand_reaches_those_who_wait() {
    let server = serve(1, Options::default());
    let mut client = connect(&server);
    asks(&mut client, "a\n", "a\n");
    server.with(|echo| echo.say(PeerId(0), b"from a hand\n"));
    asks(&mut client, "", "from a hand\n");
    assert!(server.now() <= server.now());
}

#[test]
fn the_last_words_arrive_though_the_peer_goes_on_sending() {
    let server = serve(1, Options::default());
    let mut client = connect(&server);
    client.write_all(b"close\n").unwrap();
    let mut sent = 0;
    while sent < 4 << 20 {
        match client.write(&[b'x'; 65536]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "bye\n");
    until(&server, |echo| echo.peers.is_empty());
    assert_eq!(server.with(|echo| echo.closed), 0, "no event follows a close");
}

#[test]
fn each_node_is_told_from_the_others_and_knows_its_port() {
    let server = serve(3, Options::default());
    for node in [2, 0, 1] {
        let mut client = TcpStream::connect(server.addr(node).unwrap()).unwrap();
        asks(&mut client, "a\n", "a\n");
    }
    assert_eq!(server.addr(3), None);
    server.with(|echo| {
        assert_eq!(echo.accepted, [2, 0, 1]);
        let ports: Vec<_> = echo.endpoints.iter().map(|endpoint| endpoint.port).collect();
        assert_eq!(ports, server.addrs().iter().map(SocketAddr::port).collect::<Vec<_>>());
    });
}

#[test]
fn a_node_that_is_down_refuses_and_comes_back_at_its_port() {
    let server = serve(1, Options::default());
    asks(&mut connect(&server), "a\n", "a\n");
    server.with(|echo| echo.down = true);
    let started = time::Instant::now();
    // Who is in the middle of it is reset instead.
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    while !TcpStream::connect(server.addr(0).unwrap()).is_err_and(refused) {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    server.with(|echo| echo.down = false);
    while TcpStream::connect(server.addr(0).unwrap()).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    asks(&mut connect(&server), "a\n", "a\n");
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_served() {
    let server = serve(1, Options { connections: 3, ..Options::default() });
    let mut clients: Vec<_> = (0..3).map(|_| connect(&server)).collect();
    clients.iter_mut().for_each(|client| asks(client, "a\n", "a\n"));
    assert!(is_over(&mut connect(&server)));
    clients.iter_mut().for_each(|client| asks(client, "a\n", "a\n"));
    clients.pop();
    until(&server, |echo| echo.peers.len() == 2);
    asks(&mut connect(&server), "a\n", "a\n");
}

#[test]
fn a_line_without_end_is_closed_at_its_limit() {
    let server = serve(1, Options { incoming: 1 << 20, ..Options::default() });
    let mut client = connect(&server);
    let mut sent = 0;
    while let Ok(n) = client.write(&[b'x'; 65536]) {
        sent += n;
        assert!(sent < 64 << 20);
    }
    until(&server, |echo| echo.closed == 1);
    asks(&mut connect(&server), "a\n", "a\n");
}

#[test]
fn who_never_reads_is_held_back_and_then_reads_it_all() {
    let server = serve(1, Options { outgoing: 4 << 20, ..Options::default() });
    let mut client = connect(&server);
    client.set_nonblocking(true).unwrap();
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    let (mut sent, mut since) = (0, time::Instant::now());
    // Until neither side has any room.
    while since.elapsed() < Duration::from_millis(300) {
        match client.write(&line[sent % line.len()..]) {
            Ok(n) => (sent, since) = (sent + n, time::Instant::now()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(sent < 64 << 20);
    }
    let held = server.with(|echo| echo.peers.values().map(|peer| peer.outgoing.len()).max());
    let limit = (4 << 20) / 8;
    assert!(held.is_some_and(|held| held > limit && held <= limit + (64 << 10)), "{held:?}");
    asks(&mut connect(&server), "a\n", "a\n");
    client.set_nonblocking(false).unwrap();
    let mut got = vec![0; sent - sent % line.len()];
    client.read_exact(&mut got).unwrap();
    assert!(got.chunks(line.len()).all(|one| one == line));
}

#[test]
fn who_asks_for_more_than_it_reads_is_closed() {
    let server = serve(1, Options { outgoing: 4 << 20, ..Options::default() });
    let mut client = connect(&server);
    client.write_all(&b"flood\n".repeat(1000)).unwrap();
    until(&server, |echo| echo.closed == 1);
    asks(&mut connect(&server), "a\n", "a\n");
}

#[test]
fn of_all_together_the_one_with_most_goes() {
    let server = serve(1, Options { total: 1 << 20, ..Options::default() });
    let mut clients: Vec<_> = (1..=4).map(|_| connect(&server)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        asks(client, "a\n", "a\n");
        client.write_all(&vec![b'x'; 100_000 * n]).unwrap();
    }
    until(&server, |echo| echo.peers.values().map(|peer| peer.incoming.len()).sum::<usize>() == 600_000);
    clients[1].write_all(&vec![b'x'; 500_000]).unwrap();
    until(&server, |echo| echo.closed == 1);
    assert!(is_over(&mut clients[1]));
    asks(&mut clients[0], "a\n", "a\n");
    clients[3].write_all(b"\n").unwrap();
    let mut line = vec![0; 300_001];
    clients[3].read_exact(&mut line).unwrap();
}

#[test]
fn what_the_broker_does_not_want_stays_in_the_kernel() {
    let server = serve(1, Options::default());
    let mut client = connect(&server);
    client.write_all(b"deaf\n").unwrap();
    until(&server, |echo| echo.peers.values().any(|peer| peer.deaf));
    client.write_all(b"a\n").unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(server.with(|echo| echo.peers.values().all(|peer| peer.incoming.is_empty())));
    server.with(Echo::hear);
    asks(&mut client, "", "a\n");
    // And who goes while nobody listens is seen.
    client.write_all(b"deaf\n").unwrap();
    until(&server, |echo| echo.peers.values().any(|peer| peer.deaf));
    client.write_all(b"a\n").unwrap();
    drop(client);
    until(&server, |echo| echo.closed == 1);
}

#[test]
fn it_ends_when_dropped_and_gives_the_port_back() {
    let server = serve(1, Options::default());
    let addr = server.addr(0).unwrap();
    let mut client = connect(&server);
    asks(&mut client, "a\n", "a\n");
    drop(server);
    assert!(is_over(&mut client));
    assert!(TcpStream::connect(addr).is_err());
    let again = Server::start_with(1, addr.port(), Options::default(), |first| Echo::of(1, first)).unwrap();
    asks(&mut connect(&again), "a\n", "a\n");
}

#[test]
fn what_cannot_be_served_is_said() {
    let start = |endpoint: Endpoint| Server::start(Echo::at(&[endpoint]), Options::default());
    let server = start(Endpoint::tcp("127.0.0.1", 0)).unwrap();
    asks(&mut connect(&server), "a\n", "a\n");
    let port = server.addr(0).unwrap().port();
    let said = |result: Result<Server<Echo>, StartError>| result.err().unwrap().to_string();
    assert!(
        said(start(Endpoint::tcp("127.0.0.1", port)))
            .contains(&format!("can't listen at 127.0.0.1:{port}: "))
    );
    assert!(said(start(Endpoint::tcp("redis-0", 6379))).contains("redis-0:6379"));
    assert!(said(start(Endpoint::tcp("192.0.2.1", 6379))).contains("no loopback address"));
    assert!(said(Server::start(Echo::at(&[]), Options::default())).contains("no node"));
    let other = Server::start_with(2, 0, Options::default(), |first| Echo::of(1, first));
    assert!(said(other).starts_with("the broker listens at 127.0.0.1:"));
    let other = Server::start_with(3, 65_534, Options::default(), |first| Echo::of(3, first));
    assert_eq!(said(other), "3 ports from 65534 on are too many, as 65535 is the last: begin lower");
}
