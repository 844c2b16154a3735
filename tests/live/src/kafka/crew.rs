//! Many members of one group, and the books about what they did.

use std::time::{Duration, Instant, SystemTime};

use super::admin::{Admin, Commit};
use super::repeats::{Line, repeats};
use crate::{Consume, wait};

/// How much a member may go on writing of what it had in hand when it is told of its loss. A stopped
/// member wakes with its hands full, and hears from the broker only a round trip later.
const IN_HAND: u64 = 5_000;

/// The processes of one group on one topic, with everything that they wrote.
///
/// The rules that it holds them to: what is committed has been written before (a message is acked when
/// its line is written); each commit is at or after the one before; who takes a partition over begins at
/// what is committed; and a record is written twice only where somebody died or stood still with it, or
/// had it in hand when its partition was taken away.
#[derive(Debug)]
pub struct Crew {
    admin: Admin,
    topic: String,
    /// Where the members go.
    url: String,
    group: String,
    args: Vec<String>,
    members: Vec<Member>,
    /// How often each offset of each partition was written.
    written: Vec<Vec<u8>>,
    /// The first offset of each partition that nobody has written.
    frontier: Vec<i64>,
    distinct: u64,
    committed: Vec<i64>,
    brokers_fail: bool,
    excused: Excused,
}

/// What may have been written twice, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excused {
    /// Written by somebody who was killed, and not committed.
    pub killed: u64,
    /// Written by somebody who was stopped, and not committed.
    pub stopped: u64,
    /// Written after that by somebody who went on, before it knew that it had been replaced.
    pub late: u64,
    /// In hand when a partition was taken away.
    pub in_hand: u64,
    /// Written and not committed when a partition was taken away, as the member says: it was held for
    /// dead, or the coordinator didn't answer in time.
    pub uncommitted: u64,
    /// Where brokers or connections fail, instead of all these: written and not committed when somebody
    /// took the partition over,
    pub taken_over: u64,
    /// or written by who had not heard of that, as it was cut off.
    pub overlapping: u64,
}

impl Excused {
    /// All but what may have been in hand.
    fn by_events(self) -> u64 {
        self.killed + self.stopped + self.late + self.uncommitted
    }

    /// All that may have been written twice.
    pub fn explained(self) -> u64 {
        self.by_events() + self.in_hand + self.taken_over + self.overlapping
    }
}

/// What there was to see in the end.
#[derive(Debug, Clone)]
pub struct Report {
    /// Records in the topic, each of which was written at least once.
    pub records: u64,
    /// Lines beyond one for each record.
    pub duplicates: u64,
    /// How many of those were excused.
    pub excused: Excused,
    /// How many processes took part.
    pub processes: usize,
    /// How many commits the group has made.
    pub commits: usize,
    /// The longest time in which nobody wrote a line.
    pub longest_gap: Duration,
}

#[derive(Debug)]
struct Member {
    process: Consume,
    /// How many of its lines are in the books.
    read: usize,
    state: State,
    /// When it was told to go on after standing still.
    woken: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Stands,
    Ended,
}

/// What was asked of one rebalance at most from each member.
const BATCH: u64 = 200;

impl Crew {
    /// Nobody yet; each member is started with these arguments.
    pub fn new(admin: &Admin, topic: &str, partitions: usize, group: &str, args: &[&str]) -> Self {
        Self {
            admin: admin.clone(),
            topic: topic.into(),
            url: admin.url(topic),
            group: group.into(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            members: Vec::new(),
            written: vec![Vec::new(); partitions],
            frontier: vec![0; partitions],
            distinct: 0,
            committed: vec![-1; partitions],
            brokers_fail: false,
            excused: Excused::default(),
        }
    }

    /// Its members go to this URL, such as one that leads through proxies.
    pub fn at(self, url: &str) -> Self {
        Self { url: url.into(), ..self }
    }

    /// Brokers stand still or die meanwhile. A commit that was given up for lost may then lie in a
    /// broker's queue, and come to light after the one that was sent in its place: so a commit may go
    /// back for a moment, as nothing in the protocol tells the two apart.
    pub fn brokers_fail(self) -> Self {
        Self { brokers_fail: true, ..self }
    }

    /// One more member; its number.
    pub fn join(&mut self) -> usize {
        let number = self.members.len();
        let process = Consume::of(&self.url)
            .member(&self.group, &format!("member-{number}"))
            .args(&self.args)
            .args(["--batch", &BATCH.to_string(), "--commit-interval", "200ms"])
            .in_short()
            .start();
        self.members.push(Member { process, read: 0, state: State::Runs, woken: None });
        self.rebalanced();
        number
    }

    /// SIGINT: it commits, leaves, and ends within 5 s with status 0.
    #[track_caller]
    pub fn leave(&mut self, member: usize) {
        self.members[member].process.interrupt();
        self.members[member].state = State::Ended;
        self.rebalanced();
    }

    /// SIGKILL.
    #[track_caller]
    pub fn kill9(&mut self, member: usize) {
        self.members[member].process.kill9();
        self.members[member].state = State::Ended;
        self.excused.killed += self.not_committed(member);
        self.rebalanced();
    }

    /// SIGSTOP.
    #[track_caller]
    pub fn stop(&mut self, member: usize) {
        self.members[member].process.stop();
        self.members[member].state = State::Stands;
        // What it wrote before lies in the pipe, and is read by and by.
        let taken = |crew: &Self| crew.members[member].process.seen().taken.len();
        let mut before = taken(self);
        wait::until_true("its lines are read", wait::PATIENCE, || {
            std::thread::sleep(Duration::from_millis(100));
            let now = taken(self);
            std::mem::replace(&mut before, now) == now
        });
        self.excused.stopped += self.not_committed(member);
    }

    /// SIGCONT.
    pub fn cont(&mut self, member: usize) {
        self.members[member].woken = Some(Instant::now());
        self.members[member].process.cont();
        self.members[member].state = State::Runs;
        self.rebalanced();
    }

    /// Those that run, by number.
    pub fn running(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&member| self.members[member].state == State::Runs).collect()
    }

    /// How many records have been written at least once.
    pub fn seen(&mut self) -> u64 {
        self.read();
        self.distinct
    }

    /// How many records one member has written.
    pub fn written_by(&self, member: usize) -> usize {
        self.members[member].process.seen().taken.len()
    }

    /// Waits until each record below these offsets, one for each partition, has been written.
    #[track_caller]
    pub fn wait_for(&mut self, ends: &[i64], within: Duration) {
        let total: i64 = ends.iter().sum();
        let began = Instant::now();
        loop {
            self.read();
            let reached = |(partition, &end): (usize, &i64)| self.frontier[partition] >= end;
            if ends.iter().enumerate().all(reached) {
                return;
            }
            self.check_alive();
            let missing: Vec<_> = ends
                .iter()
                .enumerate()
                .filter(|(partition, end)| self.frontier[*partition] < **end)
                .map(|(partition, end)| format!("{partition}: from {} of {end}", self.frontier[partition]))
                .collect();
            if began.elapsed() > within {
                let books = self.admin.group(&self.group);
                let (seen, committed) = (self.seen(), &self.committed);
                panic!(
                    "{seen} of {total} records within {within:?}; missing: {missing:#?}; committed: \
                     {committed:?}; the group: {books:#?}"
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until each partition has more than now, and all of that is committed.
    #[track_caller]
    pub fn goes_on(&mut self, within: Duration) {
        self.read();
        let began = Instant::now();
        let now = self.frontier.clone();
        loop {
            self.check_commits();
            if self.committed.iter().zip(&now).all(|(committed, before)| committed > before) {
                return;
            }
            self.check_alive();
            assert!(
                began.elapsed() < within,
                "it stands still: {:?} written and {:?} committed {within:?} after {now:?}; the group: {:#?}",
                self.frontier,
                self.committed,
                self.admin.group(&self.group)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks what is committed, and holds it against what was committed before and what was written.
    #[track_caller]
    pub fn check_commits(&mut self) {
        let committed = self.admin.committed_offsets(&self.group, &self.topic, self.written.len());
        for (partition, (&now, &before)) in committed.iter().zip(&self.committed).enumerate() {
            assert!(
                now >= before || self.brokers_fail,
                "partition {partition}: {now} was committed after {before}"
            );
        }
        self.committed = committed;
        // The line came before the commit, so it is in the pipe at least.
        let began = Instant::now();
        loop {
            self.read();
            let passed = (0..self.written.len())
                .find(|&partition| self.frontier[partition] < self.committed[partition]);
            let Some(partition) = passed else { return };
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "partition {partition}: {} is committed, but {} was never written; around it:\n{}",
                self.committed[partition],
                self.frontier[partition],
                self.around(partition)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What each member wrote of a partition around the first offset that nobody wrote.
    fn around(&self, partition: usize) -> String {
        let missing = self.frontier[partition] as u64;
        let mut lines = String::new();
        for (number, member) in self.members.iter().enumerate() {
            let seen = member.process.seen();
            let mut runs: Vec<(u64, u64)> = Vec::new();
            for taken in seen.taken.iter().filter(|taken| taken.shard as usize == partition) {
                match runs.last_mut() {
                    Some((_, last)) if *last + 1 == taken.offset => *last = taken.offset,
                    _ => runs.push((taken.offset, taken.offset)),
                }
            }
            lines += &format!("  member-{number} ({:?}): {runs:?}\n", member.state);
        }
        lines + &format!("  missing: {missing}")
    }

    /// Waits until all that there is has been committed: faults are over, and nobody leaves yet.
    #[track_caller]
    pub fn wait_until_committed(&mut self, ends: &[i64], within: Duration) {
        let began = Instant::now();
        while self.admin.committed_offsets(&self.group, &self.topic, self.written.len()) != ends {
            assert!(began.elapsed() < within, "not all is committed: {:?} of {ends:?}", self.committed);
            self.check_commits();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everybody leaves; then the books are closed.
    #[track_caller]
    pub fn finish(mut self) -> Report {
        self.check_alive();
        for member in self.running() {
            self.leave(member);
        }
        self.check_commits();
        let ends = self.admin.ends(&self.topic);
        assert_eq!(self.committed, ends, "everything was written and acked, so it is committed at the end");
        for (partition, end) in ends.iter().enumerate() {
            assert_eq!(self.frontier[partition], *end, "partition {partition}: lost");
        }
        let history = self.admin.commits(&self.group);
        self.check_history(&history);
        let unexplained = self.check_beginnings(&history);
        self.add_late_ones();
        self.add_uncommitted_ones();
        let records: i64 = ends.iter().sum();
        let lines: u64 = self.members.iter().map(|member| member.read as u64).sum();
        let report = Report {
            records: records as u64,
            duplicates: lines - records as u64,
            excused: self.excused,
            processes: self.members.len(),
            commits: history.len(),
            longest_gap: self.longest_gap(),
        };
        println!("{report:?}");
        if self.brokers_fail {
            // A member that no broker hears for its session is out, with all that it had not committed:
            // how much that is the next one's beginning tells.
            assert_eq!(unexplained, 0, "more duplicates than anything explains: {report:#?}");
            assert!(report.duplicates <= report.excused.explained(), "{report:#?}");
        } else {
            let in_hand = report.duplicates.saturating_sub(report.excused.by_events());
            println!("{in_hand} of them not explained by a death or a stand-still");
            let most = report.excused.in_hand;
            assert!(
                in_hand <= most,
                "more duplicates than anything explains: {report:#?}\n{}",
                self.said_by_members()
            );
        }
        report
    }

    /// Holds each commit that the group ever made against the one before it.
    #[track_caller]
    fn check_history(&self, history: &[Commit]) {
        /// How long a commit from a broker's queue may count.
        const HEALED_MS: i64 = 15_000;
        let mut went_back = 0;
        for partition in 0..self.written.len() {
            let of_it: Vec<_> =
                history.iter().filter(|commit| commit.partition as usize == partition).collect();
            for (at, pair) in of_it.windows(2).enumerate().filter(|(_, pair)| pair[1].offset < pair[0].offset)
            {
                went_back += 1;
                let mut later = of_it[at + 1..].iter();
                let heals =
                    later.any(|later| later.offset >= pair[0].offset && later.at - pair[0].at <= HEALED_MS);
                let around = &of_it[at.saturating_sub(3)..(at + 6).min(of_it.len())];
                assert!(self.brokers_fail && heals, "a commit of a former owner goes back: {around:#?}");
            }
        }
        if self.brokers_fail {
            println!(
                "{} commits, of which {went_back} came late out of a failed broker's queue",
                history.len()
            );
        }
    }

    /// Holds where each member began with a partition against what was committed then; how many lines
    /// nothing explains that others had written before.
    #[track_caller]
    fn check_beginnings(&mut self, history: &[Commit]) -> u64 {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let millis = |at: Instant| {
            let time = clock - now.duration_since(at);
            time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64)
        };
        let mut by_partition: Vec<Vec<Line>> = vec![Vec::new(); self.written.len()];
        for (number, member) in self.members.iter().enumerate() {
            for taken in &member.process.seen().taken {
                let line = Line { at: taken.at, member: number, offset: taken.offset };
                by_partition[taken.shard as usize].push(line);
            }
        }
        let mut unexplained = 0;
        for (partition, lines) in by_partition.into_iter().enumerate() {
            let commits: Vec<_> =
                history.iter().filter(|commit| commit.partition as usize == partition).collect();
            let found = match repeats(lines, self.members.len(), &commits, millis) {
                Ok(found) => found,
                Err(wrong) => panic!("partition {partition}: {wrong}"),
            };
            if self.brokers_fail {
                if !found.begins.is_empty() {
                    println!("partition {partition} was taken over: {found:?}");
                }
                self.excused.taken_over += found.taken_over;
                self.excused.overlapping += found.overlapping;
                unexplained += found.unexplained;
            }
        }
        unexplained
    }

    /// Enters the lines that came since the last time.
    fn read(&mut self) {
        for member in &mut self.members {
            let seen = member.process.seen();
            for taken in &seen.taken[member.read..] {
                let partition = &mut self.written[taken.shard as usize];
                let offset = taken.offset as usize;
                if partition.len() <= offset {
                    partition.resize(offset + 1, 0);
                }
                self.distinct += u64::from(partition[offset] == 0);
                partition[offset] = partition[offset].saturating_add(1);
            }
            member.read = seen.taken.len();
        }
        for (frontier, written) in self.frontier.iter_mut().zip(&self.written) {
            while written.get(*frontier as usize).is_some_and(|&times| times > 0) {
                *frontier += 1;
            }
        }
    }

    /// What one member has written that is not committed.
    fn not_committed(&mut self, member: usize) -> u64 {
        self.check_commits();
        let seen = self.members[member].process.seen();
        seen.taken.iter().filter(|taken| taken.offset as i64 >= self.committed[taken.shard as usize]).count()
            as u64
    }

    /// Each member may have a batch in hand that it writes after its partition was taken away.
    fn rebalanced(&mut self) {
        if !self.brokers_fail {
            let runs = self.members.iter().filter(|member| member.state != State::Ended).count();
            self.excused.in_hand += BATCH * runs as u64;
        }
    }

    /// What those that stood still wrote when they went on, where they had been, of what others wrote
    /// too.
    fn add_late_ones(&mut self) {
        for member in &self.members {
            let Some(woken) = member.woken else { continue };
            let seen = member.process.seen();
            let mut at = vec![None; self.written.len()];
            let mut late = 0;
            for taken in &seen.taken {
                let (shard, offset) = (taken.shard as usize, taken.offset);
                if taken.at < woken {
                    at[shard] = Some(offset);
                } else if at[shard] == Some(offset.wrapping_sub(1)) {
                    at[shard] = Some(offset);
                    late += u64::from(self.written[shard][offset as usize] > 1);
                }
            }
            assert!(late <= IN_HAND, "{late} lines of a member that had been replaced");
            self.excused.late += late;
        }
    }

    /// What was acked and could not be committed before it was let go, in the members' own words; those
    /// that died or stood still are in the books already.
    fn add_uncommitted_ones(&mut self) {
        for member in &self.members {
            let seen = member.process.seen();
            let of_it = seen.notices.iter().filter_map(|line| {
                let (before, _) = line.text.split_once(" acks of ")?;
                before.rsplit(' ').next()?.parse::<u64>().ok()
            });
            self.excused.uncommitted += of_it.sum::<u64>();
        }
    }

    fn said_by_members(&self) -> String {
        let members = self.members.iter().enumerate().map(|(number, member)| {
            format!("member-{number} ({:?}):\n{}", member.state, member.process.seen().stderr_tail())
        });
        members.collect()
    }

    fn longest_gap(&self) -> Duration {
        let mut times: Vec<Instant> = Vec::new();
        for member in &self.members {
            times.extend(member.process.seen().taken.iter().map(|taken| taken.at));
        }
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    #[track_caller]
    fn check_alive(&mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            let runs = member.state == State::Ended || member.process.is_running();
            assert!(runs, "member {number} has ended by itself:\n{}", member.process.seen().stderr_tail());
        }
    }
}
