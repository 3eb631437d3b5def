//! What the parameters of a text are used as. One that is used in two classes goes upstream as two: its
//! further uses read copies, whose numbers follow the highest of the text.

use super::plan::{Parameter, Twin};
use super::refusal;
use crate::error::ClientError;
use crate::policy::{ProtectedColumn, Purpose};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The protocol counts parameters in 16 bits.
pub(super) const MAX_PARAMETERS: usize = 65_535;

/// The parameters of a text, as far as they have been met.
#[derive(Clone, Default)]
pub(super) struct Uses {
    parameters: Vec<Option<Parameter>>,
    twins: Vec<Twin>,
    /// Numbers of parameters that are plain in other places than beside a plain column.
    strays: BTreeSet<usize>,
}

impl Uses {
    /// Notes a use of `$number`. Returns the number under which it goes upstream there; `highest` is
    /// the highest of the text.
    pub(super) fn note(
        &mut self,
        number: usize,
        usage: Parameter,
        highest: usize,
    ) -> Result<usize, ClientError> {
        let of = number.checked_sub(1).ok_or_else(refusal::syntax_error)?;
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let Some(slot) = self.parameters.get_mut(of) else { return Ok(number) };
        match slot {
            None => {
                *slot = Some(usage);
                return Ok(number);
            }
            Some(Parameter::Carrier { .. } | Parameter::SettingName) => {
                return Err(refusal::parameter_in_two_classes(number));
            }
            Some(known) => {
                if join(known, &usage) {
                    return Ok(number);
                }
            }
        }
        let mut copies = self.twins.iter_mut().enumerate().filter(|(_, copy)| copy.of == of);
        let known = copies.find_map(|(index, copy)| join(&mut copy.usage, &usage).then_some(index));
        let index = known.unwrap_or_else(|| {
            self.twins.push(Twin { of, usage });
            self.twins.len() - 1
        });
        let copied = highest + 1 + index;
        if copied > MAX_PARAMETERS { Err(refusal::parameter_in_two_classes(number)) } else { Ok(copied) }
    }

    /// Notes that `$number` is a setting, which nothing else in the text may be.
    pub(super) fn setting(&mut self, number: usize, usage: Parameter) -> Result<(), ClientError> {
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        match number.checked_sub(1).and_then(|index| self.parameters.get_mut(index)) {
            Some(slot @ (None | Some(Parameter::Plain))) => *slot = Some(usage),
            _ => return Err(refusal::parameter_in_two_classes(number)),
        }
        if self.twins.iter().any(|copy| copy.of + 1 == number) {
            return Err(refusal::parameter_in_two_classes(number));
        }
        Ok(())
    }

    /// Notes that `$number` is plain where no plain column asks for it.
    pub(super) fn stray(&mut self, number: usize) {
        self.strays.insert(number);
    }

    /// Refuses to send a value in clear that meets a protected column, unless a plain column holds it,
    /// too: what the application does not itself ask for stays secret.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        let is_cell = |usage: &Parameter| matches!(usage, Parameter::Cell(..) | Parameter::Cells(..));
        for number in &self.strays {
            let index = number - 1;
            let twins = self.twins.iter().filter(|twin| twin.of == index).map(|twin| &twin.usage);
            if self.of(index).into_iter().chain(twins).any(is_cell) {
                return Err(refusal::parameter_in_clear(*number));
            }
        }
        Ok(())
    }

    /// What the parameter with this index is.
    pub(super) fn of(&self, index: usize) -> Option<&Parameter> {
        self.parameters.get(index).and_then(Option::as_ref)
    }

    /// The columns whose cells they become.
    pub(super) fn sealed(&self) -> impl Iterator<Item = &Arc<ProtectedColumn>> {
        let usages = self.parameters.iter().flatten().chain(self.twins.iter().map(|copy| &copy.usage));
        usages.filter_map(Parameter::sealed)
    }

    /// Whether each is one value: no arrays of cells, none in two classes.
    pub(super) fn are_single(&self) -> bool {
        self.twins.is_empty() && !self.parameters.iter().any(|p| matches!(p, Some(Parameter::Cells(..))))
    }

    /// The parameters by number, and the copies.
    pub(super) fn finish(self) -> (Vec<Parameter>, Vec<Twin>) {
        let parameters = self.parameters.into_iter().map(|p| p.unwrap_or(Parameter::Plain)).collect();
        (parameters, self.twins)
    }
}

/// Whether one value serves both uses, and then what for.
fn join(known: &mut Parameter, usage: &Parameter) -> bool {
    match (known, usage) {
        (Parameter::Plain, Parameter::Plain) => true,
        (Parameter::Cell(a, was), Parameter::Cell(b, is))
        | (Parameter::Cells(a, was), Parameter::Cells(b, is)) => {
            let serves = same_domain(a, b) && a.logical == b.logical && agree(a, *was, *is);
            if serves && *was != *is {
                *was = Purpose::Assign;
            }
            serves
        }
        _ => false,
    }
}

/// Whether cells of the two columns may meet.
pub(super) fn same_domain(a: &ProtectedColumn, b: &ProtectedColumn) -> bool {
    a.domain == b.domain && a.keyspace == b.keyspace && a.mode == b.mode
}

/// Whether one encrypted value serves both purposes.
fn agree(column: &ProtectedColumn, a: Purpose, b: Purpose) -> bool {
    a == b || !column.logical.alters_assigned()
}
