//! The image: digests, manifests, configuration, and its layers as verified, decompressed streams.
