//! The form that a disk is written in: by its name, or as it is asked for.

use super::report::WithHint;
use crate::escape;
use crate::forms::{Form, NAMES, Packing};
use crate::publish::{self, FileError};
use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use std::path::{Path, PathBuf};

/// Options of `build` and `convert`.
#[derive(Args, Clone, Debug)]
pub struct DiskForm {
    /// Form of the disk. Without it the name decides: .qcow2, .vmdk, .vdi, .vhd, .vhdx, .gz, .xz, .zst (raw, compressed),
    /// .tar.gz (gce: for Google's cloud), .ova (for VMware and VirtualBox), .box (for Vagrant), and raw for all others;
    /// oci-archive:FILE and docker-archive:FILE are a containerDisk for KubeVirt.
    /// vhd-fixed is raw with a footer, of whole MiB, as Azure wants it
    #[arg(long, value_name = "FORM", value_parser = PossibleValuesParser::new(NAMES))]
    format: Option<String>,
    /// Compress a qcow2 (zlib or zstd) or a VMDK (zlib: streamOptimized)
    #[arg(long, value_name = "HOW")]
    compress: Option<Compress>,
}

/// How a form is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compress {
    /// Deflate, which everything reads
    Zlib,
    /// Zstandard: faster and smaller; QEMU from version 5.1 on
    Zstd,
}

impl DiskForm {
    /// Whether a form was asked for.
    pub fn is_given(&self) -> bool {
        self.format.is_some() || self.compress.is_some()
    }

    /// The form of what `output` names, and the file that it goes to: a transport says that it is an image.
    ///
    /// # Errors
    /// As [`DiskForm::of`], and for transports that nothing is written to.
    pub fn place(&self, output: &Path) -> Result<(Form, PathBuf), WithHint> {
        let text = output.to_str().unwrap_or_default();
        let Some((transport, rest)) = text.split_once(':') else { return Ok((self.of(output)?, output.to_owned())) };
        match transport {
            "oci-archive" | "docker-archive" => {
                let form = DiskForm { format: Some(transport.to_owned()), compress: self.compress };
                let other = self.format.as_deref().is_some_and(|format| format != transport);
                match other {
                    true => Err(WithHint {
                        message: format!("the name promises another form than --format says: {}", escape::path(output)),
                        hint: "omit --format".into(),
                    }),
                    false => Ok((form.of(Path::new(rest))?, rest.into())),
                }
            }
            "oci" | "docker" => Err(WithHint {
                message: format!("a containerDisk is made of disks that are there: {}", escape::path(output)),
                hint: format!("give -o disk.qcow2, then: bootdisk convert disk.qcow2 -o {}", paste(text)),
            }),
            "docker-daemon" | "containers-storage" => Err(WithHint {
                message: format!(
                    "a containerDisk is written to an archive, and copied from there: {}",
                    escape::path(output)
                ),
                hint: format!("give -o oci-archive:disk.tar, then: skopeo copy oci-archive:disk.tar {}", paste(text)),
            }),
            _ => Ok((self.of(output)?, output.to_owned())),
        }
    }

    /// The form of a disk at `output`.
    ///
    /// # Errors
    /// When the name promises another one, or it cannot be packed like that.
    pub fn of(&self, output: &Path) -> Result<Form, WithHint> {
        let promised = Form::of_name(output);
        let form = self.format.as_deref().and_then(Form::named).unwrap_or(promised);
        let same = promised.name() == form.name() || (promised, form) == (Form::Vhd, Form::VhdFixed);
        if promised != Form::Raw && !same {
            return Err(WithHint {
                message: format!("the name promises another form than --format says: {}", escape::path(output)),
                hint: "omit --format, or give another name".into(),
            });
        }
        let Some(compress) = self.compress else { return Ok(form) };
        let packing = match compress {
            Compress::Zlib => Packing::Zlib,
            Compress::Zstd => Packing::Zstd,
        };
        form.packed(packing).ok_or_else(|| WithHint {
            message: "this form has no such compression".into(),
            hint:
                "zlib and zstd are for qcow2, zlib is for VMDK; a raw disk is compressed by its name: -o disk.img.zst"
                    .into(),
        })
    }
}

/// Whether `path` may have something in this form; an archive may have any name.
pub fn check(form: Form, path: &Path) -> Result<(), FileError> {
    match form {
        Form::ContainerDisk(_) => publish::check_file(path),
        _ => publish::check_disk(path),
    }
}

/// A text as a shell takes it.
fn paste(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| "REFERENCE".into(), |quoted| escape::escape(quoted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forms::Compression;

    #[test]
    fn a_transport_names_an_image_and_the_file_behind_it() {
        let place = |name: &str| {
            let form = DiskForm { format: None, compress: None };
            form.place(Path::new(name)).map(|(form, path)| (form.name(), path.display().to_string()))
        };
        assert_eq!(place("oci-archive:a/b.tar").unwrap(), ("oci-archive", "a/b.tar".into()));
        assert_eq!(place("docker-archive:x").unwrap(), ("docker-archive", "x".into()));
        assert_eq!(place("a:b.qcow2").unwrap(), ("qcow2", "a:b.qcow2".into()));
        for (name, end) in [
            ("docker://host/name:tag", "bootdisk convert disk.qcow2 -o docker://host/name:tag"),
            ("docker-daemon:name:tag", "skopeo copy oci-archive:disk.tar docker-daemon:name:tag"),
        ] {
            let error = place(name).unwrap_err();
            assert!(error.hint.ends_with(end), "{}", error.hint);
        }
    }

    #[test]
    fn a_form_is_what_is_asked_for_and_what_the_name_promises() {
        let of = |format: Option<&str>, compress, name: &str| {
            let form = DiskForm { format: format.map(str::to_owned), compress };
            form.of(Path::new(name)).map_err(|error| error.message)
        };
        let rows = [
            (None, None, "a.img", Ok(Form::Raw)),
            (None, None, "a.qcow2", Ok(Form::Qcow2(Packing::Plain))),
            (None, Some(Compress::Zstd), "a.qcow2", Ok(Form::Qcow2(Packing::Zstd))),
            (None, Some(Compress::Zlib), "a.vmdk", Ok(Form::Vmdk(Packing::Zlib))),
            (Some("qcow2"), None, "a", Ok(Form::Qcow2(Packing::Plain))),
            (Some("vhd-fixed"), None, "a.vhd", Ok(Form::VhdFixed)),
            (None, None, "a.img.zst", Ok(Form::Compressed(Compression::Zstd))),
            (None, None, "a.tar.gz", Ok(Form::Gce)),
            (Some("gce"), None, "a", Ok(Form::Gce)),
            (Some("xz"), None, "a.gz", Err("the name promises another form than --format says: a.gz".into())),
            (Some("raw"), None, "a.qcow2", Err("the name promises another form than --format says: a.qcow2".into())),
            (Some("vdi"), None, "a.vmdk", Err("the name promises another form than --format says: a.vmdk".into())),
            (None, Some(Compress::Zlib), "a.img", Err("this form has no such compression".into())),
            (None, Some(Compress::Zstd), "a.vmdk", Err("this form has no such compression".into())),
        ];
        for (format, compress, name, expected) in rows {
            assert_eq!(of(format, compress, name), expected, "{format:?} {name}");
        }
    }
}
