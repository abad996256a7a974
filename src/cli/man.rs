//! `bootdisk man DIR`: the man pages of all commands, for packages. They are made from the command line's own
//! descriptions, so that a page cannot lack an option.

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::{Man, roff::Roff, roff::roman};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `bootdisk man`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder for the pages
    dir: PathBuf,
}

/// Writes bootdisk.1, bootdisk-build.1 and so on.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot create {}", shown(&args.dir)))?;
    for (name, text) in pages()? {
        let path = args.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", shown(&path)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(path: &Path) -> String {
    crate::escape::path(path)
}

/// Every page by its file's name.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = super::Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, "bootdisk", &mut pages)?;
    Ok(pages)
}

fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let page = command.clone().display_name(name).bin_name(name.replace('-', " "));
    pages.push((format!("{name}.1"), render(page)?));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}

/// One page. The synopsis is the help's, as the crate's names every option; the examples stand as they are in the help, as
/// the crate would fill them into a paragraph.
fn render(mut command: clap::Command) -> std::io::Result<Vec<u8>> {
    let usage = command.render_usage().to_string();
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command).source(concat!("bootdisk ", env!("CARGO_PKG_VERSION"))).date("");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    synopsis(&usage).to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_subcommands {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = after {
        examples(&after).to_writer(&mut text)?;
    }
    Ok(text)
}

/// `Usage: bootdisk run [OPTIONS] <TARGET>`, of which there may be several lines.
fn synopsis(usage: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.control("nf", []);
    for line in usage.lines() {
        roff.text([roman(line.trim_start_matches("Usage:").trim())]);
    }
    roff.control("fi", []);
    roff
}

/// The end of a help text, line by line.
fn examples(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES AND NOTES"]);
    roff.control("nf", []);
    for line in text.lines().skip_while(|line| *line == "Examples:") {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible<'a>(command: &'a clap::Command, name: &str, all: &mut Vec<(String, &'a clap::Command)>) {
        all.push((name.to_owned(), command));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            visible(below, &format!("{name}-{}", below.get_name()), all);
        }
    }

    #[test]
    fn every_command_has_a_page_with_every_option_and_its_examples() {
        let root = super::super::Cli::command();
        let mut commands = Vec::new();
        visible(&root, "bootdisk", &mut commands);
        let pages = pages().unwrap();
        assert_eq!(pages.len(), commands.len());
        for (name, command) in commands {
            let (_, text) = pages.iter().find(|(page, _)| *page == format!("{name}.1")).expect(&name);
            let text = String::from_utf8(text.clone()).unwrap().replace("\\-", "-").replace("\\*(Aq", "'");
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let shown = option.get_long().map_or_else(|| option.get_id().to_string(), |long| format!("--{long}"));
                let known = text.contains(&shown) || text.to_uppercase().contains(&shown.to_uppercase());
                assert!(
                    known || option.get_value_names().is_some_and(|names| text.contains(names[0].as_str())),
                    "{name}: {shown}"
                );
            }
            let synopsis = text.split(".SH SYNOPSIS").nth(1).unwrap().split(".SH").next().unwrap();
            let starts = format!("{} ", name.replace('-', " "));
            assert!(synopsis.contains(&starts) && synopsis.contains("[OPTIONS]"), "{name}: {synopsis}");
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in examples.lines().filter(|line| line.starts_with("  bootdisk ")) {
                assert!(text.contains(&line.replace('\\', "\\\\")) || text.contains(line), "{name}: {line}");
            }
        }
    }
}
