//! Literals and parameters: where they stand, and what becomes of them once it is decided whether
//! they are plain or cells.

use super::super::class::{Cast, Class, Form, Leaf, Value};
use super::super::plan::{Edit, Parameter};
use super::super::uses::MAX_PARAMETERS;
use super::super::{offset, refusal};
use super::insert::quoted;
use super::{Analysis, Analyzer};
use crate::policy::{ProtectedColumn, Purpose, oid};
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
        if constant.location < 0 {
            // The grammar's own, as for FETCH FIRST ROW ONLY: it is not in the text.
            return Ok(Class::Plain);
        }
        let (form, value) = match constant.val() {
            Some(ConstValue::String(value)) => (Form::Quoted, value.to_owned()),
            Some(ConstValue::Integer(value)) => (Form::Integer, value.to_string()),
            Some(ConstValue::Float(value)) => {
                let (sign, digits) = value.split_at(value.len() - value.trim_start_matches('-').len());
                match digits.bytes().all(|digit| digit.is_ascii_digit()) {
                    true => (Form::Integer, format!("{sign}{}", digits.trim_start_matches('0'))),
                    false => (Form::Decimal, value.replace('_', "")),
                }
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
        if self.stored {
            return self.stored_cast(class, type_name);
        }
        match class {
            Class::Plain => Ok(Class::Plain),
            Class::Cell(column) => {
                let cast = self.read_cast(cast, type_name)?;
                if !cast.is_identity_for(&column.logical) {
                    return Err(refusal::cell_in_cast(&column).into());
                }
                self.edits.extend(cast.strips.into_iter().map(deletion));
                Ok(Class::Cell(column))
            }
            Class::Open(mut leaves) => {
                if let [leaf] = leaves.as_mut_slice() {
                    leaf.casts.push(self.read_cast(cast, type_name)?);
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
                match leaf.value {
                    Value::Parameter(_) => self.use_parameter(&leaf, Parameter::Plain)?,
                    Value::Column(slot) => self.settle_slot_plain(slot)?,
                    Value::Literal(..) if self.beside_column && leaf.casts.is_empty() => {
                        self.free.push(leaf.token);
                    }
                    Value::Literal(..) => {}
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

    pub(super) fn encrypt(
        &mut self,
        leaf: Leaf,
        column: &Arc<ProtectedColumn>,
        purpose: Purpose,
    ) -> Analysis<()> {
        if self.stored {
            return match leaf.value {
                Value::Column(slot) => self.settle_slot_cell(slot, column, purpose),
                Value::Literal(..) | Value::Parameter(_) => Ok(()),
            };
        }
        let at = Some(leaf.token.start);
        let mismatch = || Err(refusal::type_mismatch(column).at(at).into());
        self.keep_label(&leaf);
        if !leaf.casts.iter().all(|c| c.is_identity_for(&column.logical)) {
            return mismatch();
        }
        match leaf.value {
            Value::Parameter(number) => {
                self.use_parameter(&leaf, Parameter::Cell(Arc::clone(column), purpose))?;
                if self.preparing.is_some_and(|declared| number > declared) {
                    let at = leaf.token.end;
                    self.edits.push(Edit::Text { range: at..at, with: "::bytea".to_owned() });
                }
            }
            Value::Column(slot) => {
                if leaf.casts.is_empty() && !self.slot_suits(slot, column) {
                    return mismatch();
                }
                self.settle_slot_cell(slot, column, purpose).map_err(|refusal| refusal.at(at))?;
            }
            Value::Literal(form, literal) => {
                if !form.suits(&column.logical, purpose == Purpose::Assign) {
                    return mismatch();
                }
                let (literal, column, form) = (Some(literal), Arc::clone(column), Some(form));
                self.edits.push(Edit::Cell { range: leaf.token, literal, column, purpose, form });
            }
        }
        self.edits.extend(leaf.casts.into_iter().flat_map(|c| c.strips).map(deletion));
        Ok(())
    }

    /// Decides that a literal or parameter is an array of cells of `column`.
    pub(super) fn encrypt_array(
        &mut self,
        leaf: Leaf,
        column: &Arc<ProtectedColumn>,
        purpose: Purpose,
    ) -> Analysis<()> {
        if self.stored {
            return Ok(());
        }
        self.recast_array(&leaf.casts, column).map_err(|refusal| refusal.at(Some(leaf.token.start)))?;
        match leaf.value {
            Value::Parameter(_) => self.use_parameter(&leaf, Parameter::Cells(Arc::clone(column), purpose)),
            Value::Literal(Form::Quoted, literal) => {
                self.edits.push(Edit::Cell {
                    range: leaf.token,
                    literal: Some(literal),
                    column: Arc::clone(column),
                    purpose,
                    form: None,
                });
                Ok(())
            }
            _ => Err(refusal::array_value(column).at(Some(leaf.token.start)).into()),
        }
    }

    /// Makes casts of an array to arrays of the column's type casts to arrays of cells.
    pub(super) fn recast_array(&mut self, casts: &[Cast], column: &Arc<ProtectedColumn>) -> Analysis<()> {
        if !casts.iter().all(|cast| cast.is_array_of(&column.logical)) {
            return Err(refusal::type_mismatch(column).into());
        }
        let to_cells = |cast: &Cast| Edit::Text { range: cast.type_name.clone(), with: "bytea[]".to_owned() };
        self.edits.extend(casts.iter().map(to_cells));
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

    /// Notes what a parameter is used as; a copy that this needs is written in its place.
    /// Decides what parameters are that were tested for NULL: cells where they are nothing else.
    pub(super) fn close_null_tests(&mut self) -> Analysis<()> {
        let tested = std::mem::take(&mut self.null_tested);
        for leaf in &tested {
            let Value::Parameter(number) = leaf.value else { continue };
            let oid = leaf.casts.first().map_or(Some(oid::TEXT), Cast::builtin_oid);
            if let (None, None, Some(oid)) = (self.uses.of(number - 1), self.preparing, oid) {
                self.use_parameter(leaf, Parameter::Tested { oid })?;
            }
        }
        for leaf in tested {
            match leaf.value {
                Value::Parameter(number)
                    if matches!(
                        self.uses.of(number - 1),
                        Some(Parameter::Cell(..) | Parameter::Cells(..) | Parameter::Tested { .. })
                    ) =>
                {
                    let strips = leaf.casts.into_iter().flat_map(|cast| cast.strips);
                    self.edits.extend(strips.map(deletion));
                }
                Value::Parameter(_) => {
                    // No value of a plain parameter is shown by this.
                    self.beside_column = true;
                    let settled = self.use_parameter(&leaf, Parameter::Plain);
                    self.beside_column = false;
                    settled?;
                }
                // It may be the value that is compared elsewhere.
                Value::Literal(Form::Quoted, _) => {
                    self.edits.push(Edit::Text { range: leaf.token, with: "''".to_owned() });
                    let strips = leaf.casts.into_iter().flat_map(|cast| cast.strips);
                    self.edits.extend(strips.map(deletion));
                }
                Value::Literal(..) | Value::Column(_) => {}
            }
        }
        Ok(())
    }

    fn use_parameter(&mut self, leaf: &Leaf, usage: Parameter) -> Analysis<()> {
        let Value::Parameter(number) = leaf.value else { return Err(refusal::not_understood().into()) };
        if matches!(usage, Parameter::Plain) && !self.beside_column {
            self.uses.stray(number);
        }
        let highest = self.tokens().highest_parameter(self.text);
        let upstream = self.uses.note(number, usage, highest)?;
        if upstream != number {
            self.edits.push(Edit::Text { range: leaf.token.clone(), with: format!("${upstream}") });
        }
        Ok(())
    }

    /// Reads a cast, with its place in the text.
    pub(super) fn read_cast(&self, cast: &nodes::TypeCast, type_name: &nodes::TypeName) -> Analysis<Cast> {
        let (strips, name) = self.cast_ranges(cast, type_name)?;
        let mut cast = Cast::to(type_name, strips);
        cast.type_name = name;
        Ok(cast)
    }

    /// The bytes to take out to undo a cast, what is cast left where it stands, and those of its type's
    /// name.
    fn cast_ranges(
        &self,
        cast: &nodes::TypeCast,
        type_name: &nodes::TypeName,
    ) -> Analysis<(Vec<Range<usize>>, Range<usize>)> {
        let tokens = self.tokens();
        let first = self.token_index(type_name.location)?;
        let (type_end, _) = tokens.type_name(self.text, first).ok_or_else(refusal::not_understood)?;
        let type_start = tokens.get(first).map_or(0, |t| t.range.start);
        let name = type_start..type_end;
        if cast.location < 0 {
            return Ok((vec![name.clone()], name));
        }
        let at = self.token_index(cast.location)?;
        let start = tokens.get(at).ok_or_else(refusal::not_understood)?.range.clone();
        if tokens.is(self.text, at, "::") {
            return Ok((iter::once(start.start..type_end).collect(), name));
        }
        let before = first.checked_sub(1).filter(|i| tokens.is_word(self.text, *i, "as"));
        match before.and_then(|i| tokens.get(i)) {
            Some(word) if tokens.is_word(self.text, at, "cast") => {
                Ok((vec![start, word.range.start..type_end], name))
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

fn deletion(range: Range<usize>) -> Edit {
    Edit::Text { range, with: String::new() }
}
