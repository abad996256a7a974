//! A report as one page: no network, no script, readable on a phone and on paper.
//!
//! Pictures (the disk's map, the layers, where the bytes are) are inline SVG or boxes placed in percent, each with a
//! name for who cannot see it and a table or list that says the same in words. Colours follow the reader's scheme and
//! carry nothing alone. A content security policy in the page forbids it to load anything.
//!
//! Every text goes through [`text`]: it is printable already (see [`crate::inspect::model`]), and here it loses the
//! characters that mean something in HTML.

mod diff;
mod disk;
mod layers;
mod sizes;
mod style;
mod userland;

pub use diff::render as render_diff;

use crate::inspect::model::{Fact, Program, Report};

/// The whole page of a report.
pub fn render(report: &Report) -> String {
    let mut body = String::with_capacity(64 << 10);
    if let Some(disk) = &report.disk {
        disk::disk(&mut body, disk);
    }
    if let Some(kernel) = &report.kernel {
        section(&mut body, "Kernel", &disk::kernel(kernel, true));
        kernel.unified.iter().for_each(|found| section(&mut body, "Unified kernel image", &disk::unified(found)));
    }
    if !report.programs.is_empty() {
        section(&mut body, "Signatures", &signatures(&report.programs));
    }
    userland::userland(&mut body, report);
    if let Some(layers) = &report.layers {
        section(&mut body, "Layers", &layers::layers(layers));
    }
    if let Some(userland) = report.userland.as_ref().filter(|userland| userland.bytes > 0) {
        section(&mut body, "Where the bytes are", &sizes::sizes(&userland.sizes));
    }
    userland::attention(&mut body, &report.attention);
    userland::configuration(&mut body, report);
    if !report.notes.is_empty() {
        section(&mut body, "Notes", &list(report.notes.iter().map(|note| text(note))));
    }
    let title = format!("{}: {}", report.name, report.verdict);
    page(&title, &format!("{} {}", text(kind(report)), code(&report.name)), &report.verdict, &body)
}

fn signatures(programs: &[Program]) -> String {
    let row = |program: &Program| {
        let certificate = program.sha256.as_deref().map(code).unwrap_or_default();
        vec![code(&program.evidence), text(&program.words()), certificate]
    };
    let rows: Vec<Vec<String>> = programs.iter().map(row).collect();
    table("EFI programs", &["Program", "Signed by", "Certificate, SHA-256"], &rows)
}

/// A page around its body; `subject` is markup above the heading, title and heading are plain.
fn page(title: &str, subject: &str, heading: &str, body: &str) -> String {
    let mut page = String::with_capacity(body.len() + (8 << 10));
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.push_str(&format!("<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n", text(title), style::CSS));
    page.push_str(&format!("<header>\n<p class=\"kind\">{subject}</p>\n<h1>{}</h1>\n</header>\n", text(heading)));
    page.push_str(&format!("<main>\n{body}"));
    let version = env!("CARGO_PKG_VERSION");
    page.push_str(&format!("</main>\n<footer><p>bootdisk inspect {version}</p></footer>\n</body>\n</html>\n"));
    page
}

fn kind(report: &Report) -> &'static str {
    use crate::inspect::model::Kind::{Disk, Image, Kernel, Program};
    match report.kind {
        Image => "Image",
        Disk => "Disk",
        Kernel => "Kernel",
        Program => "Program",
    }
}

/// Text with the characters of markup replaced.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len() + 8);
    for c in plain.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Something that is typed or stored as it is: a path, a command, a digest.
fn code(plain: &str) -> String {
    format!("<code>{}</code>", text(plain))
}

/// A section with a heading; `inner` is markup.
fn section(page: &mut String, title: &str, inner: &str) {
    page.push_str(&format!("<section>\n<h2>{}</h2>\n{inner}</section>\n", text(title)));
}

/// A list of items that are markup.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("<li>{item}</li>\n")).collect();
    format!("<ul>\n{items}</ul>\n")
}

/// Labels and what they say, as markup.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn add(&mut self, label: &str, markup: &str) -> &mut Self {
        self.0.push_str(&format!("<dt>{}</dt><dd>{markup}</dd>\n", text(label)));
        self
    }

    fn facts(&mut self, label: &str, facts: &[Fact]) -> &mut Self {
        match facts {
            [] => self,
            facts => self.add(label, &facts.iter().map(fact).collect::<Vec<_>>().join("<br>")),
        }
    }

    fn finish(self) -> String {
        format!("<dl>\n{}</dl>\n", self.0)
    }
}

fn fact(fact: &Fact) -> String {
    format!("{} <span class=\"evidence\">{}</span>", text(&fact.value), code(&fact.evidence))
}

/// The square of a colour in a legend.
fn key(class: &str) -> String {
    format!("<span class=\"key {class}\">&#160;</span>")
}

/// A table that scrolls by itself where the page is too narrow. Headings are plain, cells markup; a heading that
/// begins with `#` is over numbers.
fn table(caption: &str, headings: &[&str], rows: &[Vec<String>]) -> String {
    let class = |heading: &str| if heading.starts_with('#') { " class=\"number\"" } else { "" };
    let head: String = headings
        .iter()
        .map(|heading| format!("<th scope=\"col\"{}>{}</th>", class(heading), text(heading.trim_start_matches('#'))))
        .collect();
    let mut body = String::new();
    for row in rows {
        let cells = row.iter().zip(headings).map(|(cell, heading)| format!("<td{}>{cell}</td>", class(heading)));
        body.push_str(&format!("<tr>{}</tr>\n", cells.collect::<String>()));
    }
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{0}\" tabindex=\"0\">\n<table>\n<caption>{0}</caption>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n",
        text(caption)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::model::Kind;

    #[test]
    fn nothing_in_a_report_is_markup() {
        let evil = "<script>alert(1)</script>\"'&";
        let mut report = Report::new(Kind::Image, evil);
        report.verdict = evil.into();
        report.notes.push(evil.into());
        let page = render(&report);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    }

    #[test]
    fn nothing_in_a_comparison_is_markup() {
        use crate::inspect::diff::{Of, compare};
        let evil = Report::new(Kind::Image, "<b>\"'&");
        let of = Of { report: &evil, tree: None, bundle: None };
        let mut found = compare(&of, &of);
        found.userland.push(crate::inspect::model::Difference { what: "<i>".into(), a: Some("<u>".into()), b: None });
        let page = render_diff(&found);
        assert!(!page.contains("<b>") && !page.contains("<i>") && !page.contains("<u>"), "{page}");
        assert!(page.contains("&lt;b&gt;&quot;&#39;&amp;") && page.contains("<code>&lt;u&gt;</code></td><td>none"));
    }

    #[test]
    fn nothing_is_fetched() {
        let page = render(&Report::new(Kind::Disk, "x"));
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("src=") && !page.contains("url(")
        );
    }
}
