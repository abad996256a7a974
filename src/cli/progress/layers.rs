//! Layers on their way from a registry: a bar each on a terminal, a line each elsewhere.

use super::super::options::{Global, ProgressMode};
use super::super::{size, stdio};
use super::{bar_of, bars};
use crate::image::Digest;
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

/// Digits of a digest that tell layers apart.
const DIGITS: usize = 12;
/// Most bars: more layers than that are shown as they get their turn.
const MOST: usize = 24;

/// See the module.
pub struct Layers {
    /// On a terminal.
    bars: bool,
    plain: bool,
    layers: Mutex<BTreeMap<usize, Layer>>,
}

struct Layer {
    name: String,
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl Layers {
    /// None yet, shown as the options have it.
    pub fn new(options: &Global) -> Layers {
        let shown = !options.quiet && options.progress != ProgressMode::None;
        let bars = shown && options.progress == ProgressMode::Auto && std::io::stderr().is_terminal();
        let plain = shown && !bars && options.progress == ProgressMode::Plain;
        Layers { bars, plain, layers: Mutex::default() }
    }

    /// Says something between the bars.
    pub fn say(&self, text: &str) {
        bars().suspend(|| stdio::say(&format!("{text}\n")));
    }

    /// A layer will be fetched.
    pub fn begin(&self, index: usize, digest: &Digest, bytes: u64) {
        let name = digest.hex().chars().take(DIGITS).collect();
        self.layers().insert(index, Layer { name, bytes, bar: None });
    }

    /// So much of it is there.
    pub fn arrived(&self, index: usize, bytes: u64) {
        if !self.bars {
            return;
        }
        let mut layers = self.layers();
        let shown = layers.values().filter(|layer| layer.bar.is_some()).count();
        if let Some(layer) = layers.get_mut(&index).filter(|layer| layer.bar.is_some() || shown < MOST) {
            layer.bar.get_or_insert_with(|| bar(&layer.name, layer.bytes)).set_position(bytes);
        }
    }

    /// It is whole, or will never be.
    pub fn whole(&self, index: usize) {
        let Some(layer) = self.layers().remove(&index) else { return };
        layer.bar.iter().for_each(ProgressBar::finish_and_clear);
        if self.plain {
            self.say(&format!("fetched {}, {}", layer.name, size::render(layer.bytes)));
        }
    }

    fn layers(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Layer>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar(name: &str, bytes: u64) -> ProgressBar {
    let style = bar_of("  {msg:12} [{wide_bar}] {so_far}/{all}");
    let bar = bars().add(ProgressBar::new(bytes).with_style(style));
    bar.set_message(name.to_owned());
    bar
}
