//! Text shortened to a width, with `…` where it was cut.

/// The beginning of a text that is longer than `width` characters.
pub fn fit(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The end of a text that is too long: of a path, that is the part that tells.
pub fn fit_end(text: &str, width: usize) -> String {
    let length = text.chars().count();
    match length <= width {
        true => text.to_owned(),
        false => ['…'].into_iter().chain(text.chars().skip(length - width + 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_they_tell_least() {
        assert_eq!((fit("abcdef", 4).as_str(), fit("abcd", 4).as_str()), ("abc…", "abcd"));
        assert_eq!(fit_end("/long/path/disk.img", 9), "…disk.img");
    }
}
