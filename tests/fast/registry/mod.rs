//! Images by their names, out of real registries and out of ones that misbehave. The judge is what the same image is
//! when it is read from a layout.

mod guards;
mod hostile;
mod pulls;
mod strangers;
mod ways;

use crate::support::e2e::{Bench, Ran, run};
use crate::support::images::{ImageBuilder, Pack, TarBuilder};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A home, with nothing of this machine's user in it.
pub struct Home(Bench);

impl Home {
    pub fn new() -> Home {
        let home = Home(Bench::without_kernels());
        std::fs::create_dir_all(home.path("user/docker")).unwrap();
        std::fs::write(home.path("registries.conf"), "").unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Writes a file of it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn bootdisk(&self) -> Command {
        let mut command = self.0.bootdisk();
        for name in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "REGISTRY_AUTH_FILE",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command
            .env("HOME", self.path("user"))
            .env("XDG_CONFIG_HOME", self.path("user/config"))
            .env("DOCKER_CONFIG", self.path("user/docker"))
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"));
        command
    }

    /// `inspect WHAT --files jsonl OPTIONS`: every name of the userland with its digest.
    pub fn files(&self, what: impl AsRef<OsStr>, options: &[&str]) -> Ran {
        run(self.bootdisk().args(["inspect", "--files", "jsonl"]).args(options).arg(what))
    }

    /// What a layout holds.
    pub fn files_of(&self, layout: &Path, options: &[&str]) -> String {
        self.files(layout, options).expect_status(0).text()
    }

    /// Files of the cache of layers, by their names.
    pub fn blobs(&self) -> Vec<PathBuf> {
        let folder = self.path("cache/bootdisk/blobs/sha256");
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// Every blob of the cache is what its name says.
    #[track_caller]
    pub fn has_right_blobs(&self) {
        for path in self.blobs().iter().filter(|path| path.extension().is_none()) {
            let digest = crate::support::images::sha256(&std::fs::read(path).unwrap());
            assert_eq!(digest[7..], *path.file_name().unwrap().to_str().unwrap());
        }
    }
}

/// An image with files that tell it from others, some of which do not compress.
pub fn image(name: &str, packs: &[Pack]) -> ImageBuilder {
    packs.iter().enumerate().fold(ImageBuilder::new().tag("latest"), |image, (number, &pack)| {
        let noise: Vec<u8> =
            (0..60_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number as u8).collect();
        let tar = TarBuilder::new().dir(&format!("{name}{number}"), 0o755);
        let tar = tar.file(&format!("{name}{number}/name"), 0o644, name.as_bytes());
        image.packed_layer(tar.file(&format!("{name}{number}/noise"), 0o600, &noise).build(), pack)
    })
}

/// Writes an image as a layout.
pub fn layout(home: &Home, name: &str, image: &ImageBuilder) -> PathBuf {
    let path = home.path(name);
    image.write_oci(&path);
    path
}

/// As skopeo takes a layout.
pub fn oci(path: &Path) -> String {
    format!("oci:{}", path.display())
}
