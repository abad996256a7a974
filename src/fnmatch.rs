//! Patterns as fnmatch(3) has them: `*` for any bytes, `?` for one, `[a-f0-9]` and `[!x]` for one of a set, and a
//! backslash that takes the next byte as it is. Names of kernel modules' aliases and of boot entries are matched so.

/// Whether all of `text` matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // The classic two-pointer walk: on a mismatch, the last `*` swallows one byte more. Linear in practice, and never
    // exponential.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        match text.get(t).and_then(|byte| one(&pattern[p..], *byte)) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match star {
                Some((after, from)) if from < text.len() => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How many bytes of the pattern match this one byte, if they do.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

/// `[a-f0-9]` or `[!x]`. An unclosed bracket is a literal one.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    // A `]` straight after the opening is a member.
    let Some(length) = pattern.get(first + 1..)?.iter().position(|b| *b == b']') else {
        return (byte == b'[').then_some(1);
    };
    let close = first + 1 + length;
    let members = &pattern[first..close];
    let mut at = 0;
    let mut found = false;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == b'-' {
            found |= (members[at]..=members[at + 2]).contains(&byte);
            at += 3;
        } else {
            found |= members[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn patterns_of_real_modules_match_their_devices() {
        assert!(glob("virtio:d00000002v*", "virtio:d00000002v00001AF4"));
        assert!(!glob("virtio:d00000001v*", "virtio:d00000002v00001AF4"));
        assert!(glob("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"));
        assert!(glob("pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"));
        assert!(glob("acpi*:PNP0C0C:*", "acpi:PNP0C0C:"));
    }

    #[test]
    fn the_pattern_language_is_that_of_fnmatch() {
        assert!(glob("a[0-9]?c*", "a7xc"));
        assert!(!glob("a[0-9]c", "axc"));
        assert!(glob("a[!0-9]c", "axc"));
        assert!(glob("a[]]c", "a]c"));
        assert!(glob("[x", "[x"));
        assert!(glob("*", ""));
        assert!(!glob("?", ""));
        assert!(!glob("", "a"));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(200);
        assert!(!glob(&pattern, &"a".repeat(199)));
        assert!(!glob(&format!("{pattern}b"), &"a".repeat(4000)));
    }
}
