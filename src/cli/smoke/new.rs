//! `bootdisk test --new IMAGE`: a smoke.toml to begin with, from what the image's configuration says.
//!
//! It is to pass as it is written, so it asks only what the configuration promises: a health check that succeeds, ports that
//! accept, or an end with status 0. What is better and cannot be known, as a page that answers, stands there as a comment.

use super::names;
use crate::escape::escape;
use crate::image::Config;
use std::ffi::OsStr;
use std::fmt::Write;

/// Ports that are likely to answer HTTP.
const WEB: [u16; 6] = [80, 3000, 5000, 8000, 8080, 8888];

/// The file for this image.
pub fn render(target: &OsStr, config: &Config) -> String {
    let mut text =
        "# smoke.toml: bootdisk test boots each [[test]] and checks what it says. Every long option is a key.\n\
        # A path is relative to this file.\n\n[[test]]\n"
            .to_owned();
    _ = writeln!(text, "name = {}", quoted(&escape(names::name_of(target).as_bytes())));
    _ = writeln!(text, "image = {}", quoted(&target.to_string_lossy()));
    expectations(&mut text, config);
    text.push_str("# More than these is worth asking, each a text or a list of texts:\n");
    text.push_str("# expect = \"ready\"            # text that must appear\n");
    text.push_str("# reject = \"FATAL\"            # text that must not\n");
    text.push_str("# exec = \"true\"               # a command in the machine that must end with 0\n");
    text.push_str("timeout = \"120s\"\n");
    workload(&mut text, config);
    text
}

fn expectations(text: &mut String, config: &Config) {
    let ports = super::plan::tcp_ports(&config.exposed_ports);
    let checks = config.healthcheck.as_ref().is_some_and(|check| check.test.first().is_some_and(|how| how != "NONE"));
    if checks {
        text.push_str("# The image has a HEALTHCHECK: it must succeed.\nhealthy = true\n");
    }
    if !ports.is_empty() {
        let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        // With a health check, that says more than a port which may be for later.
        let off = if checks { "# " } else { "" };
        _ = writeln!(text, "# The image exposes these ports: each must accept a connection.\n{off}tcp = [{list}]");
        if let Some(port) = ports.iter().find(|port| WEB.contains(port)) {
            _ = writeln!(text, "# http = \":{port}/\"              # better, if it answers with status 200");
        }
    }
    if !checks && ports.is_empty() {
        text.push_str("# The image has no HEALTHCHECK and exposes no TCP port: its command must end by itself, with this status.\n");
        text.push_str("exit-code = 0\n");
    }
}

fn workload(text: &mut String, config: &Config) {
    let words: Vec<&String> = config.entrypoint.iter().chain(&config.cmd).collect();
    let shown = |words: &[&String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    if words.is_empty() {
        text.push_str("# The image has no command: name one.\n# command = [\"/bin/true\"]\n");
    } else {
        _ = writeln!(text, "# It starts [{}]. To start something else:", shown(&words));
        let cmd: Vec<&String> = config.cmd.iter().collect();
        _ = writeln!(text, "# command = [{}]", shown(&cmd));
    }
    if !config.user.is_empty() {
        _ = writeln!(text, "# It runs as another user than root:\n# user = {}", quoted(&config.user));
    }
    text.push_str("# No image says which variables its entrypoint demands. If the test fails for want of one:\n");
    text.push_str("# env = [\"NAME=value\"]\n");
    if !config.volumes.is_empty() {
        text.push_str("# Its volumes begin as the image has them, at every boot. To keep one:\n");
        for volume in &config.volumes {
            _ = writeln!(text, "# volume = {}", quoted(&format!("data:{volume}")));
        }
    }
}

/// A basic string of TOML: one of JSON but for a character that JSON leaves as it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::super::spec;
    use super::*;

    /// What the file expects, read as it will be.
    fn expected(target: &str, config: &str) -> Vec<String> {
        let config: Config = serde_json::from_str(config).unwrap();
        let text = render(OsStr::new(target), &config);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("smoke.toml");
        std::fs::write(&path, &text).unwrap();
        let tests = spec::read(&path, &[]).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(tests.len(), 1);
        // Every suggestion is a key as well.
        let free: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(" = ")).collect();
        for line in free {
            std::fs::write(&path, format!("[[test]]\nimage = 'i'\n{line}\n")).unwrap();
            spec::read(&path, &[]).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        tests[0].settings.expectations.all().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_written_asks_what_the_image_promises() {
        for (config, wanted) in [
            (r#"{"Cmd": ["/hello"]}"#, &["exit-code 0"][..]),
            (r#"{}"#, &["exit-code 0"]),
            (r#"{"Cmd": ["nginx"], "ExposedPorts": {"80": {}, "443/tcp": {}, "53/udp": {}}}"#, &["tcp 443", "tcp 80"]),
            (r#"{"User": "redis", "ExposedPorts": {"6379": {}}, "Volumes": {"/data": {}}}"#, &["tcp 6379"]),
            (r#"{"Healthcheck": {"Test": ["CMD", "/probe"]}, "ExposedPorts": {"80": {}}}"#, &["healthy"]),
            (r#"{"Healthcheck": {"Test": ["NONE"]}}"#, &["exit-code 0"]),
            (
                r#"{"Entrypoint": ["a\"b\n[[test]]\u001b\u007f"], "User": "x\ny", "Volumes": {"/a\nb": {}}}"#,
                &["exit-code 0"],
            ),
        ] {
            assert_eq!(expected("app.tar", config), wanted, "{config}");
        }
        assert_eq!(expected("oci:a \"b\"/\u{1b}.oci:1", "{}"), ["exit-code 0"]);
    }
}
