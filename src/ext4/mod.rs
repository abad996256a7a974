//! The ext4 root file system: written in one pass into a slice of a disk, and read back.
