//! What a disk says of its added layer: beside the boot specification, for the host alone. PID 1 reads none of it.
//!
//! It names paths and users, and no word of what files, keys and hashes say.

use crate::escape::escape;
use crate::guest::spec::BootSpec;
use serde::{Deserialize, Serialize};

/// Most names that are told one by one.
pub const MAX_NAMES: usize = 1000;

/// An added layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Digest of its tar.
    pub layer: String,
    /// What each option has added.
    pub items: Vec<Item>,
    /// Paths that it has, without those in a folder that it has too.
    pub names: Vec<String>,
    /// How many more such paths there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

/// What one option has added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// Where.
    pub path: String,
    /// Whose, of keys and passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A file.
    File {
        /// Bytes.
        bytes: u64,
    },
    /// A folder.
    Folder {
        /// Files in it that were copied.
        files: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// Keys of a user.
    SshKeys {
        /// How many.
        keys: u64,
    },
    /// The password of a user.
    Password,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Item {
    /// In a few words.
    pub fn words(&self) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        match &self.what {
            What::File { .. } => self.path.clone(),
            What::Folder { files: 1, .. } => format!("{} (1 file)", self.path),
            What::Folder { files, .. } => format!("{} ({files} files)", self.path),
            What::SshKeys { keys: 1 } => format!("an SSH key of {user}"),
            What::SshKeys { keys } => format!("{keys} SSH keys of {user}"),
            What::Password => format!("the password of {user}"),
        }
    }
}

impl Record {
    /// In one line.
    pub fn words(&self) -> String {
        let items: Vec<String> = self.items.iter().map(Item::words).collect();
        format!("one layer added by bootdisk: {}", items.join(", "))
    }

    /// The same, with every text printable.
    pub fn printable(&self) -> Record {
        let shown = |text: &String| escape(text.as_bytes());
        let item = |item: &Item| Item {
            what: item.what.clone(),
            path: shown(&item.path),
            user: item.user.as_ref().map(shown),
        };
        Record {
            layer: shown(&self.layer),
            items: self.items.iter().map(item).collect(),
            names: self.names.iter().map(shown).collect(),
            more: self.more,
        }
    }

    /// Whether the layer has put `path` there, or changed it; `is_new` says that the image has nothing there.
    pub fn explains(&self, path: &[u8], is_new: bool) -> bool {
        let is_in = |path: &[u8], folder: &str| {
            let folder = folder.trim_end_matches('/').as_bytes();
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let of_items = || self.items.iter().map(|item| &item.path).filter(|_| self.more > 0);
        self.names.iter().chain(of_items()).any(|name| {
            // A folder on the way to a name is made with it.
            is_in(path, name) || (is_new && std::str::from_utf8(path).is_ok_and(|path| is_in(name.as_bytes(), path)))
        })
    }
}

/// The boot specification as a disk has it, with the record beside its own fields. Without one it is the specification alone.
pub fn encode(spec: &BootSpec, added: Option<&Record>) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Both<'a> {
        #[serde(flatten)]
        spec: &'a BootSpec,
        added: &'a Record,
    }
    match added {
        None => serde_json::to_vec_pretty(spec),
        Some(added) => serde_json::to_vec_pretty(&Both { spec, added }),
    }
}

/// The record in a boot specification. One that cannot be understood is none: the disk boots without it.
pub fn added_to(spec: &[u8]) -> Option<Record> {
    #[derive(Deserialize)]
    struct Only {
        added: Record,
    }
    serde_json::from_slice::<Only>(spec).ok().map(|only| only.added)
}
