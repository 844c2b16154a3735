//! Traces: lines, whole files, and lines made from a tape.
//!
//! **Input:** a byte that says which of these, a byte that says where to cut, then text or a tape.

mod lines;

use tidegate_core::redis::Machine;
use tidegate_core::trace::{Line, Recorder, Replayed, Trace, TraceError, replay};
use tidegate_core::{Secret, Setup};
use tidegate_sim::Tape;

use self::lines::line;
use crate::redis_machine::setup;

/// No bytes make the parser or the replay panic, and what is wrong is one line of words. A line
/// that was read prints as one that reads the same, and a setup too. A trace that replays, replays
/// wherever it is cut. A line that was made prints as printable ASCII and reads back.
pub fn trace(data: &[u8]) {
    let [which, cut, rest @ ..] = data else { return };
    match which % 3 {
        0 => String::from_utf8_lossy(rest).lines().for_each(text_line),
        1 => whole(rest, usize::from(*cut) * rest.len() / 255),
        _ => {
            let mut tape = Tape::from_bytes(rest);
            for _ in 0..8 {
                let line = line(&mut tape);
                assert_eq!(reread(&line), line);
            }
            let mut setup = setup(&mut tape);
            let header = header_of(&setup).unwrap();
            // Of a password nothing is in a trace but how long it is.
            if let Some(login) = &mut setup.options.login {
                assert!(!header.contains(login.password.reveal()));
                login.password = Secret::new("*".repeat(login.password.reveal().len()));
            }
            assert_eq!(parsed(&header), setup);
        }
    }
}

fn text_line(text: &str) {
    match text.parse::<Line<'_>>() {
        Ok(line) => assert_eq!(reread(&line), line),
        Err(what) => assert!(!what.contains(['\n', '\r']), "{what:?}"),
    }
}

fn reread(line: &Line<'_>) -> Line<'static> {
    let text = line.to_string();
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    text.parse().unwrap()
}

fn whole(bytes: &[u8], cut: usize) {
    let trace = match Trace::parse(bytes) {
        Ok(trace) => trace,
        Err(error) => return one_line(&error),
    };
    let Some(header) = header_of(&trace.setup) else { return };
    assert_eq!(parsed(&header), trace.setup);
    match run(&trace) {
        Err(error) => one_line(&error),
        Ok(all) => {
            // Cut within the setup there is nothing to replay.
            let Ok(part) = Trace::parse(&bytes[..cut]) else { return };
            let part = run(&part).unwrap();
            assert!(part.inputs <= all.inputs && part.outputs <= all.outputs);
        }
    }
}

fn run(trace: &Trace<'_>) -> Result<Replayed, TraceError> {
    replay(trace, Machine::new(trace.setup.clone()).unwrap())
}

fn one_line(error: &TraceError) {
    assert!(!error.to_string().contains('\n'), "{error:?}");
}

/// The setup as a recorder prints it; `None` where no machine can be made from it.
fn header_of(setup: &Setup) -> Option<String> {
    let mut header = String::new();
    let machine = Machine::new(setup.clone()).ok()?;
    Recorder::new(machine, "redis", setup, |line| header.push_str(line));
    Some(header)
}

fn parsed(header: &str) -> Setup {
    Trace::parse(header.as_bytes()).unwrap().setup
}
