//! Open columns: those of subqueries, `VALUES` and WITH queries that are made of literals and
//! parameters. Their first use decides whether they are plain or cells, and every other use must agree;
//! what they are made of is written when the statement has been read, and all uses are known.

use super::super::class::{Cast, Class, Form, Leaf, Value};
use super::super::refusal;
use super::super::scope::Out;
use super::super::uses::same_domain;
use super::{Analysis, Analyzer};
use crate::policy::{ProtectedColumn, Purpose};
use std::ops::Range;
use std::sync::Arc;

/// An open column.
#[derive(Clone)]
pub(super) struct Slot {
    /// What its values are.
    leaves: Vec<Leaf>,
    /// What the values are elements of, where they come from an array.
    unnested: Option<Unnested>,
    /// Whether nothing in it says a type: the server makes it `text`.
    untyped: bool,
    /// How often it is named.
    references: usize,
    state: State,
}

#[derive(Clone)]
enum State {
    Open,
    Plain,
    Cell(Arc<ProtectedColumn>, Purpose),
}

/// An array of which the values are the elements.
#[derive(Clone)]
pub(super) enum Unnested {
    /// The one leaf is the array.
    Leaf,
    /// The leaves are the elements of `ARRAY[…]`, which is cast so.
    Elements(Vec<Cast>),
}

impl<'a> Analyzer<'a> {
    /// A query's output as a column of a source.
    pub(super) fn out(&mut self, name: String, class: Class) -> Out {
        let class = self.resolved(class);
        let mut out = Out { name, ..Out::default() };
        match class {
            Class::Cell(column) => out.cell = Some(column),
            Class::Open(leaves) if !leaves.is_empty() => out.slot = Some(self.open(leaves, None)),
            Class::Open(_) | Class::Plain => {}
        }
        out
    }

    /// What a scalar subquery yields: what it does not type itself the server makes `text`.
    pub(super) fn boundary(&mut self, class: Class) -> Class {
        let out = self.out(String::new(), class);
        self.class_of(&out, 0..0)
    }

    /// The elements of an array of open values.
    pub(super) fn unnested(&mut self, leaves: Vec<Leaf>, array: Unnested) -> Class {
        let token = leaves.first().map_or(0..0, |leaf| leaf.token.clone());
        let slot = self.open(leaves, Some(array));
        self.class_of(&Out { slot: Some(slot), ..Out::default() }, token)
    }

    fn open(&mut self, leaves: Vec<Leaf>, unnested: Option<Unnested>) -> usize {
        let untyped = unnested.is_none() && leaves.iter().all(|leaf| self.is_untyped(leaf));
        self.slots.push(Slot { leaves, unnested, untyped, references: 0, state: State::Open });
        self.slots.len() - 1
    }

    fn is_untyped(&self, leaf: &Leaf) -> bool {
        leaf.casts.is_empty()
            && match &leaf.value {
                Value::Literal(form, _) => *form == Form::Quoted,
                Value::Parameter(_) => true,
                Value::Column(slot) => self.slots.get(*slot).is_some_and(|slot| slot.untyped),
            }
    }

    /// The class of a column that is named at `token`.
    pub(super) fn class_of(&mut self, out: &Out, token: Range<usize>) -> Class {
        if let Some(cell) = &out.cell {
            return Class::Cell(Arc::clone(cell));
        }
        let Some((index, slot)) = out.slot.and_then(|index| Some((index, self.slots.get_mut(index)?))) else {
            return Class::Plain;
        };
        slot.references += 1;
        match &slot.state {
            State::Plain => Class::Plain,
            State::Cell(column, _) => Class::Cell(Arc::clone(column)),
            State::Open => {
                Class::Open(vec![Leaf { value: Value::Column(index), token, casts: Vec::new(), label: None }])
            }
        }
    }

    /// The class as it is by now: a column that was open may have been decided since.
    pub(super) fn resolved(&self, class: Class) -> Class {
        let Class::Open(leaves) = &class else { return class };
        let [Leaf { value: Value::Column(index), .. }] = leaves.as_slice() else { return class };
        match self.slots.get(*index).map(|slot| &slot.state) {
            Some(State::Cell(column, _)) if leaves.iter().all(|leaf| leaf.casts.is_empty()) => {
                Class::Cell(Arc::clone(column))
            }
            _ => class,
        }
    }

    /// Whether the column, which nothing casts, has a type that may be compared with `column`'s.
    pub(super) fn slot_suits(&self, index: usize, column: &ProtectedColumn) -> bool {
        let untyped = self.slots.get(index).is_some_and(|slot| slot.untyped);
        !untyped || Cast::to_text().is_identity_for(&column.logical)
    }

    /// Decides that an open column is plain.
    pub(super) fn settle_slot_plain(&mut self, index: usize) -> Analysis<()> {
        let Some(slot) = self.slots.get_mut(index) else { return Err(refusal::not_understood().into()) };
        match &slot.state {
            State::Plain => Ok(()),
            State::Cell(column, _) => Err(refusal::plain_meets_cell(column).into()),
            State::Open => {
                slot.state = State::Plain;
                let leaves = std::mem::take(&mut slot.leaves);
                self.settle_plain(Class::Open(leaves))
            }
        }
    }

    /// Decides that an open column is a cell.
    pub(super) fn settle_slot_cell(
        &mut self,
        index: usize,
        column: &Arc<ProtectedColumn>,
        purpose: Purpose,
    ) -> Analysis<()> {
        let Some(slot) = self.slots.get_mut(index) else { return Err(refusal::not_understood().into()) };
        match &mut slot.state {
            State::Plain => Err(refusal::plain_meets_cell(column).into()),
            State::Cell(known, was) if same_domain(known, column) && known.logical == column.logical => {
                if *was != purpose {
                    *was = Purpose::Flow;
                }
                Ok(())
            }
            State::Cell(known, _) => Err(refusal::domains_differ(known, column).into()),
            State::Open => {
                slot.state = State::Cell(Arc::clone(column), purpose);
                // Columns within are decided at once, so that their other uses see it.
                let columns: Vec<Leaf> =
                    slot.leaves.extract_if(.., |leaf| matches!(leaf.value, Value::Column(_))).collect();
                let mut kept = Vec::new();
                for leaf in columns {
                    if let Value::Column(inner) = leaf.value {
                        kept.push(Leaf { casts: Vec::new(), value: Value::Column(inner), ..leaf.clone() });
                    }
                    self.encrypt(leaf, column, purpose)?;
                }
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.leaves.extend(kept);
                }
                Ok(())
            }
        }
    }

    /// Writes what the open columns are made of; those that nothing has used are plain.
    pub(super) fn close_slots(&mut self) -> Analysis<()> {
        // A column is made of columns before it.
        while let Some(slot) = self.slots.pop() {
            let (column, purpose) = match slot.state {
                State::Plain => continue,
                State::Open => {
                    self.settle_plain(Class::Open(slot.leaves))?;
                    continue;
                }
                State::Cell(column, purpose) => (column, purpose),
            };
            let purpose = if slot.references > 1 { Purpose::Flow } else { purpose };
            if let Some(Unnested::Elements(casts)) = &slot.unnested {
                self.recast_array(casts, &column)?;
            }
            for leaf in slot.leaves {
                match (&slot.unnested, &leaf.value) {
                    (_, Value::Column(inner)) => self.settle_slot_cell(*inner, &column, purpose)?,
                    (Some(Unnested::Leaf), _) => self.encrypt_array(leaf, &column, purpose)?,
                    _ => self.encrypt(leaf, &column, purpose)?,
                }
            }
        }
        Ok(())
    }
}
