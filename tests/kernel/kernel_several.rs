//! Where there are several kernels, and one is meant: images with an old and a new one, packages of two releases at once;
//! and a kernel that is one section among others.

use crate::support::images::{ImageBuilder, TarBuilder};
use crate::support::small_kernel::{make_package, make_root};
use crate::support::tools;
use bootdisk::cli::kernel::{KernelArgs, run_in};
use bootdisk::kernel::{Bundle, KernelError, Store};
use bootdisk::source::{self, Reference, Select};
use clap::Parser;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The small kernel as another release of the same length: in its header, its modules and its files' names.
fn next_release(root: &Path, release: &str) -> String {
    let digit = release.find("-cloud").unwrap() - 1;
    let mut next = release.to_owned();
    let last = u8::from(release.as_bytes()[digit] != b'9') + release.as_bytes()[digit]
        - u8::from(release.as_bytes()[digit] == b'9');
    next.replace_range(digit..=digit, std::str::from_utf8(&[last]).unwrap());
    let made = make_root(root, &["crc32c-intel"]);
    assert_eq!(made, release);
    for name in ["vmlinuz", "config"] {
        fs::rename(root.join(format!("boot/{name}-{release}")), root.join(format!("boot/{name}-{next}"))).unwrap();
    }
    fs::rename(root.join("lib/modules").join(release), root.join("lib/modules").join(&next)).unwrap();
    let boot = root.join(format!("boot/vmlinuz-{next}"));
    let mut bytes = fs::read(&boot).unwrap();
    let at = bytes.windows(release.len()).position(|window| window == release.as_bytes()).unwrap();
    bytes[at..at + next.len()].copy_from_slice(next.as_bytes());
    fs::write(&boot, bytes).unwrap();
    next
}

/// Two roots with a kernel each: the older release, and the newer one.
fn two(dir: &Path) -> [String; 2] {
    let first = make_root(&dir.join("one"), &["crc32c-intel"]);
    let second = next_release(&dir.join("two"), &first);
    if second > first { [first, second] } else { [second, first] }
}

fn image(dir: &Path, link: Option<&str>) -> std::path::PathBuf {
    let mut tar = TarBuilder::new();
    for root in ["one", "two"] {
        for path in
            tools::stdout(Command::new("find").arg(dir.join(root)).args(["-type", "f", "-printf", "%P\\n"])).lines()
        {
            tar = tar.file(path, 0o644, &fs::read(dir.join(root).join(path)).unwrap());
        }
    }
    if let Some(link) = link {
        tar = tar.symlink("vmlinuz", &format!("boot/vmlinuz-{link}"));
    }
    let path = dir.join(format!("{}.oci.tar", link.unwrap_or("none")));
    fs::write(&path, ImageBuilder::new().layer(tar.build()).oci_archive()).unwrap();
    path
}

#[test]
fn of_several_kernels_in_an_image_one_is_meant() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [old, new] = two(dir.path());
    let of = |path: &Path, wanted: Option<&str>| -> Result<Bundle, KernelError> {
        let image = source::open(&Reference::parse(path.as_os_str()).unwrap(), &Select::default()).unwrap();
        Bundle::of_image(&image, wanted, "the image")
    };
    let (plain, linked) = (image(dir.path(), None), image(dir.path(), Some(&old)));
    for (path, wanted, expected) in [
        (&plain, None, &new),
        (&plain, Some(&old[..]), &old),
        (&plain, Some(&new[..]), &new),
        (&linked, None, &old),
        (&linked, Some(&new[..]), &new),
    ] {
        let bundle = of(path, wanted).unwrap_or_else(|error| panic!("{path:?} {wanted:?}: {error}"));
        assert_eq!(&bundle.release, expected, "{path:?} {wanted:?}");
        assert_eq!(bundle.modules.as_ref().map(|tree| tree.len()), Some(1), "its own modules and no others");
        assert!(bundle.config.is_some_and(|config| config.origin.ends_with(&expected[..])));
    }
    // Names that say more than a release, in the order of letters behind all others: they have no modules.
    let odd = ["vmlinuz-9-rescue", "vmlinux-9.9.gz"].map(|name| dir.path().join("one/boot").join(name));
    odd.iter().for_each(|path| fs::write(path, b"another").unwrap());
    assert_eq!(of(&image(dir.path(), None), None).unwrap().release, new);
    odd.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(image(dir.path(), None), plain);
    // A link to a kernel that is not there counts for nothing.
    let dangling = image(dir.path(), Some("5.0"));
    assert_eq!(of(&dangling, None).unwrap().release, new);
    let none = of(&plain, Some("5.0")).unwrap_err().to_string();
    assert_eq!(none, format!("no kernel 5.0 in the image; there are: {old}, {new}"));
    // The image as a kernel of its own.
    assert_eq!(Bundle::open(&plain, None).unwrap().release, new);
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: KernelArgs,
}

#[test]
fn packages_of_two_releases_are_two_kernels() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let releases = two(dir.path());
    let packages = ["one", "two"].map(|name| {
        let package = dir.path().join(format!("{name}.deb"));
        make_package(&dir.path().join(name), &package, &format!("Package: linux-image-{name}\n"), &[]);
        package
    });
    let store = Store::at(dir.path().join("store"));
    let add = |files: &[&Path]| {
        let words =
            ["kernel", "add"].map(std::ffi::OsStr::new).into_iter().chain(files.iter().map(|file| file.as_os_str()));
        let mut out = Vec::new();
        run_in(&store, &Line::parse_from(words).args, &mut out).map(|_| String::from_utf8(out).unwrap())
    };
    let told = add(&[&packages[0], &packages[1]]).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(releases.iter().all(|release| told.contains(&format!("  {release}"))), "{told}");
    assert_eq!(told.matches("(default for x86_64)").count(), 1, "{told}");
    assert_eq!(store.list().unwrap().len(), 2);
    // One that is no kernel: nothing is added, and the first words are the right ones.
    let empty = dir.path().join("empty.deb");
    fs::create_dir_all(dir.path().join("nothing/usr")).unwrap();
    make_package(&dir.path().join("nothing"), &empty, "Package: nothing\n", &[]);
    let other = Store::at(dir.path().join("other"));
    let words =
        ["kernel".as_ref(), "add".as_ref(), packages[0].as_os_str(), packages[1].as_os_str(), empty.as_os_str()];
    assert!(run_in(&other, &Line::parse_from(words).args, &mut Vec::new()).is_err());
    assert_eq!(other.list().unwrap().len(), 0);
}

#[test]
fn the_kernel_of_a_unified_image_is_taken_out_of_it() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = dir.path().join("root");
    let release = make_root(&root, &["crc32c-intel"]);
    let kernel = root.join(format!("boot/vmlinuz-{release}"));
    let unified = dir.path().join("unified.efi");
    fs::write(dir.path().join("cmdline"), "root=/dev/sda1").unwrap();
    let section = |name: &str, file: &Path, address: &str| {
        [format!("--add-section=.{name}={}", file.display()), format!("--change-section-vma=.{name}={address}")]
    };
    let mut objcopy = Command::new("objcopy");
    objcopy.args(section("cmdline", &dir.path().join("cmdline"), "0x30000")).args(section(
        "linux",
        &kernel,
        "0x2000000",
    ));
    objcopy.arg("/usr/lib/systemd/boot/efi/linuxx64.efi.stub").arg(&unified);
    tools::stdout(&mut objcopy);

    let plain = Bundle::open(&kernel, None).unwrap();
    let taken = Bundle::open(&unified, Some(&root.join("lib/modules"))).unwrap();
    assert_eq!((&taken.release, taken.boot.sha256()), (&release, plain.boot.sha256()));
    assert_eq!(taken.modules.map(|tree| tree.len()), Some(1));
    // In a package beside the same kernel it is no second one, and by itself it is the kernel.
    let inside = root.join(format!("lib/modules/{release}/vmlinuz-virt.efi"));
    fs::copy(&unified, &inside).unwrap();
    let package = dir.path().join("both.deb");
    make_package(&root, &package, "Package: linux-image-both\n", &[]);
    assert_eq!(Bundle::open(&package, None).unwrap().release, release);
    fs::remove_file(&kernel).unwrap();
    make_package(&root, &package, "Package: linux-image-unified\n", &[]);
    assert_eq!(Bundle::open(&package, None).unwrap().boot.sha256(), plain.boot.sha256());
    // Cut within the kernel, and with something else in the section.
    let bytes = fs::read(&unified).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"HdrS").unwrap();
    fs::write(&unified, &bytes[..at + 1000]).unwrap();
    assert!(Bundle::open(&unified, None).is_err());
    let mut odd = bytes.clone();
    odd[at] = b'X';
    fs::write(&unified, odd).unwrap();
    assert!(Bundle::open(&unified, None).is_err());
}
