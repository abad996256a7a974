//! Disks as an image: a containerDisk in an OCI layout or a registry, one disk for each architecture.
//!
//! Several disks become one index, and a tag then means them and nothing else, as with `docker push`: what it meant before
//! is never read, so that no two writers get in each other's way.
//!
//! Specifications: OCI Image Format 1.1, "Image Layout"; KubeVirt, "Disks and Volumes", containerDisk.

use super::report::WithHint;
use crate::convert::{Event, Observer, data_of, measured};
use crate::escape;
use crate::file_lock::Locked;
use crate::forms::container::{INDEX, Image, LAYOUT, MANIFEST, index};
use crate::forms::{self, Source, is_same};
use crate::image::{Digest, MAX_MANIFEST};
use crate::output::scratch_dir;
use crate::publish::{Document, PartialFile};
use crate::registry::{Access, Name, Part, Push};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The annotation with an image's tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// Where an image goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder, under a tag or none.
    Layout(PathBuf, Option<String>),
    /// A registry.
    Registry(Name),
}

impl Place {
    /// The place of an output with a transport for images; `None` for files, archives among them.
    ///
    /// # Errors
    /// When it is no name of an image.
    pub fn of(output: &Path) -> Result<Option<Place>> {
        let text = output.to_str().unwrap_or_default();
        if let Some(name) = text.strip_prefix("docker://") {
            let name = Name::parse(name).map_err(crate::registry::RegistryError::from)?;
            return match name.digest() {
                None => Ok(Some(Place::Registry(name))),
                Some(_) => Err(WithHint {
                    message: "an image is put under a tag, and not under a digest".into(),
                    hint: "docker://[REGISTRY/]REPOSITORY[:TAG]".into(),
                }
                .into()),
            };
        }
        let Some(rest) = text.strip_prefix("oci:") else { return Ok(None) };
        let (folder, tag) = rest.split_once(':').map_or((rest, None), |(folder, tag)| (folder, Some(tag.to_owned())));
        ensure!(!folder.is_empty(), "no folder is named: {}", escape::path(output));
        Ok(Some(Place::Layout(folder.into(), tag)))
    }
}

/// An image, and the file that has its layer.
struct Made {
    image: Image,
    layer: PathBuf,
}

/// A disk that is open, and its name.
pub type Disk<'a> = (&'a Path, Box<dyn Source>);

/// Makes an image of disks and puts it there. What it is, in words.
///
/// # Errors
/// When a disk cannot be read, two are for one architecture, or the place does not take it.
pub fn write(disks: &[Disk<'_>], place: &Place, threads: usize, verify: bool, observe: Observer<'_>) -> Result<String> {
    let folder = tempfile::tempdir_in(scratch_dir()).context("cannot make a temporary directory")?;
    let mut all: Vec<Made> = Vec::new();
    for (name, disk) in disks {
        let layer = folder.path().join(all.len().to_string());
        let made = make(&**disk, layer, threads, verify, observe)
            .with_context(|| format!("cannot convert {}", escape::path(name)))?;
        let architecture = made.image.architecture;
        if all.iter().any(|other| other.image.architecture == architecture) {
            return Err(WithHint {
                message: format!("two disks are for {architecture}, and an image has one for each architecture"),
                hint: "give them names of their own, one command each".into(),
            }
            .into());
        }
        all.push(made);
    }
    match place {
        Place::Layout(folder, tag) => to_layout(folder, tag.as_deref(), &all)
            .with_context(|| format!("cannot write to the layout {}", escape::path(folder)))?,
        Place::Registry(name) => push(name, &all, observe).with_context(|| format!("cannot push {name}"))?,
    }
    let architectures: Vec<_> = all.iter().map(|made| made.image.architecture).collect();
    Ok(format!("a containerDisk for {}", architectures.join(" and ")))
}

fn make(disk: &dyn Source, layer: PathBuf, threads: usize, verify: bool, observe: Observer<'_>) -> Result<Made> {
    let file = File::options().read(true).write(true).create_new(true).open(&layer)?;
    let begin = |what| Ok::<_, io::Error>(Event::Disk { what, bytes: data_of(disk)? });
    let write = |disk: &dyn Source| Image::write(disk, &file, threads);
    let image = measured(disk, begin("writing the disk")?, observe, write)?;
    file.set_len(image.length)?;
    if verify {
        let written = forms::open(file)?;
        let compare = |disk: &dyn Source| is_same(disk, &*written);
        let same = measured(disk, begin("reading the disk back")?, observe, compare)?;
        ensure!(same, "the disk differs from what was written");
    }
    Ok(Made { image, layer })
}

/// What a tag means: the one image there is, or an index of all.
fn root(all: &[Made]) -> (&'static str, String) {
    match all {
        [made] => (MANIFEST, made.image.manifest.clone()),
        _ => (INDEX, index(&all.iter().map(|made| made.image.clone()).collect::<Vec<_>>())),
    }
}

/// Small blobs of an image, but for the index.
fn documents(image: &Image) -> [(String, &str); 2] {
    [(image.config_digest(), &image.config), (image.digest(), &image.manifest)]
}

/// Blobs first, so that the index names nothing that is not there.
fn to_layout(folder: &Path, tag: Option<&str>, all: &[Made]) -> Result<()> {
    let is_new = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    ensure!(is_new || folder.join("oci-layout").exists(), "the folder has something else in it");
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    // Who writes at the same time waits, and finds this image in the index.
    let _alone = Locked::wait(File::open(folder)?)?;
    let write = |path: PathBuf, text: &str| Document::at(&path)?.write(text.as_bytes());
    for made in all {
        let file = PartialFile::create(&blobs.join(&made.image.layer), 0)?;
        io::copy(&mut File::open(&made.layer)?, &mut file.file())?;
        file.publish()?;
        for (digest, text) in documents(&made.image) {
            write(blobs.join(digest), text)?;
        }
    }
    let (kind, text) = root(all);
    let digest = Digest::sha256(text.as_bytes());
    write(blobs.join(digest.hex()), &text)?;
    let mut entry = match all {
        [made] => serde_json::from_str(&made.image.descriptor())?,
        _ => json!({"mediaType": kind, "digest": digest.to_string(), "size": text.len()}),
    };
    if let Some(tag) = tag {
        entry["annotations"] = json!({ TAG: tag });
    }
    let index = with_entry(old_index(folder)?, tag, entry)?;
    write(folder.join("oci-layout"), LAYOUT)?;
    Ok(write(folder.join("index.json"), &index.to_string())?)
}

/// The index that a layout has; a new one where there is none.
fn old_index(folder: &Path) -> Result<Value> {
    let file = match File::open(folder.join("index.json")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}));
        }
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= MAX_MANIFEST, "its index.json is too large");
    serde_json::from_slice(&bytes).context("its index.json is no index")
}

/// The index with this entry in the place of what had its tag.
fn with_entry(mut index: Value, tag: Option<&str>, entry: Value) -> Result<Value> {
    let entries = index.get_mut("manifests").and_then(Value::as_array_mut).context("its index.json is no index")?;
    entries.retain(|old| old["annotations"][TAG].as_str() != tag);
    entries.push(entry);
    Ok(index)
}

fn push(name: &Name, all: &[Made], observe: Observer<'_>) -> Result<()> {
    let push = Push::new(name, &Access::settled())?;
    observe(Event::Disk { what: "pushing the image", bytes: all.iter().map(|made| made.image.length).sum() });
    let sent = Sent { before: Cell::new(0), observe: RefCell::new(observe) };
    for made in all {
        let (image, layer) = (&made.image, &made.layer);
        let open = || Ok(Box::new(Sending { of: &sent, file: File::open(layer)?, read: 0 }) as Box<dyn Read + '_>);
        push.blob(&Part { digest: digest(&image.layer)?, size: image.length, open: &open })?;
        sent.layer(image.length);
        let config = image.config.as_bytes();
        let open = || Ok(Box::new(config) as Box<dyn Read + '_>);
        push.blob(&Part { digest: digest(&image.config_digest())?, size: config.len() as u64, open: &open })?;
        if all.len() > 1 {
            push.manifest(&format!("sha256:{}", image.digest()), MANIFEST, image.manifest.as_bytes())?;
        }
    }
    let (kind, text) = root(all);
    Ok(push.manifest(name.tag().unwrap_or("latest"), kind, text.as_bytes())?)
}

fn digest(hex: &str) -> Result<Digest> {
    Digest::from_sha256_hex(hex).context("its digest is none")
}

/// How far a push is.
struct Sent<'a> {
    /// Bytes of the layers that are there.
    before: Cell<u64>,
    observe: RefCell<Observer<'a>>,
}

impl Sent<'_> {
    fn tell(&self, bytes: u64) {
        (self.observe.borrow_mut())(Event::Read { bytes });
    }

    /// A layer is there, sent or not.
    fn layer(&self, bytes: u64) {
        self.before.set(self.before.get() + bytes);
        self.tell(self.before.get());
    }
}

/// A layer on its way. What is sent once more is counted from its beginning.
struct Sending<'a> {
    of: &'a Sent<'a>,
    file: File,
    read: u64,
}

impl Read for Sending<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read += length as u64;
        self.of.tell(self.of.before.get() + self.read);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_with_a_transport_of_images_is_a_place_for_one() {
        let place = |text: &str| Place::of(Path::new(text));
        let layout = |folder: &str, tag: Option<&str>| Place::Layout(folder.into(), tag.map(str::to_owned));
        for (text, expected) in [
            ("oci:a/b", Some(layout("a/b", None))),
            ("oci:a/b:1", Some(layout("a/b", Some("1")))),
            ("docker://h:5000/a", Some(Place::Registry(Name::parse("h:5000/a").unwrap()))),
            ("oci-archive:a", None),
            ("a:b.qcow2", None),
            ("docker-daemon:a", None),
        ] {
            assert_eq!(place(text).unwrap(), expected, "{text}");
        }
        for text in ["oci:", "docker://", "docker://A", "docker://a@sha256:0", &format!("docker://a@sha256:{:064}", 0)]
        {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tag_is_given_to_the_new_image_and_other_tags_stay() {
        let entry = |tag: Option<&str>, digest: &str| match tag {
            Some(tag) => json!({"digest": digest, "annotations": {TAG: tag}}),
            None => json!({"digest": digest}),
        };
        let old = json!({"manifests": [entry(Some("1"), "a"), entry(None, "b"), entry(Some("2"), "c")], "more": 1});
        for (tag, left) in [(Some("1"), "b c new"), (None, "a c new"), (Some("3"), "a b c new")] {
            let new = with_entry(old.clone(), tag, entry(tag, "new")).unwrap();
            let digests: Vec<_> =
                new["manifests"].as_array().unwrap().iter().map(|e| e["digest"].as_str().unwrap()).collect();
            assert_eq!((digests.join(" ").as_str(), &new["more"]), (left, &json!(1)), "{tag:?}");
        }
        assert!(with_entry(json!({}), None, json!({})).is_err() && with_entry(json!([]), None, json!({})).is_err());
    }
}
