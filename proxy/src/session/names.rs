//! Prepared statements and portals by name; the unnamed one apart, because it is the usual one.

use super::carriers::Keys;
use super::results::Shape;
use crate::sql::Plan;
use std::collections::HashMap;
use std::sync::Arc;

/// A prepared statement.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) plan: Arc<Plan>,
    /// The parameter types as the client declared them, where the plan is protected.
    pub(super) declared: Arc<[u32]>,
    /// The segment of its Parse.
    pub(super) segment: u64,
}

/// A portal.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) plan: Arc<Plan>,
    /// How its rows are to be read, where cells are among them.
    pub(super) shape: Option<Shape>,
    /// The segment of its Bind or DECLARE.
    pub(super) segment: u64,
    /// Whether it outlives its transaction.
    pub(super) hold: bool,
    /// Whether it was declared BINARY.
    pub(super) binary: bool,
}

impl Portal {
    /// One that Bind makes.
    pub(super) fn bound(plan: Arc<Plan>, shape: Option<Shape>, segment: u64) -> Self {
        Self { plan, shape, segment, hold: false, binary: false }
    }

    /// How the rows are to be read that a simple query fetches from it.
    pub(super) fn fetched(&self) -> Option<Shape> {
        let columns = self.shape.as_ref()?.columns();
        Some(if self.binary { Shape::binary(columns) } else { Shape::simple(columns) })
    }
}

/// How the rows of an Execute are to be read.
pub(super) struct Rows {
    pub(super) shape: Shape,
    pub(super) keys: Arc<Keys>,
}

/// What has a name, and how many bytes it keeps.
pub(super) trait Object {
    fn size(&self) -> usize;
}

impl Object for Prepared {
    fn size(&self) -> usize {
        self.plan.size() + size_of_val(&*self.declared)
    }
}

impl Object for Portal {
    fn size(&self) -> usize {
        self.plan.size() + self.shape.as_ref().map_or(0, Shape::size)
    }
}

/// PostgreSQL tells names apart by their first 63 bytes.
fn significant(name: &[u8]) -> &[u8] {
    name.get(..63).unwrap_or(name)
}

/// Objects of one kind by name.
pub(super) struct Names<T> {
    unnamed: Option<T>,
    named: HashMap<Box<[u8]>, T>,
    /// What the named ones keep.
    bytes: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { unnamed: None, named: HashMap::new(), bytes: 0 }
    }
}

impl<T: Object> Names<T> {
    /// The object of that name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&T> {
        let name = significant(name);
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Sets or removes the object of that name; returns what takes that back.
    pub(super) fn put(&mut self, name: &[u8], object: Option<T>) -> Undo<T> {
        let name = significant(name);
        if name.is_empty() {
            return Undo { name: name.into(), previous: std::mem::replace(&mut self.unnamed, object) };
        }
        self.bytes += object.as_ref().map_or(0, Object::size);
        let previous = match object {
            Some(object) => self.named.insert(name.into(), object),
            None => self.named.remove(name),
        };
        self.bytes -= previous.as_ref().map_or(0, Object::size);
        Undo { name: name.into(), previous }
    }

    /// How many named ones there are.
    pub(super) fn len(&self) -> usize {
        self.named.len()
    }

    /// How many bytes of plans the named ones keep, each counted for itself.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Removes those that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.unnamed.take_if(|object| !keep(object));
        if !self.named.is_empty() {
            let bytes = &mut self.bytes;
            self.named.retain(|_, object| {
                let kept = keep(object);
                *bytes -= if kept { 0 } else { object.size() };
                kept
            });
        }
    }
}

/// What a name stood for before a message that may fail yet.
pub(super) struct Undo<T> {
    pub(super) name: Box<[u8]>,
    pub(super) previous: Option<T>,
}
