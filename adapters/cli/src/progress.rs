//! How it goes: a bar on a terminal, a line a second elsewhere.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};
use tidegate::Handle;
use tidegate_core::Stats;

use crate::screen::Screen;

/// What the printer counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) last_notice: Mutex<String>,
}

/// Shows the progress until it is aborted.
pub(crate) async fn show(handle: Handle, counters: Arc<Counters>, screen: Arc<Screen>) {
    let every = if screen.bar().is_some() { Duration::from_millis(200) } else { Duration::from_secs(1) };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut rate = Rate { at: Instant::now(), messages: 0, bytes: 0, per_second: None };
    loop {
        ticks.tick().await;
        let messages = counters.messages.load(Ordering::Relaxed);
        let bytes = counters.bytes.load(Ordering::Relaxed);
        let (per_second, bytes_per_second) = rate.update(Instant::now(), messages, bytes);
        let notice = counters.last_notice.lock().map(|notice| notice.clone()).unwrap_or_default();
        let text = describe(messages, per_second, bytes_per_second, &handle.stats().await, &notice);
        match screen.bar() {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => screen.line("progress", text),
        }
    }
}

fn describe(messages: u64, per_second: f64, bytes_per_second: f64, stats: &Stats, notice: &str) -> String {
    let lag = stats.lag.map_or_else(|| "unknown".to_owned(), |lag| HumanCount(lag).to_string());
    let unacked = stats.in_flight + stats.uncommitted;
    let (count, rate) = (HumanCount(messages), HumanCount(per_second as u64));
    let bytes = HumanBytes(bytes_per_second as u64);
    let mut text =
        format!("{count} messages, {rate}/s, {bytes}/s, lag {lag}, un-acked {}", HumanCount(unacked));
    if !notice.is_empty() {
        text.push_str(", last: ");
        text.push_str(notice);
    }
    text
}

/// Rates, smoothed over about a second.
struct Rate {
    at: Instant,
    messages: u64,
    bytes: u64,
    per_second: Option<(f64, f64)>,
}

impl Rate {
    fn update(&mut self, now: Instant, messages: u64, bytes: u64) -> (f64, f64) {
        let seconds = now.duration_since(self.at).as_secs_f64().max(1e-3);
        let fresh = ((messages - self.messages) as f64 / seconds, (bytes - self.bytes) as f64 / seconds);
        let weight = seconds.min(1.0);
        let (old, old_bytes) = self.per_second.unwrap_or(fresh);
        let smooth = (old + (fresh.0 - old) * weight, old_bytes + (fresh.1 - old_bytes) * weight);
        *self = Self { at: now, messages, bytes, per_second: Some(smooth) };
        smooth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_it_all() {
        let mut stats = Stats::default();
        stats.lag = Some(12_345);
        stats.in_flight = 3;
        stats.uncommitted = 4;
        assert_eq!(
            describe(1_234_567, 1_000.4, 2_048.0, &stats, "ready"),
            "1,234,567 messages, 1,000/s, 2.00 KiB/s, lag 12,345, un-acked 7, last: ready"
        );
        assert!(describe(0, 0.0, 0.0, &Stats::default(), "").ends_with("lag unknown, un-acked 0"));
    }

    #[test]
    fn rates_follow_within_a_second() {
        let start = Instant::now();
        let mut rate = Rate { at: start, messages: 0, bytes: 0, per_second: None };
        assert_eq!(rate.update(start + Duration::from_secs(1), 100, 1_000), (100.0, 1_000.0));
        assert_eq!(rate.update(start + Duration::from_secs(2), 100, 1_000), (0.0, 0.0));
        let (smooth, _) = rate.update(start + Duration::from_millis(2_500), 150, 1_000);
        assert!((smooth - 50.0).abs() < 1e-6, "{smooth}");
    }
}
