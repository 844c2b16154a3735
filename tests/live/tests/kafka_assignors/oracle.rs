//! A JVM with Apache Kafka's assignors, asked line by line. It ends when its stdin does.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_live::kafka::{Version, jars};

use super::{Shares, World};

/// How long some dozens of partitions may take: milliseconds, if they end.
const PATIENCE_SECONDS: u32 = 10;

struct Jvm {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    version: String,
}

/// One for all tests of this executable, as it takes a second or two to start. They wait for each
/// other, which also leaves the processor to whoever is timed.
static JVM: Mutex<Option<Jvm>> = Mutex::new(None);

pub struct Oracle(MutexGuard<'static, Option<Jvm>>);

impl Jvm {
    fn start() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/Assignors.java");
        // Kafka's sticky assignor logs each of its plans, whole.
        let mut child = Command::new("java")
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-cp")
            .arg(jars(Version::Newest).join("*"))
            .arg(source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("java, which must be there from version 17 on: {error}"));
        let to = child.stdin.take().expect("stdin is piped");
        let from = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut jvm = Self { child, to, from, version: String::new() };
        jvm.version = jvm.ask("version\n").join(" ");
        jvm
    }

    fn ask(&mut self, question: &str) -> Vec<String> {
        self.to.write_all(question.as_bytes()).and_then(|()| self.to.flush()).expect("the JVM reads");
        let mut line = String::new();
        let read = self.from.read_line(&mut line).expect("the JVM answers");
        assert!(read > 0, "the JVM ended at {question}; what it said is above");
        line.trim_end_matches('\n').split('\t').map(str::to_owned).collect()
    }
}

impl Oracle {
    /// Waits for its turn; starts the JVM, if it isn't there.
    pub fn start() -> Self {
        // A test that failed in between left no half question: each is written and read at once.
        let mut guard = JVM.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alive = guard.as_mut().is_some_and(|jvm| matches!(jvm.child.try_wait(), Ok(None)));
        if !is_alive {
            *guard = Some(Jvm::start());
        }
        Self(guard)
    }

    /// The version of the library.
    pub fn version(&self) -> String {
        self.0.as_ref().expect("started").version.clone()
    }

    fn ask(&mut self, question: &str) -> Vec<String> {
        self.0.as_mut().expect("started").ask(question)
    }

    /// What Kafka's own says, or the exception that it throws, or that it doesn't end.
    pub fn try_assign(&mut self, name: &str, world: &World) -> Result<Shares, String> {
        let mut question = String::new();
        for topic in &world.topics {
            let racks: Vec<String> = topic.racks.iter().map(|racks| racks.join(",")).collect();
            writeln!(question, "topic\t{}\t{}\t{}", topic.name, topic.partitions, racks.join(";")).unwrap();
        }
        for member in &world.members {
            let field = |field: &Option<String>| field.clone().unwrap_or("-".into());
            let data: String = member.user_data.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(
                question,
                "member\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                member.id,
                field(&member.instance),
                field(&member.rack),
                if member.topics.is_empty() { "-".into() } else { member.topics.join(",") },
                list(&member.owned),
                member.generation,
                if data.is_empty() { "-".into() } else { data },
            )
            .unwrap();
        }
        writeln!(question, "assign\t{name}\t{PATIENCE_SECONDS}").unwrap();
        let answer = self.ask(&question);
        if answer[0] == "endless" {
            // The JVM goes with it: nothing else stops what runs in it.
            let mut jvm = self.0.replace(Jvm::start()).expect("started");
            jvm.child.wait().expect("it ended");
            return Err(format!("no end in {PATIENCE_SECONDS} s"));
        }
        if answer[0] == "error" {
            return Err(answer[1..].join(" "));
        }
        let pairs = answer.chunks_exact(2);
        Ok(pairs.map(|pair| (pair[0].clone(), parsed(&pair[1]))).collect())
    }

    #[track_caller]
    pub fn assign(&mut self, name: &str, world: &World) -> Shares {
        self.try_assign(name, world).unwrap_or_else(|error| panic!("{error}: {world:#?}"))
    }

    /// What a member with this past puts into its subscription.
    pub fn user_data(&mut self, name: &str, owned: &[(String, Vec<i32>)], generation: i32) -> Vec<u8> {
        let answer = self.ask(&format!("userdata\t{name}\t{}\t{generation}\n", list(owned)));
        let digits = answer[0].as_bytes();
        digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Seconds of each run, and how many partitions were assigned. The numbers are topics, the
    /// partitions of each, members, and racks.
    pub fn time(&mut self, name: &str, numbers: [i32; 4], past: bool, runs: u32) -> Vec<(f64, u64)> {
        let [topics, each, members, racks] = numbers;
        let past = if past { "past" } else { "none" };
        let answer =
            self.ask(&format!("time\t{name}\t{topics}\t{each}\t{members}\t{racks}\t{past}\t{runs}\n"));
        let run = |text: &String| {
            let (nanoseconds, assigned) = text.split_once(':').unwrap_or_else(|| panic!("{answer:?}"));
            (nanoseconds.parse::<f64>().unwrap() / 1e9, assigned.parse().unwrap())
        };
        answer.iter().map(run).collect()
    }
}

fn list(owned: &[(String, Vec<i32>)]) -> String {
    let owned = owned.iter().filter(|(_, partitions)| !partitions.is_empty());
    let numbers = |partitions: &[i32]| partitions.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let each: Vec<String> =
        owned.map(|(topic, partitions)| format!("{topic}:{}", numbers(partitions))).collect();
    if each.is_empty() { "-".into() } else { each.join(";") }
}

fn parsed(list: &str) -> Vec<(String, Vec<i32>)> {
    if list == "-" {
        return Vec::new();
    }
    let topics = list.split(';').map(|topic| topic.rsplit_once(':').expect("a topic and its partitions"));
    let mut parsed: Vec<(String, Vec<i32>)> = topics
        .map(|(topic, numbers)| {
            (topic.to_owned(), numbers.split(',').map(|number| number.parse().expect("a number")).collect())
        })
        .collect();
    parsed.sort();
    parsed
}
