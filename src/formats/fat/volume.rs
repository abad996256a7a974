//! A volume that is read: single files by their paths, and where their bytes lie.

use super::directory::{self, Listing};
use super::links::{Chain, Links, MAX_FAT};
use super::shape::{Root, Shape};
use super::{ENTRY, Entry, Error, Fault, MAX_DEPTH, MAX_DIRECTORY, Why};
use crate::formats::scattered::{Places, Scattered};
use crate::formats::{ReadAt, Window};

/// A volume.
#[derive(Debug)]
pub struct Volume<S> {
    pub(super) bytes: Window<S>,
    pub(super) shape: Shape,
    pub(super) links: Links,
}

impl<S: ReadAt> Volume<S> {
    /// Reads boot sector and FAT of the volume in the partition at `offset` that has `length` bytes.
    pub fn open(source: S, offset: u64, length: u64) -> Result<Volume<S>, Error> {
        let bytes = Window { source, start: offset, length };
        let mut boot = [0; 512];
        bytes.read_at(0, &mut boot)?;
        let shape = Shape::decode(&boot)?;
        if shape.used_fat() > MAX_FAT {
            return Err(Fault::ManyClusters.into());
        }
        // Not before it is known that there are that many bytes: a buffer must not be as large as a field says.
        let mut last = [0];
        bytes.read_at(shape.fat_at() + shape.used_fat() - 1, &mut last)?;
        let mut fat = vec![0; shape.used_fat() as usize];
        bytes.read_at(shape.fat_at(), &mut fat)?;
        Ok(Volume { bytes, shape, links: Links::new(shape, fat)? })
    }

    /// 12, 16 or 32.
    pub fn bits(&self) -> u8 {
        self.shape.bits
    }

    /// Volume identifier.
    pub fn id(&self) -> u32 {
        self.shape.id
    }

    /// Label in the boot sector.
    pub fn label(&self) -> &[u8] {
        self.shape.label.trim_ascii_end()
    }

    /// Bytes before the first cluster: boot sector, FATs, a root directory of fixed size.
    pub fn head(&self) -> u64 {
        self.shape.data
    }

    /// Free clusters as places on the disk, neighbours together.
    pub fn free_places(&self) -> Vec<(u64, u64)> {
        self.on_disk(self.links.free())
    }

    /// What is at `path`, whatever its case and whichever slashes it has.
    pub fn find(&self, path: &str) -> Result<Option<Entry>, Error> {
        let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
        if parts.len() > MAX_DEPTH {
            return Ok(None);
        }
        let mut found: Option<Entry> = None;
        for part in parts {
            if found.as_ref().is_some_and(|entry| !entry.is_directory) {
                return Ok(None);
            }
            found = self.list(found.as_ref())?.entries.into_iter().find(|entry| entry.is_called(part));
            if found.is_none() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// The file at `path`; a directory is none.
    pub fn find_file(&self, path: &str) -> Result<Option<Entry>, Error> {
        Ok(self.find(path)?.filter(|entry| !entry.is_directory))
    }

    /// The entries of the directory at `path`, without `.` and `..`.
    pub fn entries(&self, path: &str) -> Result<Vec<Entry>, Error> {
        match self.find(path)? {
            Some(entry) if entry.is_directory => Ok(self.list(Some(&entry))?.entries),
            _ => Err(Error::NoDirectory(path.to_owned())),
        }
    }

    /// A file's bytes, `limit` at most.
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, Error> {
        let file = Scattered::new(&self.bytes.source, self.places_within(entry, limit)?);
        Ok(file.bytes(0..file.size())?)
    }

    /// A file of `limit` bytes at most, which is read where it is asked.
    pub fn file(&self, entry: &Entry, limit: u64) -> Result<Scattered<S>, Error>
    where
        S: Clone,
    {
        Ok(Scattered::new(self.bytes.source.clone(), self.places_within(entry, limit)?))
    }

    fn places_within(&self, entry: &Entry, limit: u64) -> Result<Places, Error> {
        if u64::from(entry.size) > limit { Err(Error::TooLong(limit)) } else { self.places(entry) }
    }

    /// Where a file's bytes lie on the disk, in order: offset and length, the last as long as the file is.
    pub fn places(&self, entry: &Entry) -> Result<Places, Error> {
        let chain = self.chain_of(entry);
        match chain.fault {
            // What follows the end of a file is no part of it.
            None | Some(Why::Long) => Ok(self.cut(chain.clusters, entry.size.into())),
            Some(why) => Err(Fault::Chain { path: entry.name.clone(), why }.into()),
        }
    }

    fn cut(&self, clusters: Vec<u32>, size: u64) -> Vec<(u64, u64)> {
        let mut places = self.on_disk(clusters.into_iter());
        let mut left = size;
        for (_, length) in &mut places {
            *length = left.min(*length);
            left -= *length;
        }
        places
    }

    /// The clusters of a file or directory.
    pub(super) fn chain_of(&self, entry: &Entry) -> Chain {
        if entry.is_directory {
            self.chain_of_directory(entry.cluster)
        } else {
            self.links.chain(entry.cluster, u64::from(entry.size).div_ceil(self.shape.cluster))
        }
    }

    fn chain_of_directory(&self, first: u32) -> Chain {
        let chain = self.links.follow(first, MAX_DIRECTORY / self.shape.cluster);
        // There is always an entry for the directory itself.
        if first == 0 { Chain { fault: Some(Why::Short), ..chain } } else { chain }
    }

    /// Clusters of the root directory; none when it has a place of its own.
    pub(super) fn root_chain(&self) -> Option<Chain> {
        match self.shape.root {
            Root::Fixed(..) => None,
            Root::Chain(first) => Some(self.chain_of_directory(first)),
        }
    }

    /// What a directory has; of the root for `None`.
    pub(super) fn list(&self, directory: Option<&Entry>) -> Result<Listing, Error> {
        let places = self.directory_places(directory)?;
        self.list_at(&places)
    }

    /// Where a directory's entries are on the volume.
    pub(super) fn directory_places(&self, directory: Option<&Entry>) -> Result<Places, Error> {
        let (chain, path) = match (directory, self.shape.root) {
            (None, Root::Fixed(at, length)) => return Ok(vec![(at, length)]),
            (None, Root::Chain(first)) => (self.chain_of_directory(first), "the root folder"),
            (Some(entry), _) => (self.chain_of(entry), entry.name.as_str()),
        };
        match chain.fault {
            None => Ok(self.within(&chain.clusters)),
            Some(why) => Err(Fault::Chain { path: path.to_owned(), why }.into()),
        }
    }

    /// Clusters as places on the volume.
    pub(super) fn within(&self, clusters: &[u32]) -> Places {
        clusters.iter().map(|cluster| (self.shape.place(*cluster), self.shape.cluster)).collect()
    }

    /// Reads the directory that lies at these places.
    pub(super) fn list_at(&self, places: &Places) -> Result<Listing, Error> {
        let mut bytes = Vec::new();
        let mut at: Vec<u64> = Vec::new();
        for (offset, length) in places {
            let start = bytes.len();
            bytes.resize(start + *length as usize, 0);
            self.bytes.read_at(*offset, &mut bytes[start..])?;
            at.extend((0..*length).step_by(ENTRY).map(|entry| offset + entry));
        }
        Ok(directory::list(&bytes, self.shape.bits, |index| at[index]))
    }

    /// Clusters as places on the disk, neighbours together.
    pub(super) fn on_disk(&self, clusters: impl Iterator<Item = u32>) -> Vec<(u64, u64)> {
        let mut places: Vec<(u64, u64)> = Vec::new();
        for cluster in clusters {
            let at = self.bytes.start.saturating_add(self.shape.place(cluster));
            match places.last_mut() {
                Some((start, length)) if *start + *length == at => *length += self.shape.cluster,
                _ => places.push((at, self.shape.cluster)),
            }
        }
        places
    }
}
