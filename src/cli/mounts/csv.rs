//! One line of comma-separated values, as `docker run --mount` takes it: a field with a comma in it is quoted, and a quote
//! in that is written twice (RFC 4180).

/// The fields of a line.
///
/// # Errors
/// When a quote is open, or has something behind it.
pub fn fields(line: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("something follows a closing quote".into()),
        }
    }
}

/// What is before the closing quote, and what is behind it.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('"').ok_or("a quote is open")?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn commas_in_quotes_are_no_ends() {
        for (line, expected) in [
            ("a=1,b", Some(&["a=1", "b"][..])),
            ("\"a=x,y\",b", Some(&["a=x,y", "b"])),
            ("\"a=\"\"q\"\"\"", Some(&["a=\"q\""])),
            ("a=\"x\"", Some(&["a=\"x\""])),
            ("", Some(&[""])),
            ("a,", Some(&["a", ""])),
            ("\"a", None),
            ("\"a\"b", None),
        ] {
            let found = fields(line).ok();
            assert_eq!(
                found.as_deref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>()).as_deref(),
                expected,
                "{line}"
            );
        }
    }
}
