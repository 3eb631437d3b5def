//! Texts and parameters as they go to the server: cells in place of protected values.

use super::carriers::Presented;
use super::fault::Fault;
use super::names::Prepared;
use super::results::{BYTEA, Shape};
use crate::error::{ClientError, Code, sqlstate};
use crate::policy::ProtectedColumn;
use crate::shares::Burst;
use crate::sql::{Parameter, Plan};
use crate::value::{self, Settings};
use crate::wire::bind::{Bind, Format};
use crate::wire::frontend::Parse;
use crate::wire::{Malformed, frontend, writer};
use zeroize::Zeroizing;

fn no_keys() -> ClientError {
    ClientError::refused(Code::NoShare, "no user share", "")
}

/// A text with its edits made: cells in place of protected literals.
pub(super) fn edited(
    text: &[u8],
    plan: &Plan,
    mut burst: Option<Burst<'_>>,
    settings: &Settings,
    presented: &Presented,
) -> Result<Vec<u8>, ClientError> {
    let mut canonical = Zeroizing::new(Vec::new());
    let seal = |column: &ProtectedColumn, literal: &str, purpose, cell: &mut Vec<u8>| {
        canonical.clear();
        value::from_text(&column.logical, literal.as_bytes(), purpose, settings, &mut canonical)?;
        burst.as_mut().ok_or_else(no_keys)?.seal(column, &canonical, cell)
    };
    plan.rewrite(text, seal, |name| presented.shown(name))
}

/// Appends a Parse in which cells are declared as what they are.
pub(super) fn parse(
    out: &mut Vec<u8>,
    parse: &Parse<'_>,
    text: &[u8],
    parameters: &[Parameter],
) -> Result<(), Malformed> {
    let mut types: Vec<u32> = parse.types().collect();
    for (index, parameter) in parameters.iter().enumerate() {
        if matches!(parameter, Parameter::Cell(..)) {
            if types.len() <= index {
                types.resize(index + 1, 0);
            }
            if let Some(place) = types.get_mut(index) {
                *place = BYTEA;
            }
        }
    }
    frontend::parse(out, parse.name, text, types.into_iter())
}

/// A carrier's value that arrived as a parameter.
pub(super) struct Carried {
    pub(super) name: &'static str,
    pub(super) value: Option<Zeroizing<String>>,
    pub(super) local: bool,
}

/// Appends a Bind with cells in place of protected values, which asks for cells in the format that
/// `shape` reads. Returns the carriers that were among the parameters.
pub(super) fn bind(
    out: &mut Vec<u8>,
    bind: &Bind<'_>,
    prepared: &Prepared,
    shape: Option<&Shape>,
    mut burst: Option<Burst<'_>>,
    settings: &Settings,
) -> Result<Vec<Carried>, Fault> {
    let mut carried = Vec::new();
    let parameter = |index: usize| prepared.plan.parameters.get(index).unwrap_or(&Parameter::Plain);
    writer::message(out, b'B', |out| {
        writer::string(out, bind.portal);
        writer::string(out, bind.statement);
        writer::count(out, bind.number, "parameter count")?;
        for index in 0..bind.number {
            let format = match parameter(index) {
                Parameter::Cell(..) => Format::Binary,
                _ => bind.formats.of(index)?,
            };
            out.extend_from_slice(&format.code());
        }
        writer::count(out, bind.number, "parameter count")?;
        let mut canonical = Zeroizing::new(Vec::new());
        for (index, value) in bind.values().enumerate() {
            match (parameter(index), value) {
                (Parameter::Cell(column, purpose), Some(value)) => {
                    canonical.clear();
                    let declared = prepared.declared.get(index).copied().unwrap_or_default();
                    match bind.formats.of(index)? {
                        Format::Text => {
                            let logical = &column.logical;
                            value::from_declared_text(
                                logical,
                                declared,
                                value,
                                *purpose,
                                settings,
                                &mut canonical,
                            )?;
                        }
                        Format::Binary => {
                            let logical = &column.logical;
                            value::from_binary(logical, declared, value, *purpose, settings, &mut canonical)?;
                        }
                    }
                    let burst = burst.as_mut().ok_or_else(no_keys)?;
                    writer::counted(out, 0, |out| {
                        burst.seal(column, &canonical, out)?;
                        Ok::<(), Fault>(())
                    })?;
                }
                (Parameter::Carrier { name, local }, value) => {
                    let text = value.map(str::from_utf8).transpose().map_err(|_| {
                        ClientError::new(
                            sqlstate::INVALID_AUTHORIZATION,
                            format!("trefoil.{name} is not UTF-8"),
                            "",
                        )
                    })?;
                    let shown = match (*name, text) {
                        (_, None | Some("")) | ("user", _) => value,
                        _ => Some(&b"set"[..]),
                    };
                    writer::value(out, shown)?;
                    let value = text.filter(|text| !text.is_empty());
                    let value = value.map(|value| Zeroizing::new(value.to_owned()));
                    carried.push(Carried { name, value, local: *local });
                }
                (Parameter::SettingName, Some(name))
                    if name.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"trefoil.")) =>
                {
                    return Err(Fault::Refused(ClientError::refused(
                        Code::CarrierByParameter,
                        "a trefoil setting cannot be named by a parameter",
                        "Write the setting's name into the statement.",
                    )));
                }
                (_, value) => writer::value(out, value)?,
            }
        }
        match shape {
            Some(shape) => shape.ask(out)?,
            None => {
                writer::count(out, bind.results.len(), "format count")?;
                bind.results.codes().for_each(|code| out.extend_from_slice(&code));
            }
        }
        Ok::<(), Fault>(())
    })?;
    Ok(carried)
}
