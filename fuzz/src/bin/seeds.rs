//! Writes the corpus that the targets begin with: `seeds FOLDER` makes `FOLDER/TARGET/seed-N`.

// Everything here counts what is executed, and this has the counters.
use libfuzzer_sys as _;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).expect("a folder to write to");
    for (target, inputs) in bootdisk_fuzz::corpus::all() {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), input)?;
        }
    }
    Ok(())
}
