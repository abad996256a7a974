//! `build --json`: a disk that was built, as one document. Its schema is `docs/build.schema.json`; fields are added
//! without a new version, and changed or removed only with one.

use crate::convert::Built;
use crate::disk::gpt::{Guids, Partition, Role};
use crate::escape;
use crate::hex::hex;
use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;

/// Version of the document.
const VERSION: u32 = 1;
/// Bytes of the root file system's blocks.
const BLOCK: u64 = 4096;

/// The document, with a line end.
pub fn render(path: &Path, built: &Built, warnings: &[String]) -> serde_json::Result<String> {
    let partitions = (1u32..).zip(built.layout.partitions());
    let mut document = json!({
        "version": VERSION,
        "bootdisk": env!("CARGO_PKG_VERSION"),
        "output": path.display().to_string(),
        "size": built.layout.disk_size(),
        "guid": built.guids.disk.to_string(),
        "image": { "digest": built.image.to_string(), "platform": built.platform.to_string() },
        "kernel": { "release": built.release, "bytes": built.kernel, "initramfs_bytes": built.initramfs },
        "partitions": partitions.map(|(number, one)| partition(number, one, &built.guids)).collect::<Vec<_>>(),
        "userland": {
            "names": built.names,
            "bytes": built.userland,
            "uuid": built.root_uuid,
            "free": built.root.free_blocks * BLOCK,
        },
        "warnings": warnings,
    });
    if let Some(verity) = &built.verity {
        document["verity"] = json!({
            "root_hash": hex(verity.root_hash),
            "salt": hex(&verity.superblock.salt),
            "uuid": Uuid::from_bytes(verity.superblock.uuid).to_string(),
            "data_blocks": verity.superblock.blocks,
            "block_size": BLOCK,
        });
    }
    if let Some(added) = &built.added {
        document["added"] = serde_json::to_value(added)?;
    }
    escape::json(&document)
}

fn partition(number: u32, partition: &Partition, guids: &Guids) -> Value {
    let (role, guid) = match partition.role {
        Role::BiosBoot => ("bios-boot", guids.bios_boot),
        Role::Esp => ("esp", guids.esp),
        Role::Modules => ("modules", guids.modules),
        Role::Root => ("root", guids.root),
        Role::Verity => ("root-verity", guids.verity),
    };
    json!({
        "number": number,
        "role": role,
        "offset": partition.offset(),
        "bytes": partition.bytes(),
        "guid": guid.to_string(),
    })
}
