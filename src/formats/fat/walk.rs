//! Every file and directory of a volume, and everything that is wrong on the way.

use super::links::Chain;
use super::{Entry, Fault, MAX_DEPTH, Volume, Why};
use crate::formats::ReadAt;
use crate::formats::scattered::Places;

/// Most files and directories.
const MAX_NAMES: usize = 100_000;
/// Most bytes of all paths together.
const MAX_PATHS: usize = 64 << 20;
/// Most faults that are kept.
const MAX_FAULTS: usize = 16;

/// All of a volume.
pub struct Walk {
    /// Files and directories, sorted by path.
    pub files: Vec<File>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Places of the root directory's clusters.
    pub root: Vec<(u64, u64)>,
    /// Places of parts of long names that belong to nobody, on the volume.
    pub(super) orphans: Vec<u64>,
    /// Of every cluster whether somebody has it.
    used: Vec<bool>,
}

/// A file or directory.
pub struct File {
    /// With `/` between names and none at the start; a directory's ends with one.
    pub path: String,
    /// Where its clusters lie: offset on the disk and bytes.
    pub places: Vec<(u64, u64)>,
    /// Its entry.
    pub entry: Entry,
}

impl Walk {
    /// Whether a file or directory has this cluster.
    pub fn uses(&self, cluster: u32) -> bool {
        self.used.get(cluster as usize).is_some_and(|used| *used)
    }

    /// The file at a path, whatever its case and whichever slashes it has.
    pub fn find(&self, path: &str) -> Option<&File> {
        let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
        let path = parts.join("/").to_lowercase();
        self.files.iter().find(|file| !file.entry.is_directory && file.path.to_lowercase() == path)
    }
}

/// A walk that is not at its end.
struct Walking<'v, S> {
    volume: &'v Volume<S>,
    walk: Walk,
    /// Directories whose entries are still to be read: path, places, depth.
    todo: Vec<(String, Places, usize)>,
    /// Clusters that may still be followed: without damage no two chains share one.
    left: u64,
    /// Bytes of all paths.
    paths: usize,
}

impl<S: ReadAt> Volume<S> {
    /// Looks at all of it. What cannot be followed is a fault, and the walk goes on beside it.
    pub fn walk(&self) -> Walk {
        let clusters = self.shape.clusters as usize + 2;
        let walk = Walk {
            files: Vec::new(),
            faults: Vec::new(),
            root: Vec::new(),
            orphans: Vec::new(),
            used: vec![false; clusters],
        };
        let left = 2 * clusters as u64 + 65_536;
        let mut walking = Walking { volume: self, walk, todo: Vec::new(), left, paths: 0 };
        walking.root();
        while let Some((path, places, depth)) = walking.todo.pop() {
            if !walking.directory(&path, &places, depth) {
                walking.fault(Fault::TooMany);
                break;
            }
        }
        walking.walk.files.sort_by(|a, b| a.path.cmp(&b.path));
        walking.walk
    }
}

impl<S: ReadAt> Walking<'_, S> {
    fn root(&mut self) {
        if self.volume.shape.size > self.volume.bytes.length {
            self.fault(Fault::TooLarge);
        }
        let places = match self.volume.root_chain() {
            None => self.volume.directory_places(None).unwrap_or_default(),
            Some(chain) => {
                self.walk.root = self.volume.on_disk(chain.clusters.iter().copied());
                self.claim("the root folder", chain)
            }
        };
        self.todo.push((String::new(), places, 0));
    }

    /// Reads one directory; `false` when there is more than is read.
    fn directory(&mut self, path: &str, places: &Places, depth: usize) -> bool {
        let Ok(listing) = self.volume.list_at(places) else {
            self.chain_fault(if path.is_empty() { "the root folder" } else { path }, Why::Unreadable);
            return true;
        };
        self.walk.orphans.extend(listing.orphans);
        listing.entries.into_iter().all(|entry| self.entry(path, entry, depth))
    }

    fn entry(&mut self, folder: &str, entry: Entry, depth: usize) -> bool {
        let mut path = format!("{folder}{}", entry.name);
        self.paths += path.len();
        let chain = self.volume.chain_of(&entry);
        let more = self.left.checked_sub(chain.clusters.len() as u64);
        let Some(left) = more.filter(|_| self.walk.files.len() < MAX_NAMES && self.paths < MAX_PATHS) else {
            return false;
        };
        self.left = left;
        let places = self.volume.on_disk(chain.clusters.iter().copied());
        let fresh = self.claim(&path, chain);
        if entry.is_directory {
            path.push('/');
            if depth < MAX_DEPTH {
                self.todo.push((path.clone(), fresh, depth + 1));
            } else {
                self.fault(Fault::TooDeep(path.clone()));
            }
        }
        self.walk.files.push(File { path, places, entry });
        true
    }

    /// Notes that a chain's clusters are used; returns the places of those that nobody had before.
    fn claim(&mut self, path: &str, chain: Chain) -> Places {
        if let Some(why) = chain.fault {
            self.chain_fault(path, why);
        }
        let all = chain.clusters.len();
        let mut fresh = chain.clusters;
        fresh.retain(|cluster| !std::mem::replace(&mut self.walk.used[*cluster as usize], true));
        if fresh.len() < all {
            self.chain_fault(path, Why::Shared);
        }
        self.volume.within(&fresh)
    }

    fn chain_fault(&mut self, path: &str, why: Why) {
        self.fault(Fault::Chain { path: path.to_owned(), why });
    }

    fn fault(&mut self, fault: Fault) {
        if self.walk.faults.len() < MAX_FAULTS {
            self.walk.faults.push(fault);
        }
    }
}
