//! `trefoil-proxy scram-verifier`: makes the verifier of a password for `users_file`, with PostgreSQL's
//! defaults and its SASLprep.

use super::verifier::Verifier;
use anyhow::Context as _;
use clap::Args;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use trefoil_keys::private_file;
use zeroize::Zeroizing;

/// Longest password, as PostgreSQL's own programs take it.
const MAX_PASSWORD: u64 = 1024;

/// Arguments of `scram-verifier`.
#[derive(Debug, Args)]
#[command(
    after_help = "Asks for the password without echo, or reads it from standard input where that is no terminal.\n\n\
                  Example:\n  trefoil-proxy scram-verifier"
)]
pub struct ScramVerifierArguments {
    /// Read the password from the first line of a private file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Prints a verifier.
pub fn run(arguments: &ScramVerifierArguments) -> anyhow::Result<()> {
    let password = match &arguments.password_file {
        Some(file) => from_file(file)?,
        None if std::io::stdin().is_terminal() => from_terminal()?,
        None => from_standard_input()?,
    };
    if password.is_empty() {
        anyhow::bail!("the password is empty, and PostgreSQL's clients have none such");
    }
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    verifier.parse::<Verifier>()?;
    println!("{verifier}");
    Ok(())
}

fn from_file(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    first_line(&private_file::read(file)?)
}

fn from_standard_input() -> anyhow::Result<Zeroizing<String>> {
    // More room than can be read: a buffer that grows leaves its former place behind.
    let mut content = Zeroizing::new(Vec::with_capacity(4096));
    std::io::stdin().take(MAX_PASSWORD + 2).read_to_end(&mut content).context("standard input")?;
    first_line(&content)
}

fn from_terminal() -> anyhow::Result<Zeroizing<String>> {
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map(Zeroizing::new).context("no password");
    let password = ask("Password: ")?;
    if *ask("The same again: ")? != *password {
        anyhow::bail!("the two differ");
    }
    Ok(password)
}

fn first_line(content: &[u8]) -> anyhow::Result<Zeroizing<String>> {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() as u64 > MAX_PASSWORD {
        anyhow::bail!("the password is longer than {MAX_PASSWORD} bytes");
    }
    Ok(Zeroizing::new(str::from_utf8(line).context("the password is not UTF-8 text")?.to_owned()))
}
