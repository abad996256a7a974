//! Text that has a reader of its own: what is given in an image's place by mistake.

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// What `docker build` reads.
    Dockerfile,
    /// What `docker compose` reads.
    Compose,
    /// Something with an interpreter.
    Script,
    /// `index.json` or `oci-layout` of an OCI layout.
    Layout,
    /// `manifest.json` of a docker archive or an image.
    Manifest,
    /// Another JSON document.
    Json,
    /// What a kernel was built with.
    KernelConfig,
    /// Tests of ours.
    Tests,
    /// Any other.
    Plain,
}

impl Text {
    /// In words, with their article.
    pub fn words(self) -> &'static str {
        match self {
            Text::Dockerfile => "a Dockerfile",
            Text::Compose => "a Compose file",
            Text::Script => "a script",
            Text::Layout => "a file of an OCI layout, not its folder",
            Text::Manifest => "an image's manifest, not the image",
            Text::Json => "a JSON document",
            Text::KernelConfig => "a kernel's configuration",
            Text::Tests => "a file of tests",
            Text::Plain => "text",
        }
    }
}

/// What text begins with these bytes; `None` when they are none.
pub(super) fn look(bytes: &[u8]) -> Option<Text> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.contains(|c: char| c.is_control() && !"\n\r\t\u{c}".contains(c)) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("#!") {
        return Some(Text::Script);
    }
    if text.starts_with(['{', '[']) && !text.starts_with("[[") && text.contains(['"', '}', ']']) && is_json(text) {
        return Some(json(text));
    }
    let mut lines = text.lines().map(str::trim);
    if text.starts_with("# syntax=docker/dockerfile") || is_dockerfile(lines.clone()) {
        return Some(Text::Dockerfile);
    }
    Some(match () {
        () if lines.clone().take(20).any(|line| line.ends_with("Kernel Configuration")) => Text::KernelConfig,
        () if lines.clone().any(|line| line == "[[test]]") => Text::Tests,
        () if lines.any(|line| line == "services:") => Text::Compose,
        () => Text::Plain,
    })
}

/// The first instruction is `FROM`, or `ARG` with a `FROM` behind it.
fn is_dockerfile<'a>(lines: impl Iterator<Item = &'a str>) -> bool {
    let mut instructions = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is = |word: Option<&str>, wanted: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(wanted));
    let first = instructions.find(|line| !is(line.split_whitespace().next(), "ARG"));
    // FROM [--platform=PLATFORM] IMAGE [AS NAME]: a letter may begin with the same word.
    let mut words = first.unwrap_or_default().split_whitespace().filter(|word| !word.starts_with("--"));
    let (from, image, then, _name) = (words.next(), words.next(), words.next(), words.next());
    is(from, "FROM") && image.is_some() && (then.is_none() || is(then, "AS")) && words.next().is_none()
}

/// A document begins with a string, a bracket or its end.
fn is_json(text: &str) -> bool {
    text[1..].trim_start().starts_with(['"', '{', '[', ']', '}'])
}

fn json(text: &str) -> Text {
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    match () {
        () if has("imageLayoutVersion") || has("manifests") => Text::Layout,
        () if has("RepoTags") || has("Layers") || has("layers") => Text::Manifest,
        () => Text::Json,
    }
}
