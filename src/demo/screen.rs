//! What a person sees while the demo runs: bars on a terminal, a line each second elsewhere.

use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::flow::FlowStatus;

/// How often a plain line is printed, and the rate is taken.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how far the copy is.
pub(super) struct Screen {
    started: Instant,
    line_at: Instant,
    line_bytes: u64,
    megabytes_per_second: u64,
    bars: Option<Bars>,
}

struct Bars {
    topics: Vec<ProgressBar>,
    summary: ProgressBar,
}

impl Screen {
    pub(super) fn new(topics: &[&'static str]) -> Self {
        let now = Instant::now();
        let bars = stdout().is_terminal().then(|| Bars::new(topics));
        if bars.is_none() {
            println!("  time   produced     copied        lag     MB/s");
        }
        Self {
            started: now,
            line_at: now + LINE_INTERVAL,
            line_bytes: 0,
            megabytes_per_second: 0,
            bars,
        }
    }

    /// Takes the records produced per topic, and where the flow stands.
    pub(super) fn show(&mut self, produced: &[u64], status: &FlowStatus) {
        let total: u64 = produced.iter().sum();
        let now = Instant::now();
        let is_due = now >= self.line_at;
        if is_due {
            let elapsed = (now - self.line_at + LINE_INTERVAL).as_millis().max(1);
            let bytes = status.counters.bytes.saturating_sub(self.line_bytes);
            let rate = u128::from(bytes) / elapsed / 1_000;
            self.megabytes_per_second = u64::try_from(rate).unwrap_or(u64::MAX);
            self.line_at = now + LINE_INTERVAL;
            self.line_bytes = status.counters.bytes;
        }
        let copied = status.counters.records;
        let lag = total.saturating_sub(copied);
        match &self.bars {
            Some(bars) => bars.show(produced, status, lag, self.megabytes_per_second),
            None if is_due => println!(
                "{:>4} s {:>10} {:>10} {:>10} {:>8}",
                (now - self.started).as_secs(),
                grouped(total),
                grouped(copied),
                grouped(lag),
                self.megabytes_per_second
            ),
            None => {}
        }
    }

    /// Leaves the last state standing.
    pub(super) fn finish(&mut self) {
        if let Some(bars) = &self.bars {
            for bar in bars.topics.iter().chain([&bars.summary]) {
                bar.abandon();
            }
        }
        println!();
    }
}

impl Bars {
    fn new(topics: &[&'static str]) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let style = |template| {
            ProgressStyle::with_template(template)
                .expect("the template is a constant that parses")
                .progress_chars("=> ")
        };
        let bar = |topic: &&'static str| {
            let bar = all.add(ProgressBar::new(1));
            bar.set_style(style(
                "  {prefix:>9} [{bar:40}] {human_pos} of {human_len} records",
            ));
            bar.set_prefix(*topic);
            bar
        };
        let topics = topics.iter().map(bar).collect();
        let summary = all.add(ProgressBar::new(1));
        summary.set_style(style("  {msg}"));
        Self { topics, summary }
    }

    fn show(&self, produced: &[u64], status: &FlowStatus, lag: u64, megabytes_per_second: u64) {
        for (bar, produced) in self.topics.iter().zip(produced) {
            let copied = status
                .records_by_topic
                .get(bar.prefix().as_str())
                .copied()
                .unwrap_or(0);
            bar.set_length(*produced);
            bar.set_position(copied);
        }
        self.summary.set_message(format!(
            "west->east: {} records copied, lag {}, {megabytes_per_second} MB/s",
            grouped(status.counters.records),
            grouped(lag),
        ));
    }
}

/// A number with its thousands set apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }
}
