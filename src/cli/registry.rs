//! How the command line says to go to registries, and what is told meanwhile.

use super::options::Global;
use super::progress::layers::Layers;
use super::report::sentence;
use crate::cache::blobs::BlobCache;
use crate::own_folder::within;
use crate::registry::{Access, Open, Policy, Teller, Told};
use clap::ValueEnum;
use std::sync::Arc;

/// Options of commands that take an image.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Registry")]
pub struct Pulling {
    /// When to ask a registry what the name of an image means
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: Pull,
    #[command(flatten)]
    reaching: Reaching,
}

/// Options of commands that read images and build nothing.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Registry")]
pub struct Reaching {
    /// Require a certificate that this machine trusts [default: yes, except for registries on this machine and as
    /// registries.conf says]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// Fetch layers that the registry does not have (foreign, non-distributable ones) from the addresses in the manifest
    #[arg(long)]
    allow_foreign_layers: bool,
    /// Use no layers, disks and bases from earlier runs, and keep none
    #[arg(long)]
    no_cache: bool,
}

/// When a registry is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Pull {
    /// When nothing of that name is kept
    #[default]
    Missing,
    /// Each time
    Always,
    /// Each time; without an answer, what was kept is used
    Newer,
    /// Never
    Never,
}

impl Pulling {
    /// The same, using and keeping nothing of other runs.
    #[must_use]
    pub fn cold(mut self) -> Pulling {
        self.reaching.no_cache = true;
        self
    }

    /// Settles them for this process.
    pub fn settle(&self, global: &Global) {
        let policy = match self.pull {
            Pull::Missing => Policy::Missing,
            Pull::Always => Policy::Always,
            Pull::Newer => Policy::Newer,
            Pull::Never => Policy::Never,
        };
        self.reaching.settle_with(policy, global);
    }
}

impl Reaching {
    /// Settles them for this process.
    pub fn settle(&self, global: &Global) {
        self.settle_with(Policy::Missing, global);
    }

    fn settle_with(&self, policy: Policy, global: &Global) {
        let cache = (!self.no_cache).then_some(cache as Open);
        let teller = Some(teller(global));
        let (verify, foreign) = (self.tls_verify, self.allow_foreign_layers);
        Access { policy, verify, foreign, cache, forgets: self.no_cache, teller }.settle();
    }
}

/// The cache, or why there is no place for it.
fn cache() -> Result<BlobCache, String> {
    let dir = super::env::cache();
    dir.and_then(|dir| BlobCache::open(within(&dir, "blobs")?)).map_err(|error| sentence(&error))
}

fn teller(global: &Global) -> Teller {
    let (quiet, layers) = (global.quiet, Layers::new(global));
    Arc::new(move |told| match told {
        Told::Asking(name) if !quiet => layers.say(&name.to_string()),
        Told::Means(_, digest) if !quiet => layers.say(&format!("digest: {digest}")),
        Told::Warning(text) if !quiet => layers.say(&format!("warning: {text}")),
        Told::Layer(index, digest, bytes) => layers.begin(index, digest, bytes),
        Told::Arrived(index, bytes) => layers.arrived(index, bytes),
        Told::Whole(index) => layers.whole(index),
        _ => {}
    })
}
