//! The disk: partition table, slices, the sparse output file and its atomic appearance.
