//! Which of the manifests of an OCI layout is taken: of each entry of `index.json` the one that fits the platform best,
//! if that is the same image for all entries.
//!
//! What is no image, or is not there, is passed over as long as something else fits.

use super::oci::{self, Leaf, Passed, Store};
use crate::image::{Image, Platform};
use crate::source::{Choice, SourceError};

/// The image of a layout that fits.
pub fn open(store: &Store, choice: Option<&Choice>, wanted: &Platform) -> Result<Image, SourceError> {
    let (leaves, mut passed) = oci::search(store, choice)?;
    // With one alone what its configuration leaves open is as wanted, and its own error says more than a list of one.
    let mut known = match <[Leaf; 1]>::try_from(leaves) {
        Ok([only]) => vec![(Platform::host(), only)],
        Err(leaves) => with_platforms(store, leaves, &mut passed)?,
    };
    if known.len() == 1
        && let Some((_, only)) = known.pop()
    {
        return match oci::load(store, &only, wanted) {
            Err(error) if error.passes_over() && !passed.is_empty() => {
                passed.push(Passed::new(&only, error));
                Err(nothing(passed, &[], wanted))
            }
            loaded => loaded.map(|image| with_warnings(image, &passed)),
        };
    }
    let fitting = fitting(&known, wanted);
    match found(store, fitting, &mut passed, wanted)? {
        Some(image) => Ok(with_warnings(image, &passed)),
        None => Err(nothing(passed, &known, wanted)),
    }
}

/// Manifests with what they are for, which the configuration says where the index does not.
fn with_platforms(
    store: &Store,
    leaves: Vec<Leaf>,
    passed: &mut Vec<Passed>,
) -> Result<Vec<(Platform, Leaf)>, SourceError> {
    let mut known = Vec::new();
    for leaf in leaves {
        let platform = match &leaf.platform {
            Some(platform) => Ok(platform.clone()),
            None => oci::manifest_and_config(store, &leaf.descriptor).map(|(_, config)| config.platform),
        };
        match platform {
            Ok(platform) => known.push((platform, leaf)),
            Err(error) if error.passes_over() => passed.push(Passed::new(&leaf, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

/// Those that fit, best first; what is beyond the machine only if there is nothing else.
fn fitting<'a>(known: &'a [(Platform, Leaf)], wanted: &Platform) -> Vec<&'a Leaf> {
    let ranked = known.iter().filter_map(|(platform, leaf)| Some((wanted.accepts(platform)?, platform, leaf)));
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_by_key(|(rank, ..)| *rank);
    let best = ranked.first().map(|(rank, ..)| *rank);
    ranked.retain(|(rank, platform, _)| Some(*rank) == best || !platform.is_beyond(wanted));
    ranked.into_iter().map(|(.., leaf)| leaf).collect()
}

/// The one image of these that is there.
fn found(
    store: &Store,
    fitting: Vec<&Leaf>,
    passed: &mut Vec<Passed>,
    wanted: &Platform,
) -> Result<Option<Image>, SourceError> {
    let mut found: Vec<&Leaf> = Vec::new();
    let mut image = None;
    for leaf in fitting {
        // The best of its entry is there already.
        if found.iter().any(|other| other.entry == leaf.entry) {
            continue;
        }
        match oci::load(store, leaf, wanted) {
            Ok(loaded) => {
                found.push(leaf);
                image.get_or_insert(loaded);
            }
            Err(error) if error.passes_over() => passed.push(Passed::new(leaf, error)),
            Err(error) => return Err(error),
        }
    }
    match found.windows(2).all(|pair| pair[0].descriptor.digest == pair[1].descriptor.digest) {
        true => Ok(image),
        false => {
            // In the order of the index, whatever fits better.
            found.sort_by_key(|leaf| leaf.entry);
            Err(SourceError::Several(found.iter().map(|leaf| leaf.describe()).collect()))
        }
    }
}

/// Why there is nothing to take.
fn nothing(mut passed: Vec<Passed>, known: &[(Platform, Leaf)], wanted: &Platform) -> SourceError {
    if passed.len() == 1
        && known.is_empty()
        && let Some(only) = passed.pop()
    {
        return only.alone();
    }
    if passed.is_empty() {
        let mut available: Vec<String> = known.iter().map(|(platform, _)| platform.to_string()).collect();
        available.sort();
        available.dedup();
        return match available.is_empty() {
            true => SourceError::NoImage,
            false => SourceError::NoPlatform { wanted: Box::new(wanted.clone()), available },
        };
    }
    let other = known.iter().filter(|(platform, _)| wanted.accepts(platform).is_none());
    let other = other.map(|(platform, leaf)| format!("{}: for {platform}, not for {wanted}", leaf.describe()));
    SourceError::NothingFits(other.chain(passed.iter().map(Passed::line)).collect())
}

fn with_warnings(mut image: Image, passed: &[Passed]) -> Image {
    image.warnings.extend(passed.iter().filter_map(Passed::warning));
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;
    use serde_json::{Value, json};
    use std::path::Path;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

    /// A layout that grows.
    struct Layout(tempfile::TempDir);

    impl Layout {
        fn new() -> Layout {
            let layout = Layout(tempfile::tempdir().unwrap());
            std::fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            std::fs::create_dir_all(layout.path().join("blobs/sha256")).unwrap();
            layout
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
            let absent = absent(media_type, bytes);
            let name = absent["digest"].as_str().unwrap().replace(':', "/");
            std::fs::write(self.path().join("blobs").join(name), bytes).unwrap();
            absent
        }

        fn manifest(&self, config: Value, layers: &[Value]) -> Value {
            self.document(json!({ "schemaVersion": 2, "config": config, "layers": layers }))
        }

        fn document(&self, manifest: Value) -> Value {
            self.blob(MANIFEST, manifest.to_string().as_bytes())
        }

        fn config(&self, platform: &str, layers: usize) -> Value {
            let mut parts = platform.split('/');
            let diff_ids = vec![Digest::sha256(b"x").to_string(); layers];
            let mut config = json!({ "os": parts.next(), "architecture": parts.next(), "rootfs": { "type": "layers", "diff_ids": diff_ids } });
            parts.next().inspect(|variant| config["variant"] = json!(variant));
            self.blob(CONFIG, config.to_string().as_bytes())
        }

        /// An image without layers.
        fn image(&self, platform: &str) -> Value {
            self.manifest(self.config(platform, 0), &[])
        }

        /// What is kept like an image and is none, or is not whole: by name.
        fn other(&self, name: &str) -> Value {
            let signature = || self.blob("application/vnd.dev.cosign.simplesigning.v1+json", b"{}");
            let empty = || self.blob("application/vnd.oci.empty.v1+json", b"{}");
            let entry = match name {
                "signature" => self.manifest(self.config("linux/amd64", 1), &[signature()]),
                "bare signature" => self.manifest(self.blob(CONFIG, b"{}"), &[signature()]),
                "sbom" => self.document(json!({
                    "schemaVersion": 2, "artifactType": "application/spdx+json", "config": empty(), "layers": [empty()],
                })),
                "chart" => self.manifest(self.blob("application/vnd.cncf.helm.config.v1+json", b"{}"), &[empty()]),
                "remark" => self.manifest(self.blob(CONFIG, b"{}"), &[]),
                "absent" => absent(MANIFEST, b"absent"),
                "absent index" => absent("application/vnd.oci.image.index.v1+json", b"absent"),
                "absent config" => self.manifest(absent(CONFIG, b"absent"), &[]),
                "absent layer" => self.manifest(self.config("linux/amd64", 1), &[absent(LAYER, b"absent")]),
                "foreign" => self.image("linux/s390x"),
                other => panic!("{other}"),
            };
            named(name, entry)
        }

        fn opened(&self, entries: &[Value]) -> Result<Image, String> {
            let index = json!({ "schemaVersion": 2, "manifests": entries });
            std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
            let wanted = "linux/amd64".parse().unwrap();
            open(&Store::Directory(self.path().into()), None, &wanted).map_err(|error| crate::escape::chain(&error))
        }
    }

    fn absent(media_type: &str, bytes: &[u8]) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::sha256(bytes).to_string(), "size": bytes.len() })
    }

    fn named(name: &str, mut entry: Value) -> Value {
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        entry
    }

    /// Each with the end of its reason.
    const OTHERS: [(&str, &str); 10] = [
        ("signature", "layer 1 has the unsupported media type application/vnd.dev.cosign.simplesigning.v1+json"),
        ("bare signature", "layer 1 has the unsupported media type application/vnd.dev.cosign.simplesigning.v1+json"),
        ("sbom", "not a container image but an artifact of type application/spdx+json"),
        ("chart", "not a container image but an artifact of type application/vnd.cncf.helm.config.v1+json"),
        ("remark", "no rootfs with diff_ids in it"),
        ("absent", "it is missing from the image"),
        ("absent index", "it is missing from the image"),
        ("absent config", "it is missing from the image"),
        ("absent layer", "it is missing from the image"),
        ("foreign", "for linux/s390x, not for linux/amd64"),
    ];

    #[test]
    fn the_one_image_of_a_layout_is_taken_whatever_lies_beside_it() {
        let layout = Layout::new();
        let image = named("app", layout.image("linux/amd64"));
        let digest = layout.config("linux/amd64", 0)["digest"].clone();
        for (name, why) in OTHERS {
            let other = layout.other(name);
            for entries in [[image.clone(), other.clone()], [other.clone(), image.clone()]] {
                let opened = layout.opened(&entries).expect(name);
                assert_eq!(json!(opened.config_digest.to_string()), digest, "{name}");
                let told = opened.warnings.join("; ");
                assert_eq!(told.contains(why), name.starts_with("absent"), "{name}: {told}");
            }
        }
        let all: Vec<Value> = OTHERS.iter().map(|(name, _)| layout.other(name)).chain([image]).collect();
        assert_eq!(layout.opened(&all).unwrap().name.as_deref(), Some("app"));
    }

    #[test]
    fn with_no_image_left_every_entry_is_listed_with_its_reason() {
        let layout = Layout::new();
        for (name, why) in OTHERS {
            let alone = layout.opened(&[layout.other(name)]).unwrap_err();
            let short = why.split(", not for").next().unwrap();
            assert!(alone.contains(short) && !alone.contains("can be used"), "{name}: {alone}");
        }
        let all: Vec<Value> = OTHERS.iter().map(|(name, _)| layout.other(name)).collect();
        let error = layout.opened(&all).unwrap_err();
        assert!(error.starts_with("no container image in it that can be used: "), "{error}");
        for (name, why) in OTHERS {
            assert!(
                error.split("; ").any(|part| part.contains(&format!("{name} (@")) && part.ends_with(why)),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn two_images_are_a_question_still_and_damage_is_not_passed_over() {
        let layout = Layout::new();
        let entries = [named("a", layout.image("linux/amd64")), layout.other("absent"), layout.other("foreign")];
        let other = named("b", layout.manifest(layout.config("linux/amd64", 1), &[layout.blob(LAYER, b"x")]));
        let error = layout.opened(&[&entries[..], &[other]].concat()).unwrap_err();
        assert!(error.starts_with("2 images and no choice: a (@") && error.contains(", b (@"), "{error}");
        let damaged = layout.other("chart");
        let name = damaged["digest"].as_str().unwrap().replace(':', "/");
        let path = layout.path().join("blobs").join(name);
        let same_length = std::fs::read(&path).unwrap().iter().map(|_| b' ').collect::<Vec<u8>>();
        std::fs::write(path, same_length).unwrap();
        let error = layout.opened(&[entries[0].clone(), damaged]).unwrap_err();
        assert!(error.contains("its content does not match its digest"), "{error}");
    }

    #[test]
    fn an_image_for_a_better_processor_is_taken_where_there_is_no_other() {
        let layout = Layout::new();
        for (platforms, taken) in [
            (&["linux/amd64/v2"][..], "linux/amd64/v2"),
            (&["linux/amd64/v3"], "linux/amd64/v3"),
            (&["linux/amd64/v3", "linux/amd64/v2"], "linux/amd64/v2"),
            (&["linux/amd64/v3", "linux/amd64"], "linux/amd64"),
            (&["linux/amd64", "linux/amd64/v2"], "linux/amd64"),
            (&["linux/arm64", "linux/amd64/v3"], "linux/amd64/v3"),
        ] {
            let mut entries: Vec<Value> = platforms.iter().map(|platform| layout.image(platform)).collect();
            for with_platform in [false, true] {
                for (entry, platform) in entries.iter_mut().zip(platforms).filter(|_| with_platform) {
                    let mut parts = platform.split('/').skip(1);
                    entry["platform"] = json!({ "os": "linux", "architecture": parts.next(), "variant": parts.next() });
                }
                let image = layout.opened(&entries).expect(taken);
                assert_eq!(image.platform.to_string(), taken, "{platforms:?}");
                let warned = image.warnings.iter().any(|text| text.contains("not every machine"));
                assert_eq!(warned, taken != "linux/amd64", "{:?}", image.warnings);
            }
        }
    }

    #[test]
    fn an_image_that_says_what_kind_of_artifact_it_is_remains_an_image() {
        let layout = Layout::new();
        let config = layout.config("linux/amd64", 0);
        let mut entry = layout.document(json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example", "config": config, "layers": [],
        }));
        layout.opened(&[entry.clone()]).unwrap();
        entry["artifactType"] = json!("application/vnd.example");
        layout.opened(&[entry.clone(), layout.other("sbom")]).unwrap();
    }
}
