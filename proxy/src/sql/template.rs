//! Plans that serve every text of one shape, whatever its protected values are.
//!
//! Free are the literals that become cells, and those that meet a plain column: their values decide nothing, and
//! the database gets the text that was analysed, with other cells and other plain values. All others must be
//! the same.

use super::plan::{Edit, Plan, StatementPlan};
use super::shape::{Places, Shape};
use std::ops::Range;

/// The literals of a shape that are not free, by rising index, with their bytes.
pub(crate) type Fixed = Box<[(usize, Box<[u8]>)]>;

impl Plan {
    /// Makes the plan of `text`, which is of this shape, one of all such texts, without a protected value in it.
    /// False if it has to stay a plan of this text alone.
    pub fn generalize(&mut self, text: &[u8], shape: &Shape) -> bool {
        let mut free = std::mem::take(&mut self.free);
        free.sort_unstable_by_key(|literal| literal.start);
        let template = self.is_of_literals().then(|| template(&self.edits, &free, text, shape));
        let Some((places, fixed)) = template.flatten() else { return false };
        for (edit, place) in self.edits.iter_mut().zip(places) {
            match edit {
                Edit::Cell { range, literal, .. } => (*range, *literal) = (place, None),
                Edit::Text { range, .. } | Edit::Shown { range, .. } => *range = place,
            }
        }
        self.fixed = Some(fixed);
        true
    }

    /// Whether nothing in it is its text's own but literals that become cells.
    fn is_of_literals(&self) -> bool {
        let Self { statements, edits, parameters, twins, .. } = self;
        let query = |statement: &StatementPlan| {
            let StatementPlan { results: _, settings, naming, fetches, copy } = statement;
            settings.is_empty() && naming.is_none() && fetches.is_none() && copy.is_none()
        };
        statements.iter().all(query)
            && edits.iter().any(|edit| edit.sealed().is_some())
            && parameters.is_empty()
            && twins.is_empty()
            && self.executes.is_empty()
            && self.catalog_after.is_none()
            && !self.changes_form
            && !self.changes_path
            && !self.changes_catalog
    }

    /// Whether it serves this text, of whose shape it is.
    pub fn serves(&self, text: &[u8], shape: &Shape) -> bool {
        let same = |(index, fixed): &(usize, Box<[u8]>)| {
            shape.literals.get(*index).and_then(|literal| text.get(literal.clone())) == Some(fixed)
        };
        self.fixed.as_ref().is_none_or(|fixed| fixed.iter().all(same))
    }
}

/// Where the edits are in the shape's text, and what is fixed; none if an edit is of a part of a literal, or
/// of one that does not become a cell. `free` is sorted.
fn template(
    edits: &[Edit],
    free: &[Range<usize>],
    text: &[u8],
    shape: &Shape,
) -> Option<(Vec<Range<usize>>, Fixed)> {
    let (mut places, mut beside) = (Vec::with_capacity(edits.len()), Places::of(shape));
    let mut fixed = Vec::new();
    let mut sealed = vec![false; shape.literals.len()];
    for edit in edits {
        let Range { start, end } = edit.range();
        let first = beside.place(start)?;
        let index = shape.literals.len() - beside.literals.len();
        let literal = beside.literals.first().filter(|literal| literal.start < end);
        match (edit, literal) {
            (Edit::Cell { .. }, Some(literal)) if *literal == (start..end) => *sealed.get_mut(index)? = true,
            (Edit::Text { .. }, None) => {}
            _ => return None,
        }
        places.push(first..beside.place(end)?);
    }
    for (index, (literal, sealed)) in shape.literals.iter().zip(sealed).enumerate() {
        if !sealed && free.binary_search_by_key(&literal.start, |free| free.start).is_err() {
            fixed.push((index, text.get(literal.clone())?.into()));
        }
    }
    Some((places, fixed.into()))
}
