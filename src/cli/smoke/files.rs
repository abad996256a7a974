//! Where the reports of a suite go: files beside the table, or one of them instead of it on standard output.

use super::Output;
use crate::cli::report::may_colour;
use crate::cli::stdio;
use crate::publish::Document;
use crate::smoke::{Suite, report};
use anyhow::{Context, Result, bail};
use std::io;
use std::path::{Path, PathBuf};

/// A report's bytes.
type Render = fn(&Suite) -> Result<Vec<u8>>;

/// Reports that are asked for beside what is printed.
pub struct Files {
    documents: Vec<(Document, Render)>,
    /// One JSON document is printed.
    json: bool,
    /// A report has standard output, and the table goes to standard error.
    taken: bool,
}

impl Files {
    /// Looks at every place now, so that nothing is tested in vain.
    pub fn of(output: &Output) -> Result<Files> {
        let asked: [(&str, &Option<PathBuf>, Render); 4] = [
            ("--junit", &output.junit, |suite| report::junit::render(suite).context("cannot render the JUnit report")),
            ("--timeline", &output.timeline, |suite| Ok(report::timeline::render(&suite.reports).into_bytes())),
            ("--tap", &output.tap, |suite| Ok(report::tap::render(suite).into_bytes())),
            ("--html", &output.html, |suite| Ok(report::html::render(suite).into_bytes())),
        ];
        let mut places: Vec<(&str, PathBuf)> = Vec::new();
        places.extend(output.json.then(|| ("--json", STDOUT.into())));
        let mut documents = Vec::new();
        for (option, path, render) in asked {
            let Some(path) = path else { continue };
            // Whatever folder this program works in by then.
            let path = if path == Path::new(STDOUT) { path.clone() } else { std::path::absolute(path)? };
            if let Some((other, _)) = places.iter().find(|(_, known)| *known == path) {
                bail!("{other} and {option} have one place: {}", shown(&path));
            }
            documents.push((Document::at(&path)?, render));
            places.push((option, path));
        }
        let taken = !output.json && places.iter().any(|(_, path)| path == Path::new(STDOUT));
        Ok(Files { documents, json: output.json, taken })
    }

    /// Looks at them again, when every input is known.
    pub fn check(&self) -> Result<()> {
        self.documents.iter().try_for_each(|(document, _)| Ok(document.check()?))
    }

    /// Writes every report that it can; the first that it cannot is the error.
    pub fn write(&self, suite: &Suite) -> Result<()> {
        let one = |(document, render): &(Document, Render)| Ok(document.write(&render(suite)?)?);
        self.documents.iter().map(one).fold(Ok(()), Result::and)
    }

    /// Prints the verdicts.
    pub fn print(&self, suite: &Suite) -> Result<()> {
        if self.json {
            stdio::data(report::json::render(suite).as_bytes())?;
        } else if self.taken {
            stdio::say(&report::table::render(suite, may_colour(&io::stderr())));
        } else {
            stdio::data(report::table::render(suite, may_colour(&io::stdout())).as_bytes())?;
        }
        Ok(())
    }
}

const STDOUT: &str = "-";

fn shown(path: &Path) -> String {
    if path == Path::new(STDOUT) { "standard output".into() } else { crate::escape::path(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_report() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| Some(dir.path().join(name));
        let out = || Some(PathBuf::from(STDOUT));
        let blank = || Output {
            json: false,
            junit: None,
            timeline: None,
            tap: None,
            html: None,
            log_dir: None,
            dry_run: false,
        };
        let twice = dir.path().join("x").display().to_string();
        for (output, told) in [
            (
                Output { json: true, tap: out(), ..blank() },
                Some("--json and --tap have one place: standard output".into()),
            ),
            (
                Output { junit: out(), html: out(), ..blank() },
                Some("--junit and --html have one place: standard output".into()),
            ),
            (
                Output { junit: file("x"), tap: file("x"), ..blank() },
                Some(format!("--junit and --tap have one place: {twice}")),
            ),
            (Output { json: true, junit: file("a"), tap: file("b"), ..blank() }, None),
            (Output { junit: out(), tap: file("b"), ..blank() }, None),
        ] {
            assert_eq!(Files::of(&output).map(drop).map_err(|error| error.to_string()).err(), told);
        }
    }
}
