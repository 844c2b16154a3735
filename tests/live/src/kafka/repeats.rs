//! Why a record was written twice: somebody took a partition over where it was committed, and read again
//! what had been written and not committed; or a former owner had not heard of it yet.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::admin::Commit;

/// How long after the member a line may be read by the test.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How long somebody who was cut off may take to hear that a partition is another's: a coordinator that
/// stands still is given up after 6 s, then one more broker may be asked in vain for 3 s who it is, and
/// the question as well as the connection may wait for 5 s each.
const HEARS_WITHIN: Duration = Duration::from_secs(20);

/// A line about a record of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) at: Instant,
    pub(super) member: usize,
    pub(super) offset: u64,
}

/// Lines of one partition that were written before.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Written and not committed when a member began there.
    pub(super) taken_over: u64,
    /// Written beside somebody who had taken over, by who had not heard of it, or the other way round.
    pub(super) overlapping: u64,
    /// What neither explains.
    pub(super) unexplained: u64,
    /// Where members began, but for the first one.
    pub(super) begins: Vec<String>,
}

/// Goes through the lines of one partition, each member's in their order. `commits` are those of that
/// partition, in the order of the coordinator's log; `cut_off` is how long a member may be out of reach
/// of a broker; `millis` tells when that was by the coordinator's clock.
///
/// The error is a member that began elsewhere than at what was committed.
pub(super) fn repeats(
    mut lines: Vec<Line>,
    members: usize,
    commits: &[&Commit],
    cut_off: Duration,
    millis: impl Fn(Instant) -> i64,
) -> Result<Repeats, String> {
    lines.sort_by_key(|line| line.at); // stable
    let mut written = BTreeSet::new();
    // By member: what it wrote last, and one past what had been written when it began.
    let mut last = vec![None; members];
    let mut before = vec![0; members];
    let mut begun: Option<Instant> = None;
    let mut found = Repeats::default();
    for Line { at, member, offset } in lines {
        let goes_on = last[member].is_some_and(|last| last + 1 == offset);
        last[member] = Some(offset);
        if !goes_on {
            before[member] = written.last().map_or(0, |last| last + 1);
            let is_committed = commits.iter().any(|commit| commit.offset == offset as i64);
            // What it commits itself comes after the line.
            let old = millis(at) - (READ_WITHIN + cut_off).as_millis() as i64;
            let committed = commits.iter().rev().find(|commit| commit.at < old).map_or(0, |c| c.offset);
            if (offset > 0 && !is_committed) || (offset as i64) < committed {
                let around = commits.iter().filter(|commit| (commit.at - millis(at)).abs() < 20_000);
                return Err(format!(
                    "member-{member} began at {offset} at {}; committed around then: {:#?}",
                    millis(at),
                    around.collect::<Vec<_>>()
                ));
            }
            if begun.replace(at).is_some() {
                found.begins.push(format!("member-{member} at {offset} of {}", before[member]));
            }
        }
        if !written.insert(offset) {
            if offset < before[member] {
                found.taken_over += 1;
            } else if begun.is_some_and(|begun| at - begun < HEARS_WITHIN + cut_off) {
                found.overlapping += 1;
            } else {
                found.unexplained += 1;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Member 0 writes 0 to 9, one a second, and commits up to 5 meanwhile; member 1 begins at `from`, in
    /// second `second`, and writes up to 12.
    fn taken_over(from: u64, second: u64, more: &[(u64, u64)]) -> Result<Repeats, String> {
        let began = Instant::now();
        let at = |second: u64| began + Duration::from_secs(second);
        let line = |second, member, offset| Line { at: at(second), member, offset };
        let mut lines: Vec<_> = (0..10).map(|offset| line(offset, 0, offset)).collect();
        lines.extend((from..13).map(|offset| line(second, 1, offset)));
        lines.extend(more.iter().map(|&(second, offset)| line(second, 0, offset)));
        let commit = |offset: i64| Commit { topic: "t".into(), partition: 0, offset, at: offset * 1_000 };
        let commits = [commit(3), commit(5)];
        let millis = |at: Instant| at.duration_since(began).as_millis() as i64;
        repeats(lines, 2, &commits.iter().collect::<Vec<_>>(), Duration::ZERO, millis)
    }

    #[test]
    fn what_was_not_committed_is_read_again() {
        let found = taken_over(5, 20, &[]).unwrap();
        assert_eq!((found.taken_over, found.overlapping, found.unexplained), (5, 0, 0));
    }

    #[test]
    fn who_begins_elsewhere_than_at_what_is_committed_is_wrong() {
        for from in [0, 3, 4, 6, 12] {
            assert!(taken_over(from, 20, &[]).is_err(), "{from}");
        }
    }

    #[test]
    fn who_has_not_heard_of_it_goes_on_for_a_while() {
        let found = taken_over(5, 20, &[(25, 10), (39, 11), (41, 12)]).unwrap();
        assert_eq!((found.taken_over, found.overlapping, found.unexplained), (5, 2, 1));
    }
}
