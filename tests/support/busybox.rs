//! An image of busybox with its names in /bin, made in code: a userland with a shell in two megabytes.

use super::images::{ImageBuilder, TarBuilder};
use super::tools;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Contents of /data/numbers: a megabyte that no damage goes unnoticed in.
pub fn numbers() -> Vec<u8> {
    (0..131_072u64).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()).collect()
}

/// Writes the image as an archive in `directory`, with a volume at /volume that the image does not have, and one at
/// /library that it has, with more than is copied to memory. /twice/a and /twice/b are one file.
pub fn archive(directory: &Path) -> PathBuf {
    let path = directory.join("busybox.oci.tar");
    std::fs::write(&path, image().oci_archive()).unwrap();
    path
}

/// The image, to be added to.
pub fn image() -> ImageBuilder {
    let busybox = std::fs::read("/usr/bin/busybox").expect("busybox-static is installed");
    let mut tar = TarBuilder::new().dir("bin", 0o755).file("bin/busybox", 0o755, &busybox);
    for name in tools::stdout(Command::new("busybox").arg("--list")).lines().filter(|name| *name != "busybox") {
        tar = tar.symlink(&format!("bin/{name}"), "busybox");
    }
    let tar = tar
        .dir("etc", 0o755)
        .dir("tmp", 0o1777)
        .dir("library", 0o755)
        .file("library/book", 0o644, &vec![b'b'; 9 << 20])
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n")
        .file("etc/group", 0o644, b"root:x:0:\n")
        .dir("data", 0o755)
        .file("data/numbers", 0o644, &numbers())
        .dir("twice", 0o755)
        .file("twice/a", 0o644, b"one file\n")
        .hard_link("twice/b", "twice/a")
        .build();
    ImageBuilder::new()
        .layer(tar)
        .cmd(&["/bin/sh"])
        .set("Volumes", json!({ "/volume": {}, "/library": {} }))
        .tag("busybox:1")
}
