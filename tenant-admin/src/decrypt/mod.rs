//! Break glass: a database's dump back in plaintext, offline, by the tenant keys alone.
//!
//! Invariant: what is not understood in the data of a protected table is an error that names table,
//! column and line. No cell passes as if it were done, and no message has a value in it.

mod copy_file;
mod dump;
mod error;
mod keyring;
mod output;
mod reader;
mod report;
mod rewrite;
mod rows;
mod schema;
mod split;
mod statement;
mod table;
#[cfg(test)]
mod tests;
mod work;

pub(crate) use error::DecryptError;
pub(crate) use keyring::Keys;

use clap::Args;
use copy_file::CopyOptions;
use dump::Dump;
use keyring::Keyring;
use output::OutputFile;
use reader::Reader;
use schema::Schema;
use std::fs::{self, File};
use std::io::{BufReader, Write, stdin};
use std::path::{Path, PathBuf};
use trefoil_columns::policy::Policy;
use work::Work;

const BUFFER: usize = 1 << 20;

/// What `trefoil-admin decrypt` takes.
#[derive(Args)]
pub(crate) struct DecryptOptions {
    /// The policy under which the database was dumped.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The dump; without it, standard input.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the plaintext goes; without it, standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Go on after a cell that does not open: it is left as it is, and listed at the end. A column of
    /// another type than text refuses it when it is restored. What there is of a dump that was cut off is
    /// kept, too.
    #[arg(long)]
    keep_going: bool,
    /// A dump with the database's definitions (pg_dump --schema-only), where the input has none.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Take the keys from this sheet of an escrow, and no vault; once for each sheet.
    #[arg(long, value_name = "FILE")]
    escrow: Vec<PathBuf>,
    #[command(flatten)]
    copy: CopyOptions,
}

impl DecryptOptions {
    /// The sheets from which the keys are to be taken; from the vault if there are none.
    pub(crate) fn escrow(&self) -> &[PathBuf] {
        &self.escrow
    }
}

/// Decrypts as the options say, and reports on standard error: standard output may have the plaintext.
pub(crate) fn run(options: &DecryptOptions, keys: Keys, json: bool) -> Result<(), DecryptError> {
    let policy = policy(&options.policy)?;
    let keyring = Keyring::new(&policy, keys).map_err(DecryptError::NoKey)?;
    let mut work = Work::new(policy, keyring, options.keep_going);
    let schema = match &options.schema {
        Some(path) => Dump::new(file(path)?, &mut work).learn()?,
        None => Schema::default(),
    };
    let input = match &options.input {
        Some(path) => file(path)?,
        None => Reader::new(Box::new(stdin().lock()), None),
    };
    match &options.output {
        None => decrypt(options, input, &mut work, schema, &mut output::standard())?,
        Some(path) => {
            let mut output = OutputFile::create(path)?;
            decrypt(options, input, &mut work, schema, &mut output)?;
            output.finish()?;
        }
    }
    work.report.print(json).map_err(DecryptError::Write)?;
    match (work.report.cut_off, work.report.failed) {
        (Some(line), _) => Err(DecryptError::CutOff(line)),
        (None, 0) => Ok(()),
        (None, failed) => Err(DecryptError::Left(failed)),
    }
}

fn decrypt(
    options: &DecryptOptions,
    input: Reader,
    work: &mut Work,
    schema: Schema,
    out: &mut dyn Write,
) -> Result<(), DecryptError> {
    match options.copy.table() {
        Some(table) => copy_file::decrypt(input, work, &schema, table, &options.copy, out),
        None => Dump::new(input, work).with_schema(schema).decrypt(out),
    }
}

fn policy(path: &Path) -> Result<Policy, DecryptError> {
    let text = fs::read_to_string(path).map_err(|reason| open_error(path, reason))?;
    Policy::parse(&text).map_err(|problem| DecryptError::Policy { path: path.to_owned(), problem })
}

fn file(path: &Path) -> Result<Reader, DecryptError> {
    let file = File::open(path).map_err(|reason| open_error(path, reason))?;
    let length = file.metadata().ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
    Ok(Reader::new(Box::new(BufReader::with_capacity(BUFFER, file)), length))
}

fn open_error(path: &Path, reason: std::io::Error) -> DecryptError {
    DecryptError::Open { path: path.to_owned(), reason }
}
