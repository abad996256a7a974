//! Sizes as people write them: `4G`, `512M`, `1536MiB`, bytes without a suffix.

/// Parses a size; suffixes K, M, G, T and P are powers of 1024, with or without `B` or `iB`.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err("not a size; write bytes, or a number with K, M, G or T".into()),
    };
    let number: u64 = number.parse().map_err(|_| "not a size; it begins with a number".to_string())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more bytes than a disk can have".into())
}

/// A size, or the word for one that bootdisk finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// So many bytes.
    Bytes(u64),
    /// `min` or `auto`.
    Fitting,
}

impl Fit {
    /// The bytes, if they were named.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Fit::Bytes(bytes) => Some(bytes),
            Fit::Fitting => None,
        }
    }
}

/// A size or `min`.
pub fn parse_or_min(text: &str) -> Result<Fit, String> {
    or_word(text, "min")
}

/// A size or `auto`.
pub fn parse_or_auto(text: &str) -> Result<Fit, String> {
    or_word(text, "auto")
}

fn or_word(text: &str, word: &str) -> Result<Fit, String> {
    match text == word {
        true => Ok(Fit::Fitting),
        false => parse(text).map(Fit::Bytes),
    }
}

/// A size for people: `512 B`, `1.5 GiB`.
pub fn render(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("4k", 4096), ("64M", 64 << 20), ("2GiB", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "-1", "1.5G", "4X", "99999999999999T"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_word_stands_for_a_size_only_where_it_means_one() {
        assert_eq!(parse_or_min("min"), Ok(Fit::Fitting));
        assert_eq!(parse_or_auto("auto"), Ok(Fit::Fitting));
        assert_eq!(parse_or_min("64M"), Ok(Fit::Bytes(64 << 20)));
        assert!(parse_or_min("auto").is_err() && parse_or_auto("min").is_err() && parse_or_min("").is_err());
    }

    #[test]
    fn sizes_render_short() {
        assert_eq!(render(512), "512 B");
        assert_eq!(render(1536 << 20), "1.5 GiB");
        assert_eq!(render(640 << 20), "640 MiB");
    }
}
