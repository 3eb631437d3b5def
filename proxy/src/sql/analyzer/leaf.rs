//! Literals and parameters: where they stand, and what becomes of them once it is decided whether
//! they are plain or cells.

use super::super::class::{Cast, Class, Form, Leaf, Value};
use super::super::plan::{Edit, Parameter};
use super::super::{offset, refusal};
use super::insert::quoted;
use super::{Analysis, Analyzer};
use crate::error::ClientError;
use crate::policy::{ProtectedColumn, Purpose};
use pg_raw_parse::{ConstValue, nodes};
use std::iter;
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

impl<'a> Analyzer<'a> {
    /// A constant.
    pub(super) fn constant(&self, constant: &'a nodes::A_Const) -> Analysis<Class> {
        if constant.isnull {
            return Ok(Class::Open(Vec::new()));
        }
        let (form, value) = match constant.val() {
            Some(ConstValue::String(value)) => (Form::Quoted, value.to_owned()),
            Some(ConstValue::Integer(value)) => (Form::Integer, value.to_string()),
            Some(ConstValue::Float(value)) => {
                let integer = value.bytes().all(|b| b.is_ascii_digit() || b == b'-');
                (if integer { Form::Integer } else { Form::Decimal }, value.replace('_', ""))
            }
            Some(ConstValue::Boolean(value)) => (Form::Boolean, value.to_string()),
            _ => return Ok(Class::Plain),
        };
        let value = Zeroizing::new(value);
        let token = self.literal_range(constant.location)?;
        Ok(Class::Open(vec![Leaf {
            value: Value::Literal(form, value),
            token,
            casts: Vec::new(),
            label: None,
        }]))
    }

    /// A parameter `$n`.
    pub(super) fn parameter(&self, parameter: &nodes::ParamRef) -> Analysis<Class> {
        let number = usize::try_from(parameter.number).unwrap_or(0);
        if number == 0 || number > MAX_PARAMETERS {
            return Err(refusal::syntax_error().into());
        }
        let token = self.token_range(parameter.location)?;
        Ok(Class::Open(vec![Leaf { value: Value::Parameter(number), token, casts: Vec::new(), label: None }]))
    }

    /// A cast: of open leaves it waits until they are decided, of a cell to its own type it is taken
    /// off.
    pub(super) fn cast(&mut self, cast: &'a nodes::TypeCast) -> Analysis<Class> {
        let class = self.expression(cast.arg())?;
        let Some(type_name) = cast.type_name() else { return Err(refusal::not_understood().into()) };
        match class {
            Class::Plain => Ok(Class::Plain),
            Class::Cell(column) => {
                let cast = Cast::to(type_name, self.cast_ranges(cast, type_name)?);
                if !cast.is_identity_for(&column.logical) {
                    return Err(refusal::cell_in_cast(&column).into());
                }
                self.edits.extend(cast.strips.into_iter().map(deletion));
                Ok(Class::Cell(column))
            }
            Class::Open(mut leaves) => {
                if let [leaf] = leaves.as_mut_slice() {
                    let strips = self.cast_ranges(cast, type_name)?;
                    leaf.casts.push(Cast::to(type_name, strips));
                    return Ok(Class::Open(leaves));
                }
                self.settle_plain(Class::Open(leaves))?;
                Ok(Class::Plain)
            }
        }
    }

    /// Decides that the expression is plain.
    pub(super) fn settle_plain(&mut self, class: Class) -> Analysis<()> {
        if let Class::Open(leaves) = class {
            for leaf in leaves {
                if let Value::Parameter(number) = leaf.value {
                    self.use_parameter(number, Parameter::Plain)?;
                }
            }
        }
        Ok(())
    }

    /// Decides that open leaves are cells of `column`.
    pub(super) fn settle_cell(
        &mut self,
        leaves: Vec<Leaf>,
        column: &Arc<ProtectedColumn>,
        purpose: Purpose,
    ) -> Analysis<()> {
        for leaf in leaves {
            self.encrypt(leaf, column, purpose)?;
        }
        Ok(())
    }

    fn encrypt(&mut self, leaf: Leaf, column: &Arc<ProtectedColumn>, purpose: Purpose) -> Analysis<()> {
        let at = Some(leaf.token.start);
        self.keep_label(&leaf);
        if !leaf.casts.iter().all(|c| c.is_identity_for(&column.logical)) {
            return Err(refusal::type_mismatch(column).at(at).into());
        }
        match leaf.value {
            Value::Parameter(number) => {
                self.use_parameter(number, Parameter::Cell(Arc::clone(column), purpose))?;
            }
            Value::Literal(form, literal) => {
                if !form.suits(&column.logical, purpose == Purpose::Assign) {
                    return Err(refusal::type_mismatch(column).at(at).into());
                }
                self.edits.push(Edit::Cell {
                    range: leaf.token,
                    literal,
                    column: Arc::clone(column),
                    purpose,
                });
            }
        }
        self.edits.extend(leaf.casts.into_iter().flat_map(|c| c.strips).map(deletion));
        Ok(())
    }

    /// Names the output column as it would have been named.
    fn keep_label(&mut self, leaf: &Leaf) {
        let Some(label) = &leaf.label else { return };
        let strips = leaf.casts.iter().flat_map(|cast| &cast.strips);
        let end = strips.map(|range| range.end).fold(leaf.token.end, usize::max);
        let first = self.tokens().index_at(leaf.token.start).unwrap_or(0);
        let in_parentheses =
            first.checked_sub(1).is_some_and(|before| self.tokens().is(self.text, before, "("));
        if !in_parentheses {
            self.edits.push(Edit::Text { range: end..end, with: format!(" AS {}", quoted(label)) });
        }
    }

    fn use_parameter(&mut self, number: usize, usage: Parameter) -> Result<(), ClientError> {
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let Some(slot) = self.parameters.get_mut(number - 1) else { return Ok(()) };
        let merged = match (slot.take(), usage) {
            (None, usage) => usage,
            (Some(Parameter::Plain), Parameter::Plain) => Parameter::Plain,
            (Some(Parameter::Cell(a, was)), Parameter::Cell(b, is))
                if same_domain(&a, &b) && agree(&a, was, is) =>
            {
                Parameter::Cell(a, if was == is { was } else { Purpose::Assign })
            }
            _ => return Err(refusal::parameter_in_two_classes(number)),
        };
        *slot = Some(merged);
        Ok(())
    }

    /// The bytes to take out to undo a cast, what is cast left where it stands.
    fn cast_ranges(
        &self,
        cast: &nodes::TypeCast,
        type_name: &nodes::TypeName,
    ) -> Analysis<Vec<Range<usize>>> {
        let tokens = self.tokens();
        let first = self.token_index(type_name.location)?;
        let (type_end, _) = tokens.type_name(self.text, first).ok_or_else(refusal::not_understood)?;
        let type_start = tokens.get(first).map_or(0, |t| t.range.start);
        if cast.location < 0 {
            return Ok(iter::once(type_start..type_end).collect());
        }
        let at = self.token_index(cast.location)?;
        let start = tokens.get(at).ok_or_else(refusal::not_understood)?.range.clone();
        if tokens.is(self.text, at, "::") {
            return Ok(iter::once(start.start..type_end).collect());
        }
        let before = first.checked_sub(1).filter(|i| tokens.is_word(self.text, *i, "as"));
        match before.and_then(|i| tokens.get(i)) {
            Some(word) if tokens.is_word(self.text, at, "cast") => {
                Ok(vec![start, word.range.start..type_end])
            }
            _ => Err(refusal::not_understood().into()),
        }
    }

    /// The index of the token that the grammar says begins at `location`.
    pub(super) fn token_index(&self, location: i32) -> Analysis<usize> {
        let at = offset(location).ok_or_else(refusal::not_understood)?;
        Ok(self.tokens().index_at(at).ok_or_else(refusal::not_understood)?)
    }

    /// The bytes of the token that begins at `location`.
    pub(super) fn token_range(&self, location: i32) -> Analysis<Range<usize>> {
        let index = self.token_index(location)?;
        Ok(self.tokens().get(index).ok_or_else(refusal::not_understood)?.range.clone())
    }

    /// The bytes of a literal: one token, or a sign and a number.
    fn literal_range(&self, location: i32) -> Analysis<Range<usize>> {
        let index = self.token_index(location)?;
        let token = self.token_range(location)?;
        if self.tokens().is(self.text, index, "-") {
            let number = self.tokens().get(index + 1).ok_or_else(refusal::not_understood)?;
            return Ok(token.start..number.range.end);
        }
        Ok(token)
    }
}

/// The protocol counts parameters in 16 bits.
const MAX_PARAMETERS: usize = 65_535;

fn deletion(range: Range<usize>) -> Edit {
    Edit::Text { range, with: String::new() }
}

/// Whether cells of the two columns may meet.
pub(super) fn same_domain(a: &ProtectedColumn, b: &ProtectedColumn) -> bool {
    a.domain == b.domain && a.keyspace == b.keyspace && a.mode == b.mode
}

/// Whether one encrypted value serves both purposes.
fn agree(column: &ProtectedColumn, a: Purpose, b: Purpose) -> bool {
    a == b || !column.logical.alters_assigned()
}
