//! Kernel bundles: boot file, release, configuration, modules; packages, the store, the preflight.
