//! What a build is doing, on standard error: bars on a terminal, plain lines elsewhere. The only file that knows
//! indicatif.

use super::options::{Global, ProgressMode};
use super::size;
use super::stdio::say;
use crate::convert::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

/// Between two drawings of a bar.
const TICK: Duration = Duration::from_millis(100);

/// Shows the events of a build.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    warnings: bool,
}

impl Progress {
    /// Progress as the options ask for it.
    pub fn new(options: &Global) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let shown = !options.quiet && options.progress != ProgressMode::None;
        let bars = shown && terminal && options.progress == ProgressMode::Auto;
        let bar = if bars {
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        Progress { bar, plain: shown && !bars, warnings: !options.quiet }
    }

    /// Progress for a command whose standard error belongs to the workload: shown on a terminal or on demand, never
    /// by itself in a pipe.
    pub fn beside_a_workload(options: &Global) -> Progress {
        let shown = options.progress == ProgressMode::Plain || std::io::stderr().is_terminal();
        let mut progress = Progress::new(options);
        progress.plain &= shown;
        progress.warnings &= shown;
        progress
    }

    /// Shows one event.
    pub fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Layers { count, bytes } => self.begin(count, bytes),
            Event::Layer { index, count, bytes } => self.layer(index, count, bytes),
            Event::Read { bytes } => self.bar.set_position(bytes),
            Event::Step(text) => self.step(text),
            Event::Warning(text) => self.warning(text),
            Event::Done => self.bar.finish_and_clear(),
        }
    }

    /// Shows how many modules of a kernel have been taken, and their bytes.
    pub fn modules(&mut self, count: usize, bytes: u64) {
        if count == 1 {
            let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant");
            self.bar.set_style(style);
            self.tick();
            self.line("reading modules");
        }
        self.bar.set_message(format!("{count} modules, {}", size::render(bytes)));
    }

    fn begin(&mut self, count: usize, bytes: u64) {
        let style = ProgressStyle::with_template("{msg:24} [{wide_bar}] {bytes}/{total_bytes} {eta}")
            .expect("the template is a constant")
            .progress_chars("=> ");
        self.bar.set_style(style);
        self.bar.set_length(bytes);
        self.tick();
        let noun = if count == 1 { "layer" } else { "layers" };
        self.line(&format!("reading {count} {noun}, {}", size::render(bytes)));
    }

    fn layer(&mut self, index: usize, count: usize, bytes: u64) {
        self.bar.set_message(format!("layer {}/{count}", index + 1));
        self.line(&format!("layer {}/{count}, {}", index + 1, size::render(bytes)));
    }

    /// Has the bar drawn again and again, on a thread: indicatif's own panics where none can be made.
    fn tick(&self) {
        if self.bar.is_hidden() {
            return;
        }
        let weak = self.bar.downgrade();
        // Without one it is drawn when it changes.
        _ = thread::Builder::new().name("progress".into()).spawn(move || {
            while let Some(bar) = weak.upgrade().filter(|bar| !bar.is_finished()) {
                bar.tick();
                thread::sleep(TICK);
            }
        });
    }

    fn step(&mut self, text: &str) {
        self.bar.set_message(text.to_string());
        self.line(text);
    }

    fn warning(&mut self, text: &str) {
        if self.warnings {
            self.bar.suspend(|| say(&format!("warning: {text}\n")));
        }
    }

    fn line(&self, text: &str) {
        if self.plain {
            say(&format!("{text}\n"));
        }
    }
}
