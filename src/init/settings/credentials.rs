//! The credentials of a machine, from several sources: of one name the first counts, as systemd has it.

use crate::guest::settings::{Content, Credential, MAX_BYTES};

/// Most of them, each a file.
const MAX_CREDENTIALS: usize = 256;
/// Most refusals that are told.
const MAX_REFUSED: usize = 8;

/// What has been found so far.
#[derive(Debug, Default)]
pub struct Credentials {
    all: Vec<Credential>,
    /// Where each of them is from.
    sources: Vec<&'static str>,
    bytes: usize,
    /// What was refused and why, a line each.
    pub refused: Vec<String>,
}

impl Credentials {
    /// Adds one, unless there is one of its name.
    pub fn add(&mut self, name: &str, content: Content, source: &'static str) {
        if self.get(name).is_some() {
            return;
        }
        if self.bytes + content.0.len() > MAX_BYTES || self.all.len() == MAX_CREDENTIALS {
            let what = format!("the credential {name} from {source}");
            let limit = format!("all together have more than {MAX_BYTES} bytes, or are more than {MAX_CREDENTIALS}");
            return self.refuse(&what, &limit);
        }
        self.bytes += content.0.len();
        self.all.push(Credential { name: name.to_owned(), content });
        self.sources.push(source);
    }

    /// Notes what was not taken.
    pub fn refuse(&mut self, what: &str, why: &str) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(format!("{what}: {why}"));
        }
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Content> {
        self.all.iter().find(|one| one.name == name).map(|one| &one.content)
    }

    /// Takes the one of this name out, with its source.
    pub fn take(&mut self, name: &str) -> Option<(Content, &'static str)> {
        let place = self.all.iter().position(|one| one.name == name)?;
        let content = self.all.remove(place).content;
        self.bytes -= content.0.len();
        Some((content, self.sources.remove(place)))
    }

    /// Adds all of them to others, which come first.
    pub fn hand_to(self, others: &mut Credentials) {
        self.all.into_iter().zip(self.sources).for_each(|(one, source)| others.add(&one.name, one.content, source));
    }

    /// All of them, in the order in which they were found.
    pub fn all(&self) -> &[Credential] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts_and_all_have_a_limit() {
        let mut credentials = Credentials::default();
        credentials.add("a", Content(b"1".to_vec()), "fw_cfg");
        credentials.add("a", Content(b"2".to_vec()), "SMBIOS");
        credentials.add("b", Content(vec![0; MAX_BYTES]), "SMBIOS");
        credentials.add("c", Content(vec![0; MAX_BYTES - 1]), "SMBIOS");
        assert_eq!(credentials.get("a").unwrap().0, b"1");
        assert_eq!(credentials.all().len(), 2);
        assert_eq!(credentials.refused.len(), 1);
        assert!(
            credentials.refused[0].starts_with("the credential b from SMBIOS: all together have more than 1048576")
        );
        assert_eq!(
            credentials.take("c").map(|(content, source)| (content.0.len(), source)),
            Some((MAX_BYTES - 1, "SMBIOS"))
        );
        for n in 0..300 {
            credentials.add(&format!("n{n}"), Content(Vec::new()), "fw_cfg");
        }
        assert_eq!((credentials.all().len(), credentials.refused.len()), (256, 8));
    }
}
