//! The userland's facts, its command, what it needs to boot, and the files worth a look.

use super::{Rows, code, fact, list, section, table, text};
use crate::inspect::model::{Attention, Command, Fact, Report, Userland};
use crate::inspect::render::kernels_line;
use crate::inspect::render::text::quoted;
use crate::inspect::render::units::{count, size};

/// Userland, command, and what it takes to boot.
pub fn userland(page: &mut String, report: &Report) {
    if let Some(userland) = &report.userland {
        section(page, "Userland", &facts(userland));
    }
    if let Some(found) = &report.command {
        section(page, "Command", &command(found));
    }
    if let Some(boot) = &report.boot {
        let mut rows = Rows::default();
        kernels_line(report).iter().for_each(|line| _ = rows.add("Kernels", &text(line)));
        for kernel in boot.kernels.iter().filter(|kernel| kernel.why.is_some()) {
            rows.add(&kernel.release, &text(kernel.why.as_deref().unwrap_or_default()));
        }
        rows.add("A disk adds", &text(&boot.injected.join(", ")));
        section(page, "To boot", &rows.finish());
    }
}

fn facts(userland: &Userland) -> String {
    let mut rows = Rows::default();
    rows.add(
        "Files",
        &format!(
            "{} ({}), {} directories, {} symbolic links, {} devices or pipes",
            count(userland.files, "file"),
            size(userland.bytes),
            userland.directories,
            userland.symlinks,
            userland.others
        ),
    );
    let distribution = userland.distribution.as_ref();
    let distribution = distribution.map(|found| fact(&Fact::new(&found.name, &found.evidence)));
    rows.add("Distribution", &distribution.unwrap_or_else(|| "none".into()));
    for (label, facts) in [("C library", &userland.libc), ("Shells", &userland.shells), ("Init", &userland.init)] {
        match facts.is_empty() {
            true => rows.add(label, "none"),
            false => rows.facts(label, facts),
        };
    }
    if userland.packages.is_empty() {
        rows.add("Packages", "no package manager");
    }
    for packages in &userland.packages {
        let doubt = packages.doubt.as_ref().map(|doubt| format!(" ({})", text(doubt))).unwrap_or_default();
        let found = Fact::new(format!("{} {}", packages.manager, packages.installed), &packages.evidence);
        rows.add("Packages", &(fact(&found) + &doubt));
    }
    rows.facts("Runtimes", &userland.runtimes).facts("Certificates", &userland.certificates);
    if let Some(users) = &userland.users {
        let shells = if users.with_shell.is_empty() {
            String::new()
        } else {
            format!("; with a shell: {}", text(&users.with_shell.join(", ")))
        };
        rows.add("Users", &format!("{}{shells}", fact(&Fact::new(count(users.count, "user"), &users.evidence))));
        if !users.other_roots.is_empty() {
            rows.add("Also user 0", &text(&users.other_roots.join(", ")));
        }
    }
    match userland.kernels.is_empty() {
        true => rows.add("Kernel", "none"),
        false => rows.facts("Kernel", &userland.kernels),
    };
    rows.facts("Modules", &userland.modules).facts("Boot loader", &userland.boot_loaders);
    rows.finish()
}

fn command(command: &Command) -> String {
    let mut rows = Rows::default();
    let words: Vec<String> = command.words.iter().map(|word| quoted(word)).collect();
    rows.add("Starts", &if words.is_empty() { "nothing".to_owned() } else { code(&words.join(" ")) });
    rows.add("As", &text(if command.user.is_empty() { "root" } else { &command.user }));
    rows.add("In", &code(if command.working_dir.is_empty() { "/" } else { &command.working_dir }));
    command.path.iter().for_each(|path| _ = rows.add("Is", &code(path)));
    if !command.steps.is_empty() {
        rows.add("How", &list(command.steps.iter().map(|step| text(step))));
    }
    command.format.iter().for_each(|format| _ = rows.add("Format", &text(format)));
    if let Some(elf) = &command.elf {
        let there = if elf.interpreter_found { "" } else { " (missing)" };
        elf.interpreter.iter().for_each(|path| _ = rows.add("Loader", &format!("{}{there}", code(path))));
        elf.go.iter().for_each(|go| _ = rows.add("Made by", &text(if go.is_empty() { "Go" } else { go })));
        elf.damage.iter().for_each(|damage| _ = rows.add("Damaged", &text(damage)));
    }
    if let Some(asks) = &command.asks {
        let linux = asks
            .linux
            .as_ref()
            .map_or("Linux of no stated version".to_owned(), |version| format!("Linux {version} or later"));
        let evidence = asks.linux_evidence.as_deref().map(|e| format!(" <span class=\"evidence\">{}</span>", text(e)));
        rows.add(
            "Asks for",
            &format!("{}, {}{}", text(&linux), text(&asks.architecture), evidence.unwrap_or_default()),
        );
        asks.isa.iter().for_each(|isa| _ = rows.add("Instructions", &text(isa)));
    }
    command
        .problem
        .iter()
        .for_each(|problem| _ = rows.add("Problem", &format!("<strong class=\"fail\">{}</strong>", text(problem))));
    let mut out = rows.finish();
    if !command.libraries.is_empty() {
        let missing = || "<strong class=\"fail\">missing</strong>".to_owned();
        let rows = command.libraries.iter().map(|library| {
            let path = library.path.as_deref().map_or_else(missing, code);
            vec![code(&library.name), path, code(&library.needed_by)]
        });
        let table = table("Libraries", &["Library", "Found at", "Needed by"], &rows.collect::<Vec<_>>());
        out.push_str(&format!(
            "<details><summary>{}</summary>\n{table}</details>\n",
            libraries(command.libraries.len())
        ));
    }
    out
}

fn libraries(number: usize) -> String {
    if number == 1 { "1 library".into() } else { format!("{number} libraries") }
}

/// Files worth a look.
pub fn attention(page: &mut String, attention: &[Attention]) {
    if attention.is_empty() {
        return;
    }
    let mut inner = String::new();
    for kind in attention {
        let more = kind.count.saturating_sub(kind.items.len() as u64);
        let more = (more > 0).then(|| format!("and {more} more"));
        let items = list(kind.items.iter().map(|item| code(item)).chain(more));
        inner.push_str(&format!(
            "<details><summary>{} {}</summary>\n{items}</details>\n",
            kind.count,
            text(&kind.title)
        ));
    }
    section(page, "Worth a look", &inner);
}

/// What an image's configuration says.
pub fn configuration(page: &mut String, report: &Report) {
    let Some(image) = &report.image else { return };
    let mut rows = Rows::default();
    image.name.iter().for_each(|name| _ = rows.add("Called", &code(name)));
    rows.add("Platform", &text(&image.platform));
    image.created.iter().for_each(|created| _ = rows.add("Created", &text(created)));
    rows.add("Digest", &code(&image.config_digest));
    rows.add("Layers", &code(&image.chain_id));
    image.stop_signal.iter().for_each(|signal| _ = rows.add("Stop signal", &text(signal)));
    for (label, values) in
        [("Ports", &image.ports), ("Volumes", &image.volumes), ("Environment", &image.env), ("Labels", &image.labels)]
    {
        if !values.is_empty() {
            rows.add(label, &values.iter().map(|value| code(value)).collect::<Vec<_>>().join("<br>"));
        }
    }
    section(page, "Configuration", &rows.finish());
}
