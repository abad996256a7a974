//! A report as text.

use super::page::{Page, WIDTH};
use super::units::{count, size};
use super::{disk, kernels_line};
use crate::inspect::model::{Attention, Command, Fact, Kind, Layers, Program, Report, Userland};
use crate::shorten::fit;

/// Items of a section "worth a look" that are shown.
const ITEMS: usize = 12;
/// Hidden files that are shown.
const HIDDEN: usize = 8;
/// Libraries that are shown by name.
const LIBRARIES: usize = 24;

/// The whole report.
pub fn render(report: &Report, colour: bool) -> String {
    let mut page = Page::new(colour);
    page.verdict(&report.verdict);
    page.section(match report.kind {
        Kind::Image => "image",
        Kind::Disk => "disk",
        Kind::Kernel => "kernel",
        Kind::Program => "program",
    });
    page.row("name", &report.name);
    configuration(&mut page, report);
    if let Some(disk) = &report.disk {
        disk::disk(&mut page, disk);
    }
    if let Some(kernel) = &report.kernel {
        disk::kernel(&mut page, kernel, true);
    }
    signatures(&mut page, &report.programs);
    if let Some(userland) = &report.userland {
        self::userland(&mut page, userland);
    }
    if let Some(command) = &report.command {
        self::command(&mut page, command);
    }
    boot(&mut page, report);
    if let Some(layers) = &report.layers {
        self::layers(&mut page, layers);
    }
    attention(&mut page, &report.attention);
    if !report.notes.is_empty() {
        page.section("notes");
        report.notes.iter().for_each(|note| page.row("", note));
    }
    page.finish()
}

fn signatures(page: &mut Page, programs: &[Program]) {
    if programs.is_empty() {
        return;
    }
    page.section("signatures");
    for program in programs {
        page.fact("signed by", &Fact::new(program.words(), &program.evidence));
        program.sha256.iter().for_each(|sha256| page.evidence(&format!("certificate, SHA-256 {sha256}")));
    }
}

fn configuration(page: &mut Page, report: &Report) {
    let Some(image) = &report.image else { return };
    image.name.iter().filter(|name| **name != report.name).for_each(|name| page.row("called", name));
    page.row("platform", &image.platform);
    image.created.iter().for_each(|created| page.row("created", created));
    page.row("configuration", &image.config_digest);
    for (label, list) in [("ports", &image.ports), ("volumes", &image.volumes)] {
        if !list.is_empty() {
            page.row(label, &list.join(" "));
        }
    }
    image.stop_signal.iter().for_each(|signal| page.row("stop signal", signal));
    for (label, list) in [("environment", &image.env), ("labels", &image.labels)] {
        list.iter().enumerate().for_each(|(i, entry)| page.row(if i == 0 { label } else { "" }, entry));
    }
}

fn userland(page: &mut Page, userland: &Userland) {
    page.section("userland");
    let mut files = vec![format!("{} ({})", count(userland.files, "file"), size(userland.bytes))];
    let others =
        [(userland.directories, "director"), (userland.symlinks, "symbolic link"), (userland.others, "device or pipe")];
    for (number, name) in others.into_iter().filter(|(number, _)| *number > 0) {
        files.push(match (name, number) {
            ("director", 1) => "1 directory".into(),
            ("director", number) => format!("{number} directories"),
            ("device or pipe", 2..) => format!("{number} devices or pipes"),
            _ => count(number, name),
        });
    }
    page.row("files", &files.join(", "));
    match &userland.distribution {
        Some(distribution) => {
            page.fact("distribution", &Fact::new(&distribution.name, &distribution.evidence));
        }
        None => page.row("distribution", "none"),
    }
    let lists = [("C library", &userland.libc), ("shells", &userland.shells)];
    for (label, facts) in lists {
        if facts.is_empty() {
            page.row(label, "none");
        }
        page.facts(label, facts);
    }
    packages(page, userland);
    if userland.init.is_empty() {
        page.row("init", "none");
    }
    page.facts("init", &userland.init);
    page.facts("runtimes", &userland.runtimes);
    page.facts("certificates", &userland.certificates);
    if let Some(users) = &userland.users {
        page.fact("users", &Fact::new(count(users.count, "user"), &users.evidence));
        if !users.with_shell.is_empty() {
            page.row("", &format!("with a shell: {}", users.with_shell.join(", ")));
        }
        if !users.other_roots.is_empty() {
            page.row("", &format!("also user number 0: {}", users.other_roots.join(", ")));
        }
    }
    if userland.kernels.is_empty() {
        page.row("kernel", "none");
    }
    page.facts("kernel", &userland.kernels);
    page.facts("modules", &userland.modules);
    page.facts("boot loader", &userland.boot_loaders);
}

fn packages(page: &mut Page, userland: &Userland) {
    if userland.packages.is_empty() {
        page.row("packages", "no package manager");
    }
    for (i, packages) in userland.packages.iter().enumerate() {
        let others = if packages.others > 0 { format!(", {} not installed", packages.others) } else { String::new() };
        let value = format!("{} {}{others}", packages.manager, packages.installed);
        page.fact(if i == 0 { "packages" } else { "" }, &Fact::new(value, &packages.evidence));
        packages.doubt.iter().for_each(|doubt| page.row("", doubt));
    }
}

fn command(page: &mut Page, command: &Command) {
    page.section("command");
    if !command.words.is_empty() {
        let words: Vec<String> = command.words.iter().map(|word| quoted(word)).collect();
        page.row("starts", &words.join(" "));
    }
    let user = if command.user.is_empty() { "root" } else { &command.user };
    let folder = if command.working_dir.is_empty() { "/" } else { &command.working_dir };
    page.row("as, in", &format!("{user}, {folder}"));
    command.path.iter().for_each(|path| page.row("is", path));
    command.steps.iter().for_each(|step| page.evidence(step));
    command.format.iter().for_each(|format| page.row("format", format));
    if let Some(elf) = &command.elf {
        if let Some(interpreter) = &elf.interpreter {
            let there = if elf.interpreter_found { "" } else { " (missing)" };
            page.row("loader", &format!("{interpreter}{there}"));
        }
        elf.go.iter().for_each(|go| page.row("made by", if go.is_empty() { "Go" } else { go }));
        elf.damage.iter().for_each(|damage| page.row("damaged", damage));
    }
    let found = command.libraries.iter().filter(|library| library.path.is_some());
    let names: Vec<&str> = found.clone().take(LIBRARIES).map(|library| library.name.as_str()).collect();
    if !names.is_empty() {
        let more = found.count() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        page.row("libraries", &format!("{}{more}", names.join(" ")));
    }
    for library in command.libraries.iter().filter(|library| library.path.is_none()) {
        page.row("missing", &format!("{} (for {})", library.name, library.needed_by));
    }
    if let Some(asks) = &command.asks {
        let linux =
            asks.linux.as_ref().map_or("of no stated version".to_owned(), |version| format!("{version} or later"));
        let value = format!("Linux {linux}, {}", asks.architecture);
        match &asks.linux_evidence {
            Some(evidence) => page.fact("asks for", &Fact::new(value, evidence)),
            None => page.row("asks for", &value),
        }
        asks.isa.iter().for_each(|isa| page.row("instructions", isa));
    }
    command.problem.iter().for_each(|problem| page.row("problem", problem));
}

/// A word as a shell would need it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn boot(page: &mut Page, report: &Report) {
    let Some(boot) = &report.boot else { return };
    page.section("to boot");
    kernels_line(report).iter().for_each(|line| page.row("kernels", line));
    for kernel in boot.kernels.iter().filter(|kernel| kernel.why.is_some()) {
        page.evidence(&format!("{}: {}", kernel.release, kernel.why.as_deref().unwrap_or_default()));
    }
    page.row("a disk adds", &boot.injected.join(", "));
}

fn layers(page: &mut Page, layers: &Layers) {
    page.section("layers");
    page.line(&format!(
        "  {:>3} {:>10} {:>10} {:>8} {:>8} {:>8} {:>10}",
        "#", "stored", "files", "added", "changed", "removed", "hidden"
    ));
    for layer in &layers.layers {
        page.line(&format!(
            "  {:>3} {:>10} {:>10} {:>8} {:>8} {:>8} {:>10}",
            layer.number,
            size(layer.stored),
            size(layer.bytes),
            layer.added,
            layer.changed,
            layer.removed,
            if layer.hidden == 0 { "-".to_owned() } else { size(layer.hidden) },
        ));
        if let Some(command) = &layer.command {
            page.line(&format!("      {}", fit(command, WIDTH - 6)));
        }
    }
    page.row(
        "efficiency",
        &format!("{:.1} %: {} of {} are hidden", layers.efficiency, size(layers.hidden), size(layers.bytes)),
    );
    for file in layers.largest_hidden.iter().take(HIDDEN) {
        page.row(
            &format!("{:>10}", size(file.bytes)),
            &format!("{} (layer {}, hidden by {})", file.path, file.layer, file.hidden_by),
        );
    }
}

fn attention(page: &mut Page, attention: &[Attention]) {
    if attention.is_empty() {
        return;
    }
    page.section("worth a look");
    for kind in attention {
        page.line(&format!("  {} {}", kind.count, kind.title));
        for item in kind.items.iter().take(ITEMS) {
            page.line(&format!("      {item}"));
        }
        let more = kind.count - kind.items.len().min(ITEMS) as u64;
        if more > 0 {
            page.line(&format!("      and {more} more"));
        }
    }
}
