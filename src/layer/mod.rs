//! Tar layers as container tools really write them: a stream of entries, every dialect, every limit.
