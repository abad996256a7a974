//! What a command is doing while somebody waits, on standard error: a line that goes away on a terminal, plain lines
//! elsewhere. The only folder that knows indicatif.

pub mod layers;

use super::options::{Global, ProgressMode};
use super::size;
use super::stdio::say;
use crate::convert::Event;
use crate::source::copied;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::ffi::OsStr;
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Between two drawings of a bar.
const TICK: Duration = Duration::from_millis(100);
/// Between two plain lines about one thing.
const AGAIN: Duration = Duration::from_secs(10);

/// All bars of this process: one terminal has them all.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
}

/// Shows what is waited for.
pub struct Progress {
    bar: ProgressBar,
    /// A thread draws it.
    ticking: AtomicBool,
    plain: bool,
    warnings: bool,
}

impl Progress {
    /// Progress as the options ask for it.
    pub fn new(options: &Global) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let shown = !options.quiet && options.progress != ProgressMode::None;
        let drawn = shown && terminal && options.progress == ProgressMode::Auto;
        let bar = if drawn {
            bars().add(ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(spinner()))
        } else {
            ProgressBar::hidden()
        };
        Progress { bar, ticking: AtomicBool::new(false), plain: shown && !drawn, warnings: !options.quiet }
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
            Event::Disk { what, bytes } => self.disk(what, bytes),
            Event::Read { bytes } => self.bar.set_position(bytes),
            Event::Step(text) => self.step(text),
            Event::Warning(text) => self.warning(text),
            Event::Done => self.clear(),
        }
    }

    /// Shows what is waited for, until something else is or nothing any more.
    pub fn waiting(&self, text: &str) {
        self.waiting_as(text, text);
    }

    /// The same in other words where lines stay.
    pub fn waiting_as(&self, text: &str, plain: &str) {
        self.passing(text);
        self.line(plain);
    }

    /// The same where lines would stay for nothing: on a terminal alone.
    pub fn passing(&self, text: &str) {
        if self.bar.is_finished() {
            self.bar.reset();
        }
        self.bar.set_style(spinner());
        self.bar.set_message(text.to_owned());
        self.tick();
    }

    /// Takes away what is on the terminal.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
        self.ticking.store(false, Ordering::Relaxed);
    }

    /// Says something that stays.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// While an image is opened: how much has been copied of one that is read once, or is packed.
    pub fn reading<T>(&self, what: &str, open: impl FnOnce() -> T) -> T {
        if self.bar.is_hidden() && !self.plain {
            return open();
        }
        let (before, done) = (copied(), AtomicBool::new(false));
        thread::scope(|scope| {
            let watch = || self.watch_copy(what, before, &done);
            // Without a thread nothing is told.
            let watcher = thread::Builder::new().spawn_scoped(scope, watch).ok();
            // However it ends, nothing more is told then.
            let _over = Over(&done, watcher.as_ref().map(|watcher| watcher.thread().clone()));
            open()
        })
    }

    fn watch_copy(&self, what: &str, before: u64, done: &AtomicBool) {
        let (mut begun, mut due) = (false, Instant::now() + AGAIN);
        while !done.load(Ordering::Relaxed) {
            let bytes = copied() - before;
            if bytes > 0 && !std::mem::replace(&mut begun, true) {
                self.bar.set_style(spinner());
                self.tick();
            }
            if bytes > 0 {
                let text = format!("reading {what}, {}", size::render(bytes));
                if Instant::now() >= due {
                    self.line(&text);
                    due = Instant::now() + AGAIN;
                }
                self.bar.set_message(text);
            }
            thread::park_timeout(TICK);
        }
        if copied() > before {
            self.line(&format!("reading {what}, {}", size::render(copied() - before)));
        }
    }

    /// Shows how many modules of a kernel have been taken, and their bytes.
    pub fn modules(&mut self, count: usize, bytes: u64) {
        if count == 1 {
            self.bar.set_style(spinner());
            self.tick();
            self.line("reading modules");
        }
        let noun = if count == 1 { "module" } else { "modules" };
        self.bar.set_message(format!("{count} {noun}, {}", size::render(bytes)));
    }

    fn begin(&mut self, count: usize, bytes: u64) {
        let noun = if count == 1 { "layer" } else { "layers" };
        self.measured(format!("{count} {noun}"), bytes);
        self.line(&format!("reading {count} {noun}, {}", size::render(bytes)));
    }

    fn disk(&mut self, what: &str, bytes: u64) {
        self.measured(what.to_owned(), bytes);
        self.line(&format!("{what}, {}", size::render(bytes)));
    }

    /// Shows a bar of something that has so many bytes.
    fn measured(&self, what: String, bytes: u64) {
        // Its words first: the bar may be drawn at any time.
        self.bar.set_message(what);
        self.bar.set_length(bytes);
        self.bar.set_position(0);
        self.bar.set_style(bar_of("{msg:24} [{wide_bar}] {so_far}/{all} {eta}"));
        self.tick();
    }

    fn layer(&mut self, index: usize, count: usize, bytes: u64) {
        self.bar.set_message(format!("layer {}/{count}", index + 1));
        self.line(&format!("layer {}/{count}, {}", index + 1, size::render(bytes)));
    }

    /// Has the bar drawn again and again, on a thread: indicatif's own panics where none can be made.
    fn tick(&self) {
        if self.bar.is_hidden() || self.ticking.swap(true, Ordering::Relaxed) {
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

    fn step(&self, text: &str) {
        self.passing(text);
        self.line(text);
    }

    fn warning(&mut self, text: &str) {
        if self.warnings {
            bars().suspend(|| say(&format!("warning: {text}\n")));
        }
    }

    fn line(&self, text: &str) {
        if self.plain {
            say(&format!("{text}\n"));
        }
    }
}

impl Drop for Progress {
    /// However a command ends, nothing of it stays on the terminal.
    fn drop(&mut self) {
        self.clear();
    }
}

/// Tells a thread that there is nothing more to watch.
struct Over<'a>(&'a AtomicBool, Option<Thread>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.iter().for_each(Thread::unpark);
    }
}

/// What an image is read from, in words.
pub fn shown_input(name: &OsStr) -> String {
    if name == "-" { "standard input".into() } else { crate::escape::path(Path::new(name)) }
}

/// A bar, with sizes as everything else here says them.
fn bar_of(template: &str) -> ProgressStyle {
    let shown = |bytes: u64, to: &mut dyn fmt::Write| _ = to.write_str(&size::render(bytes));
    ProgressStyle::with_template(template)
        .expect("the template is a constant")
        .with_key("so_far", move |state: &ProgressState, to: &mut dyn fmt::Write| shown(state.pos(), to))
        .with_key("all", move |state: &ProgressState, to: &mut dyn fmt::Write| {
            shown(state.len().unwrap_or_default(), to);
        })
        .progress_chars("=> ")
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant")
}
