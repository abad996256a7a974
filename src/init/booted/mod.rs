//! Which disk was booted, where several have the root partition: a copy, a snapshot, a USB stick beside the disk that it
//! was written to.
//!
//! Everything that is on a disk is on its copy too, so only what is outside of it counts:
//!
//! 1. The serial number that the host gave the disk, where a host says one.
//! 2. The place on a bus that the firmware started from: what our BIOS boot stage was told ([`edd`]), or the boot option of
//!    UEFI ([`efi`]). It counts if there is such a controller in this machine, as firmware can be wrong.
//!
//! A disk that evidence speaks against is never taken, also where it is the only one so far: the right one may be slower.
//! Without evidence the only one there is taken at once, and whatever appears later changes nothing; of two that are
//! equal none is taken.

mod attachment;
mod device_path;
mod edd;
mod efi;
mod place;

use super::modules::Loader;
use super::partition::Found;
use attachment::Attachment;
use place::{Place, Unit};
use std::path::Path;

/// Where the kernel shows its devices.
const SYS: &str = "/sys";

/// What is known of the disk that was booted.
pub struct Booted {
    serial: Option<String>,
    /// Looked for once, when it is needed: asking UEFI takes a moment.
    place: Option<Option<Place>>,
}

/// What the evidence says of the disks with the root.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// It was this one.
    Sure(&'a Found),
    /// It was one of these, unless a better one appears.
    Likely(Vec<&'a Found>),
    /// It was one of these, and nothing says which.
    Equal(Vec<&'a Found>),
    /// It was none of those that are there.
    Absent,
}

/// What evidence says of one disk, the better the higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// It is another disk.
    Other,
    /// It may be the one: the kernel does not tell its serial number, or firmware and kernel may count differently.
    Near,
    /// The evidence says nothing of such a disk.
    Unknown,
    /// It is where the evidence says.
    Same,
}

impl Booted {
    /// `serial` is what the host says, where there is a host.
    pub fn new(serial: Option<String>) -> Booted {
        Booted { serial, place: None }
    }

    /// Chooses among the disks with the root that are there now.
    pub fn choose<'a>(&mut self, found: &'a [Found], modules: &mut Loader) -> Choice<'a> {
        let attached = found.iter().map(|found| (found, Attachment::of(Path::new(SYS), &found.disk))).collect();
        let serial = by_serial(attached, self.serial.as_deref());
        match serial.grade {
            Grade::Other => Choice::Absent,
            Grade::Same if serial.disks.len() == 1 => Choice::Sure(serial.disks[0].0),
            _ => by_place(serial, self.place(modules)),
        }
    }

    fn place(&mut self, modules: &mut Loader) -> Option<&Place> {
        let look = || edd::place(Path::new(SYS)).or_else(|| efi::place(Path::new(SYS), modules));
        self.place.get_or_insert_with(look).as_ref()
    }
}

type Attached<'a> = (&'a Found, Attachment);

/// The disks of the highest grade.
struct Remaining<'a> {
    grade: Grade,
    disks: Vec<Attached<'a>>,
}

fn best<'a>(disks: Vec<Attached<'a>>, grade: impl Fn(&Attachment) -> Grade) -> Remaining<'a> {
    let highest = disks.iter().map(|(_, attachment)| grade(attachment)).max().unwrap_or(Grade::Other);
    let disks = disks.into_iter().filter(|(_, attachment)| grade(attachment) == highest).collect();
    Remaining { grade: highest, disks }
}

/// A disk without a number is not the host's. One whose kernel does not tell numbers may be.
fn by_serial<'a>(disks: Vec<Attached<'a>>, wanted: Option<&str>) -> Remaining<'a> {
    best(disks, |attachment| match (wanted, &attachment.serial) {
        (Some(wanted), Some(serial)) if serial == wanted => Grade::Same,
        (Some(_), Some(_)) => Grade::Other,
        (Some(_), None) => Grade::Near,
        (None, _) => Grade::Unknown,
    })
}

fn by_place<'a>(serial: Remaining<'a>, place: Option<&Place>) -> Choice<'a> {
    let Remaining { grade, disks } =
        best(serial.disks, |attachment| place.map_or(Grade::Unknown, |place| grade_of(place, attachment)));
    let disks: Vec<&Found> = disks.into_iter().map(|(found, _)| found).collect();
    match (grade, disks.as_slice()) {
        (Grade::Other, _) => Choice::Absent,
        (Grade::Near, _) => Choice::Likely(disks),
        (Grade::Unknown, _) if serial.grade == Grade::Near => Choice::Likely(disks),
        (_, [only]) => Choice::Sure(only),
        _ => Choice::Equal(disks),
    }
}

fn grade_of(place: &Place, disk: &Attachment) -> Grade {
    if disk.pci.is_empty() {
        // Drivers of Xen and Hyper-V take the firmware's disk over, on a bus of their own.
        return Grade::Unknown;
    }
    if !disk.pci.contains(&place.controller) {
        return Grade::Other;
    }
    let same = |equal: bool, otherwise| if equal { Grade::Same } else { otherwise };
    match &place.unit {
        Unit::Unknown => Grade::Same,
        Unit::Sata { port } => disk.ata.map_or(Grade::Same, |(own, _)| same(own == *port, Grade::Other)),
        Unit::Ata { channel, device } => {
            disk.ata.map_or(Grade::Same, |own| same(own == (*channel, *device), Grade::Other))
        }
        Unit::Namespace(number) => disk.namespace.map_or(Grade::Same, |own| same(own == *number, Grade::Other)),
        // RAID controllers show their firmware other numbers than their driver.
        Unit::Scsi { target, lun } => disk.scsi.map_or(Grade::Same, |own| same(own == (*target, *lun), Grade::Near)),
        Unit::Usb(ports) => disk.usb.as_ref().map_or(Grade::Same, |own| same(may_be_port(own, ports), Grade::Other)),
    }
}

/// Whether a USB device may be the firmware's. Ports of hubs have one number everywhere. A controller's own ports are
/// counted through by UEFI, and by Linux for each speed anew, so that Linux's number is the same or lower.
fn may_be_port(own: &[u32], firmware: &[u32]) -> bool {
    match (own, firmware) {
        ([port, hubs @ ..], [other, others @ ..]) => port <= other && hubs == others,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
