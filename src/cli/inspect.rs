//! `bootdisk inspect`: what is kernel, what is userland, what is missing to boot.

use super::options::Global;
use crate::escape;
use crate::image::Platform;
use crate::inspect::{self, Subject, image, kernel, render};
use crate::kernel::Store;
use crate::source::Select;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  docker save nginx | bootdisk inspect -
  bootdisk inspect nginx.img --html nginx.html    A disk, ours or anybody's, as a page
  bootdisk inspect vmlinuz-6.1                    A kernel: what it has, what it lacks
  bootdisk inspect nginx.tar --diff nginx.img     Is the disk what the image was?
  bootdisk inspect app.tar --tree --layer 3       What layer 3 did";

/// Arguments of `bootdisk inspect`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image as `bootdisk build` takes it, a disk, a kernel (file, package or name in the store)
    subject: OsString,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Platform of the image to take from an index, as os/arch[/variant]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

/// Prints the report on standard output.
pub fn run(_global: &Global, args: &Args) -> Result<ExitCode> {
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let select = Select { platform };
    let shown = escape::path(Path::new(&args.subject));
    let place = || format!("cannot inspect {shown}");
    let store = Store::of_user().ok();
    let subject = inspect::open(&args.subject, &select, store.as_ref()).with_context(place)?;
    let report = match &subject {
        Subject::Image(found) => {
            let scan = image::scan(found, usize::MAX, false).with_context(place)?;
            image::report(&shown, found, &scan, store.as_ref())
        }
        Subject::Disk(disk) => disk.scan(&shown, false).report,
        Subject::Kernel(bundle) => kernel::report(&shown, bundle),
    };
    let text = match args.json {
        true => render::json(&report)?,
        false => render::text::render(&report, colour()),
    };
    print(&text)
}

fn print(text: &str) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn colour() -> bool {
    let wanted = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal() && wanted("NO_COLOR").is_none() && wanted("TERM").is_none_or(|term| term != "dumb")
}
