//! Stores of images on this host, by the programs that own them.
//!
//! Reading their folders ourselves would take the ids of user namespaces, locks and drivers of theirs. `podman save` and
//! its like give an archive with the very layers that were pulled.

use super::program::{self, Failure, installed};
use super::{OutsideError, SourceError};
use std::fs::File;
use std::process::Command;

/// Programs that read containers-storage, the fastest first.
const STORAGE: [&str; 3] = ["podman", "skopeo", "buildah"];
/// Where an archive goes that is to be read here.
const TO_US: &str = "docker-archive:/dev/stdout";

/// The image of this name in the storage of podman, buildah, CRI-O and skopeo.
pub fn containers_storage(name: &str) -> Result<File, SourceError> {
    // `[driver@root+runroot]name` names another storage than the user's, which podman takes as options alone.
    let programs = if name.starts_with('[') { &STORAGE[1..2] } else { &STORAGE[..] };
    let program = installed(programs)
        .ok_or(OutsideError::NoProgram { doing: "reading containers-storage", programs: &STORAGE })?;
    let saved = match (save(program, name), localhosts(name)) {
        // Podman and buildah know their own short names, skopeo does not.
        (Err(failure), Some(name)) if program == "skopeo" && failure.says("does not resolve to an image") => {
            save(program, &name)
        }
        (saved, _) => saved,
    };
    let hint = "list its images, or pull it first: podman images; podman pull NAME";
    saved.map_err(|failure| failure.with_hint(Some(hint.into())))
}

fn save(program: &str, name: &str) -> Result<File, Failure> {
    let mut command = Command::new(program);
    match program {
        "podman" => command.args(["save", "--quiet", "--", name]),
        "skopeo" => command.args(["copy", "--quiet", &format!("containers-storage:{name}"), TO_US]),
        _ => command.args(["push", "--quiet", name, TO_US]),
    };
    program::archive(command)
}

/// What podman calls an image that was given no registry.
fn localhosts(name: &str) -> Option<String> {
    (!has_registry(name) && !name.starts_with('[')).then(|| format!("localhost/{name}"))
}

/// The image of this name in containerd, in the namespace that `CONTAINERD_NAMESPACE` names, as for ctr itself.
pub fn containerd(name: &str, platform: Option<&str>) -> Result<File, SourceError> {
    installed(&["ctr"]).ok_or(OutsideError::NoProgram { doing: "reading containerd's images", programs: &["ctr"] })?;
    let hint = "see which there are, and in which namespace: ctr namespaces list; \
                CONTAINERD_NAMESPACE=k8s.io ctr images list -q";
    let exported = match (export(name, platform), in_full(name)) {
        // ctr knows an image by its whole name alone.
        (Err(failure), Some(full)) if failure.says("not found") => export(&full, platform),
        (exported, _) => exported,
    };
    exported.map_err(|failure| failure.with_hint(Some(hint.into())))
}

fn export(name: &str, platform: Option<&str>) -> Result<File, Failure> {
    let mut command = Command::new("ctr");
    command.args(["images", "export"]);
    if let Some(platform) = platform {
        command.args(["--platform", platform]);
    }
    command.args(["-", name]);
    program::archive(command)
}

/// Whether a name begins with a host, by Docker's rules.
fn has_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']))
}

/// A name by Docker's rules in full, if that is another.
fn in_full(name: &str) -> Option<String> {
    let path = match name.contains('/') {
        _ if has_registry(name) => name.to_owned(),
        true => format!("docker.io/{name}"),
        false => format!("docker.io/library/{name}"),
    };
    let last = path.rsplit('/').next().unwrap_or(&path);
    let full = if last.contains([':', '@']) { path } else { format!("{path}:latest") };
    (full != name).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_full_are_dockers() {
        for (name, full) in [
            ("app", Some("docker.io/library/app:latest")),
            ("app:1", Some("docker.io/library/app:1")),
            ("a/app", Some("docker.io/a/app:latest")),
            ("ghcr.io/a/app", Some("ghcr.io/a/app:latest")),
            ("localhost/app", Some("localhost/app:latest")),
            ("host:5000/app", Some("host:5000/app:latest")),
            ("docker.io/library/app:1", None),
            ("ghcr.io/a/app@sha256:12", None),
        ] {
            assert_eq!(in_full(name).as_deref(), full, "{name}");
        }
        for (name, own) in [
            ("app:1", Some("localhost/app:1")),
            ("a/app", Some("localhost/a/app")),
            ("host:5000/app", None),
            ("localhost/app", None),
            ("[vfs@/a+/b]app", None),
        ] {
            assert_eq!(localhosts(name).as_deref(), own, "{name}");
        }
    }
}
