//! YAML in its simplest form, as the tools write it that make disks for cloud-init; and JSON, which is YAML too.
//!
//! ```text
//!  block     maps and lists by indentation
//!  scalars   plain, 'single' and "double" quoted, on one line
//!  flow      [lists] and {maps} that end on their line
//! ```
//!
//! Not supported, and refused with the line's number: anchors and aliases, tags, directives, several documents, scalars of
//! several lines (`|`, `>` and folded ones), `?` keys, tabs in front of a line. What a plain scalar means is PyYAML's
//! (YAML 1.1): `yes` is true. Numbers that are not whole stay text.

use crate::guest::settings::tree::{self, Value};

/// Most levels of maps and lists.
const MAX_DEPTH: usize = 24;
/// Most lines that are not empty.
const MAX_LINES: usize = 8192;

/// Reads a document. The error is one line, and repeats no value.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        return tree::from_json(text.as_bytes());
    }
    let mut reader = Reader { lines: lines(text)?, next: 0 };
    let Some(first) = reader.lines.first() else { return Ok(Value::Null) };
    let value = reader.block(first.indent, MAX_DEPTH)?;
    match reader.lines.get(reader.next) {
        Some(line) => Err(line.refuse("is not where its indentation says")),
        None => Ok(value),
    }
}

/// A line that says something, without its comment.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    /// Spaces in front of it; of what follows a `-`, its column.
    indent: usize,
    text: &'a str,
}

impl Line<'_> {
    fn refuse(&self, why: &str) -> String {
        format!("line {}: {why}", self.number)
    }

    fn is_item(&self) -> bool {
        self.text == "-" || self.text.starts_with("- ")
    }
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, String> {
    let mut lines = Vec::new();
    for (number, whole) in text.lines().enumerate() {
        let spaceless = whole.trim_start_matches(' ');
        let line = Line { number: number + 1, indent: whole.len() - spaceless.len(), text: uncommented(spaceless) };
        match line.text {
            "" => continue,
            "---" if lines.is_empty() => continue,
            "..." => break,
            text if text.starts_with("---") => return Err(line.refuse("a second document begins")),
            text if text.starts_with(['%', '\t']) => return Err(line.refuse("begins with a tab or a directive")),
            _ if lines.len() == MAX_LINES => return Err(format!("more than {MAX_LINES} lines")),
            _ => lines.push(line),
        }
    }
    Ok(lines)
}

/// The text in front of a `#` that begins the line or stands behind a space, and not in quotes.
fn uncommented(text: &str) -> &str {
    let (mut quote, mut escaped, mut before, mut closed) = (None, false, ' ', None);
    for (at, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => (quote, closed) = (None, Some(at)),
            Some(_) => {}
            // Quotes within a plain scalar are its own.
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '[' | '{' | ',') => quote = Some(c),
            // Two of them are one, within.
            None if c == '\'' && closed.is_some_and(|closed| closed + 1 == at) => quote = Some(c),
            None if c == '#' && matches!(before, ' ' | '\t') => return text[..at].trim_end(),
            None => {}
        }
        before = c;
    }
    text.trim_end()
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    next: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<Line<'a>> {
        self.lines.get(self.next).copied()
    }

    /// The value that begins with the next line, which is at this indentation.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let Some(line) = self.peek() else { return Ok(Value::Null) };
        if depth == 0 {
            return Err(line.refuse("is nested too deeply"));
        }
        if line.is_item() {
            return self.items(indent, depth);
        }
        if key(line.text).map_err(|why| line.refuse(why))?.is_some() {
            return self.fields(indent, depth);
        }
        self.next += 1;
        self.scalar(line, line.text, indent)
    }

    fn items(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent && line.is_item()) {
            let rest = line.text[1..].trim_start_matches(' ');
            if rest.is_empty() {
                self.next += 1;
                items.push(self.nested(indent, depth)?);
                continue;
            }
            // What follows is as if it stood on a line of its own, at its column.
            let column = indent + line.text.len() - rest.len();
            self.lines[self.next] = Line { indent: column, text: rest, ..line };
            items.push(self.block(column, depth - 1)?);
        }
        Ok(Value::List(items))
    }

    fn fields(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let mut fields = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent && !line.is_item()) {
            let Some((name, rest)) = key(line.text).map_err(|why| line.refuse(why))? else {
                return Err(line.refuse("has no key"));
            };
            self.next += 1;
            let value = match rest {
                // A list may stand at the indentation of its key.
                "" if self.peek().is_some_and(|next| next.indent == indent && next.is_item()) => {
                    self.block(indent, depth - 1)?
                }
                "" => self.nested(indent, depth)?,
                rest => self.scalar(line, rest, indent)?,
            };
            tree::push(&mut fields, name, value).map_err(|why| line.refuse(&why))?;
        }
        Ok(Value::Map(fields))
    }

    /// What is indented further than this, if there is anything.
    fn nested(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        match self.peek() {
            Some(next) if next.indent > indent => self.block(next.indent, depth - 1),
            _ => Ok(Value::Null),
        }
    }

    /// A value on its line.
    fn scalar(&mut self, line: Line<'_>, text: &str, indent: usize) -> Result<Value, String> {
        let value = inline(text).map_err(|why| line.refuse(why))?;
        match self.peek() {
            Some(next) if next.indent > indent => Err(next.refuse("goes on with a value of the line before")),
            _ => Ok(value),
        }
    }
}

/// The key of a line and what is behind its colon; `None` where there is none.
fn key(text: &str) -> Result<Option<(String, &str)>, &'static str> {
    if text.starts_with(['[', '{']) {
        return Ok(None);
    }
    if text.starts_with(['"', '\'']) {
        let (name, rest) = quoted(text)?;
        let rest = rest.trim_start();
        return Ok(rest.strip_prefix(':').filter(|rest| is_apart(rest)).map(|rest| (name, rest.trim_start())));
    }
    let colon = text.match_indices(':').map(|(at, _)| at).find(|at| is_apart(&text[at + 1..]));
    let Some(colon) = colon else { return Ok(None) };
    let name = text[..colon].trim_end();
    refuse_indicators(name)?;
    Ok(Some((name.to_owned(), text[colon + 1..].trim_start())))
}

/// Whether what is behind a colon lets it be one.
fn is_apart(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', '\t'])
}

/// Plain scalars begin with none of these.
fn refuse_indicators(text: &str) -> Result<(), &'static str> {
    match text.chars().next() {
        Some('&' | '*' | '!') => Err("anchors, aliases and tags are not supported"),
        Some('|' | '>') => Err("scalars of several lines are not supported"),
        Some('%' | '@' | '`' | '[' | ']' | '{' | '}' | ',' | '"' | '\'') => {
            Err("begins with a sign that is not supported")
        }
        Some('?') if is_apart(&text[1..]) => Err("? in front of a key is not supported"),
        _ => Ok(()),
    }
}

/// A whole value on one line.
fn inline(text: &str) -> Result<Value, &'static str> {
    let (value, rest) = match text.chars().next() {
        Some('[' | '{') => flow(text, MAX_DEPTH)?,
        Some('"' | '\'') => {
            let (text, rest) = quoted(text)?;
            (Value::Text(text), rest)
        }
        _ => {
            refuse_indicators(text)?;
            let is_key = text.match_indices(':').any(|(at, _)| is_apart(&text[at + 1..]));
            return if is_key { Err("has a second key") } else { Ok(plain(text)) };
        }
    };
    if rest.trim().is_empty() { Ok(value) } else { Err("has something behind its value") }
}

/// A list or a map in brackets, and what is behind it.
fn flow(text: &str, depth: usize) -> Result<(Value, &str), &'static str> {
    const UNENDED: &str = "a list or a map in brackets does not end on its line";
    if depth == 0 {
        return Err("is nested too deeply");
    }
    let (is_list, end) = if text.starts_with('[') { (true, ']') } else { (false, '}') };
    let (mut items, mut fields) = (Vec::new(), Vec::new());
    let mut rest = text[1..].trim_start();
    loop {
        if let Some(rest) = rest.strip_prefix(end) {
            return Ok((if is_list { Value::List(items) } else { Value::Map(fields) }, rest));
        }
        let (value, behind) = flow_value(rest, depth)?;
        rest = behind.trim_start();
        if is_list {
            items.push(value);
        } else {
            let name = match value {
                Value::Text(name) => name,
                _ => return Err("a key that is no text"),
            };
            let value = match rest.strip_prefix(':') {
                Some(behind) => {
                    let (value, behind) = flow_value(behind.trim_start(), depth)?;
                    rest = behind.trim_start();
                    value
                }
                None => Value::Null,
            };
            tree::push(&mut fields, name, value).map_err(|_| "a key given twice, or too many")?;
        }
        rest = match rest.strip_prefix(',') {
            Some(behind) => behind.trim_start(),
            None if rest.starts_with(end) => rest,
            None => return Err(UNENDED),
        };
    }
}

fn flow_value(text: &str, depth: usize) -> Result<(Value, &str), &'static str> {
    match text.chars().next() {
        Some('[' | '{') => flow(text, depth - 1),
        Some('"' | '\'') => quoted(text).map(|(text, rest)| (Value::Text(text), rest)),
        _ => {
            let ends = |(at, c): &(usize, char)| match c {
                ',' | '[' | ']' | '{' | '}' => true,
                ':' => is_apart(&text[at + 1..]) || text[at + 1..].starts_with([',', ']', '}']),
                _ => false,
            };
            let end = text.char_indices().find(ends).map_or(text.len(), |(at, _)| at);
            let scalar = text[..end].trim_end();
            refuse_indicators(scalar)?;
            if scalar.is_empty() && text[end..].starts_with([',', '[', '{', ':']) {
                return Err("an empty value in brackets");
            }
            Ok((plain(scalar), &text[end..]))
        }
    }
}

/// A quoted scalar, and what is behind it.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    const UNENDED: &str = "a quoted value does not end on its line";
    let quote = text.chars().next().ok_or(UNENDED)?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if quote == '\'' && chars.next_if(|(_, next)| *next == '\'').is_some() => out.push('\''),
            c if c == quote => return Ok((out, &text[at + 1..])),
            '\\' if quote == '"' => {
                let (_, kind) = chars.next().ok_or(UNENDED)?;
                let digits = match kind {
                    'n' => {
                        out.push('\n');
                        0
                    }
                    't' => {
                        out.push('\t');
                        0
                    }
                    'r' => {
                        out.push('\r');
                        0
                    }
                    '"' | '\\' | '/' | ' ' => {
                        out.push(kind);
                        0
                    }
                    'x' => 2,
                    'u' => 4,
                    _ => return Err("an escape that is not supported"),
                };
                if digits > 0 {
                    let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits);
                    out.push(code.and_then(char::from_u32).ok_or("an escape that is no character")?);
                }
            }
            c => out.push(c),
        }
    }
    Err(UNENDED)
}

/// What a plain scalar means.
fn plain(text: &str) -> Value {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => match text.parse() {
            Ok(number) if is_canonical => Value::Number(number),
            _ => Value::Text(text.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as JSON.
    fn json(value: &Value) -> String {
        match value {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Odd => "odd".into(),
            Value::Text(text) => serde_json::to_string(text).unwrap(),
            Value::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
            Value::Map(fields) => {
                let field = |(name, value): &(String, Value)| {
                    format!("{}:{}", serde_json::to_string(name).unwrap(), json(value))
                };
                format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn the_simplest_form_is_what_pyyaml_reads() {
        for (text, wanted) in [
            ("", "null"),
            ("# nothing\n\n---\n", "null"),
            ("instance-id: i-1\nlocal-hostname: web # the name\n", r#"{"instance-id":"i-1","local-hostname":"web"}"#),
            (
                "a: 7\nb: 007\nc: 1.5\nd: -1\ne: ~\nf:\ng: yes\nh: Off",
                r#"{"a":7,"b":"007","c":"1.5","d":"-1","e":null,"f":null,"g":true,"h":false}"#,
            ),
            ("m: 52:54:00:12:34:56\nu: http://x:80/#a\n", r##"{"m":"52:54:00:12:34:56","u":"http://x:80/#a"}"##),
            (
                "a: 'it''s # so'\nb: \"q\\\"\\u00e4\\n # no\" # yes\n'c d': x\n\"e\" : y",
                "{\"a\":\"it's # so\",\"b\":\"q\\\"ä\\n # no\",\"c d\":\"x\",\"e\":\"y\"}",
            ),
            ("keys:\n- ssh-rsa A me@x\n- 'b'\nnext: 1", r#"{"keys":["ssh-rsa A me@x","b"],"next":1}"#),
            ("keys:\n  - a\n  -\n    - b\n    - c\n  - - d\n    - e\n", r#"{"keys":["a",["b","c"],["d","e"]]}"#),
            ("- a: 1\n  b:\n    c: 2\n-   d: 3\n    e: 4\n-\n", r#"[{"a":1,"b":{"c":2}},{"d":3,"e":4},null]"#),
            (
                "a: [1, b c, 'd, e', [x], {y: z, \"w\": [ ]},]\nb: {}",
                r#"{"a":[1,"b c","d, e",["x"],{"y":"z","w":[]}],"b":{}}"#,
            ),
            (
                "a: [10.0.0.5/24, fd00::5/64]\nb: {mac: 52:54:00:12:34:56, none: }",
                r#"{"a":["10.0.0.5/24","fd00::5/64"],"b":{"mac":"52:54:00:12:34:56","none":null}}"#,
            ),
            ("just text", r#""just text""#),
            ("\u{feff}a: it's\r\nb: don't # x\r\n", r#"{"a":"it's","b":"don't"}"#),
            (" {\"a\": [1,\n 2]}", r#"{"a":[1,2]}"#),
            ("a: 1\n...\nanything: [", r#"{"a":1}"#),
        ] {
            let read = read(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(json(&read), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_with_its_line() {
        let deep = (0..100).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>();
        let many = "a\n".repeat(9000);
        for (text, error) in [
            ("a: &x 1", "line 1: anchors, aliases and tags are not supported"),
            ("a: 1\nb: *x", "line 2: anchors, aliases and tags are not supported"),
            ("a: !!int 1", "line 1: anchors, aliases and tags are not supported"),
            ("<<: *x", "line 1: anchors, aliases and tags are not supported"),
            ("a: |\n  text", "line 1: scalars of several lines are not supported"),
            ("a: >-\n  text", "line 1: scalars of several lines are not supported"),
            ("a: one\n  two", "line 2: goes on with a value of the line before"),
            ("a: 'one\n  two'", "line 1: a quoted value does not end on its line"),
            ("a: [1,\n  2]", "line 1: a list or a map in brackets does not end on its line"),
            ("a: [1", "line 1: a list or a map in brackets does not end on its line"),
            ("a: [1, , 2]", "line 1: an empty value in brackets"),
            ("a: 1\na: 2", "line 2: given twice: a"),
            ("a: {b: 1, b: 2}", "line 1: a key given twice, or too many"),
            ("a: 1\n b: 2", "line 2: goes on with a value of the line before"),
            ("  a: 1\nb: 2", "line 2: is not where its indentation says"),
            ("a: b: c", "line 1: has a second key"),
            ("a: 'b' c", "line 1: has something behind its value"),
            ("a: \"\\q\"", "line 1: an escape that is not supported"),
            ("a: \"\\ud800\"", "line 1: an escape that is no character"),
            ("? a\n: b", "line 1: ? in front of a key is not supported"),
            ("\ta: 1", "line 1: begins with a tab or a directive"),
            ("%YAML 1.2", "line 1: begins with a tab or a directive"),
            ("a: 1\n--- \nb: 2", "line 2: a second document begins"),
            ("a: 1\nb", "line 2: has no key"),
            ("a: @x", "line 1: begins with a sign that is not supported"),
            (&deep, "line 25: is nested too deeply"),
            (&format!("a: {}", "[".repeat(1000)), "line 1: is nested too deeply"),
            (&many, "more than 8192 lines"),
            (&"- ".repeat(1000), "line 1: is nested too deeply"),
        ] {
            assert_eq!(read(text.as_bytes()).err().unwrap_or_default(), error, "{text:.60}");
        }
        assert_eq!(read(b"a: \xff").err().unwrap(), "it is no UTF-8");
    }

    #[test]
    fn a_document_that_is_cut_anywhere_ends() {
        let whole = "a:\n- {b: [c, 'd''e'], \"f\\u0041\": ~}\n-  - x\n   - y: z # q\nk: \"v\"\n";
        assert!(read(whole.as_bytes()).is_ok());
        for (from, to) in (0..whole.len()).flat_map(|from| (from..=whole.len()).map(move |to| (from, to))) {
            _ = read(&whole.as_bytes()[from..to]);
        }
    }
}
