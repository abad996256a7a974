//! Booting a disk in QEMU: command line, firmware, accelerator, process, host channel, result.
