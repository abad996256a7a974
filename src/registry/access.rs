//! How this process goes to registries: what the command line says of that, for every place that takes an image.

use super::name::Name;
use crate::cache::blobs::BlobCache;
use crate::image::Digest;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// When a registry is asked what a name means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// When nothing is kept here.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Each time, and what is kept here serves where no answer comes.
    Newer,
    /// Never.
    Never,
}

/// Something to say while an image is fetched.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// A registry is about to be asked for this.
    Asking(&'a Name),
    /// The name means this.
    Means(&'a Name, &'a Digest),
    /// A layer will be fetched: its place among them, its digest, its bytes.
    Layer(usize, &'a Digest, u64),
    /// So many bytes of it are there.
    Arrived(usize, u64),
    /// It is whole.
    Whole(usize),
    /// Something the user should know, in printable text.
    Warning(&'a str),
}

/// Gets what there is to say, from any thread.
pub type Teller = Arc<dyn Fn(Told<'_>) + Send + Sync>;

/// Opens the cache, or says why there is no place for it, in printable text.
pub type Open = fn() -> Result<BlobCache, String>;

/// See the module.
#[derive(Clone, Default)]
pub struct Access {
    /// When a registry is asked.
    pub policy: Policy,
    /// Whether certificates count; as the registry's kind has it when nobody says.
    pub verify: Option<bool>,
    /// Layers that a registry does not have are fetched from where their manifest says they are.
    pub foreign: bool,
    /// Where what arrives is kept; nowhere without. It is opened by those who go to a registry.
    pub cache: Option<Open>,
    /// Nothing at all is kept for later, disks no more than layers.
    pub forgets: bool,
    /// Who is told.
    pub teller: Option<Teller>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("policy", &self.policy).field("verify", &self.verify).finish_non_exhaustive()
    }
}

static SETTLED: RwLock<Option<Access>> = RwLock::new(None);

impl Access {
    /// Settles it for this process.
    pub fn settle(self) {
        *SETTLED.write().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }

    /// As it was settled; without a cache when nobody has.
    pub fn settled() -> Access {
        SETTLED.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// The cache. Where there is none for want of a place, that is told.
    pub fn open_cache(&self) -> Option<Arc<BlobCache>> {
        let opened = self.cache?();
        let tell = |why: &String| self.tell(Told::Warning(&format!("layers are not kept for the next run: {why}")));
        opened.inspect_err(tell).ok().map(Arc::new)
    }

    /// Tells.
    pub fn tell(&self, told: Told<'_>) {
        self.teller.iter().for_each(|teller| teller(told));
    }
}
