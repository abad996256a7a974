//! What `build` writes beside a disk: a list of its components, and what it was made from.

use super::given;
use super::report::WithHint;
use crate::convert::{Built, Plan, Writing};
use crate::inputs;
use crate::provenance::{self, Resource, sha256_of};
use crate::publish::Document;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Options of `build`.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Records")]
pub struct RecordOptions {
    /// Write a list of the disk's components: packages, operating system, kernel, loader, PID 1 (CycloneDX 1.5 in JSON);
    /// - is standard output
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// Write what the disk was made from, and digests of it and its parts: an in-toto statement with SLSA provenance;
    /// - is standard output. Nothing is taken from the cache then
    #[arg(long, value_name = "FILE")]
    provenance: Option<PathBuf>,
}

/// Where they go.
pub struct Records {
    sbom: Option<Document>,
    provenance: Option<Document>,
    /// Name of the list's file.
    name: String,
}

impl Records {
    /// Looks at every place, so that nothing is built in vain.
    ///
    /// # Errors
    /// When nothing can be written there, or two outputs have one place.
    pub fn open(options: &RecordOptions, output: &Path, json: bool) -> Result<Records> {
        let mut taken = vec![("-o", place(output))];
        taken.extend(json.then(|| ("--json", PathBuf::from("-"))));
        let mut document = |option: &'static str, path: &Option<PathBuf>| -> Result<Option<Document>> {
            let Some(path) = path else { return Ok(None) };
            let place = place(path);
            if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == place) {
                let message = format!("{other} and {option} have one place: {}", crate::escape::path(path));
                return Err(WithHint { message, hint: "give each a file of its own".into() }.into());
            }
            taken.push((option, place));
            Ok(Some(Document::at(path)?))
        };
        let sbom = document("--sbom", &options.sbom)?;
        let provenance = document("--provenance", &options.provenance)?;
        let name = options.sbom.as_deref().and_then(Path::file_name).unwrap_or_default();
        Ok(Records { sbom, provenance, name: name.to_string_lossy().into_owned() })
    }

    /// Whether nothing of other runs may be used.
    pub fn is_cold(&self) -> bool {
        self.provenance.is_some()
    }

    /// What is to be found out while the disk is written.
    pub fn writing(&self) -> Writing {
        Writing { digests: self.provenance.is_some(), installed: self.sbom.is_some(), ..Writing::default() }
    }

    /// Looks at the places again, when every input is known.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn check(&self) -> Result<()> {
        Ok([&self.sbom, &self.provenance].into_iter().flatten().try_for_each(Document::check)?)
    }

    /// Writes them for a disk that is at `output`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(
        &self,
        plan: &Plan,
        output: &Path,
        built: &Built,
        image: &OsStr,
        given: &clap::ArgMatches,
    ) -> Result<()> {
        if self.sbom.is_none() && self.provenance.is_none() {
            return Ok(());
        }
        // Whatever name leads to it: no document takes its place.
        inputs::open(output).map(drop).with_context(|| format!("cannot open {} again", crate::escape::path(output)))?;
        let mut byproducts = Vec::new();
        if let Some(document) = &self.sbom {
            let text = plan.sbom(output, built).context("cannot render the list of components")?;
            document.write(text.as_bytes())?;
            byproducts.push(Resource::new(&self.name, sha256_of(text.as_bytes())).with("kind", "components"));
        }
        let (Some(document), Some(digests)) = (&self.provenance, &built.digests) else { return Ok(()) };
        let made = plan.made(&given::without_credentials(&image.to_string_lossy()))?;
        let mut parameters = given::parameters(given, image);
        plan.surroundings().into_iter().for_each(|(name, value)| parameters[name] = value);
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let facts = provenance::Facts {
            name: &name,
            parts: &digests.parts,
            file: digests.file.as_ref().map(|(form, sha256)| (*form, sha256.as_str())),
            parameters,
            dependencies: made.from,
            builder: vec![program()?, made.pid1],
            byproducts,
        };
        let text = provenance::render(&facts).context("cannot render the statement")?;
        Ok(document.write(text.as_bytes())?)
    }
}

/// This program.
fn program() -> Result<Resource> {
    const PROGRAM: &str = "/proc/self/exe";
    let bytes = fs::read(PROGRAM).context("cannot read this program")?;
    if bytes.is_empty() {
        bail!("cannot read this program: it is empty");
    }
    Ok(Resource::new("bootdisk", sha256_of(&bytes)).with("version", env!("CARGO_PKG_VERSION")))
}

/// Which file a path leads to, there or not.
fn place(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return path.to_owned();
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let absent = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(absent).unwrap_or_else(|| path.to_owned())
}

/// Opens a statement or a list of components, at most so many bytes of it.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let context = || format!("cannot read {}", crate::escape::path(path));
    let mut bytes = Vec::new();
    let file: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(path).with_context(context)?),
    };
    file.take(most + 1).read_to_end(&mut bytes).with_context(context)?;
    Ok(bytes)
}
