//! Settings that a machine gets at start: our document, which the host checks and PID 1 applies.
//!
//! ```text
//!  bytes ─▶ tree (JSON, bounds, no name twice) ─▶ document (every key and value) ─▶ overrides of the boot specification,
//!                                                                                   files, credentials, keys
//! ```
//!
//! It comes as the credential [`CREDENTIAL`], by SMBIOS or fw_cfg. A document with any fault changes nothing. What it
//! holds may be secret: no error repeats a value, and no type of it shows one.

pub mod at_start;
pub mod base64;
mod check;
mod document;
pub mod tree;

pub use check::{MAX_WORD, credential_name, host_name, ssh_key};
pub use document::{Content, Credential, File, KEYS, KEYS_OF_A_FILE, Settings, read};

/// Name of the credential that the document is.
pub const CREDENTIAL: &str = "bootdisk.settings";

/// Most bytes of the document, and of all credentials together: systemd's limit for these (CREDENTIALS_TOTAL_SIZE_MAX in
/// src/shared/creds-util.h).
pub const MAX_BYTES: usize = 1 << 20;

/// Most bytes of one credential in fw_cfg. The kernel's driver skips to the place of each page byte by byte
/// (drivers/firmware/qemu_fw_cfg.c, `fw_cfg_read_blob`): for these it takes 2 million accesses, seconds with KVM.
pub const MAX_FW_CFG: u64 = 128 << 10;

/// The version of the document that this program reads.
pub const VERSION: u64 = 1;
