//! The fixtures of the other tests, checked with other people's programs: a fixture that is wrong proves nothing.

use crate::support::images::{ImageBuilder, Pack, TarBuilder};
use crate::support::{images, tools};
use std::process::Command;

fn sample() -> ImageBuilder {
    let lower = TarBuilder::new().dir("etc/", 0o755).file("etc/motd", 0o644, b"hello\n").file("etc/gone", 0o600, b"x");
    let upper = TarBuilder::new().whiteout("etc/gone").symlink("motd", "etc/motd").hard_link("motd2", "etc/motd");
    ImageBuilder::new()
        .packed_layer(lower.build(), Pack::Gzip)
        .packed_layer(upper.build(), Pack::Zstd)
        .cmd(&["/bin/true"])
        .tag("sample:1.0")
}

#[test]
fn skopeo_reads_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    std::fs::write(dir.path().join("legacy.tar"), image.docker_legacy()).unwrap();
    std::fs::write(dir.path().join("docker25.tar"), image.docker25()).unwrap();
    std::fs::write(dir.path().join("oci.tar"), image.oci_archive()).unwrap();
    image.write_oci(&dir.path().join("layout"));
    for reference in
        ["docker-archive:legacy.tar", "docker-archive:docker25.tar", "oci-archive:oci.tar:1.0", "oci:layout:1.0"]
    {
        let mut skopeo = Command::new("skopeo");
        skopeo.current_dir(dir.path()).args(["inspect", "--config", reference]);
        let config: serde_json::Value = serde_json::from_str(&tools::stdout(&mut skopeo)).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(image.diff_ids()), "{reference}");
    }
}

#[test]
fn umoci_unpacks_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let mut image = sample();
    // umoci 0.4 knows no zstd.
    image.layers[1].blob = images::gzip(&image.layers[1].tar);
    image.layers[1].media_type = Pack::Gzip.media_type().into();
    image.write_oci(&dir.path().join("layout"));
    let mut umoci = Command::new("umoci");
    umoci.current_dir(dir.path()).args(["raw", "unpack", "--rootless", "--image", "layout:1.0", "root"]);
    tools::stdout(&mut umoci);
    let root = dir.path().join("root");
    assert_eq!(std::fs::read(root.join("motd2")).unwrap(), b"hello\n");
    assert!(!root.join("etc/gone").exists());
    // The checker sees damage: one changed bit in a blob.
    let blob = dir.path().join("layout").join(images::blob_path(&image.layers[0].blob));
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let mut umoci = Command::new("umoci");
    umoci.current_dir(dir.path()).args(["raw", "unpack", "--rootless", "--image", "layout:1.0", "root2"]);
    assert!(!tools::run(&mut umoci).status.success());
}
