//! `oci2rootfs LAYOUT OUTPUT BYTES`: an OCI layout with one tag to an ext4 file system of that size, by the library of
//! that name.

use oci2rootfs::{Converter, OciLayoutSource};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layout, output, bytes] = arguments.as_slice() else { return Err("oci2rootfs LAYOUT OUTPUT BYTES".into()) };
    Converter::new(output).size(bytes.parse()?).convert(OciLayoutSource::open(layout)?)?;
    Ok(())
}
