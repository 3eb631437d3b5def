//! Texts and parameters as they go to the server: cells in place of protected values.

use super::carriers::Presented;
use super::fault::Fault;
use super::names::Prepared;
use super::results::{BYTEA, BYTEA_ARRAY, Shape};
use crate::error::{ClientError, Code, sqlstate};
use crate::policy::{LogicalType, ProtectedColumn, Purpose, oid};
use crate::shares::Burst;
use crate::sql::{Parameter, Plan};
use crate::value::array::{self, Array};
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
    mut burst: Option<&mut Burst>,
    settings: &Settings,
    presented: &Presented,
) -> Result<Vec<u8>, ClientError> {
    let mut canonical = Zeroizing::new(Vec::new());
    let mut seal_one = |column: &ProtectedColumn, literal: &[u8], declared, purpose| {
        canonical.clear();
        let logical = &column.logical;
        value::from_declared_text(logical, declared, literal, purpose, settings, &mut canonical)?;
        let mut cell = Vec::new();
        burst.as_mut().ok_or_else(no_keys)?.seal(column, &canonical, &mut cell)?;
        Ok::<_, ClientError>(cell)
    };
    let seal =
        |column: &ProtectedColumn, literal: &str, purpose, single, cells: &mut Vec<Option<Vec<u8>>>| {
            if let Some(declared) = single {
                cells.push(Some(seal_one(column, literal.as_bytes(), declared, purpose)?));
                return Ok(());
            }
            for element in Array::from_text(literal)?.elements() {
                cells.push(element.map(|element| seal_one(column, element, 0, purpose)).transpose()?);
            }
            Ok(())
        };
    plan.rewrite(text, seal, |name| presented.shown(name))
}

/// Appends a Parse in which cells are declared as what they are, and copies as what they copy.
pub(super) fn parse(out: &mut Vec<u8>, parse: &Parse<'_>, text: &[u8], plan: &Plan) -> Result<(), Malformed> {
    let mut types: Vec<u32> = parse.types().collect();
    for (index, parameter) in plan.parameters.iter().enumerate() {
        let Some(sealed) = sealed_type(parameter) else { continue };
        if types.len() <= index {
            types.resize(index + 1, 0);
        }
        if let Some(place) = types.get_mut(index) {
            *place = sealed;
        }
    }
    if !plan.twins.is_empty() {
        types.resize(plan.highest, 0);
    }
    for copy in &plan.twins {
        let own = || match parse.types().nth(copy.of) {
            None | Some(0 | oid::UNKNOWN) => plan.parameters.get(copy.of).map_or(0, logical_type),
            Some(declared) => declared,
        };
        types.push(sealed_type(&copy.usage).unwrap_or_else(own));
    }
    frontend::parse(out, parse.name, text, types.into_iter())
}

fn parameter_of(plan: &Plan, index: usize) -> &Parameter {
    plan.parameters.get(index).unwrap_or(&Parameter::Plain)
}

/// The type that a parameter has upstream, if it is sealed.
pub(super) fn sealed_type(parameter: &Parameter) -> Option<u32> {
    match parameter {
        Parameter::Cell(..) | Parameter::Tested { .. } => Some(BYTEA),
        Parameter::Cells(..) => Some(BYTEA_ARRAY),
        Parameter::Plain | Parameter::Carrier { .. } | Parameter::SettingName => None,
    }
}

/// The type that a parameter has for the client where it does not declare one; 0 if the server says.
pub(super) fn logical_type(parameter: &Parameter) -> u32 {
    match parameter {
        // What is assigned to a domain is of it; what is compared with one is of its base type.
        Parameter::Cell(column, Purpose::Assign) => column.logical.own_oid(),
        Parameter::Cell(column, _) => column.logical.oid(),
        Parameter::Cells(column, _) => LogicalType::Array(Box::new(column.logical.clone())).oid(),
        Parameter::Tested { oid } => *oid,
        Parameter::Plain | Parameter::Carrier { .. } | Parameter::SettingName => 0,
    }
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
    mut burst: Option<&mut Burst>,
    settings: &Settings,
) -> Result<Vec<Carried>, Fault> {
    let mut carried = Vec::new();
    let plan = &prepared.plan;
    let required = plan.highest.max(prepared.declared.len());
    // What is beyond the parameters would go up in clear before the server refuses it.
    if plan.protected && bind.number > required || !plan.twins.is_empty() && bind.number != required {
        return Err(Fault::Refused(ClientError::new(
            sqlstate::PROTOCOL_VIOLATION,
            format!(
                "bind message supplies {} parameters, but the prepared statement requires {}",
                bind.number, required
            ),
            "",
        )));
    }
    let number = bind.number + plan.twins.len();
    let values: Vec<Option<&[u8]>> = bind.values().collect();
    let own = (0..bind.number).map(|index| (index, parameter_of(plan, index)));
    let all = || own.clone().chain(plan.twins.iter().map(|copy| (copy.of, &copy.usage)));
    writer::message(out, b'B', |out| {
        writer::string(out, bind.portal);
        writer::string(out, bind.statement);
        writer::count(out, number, "parameter count")?;
        for (index, parameter) in all() {
            let format = match parameter {
                Parameter::Cell(..) | Parameter::Cells(..) | Parameter::Tested { .. } => Format::Binary,
                _ => bind.formats.of(index)?,
            };
            out.extend_from_slice(&format.code());
        }
        writer::count(out, number, "parameter count")?;
        let mut canonical = Zeroizing::new(Vec::new());
        let mut seal = |column: &ProtectedColumn,
                        declared,
                        format,
                        value: &[u8],
                        purpose,
                        out: &mut Vec<u8>| {
            canonical.clear();
            let logical = &column.logical;
            match format {
                Format::Text => {
                    value::from_declared_text(logical, declared, value, purpose, settings, &mut canonical)?;
                }
                Format::Binary => {
                    value::from_binary(logical, declared, value, purpose, settings, &mut canonical)?;
                }
            }
            burst.as_mut().ok_or_else(no_keys)?.seal(column, &canonical, out)
        };
        for (position, (index, parameter)) in all().enumerate() {
            let value = values.get(index).copied().flatten();
            let declared = match prepared.declared.get(index).copied().unwrap_or_default() {
                // A copy is read as what the client was told of the parameter that it copies.
                0 | oid::UNKNOWN if position >= bind.number => logical_type(parameter_of(plan, index)),
                declared => declared,
            };
            let format = bind.formats.of(index)?;
            match (parameter, value) {
                (Parameter::Cell(column, purpose), Some(value)) => {
                    writer::counted(out, 0, |out| {
                        seal(column, declared, format, value, *purpose, out).map_err(Fault::from)
                    })?;
                }
                (Parameter::Cells(column, purpose), Some(value)) => {
                    let (array, declared) = elements(format, declared, value)?;
                    let cells =
                        array.map(|element, out| seal(column, declared, format, element, *purpose, out))?;
                    writer::counted(out, 0, |out| cells.to_binary(BYTEA, out).map_err(Fault::from))?;
                }
                (Parameter::Tested { .. }, Some(_)) => writer::value(out, Some(b""))?,
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

/// The elements of an array parameter, with the type that the client gives them, 0 if it does not.
fn elements(format: Format, declared: u32, value: &[u8]) -> Result<(Array, u32), ClientError> {
    let element = match declared {
        0 | oid::UNKNOWN => Some(0),
        declared => array::element_of(declared),
    };
    let not_an_array = || {
        ClientError::refused(
            Code::DeclaredType,
            "a parameter is compared as an array but declared with another type",
            "Declare it as an array of the column's type, or leave its type to the server.",
        )
    };
    match format {
        Format::Text => {
            let not_text = |_| ClientError::new("22021", "invalid byte sequence for encoding \"UTF8\"", "");
            let text = str::from_utf8(value).map_err(not_text)?;
            Ok((Array::from_text(text)?, element.ok_or_else(not_an_array)?))
        }
        Format::Binary => {
            let (array, sent) = Array::from_binary(value)?;
            match element {
                Some(element) if element == 0 || element == sent => Ok((array, sent)),
                _ => Err(not_an_array()),
            }
        }
    }
}
