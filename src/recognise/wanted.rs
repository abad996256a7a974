//! What a command takes.

/// What a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `build`.
    Image,
    /// `run` and `test`.
    Bootable,
    /// `kernel set`.
    Disk,
    /// `--kernel`, and `kernel` with a file.
    Kernel,
    /// `inspect`.
    Anything,
}

impl Wanted {
    pub(super) fn words(self) -> &'static str {
        match self {
            Wanted::Image => "an image",
            Wanted::Bootable => "an image or a disk",
            Wanted::Disk => "a disk",
            Wanted::Kernel => "a kernel",
            Wanted::Anything => "an image, a disk or a kernel",
        }
    }

    pub(super) fn takes_disks(self) -> bool {
        matches!(self, Wanted::Bootable | Wanted::Disk | Wanted::Anything)
    }
}
