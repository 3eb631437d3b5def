//! Where the programs under test are, built from the tree as it is.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of one of Trefoil's programs, or of an example of `keys/` (`examples/keys`).
///
/// They stand beside the running executable. Tests build them first, once in a process, unless
/// `make test` says by `TREFOIL_BUILT` that it has.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(Error::new(format!("{} is not built: cargo build --workspace --all-targets", path.display())))
}

/// The root of the source tree.
pub fn source() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

fn directory() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let beside = executable.parent().ok_or_else(|| Error::new("no directory of programs"))?;
    if !beside.ends_with("deps") {
        return Ok(beside.to_owned());
    }
    static BUILT: OnceLock<bool> = OnceLock::new();
    let built = BUILT.get_or_init(|| std::env::var_os("TREFOIL_BUILT").is_some() || build());
    match (built, beside.parent()) {
        (true, Some(parent)) => Ok(parent.to_owned()),
        _ => Err(Error::new("cargo build --workspace --all-targets failed")),
    }
}

fn build() -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--all-targets"])
        .current_dir(source())
        .status()
        .is_ok_and(|status| status.success())
}
