//! Identifiers that come from the disk itself, so that the same disk has the same ones.

use super::Source;
use std::io;

/// Sixteen bytes that name this disk, for `purpose`: from its partition table's own, or its first sectors.
pub(super) fn identifier(source: &dyn Source, purpose: &str) -> io::Result<uuid::Uuid> {
    // The MBR and the GPT's header, which has the disk's GUID and a checksum of the entries.
    let mut start = [0; 1024];
    let there = source.size().min(start.len() as u64) as usize;
    source.read_at(0, &mut start[..there])?;
    let of_start = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &start);
    Ok(uuid::Uuid::new_v5(&of_start, purpose.as_bytes()))
}
