//! Writes what the targets begin with to `corpus/<target>`: `cargo run --example seeds`.

use std::{fs, io, path::Path};

use kmirror::offsets::fuzzing;
use kmirror_fuzz::seeds;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let own = ("anchor", fuzzing::seeds());
    for (target, seeds) in seeds::all().into_iter().chain([own]) {
        let dir = corpus.join(target);
        fs::create_dir_all(&dir)?;
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(dir.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
