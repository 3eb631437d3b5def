//! What inheritance and partitions make of protected columns: a child holds its parent's cells, and a
//! parent shows its children's rows.

use super::catalog::{Column, Holds, Reach, Relation};
use super::{Policy, ProtectedColumn};
use std::collections::HashMap;
use std::sync::Arc;

impl Relation {
    /// As a child of `parent`: its columns hold the cells that the parent's hold. What cannot be both
    /// is marked as not to be used. Returns whether anything changed.
    pub fn inherit(&mut self, parent: &Self, policy: &Policy) -> bool {
        let named = policy.table(&self.name).is_some();
        self.merge(parent, policy, |theirs, own| match (theirs, own) {
            (Some(Holds::Cell(cell)), None) if !named => Some(Holds::Cell(Arc::clone(cell))),
            (Some(Holds::Cell(_)), _) => Some(Holds::Computed),
            _ => None,
        })
    }

    /// As a parent of `child`: it shows the child's rows among its own, so a column that is a cell
    /// there and not here is not to be used. Returns whether anything changed.
    pub fn show(&mut self, child: &Self, policy: &Policy) -> bool {
        self.merge(child, policy, |theirs, _| theirs.map(|_| Holds::Computed))
    }

    /// Sets what columns hold by what those of the same name hold in `other`, where both differ.
    fn merge(
        &mut self,
        other: &Self,
        policy: &Policy,
        decide: impl Fn(Option<&Holds>, Option<&Holds>) -> Option<Holds>,
    ) -> bool {
        let mut found = Vec::new();
        for theirs in other.columns.iter().flatten() {
            let Some(at) = self.columns.iter().flatten().position(|own| own.name == theirs.name) else {
                continue;
            };
            let own = self.columns.iter().flatten().nth(at).and_then(|own| content(self, own, policy));
            let theirs = content(other, theirs, policy);
            if own != Some(Holds::Computed)
                && !same(own.as_ref(), theirs.as_ref())
                && let Some(holds) = decide(theirs.as_ref(), own.as_ref())
            {
                found.push((at, holds));
            }
        }
        let changed = !found.is_empty();
        for (at, holds) in found {
            if let Some(column) = self.columns.iter_mut().flatten().nth(at) {
                column.holds = holds;
            }
        }
        if changed && self.reach == Reach::None {
            self.reach = Reach::Followed;
        }
        changed
    }
}

/// What a column holds other than plain values.
fn content(relation: &Relation, column: &Column, policy: &Policy) -> Option<Holds> {
    match column.holds {
        Holds::Computed => Some(Holds::Computed),
        _ => relation.cell(column, policy).map(|cell| Holds::Cell(Arc::clone(cell))),
    }
}

fn same(a: Option<&Holds>, b: Option<&Holds>) -> bool {
    match (a, b) {
        (Some(Holds::Cell(a)), Some(Holds::Cell(b))) => same_domain(a, b),
        (a, b) => a == b,
    }
}

fn same_domain(a: &ProtectedColumn, b: &ProtectedColumn) -> bool {
    a.domain == b.domain && a.keyspace == b.keyspace && a.mode == b.mode
}

/// Follows all pairs (child, parent) of OIDs until nothing changes any more.
pub fn follow(relations: &mut HashMap<u32, Relation>, pairs: &[(u32, u32)], policy: &Policy) {
    let mut step = |changed: u32, by: u32, how: fn(&mut Relation, &Relation, &Policy) -> bool| {
        let Some(mut relation) = relations.remove(&changed) else { return false };
        let moved = relations.get(&by).is_some_and(|by| how(&mut relation, by, policy));
        relations.insert(changed, relation);
        moved
    };
    while pairs.iter().fold(false, |any, (child, parent)| step(*child, *parent, Relation::inherit) || any) {}
    while pairs.iter().fold(false, |any, (child, parent)| step(*parent, *child, Relation::show) || any) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::QualifiedName;
    use crate::policy::catalog::Kind;

    fn policy() -> Policy {
        Policy::parse(
            "[tables.\"public.p\"]\nssn = { type = \"text\", mode = \"deterministic\", domain = \"d\" }\n\
             [tables.\"public.named\"]\nssn = { type = \"text\", mode = \"deterministic\", domain = \"d\" }\n\
             [tables.\"public.other\"]\nssn = { type = \"text\", mode = \"deterministic\" }\n\
             [tables.\"public.lacks\"]\nx = { type = \"text\", mode = \"deterministic\" }\n",
        )
        .unwrap()
    }

    fn relation(name: &str) -> Relation {
        let column = |(name, number): (&str, i16)| Column {
            name: name.to_owned(),
            number,
            type_oid: 17,
            holds: Holds::Own,
        };
        let columns = [("id", 1), ("ssn", 2)].map(column).to_vec();
        let name = QualifiedName::new("public", name);
        Relation {
            name,
            oid: 0,
            columns: Some(columns),
            reach: Reach::None,
            kind: Kind::Table,
            over: Vec::new(),
        }
    }

    fn followed(names: &[&str], pairs: &[(u32, u32)]) -> Vec<String> {
        let policy = policy();
        let mut relations: HashMap<u32, Relation> =
            (1..).zip(names).map(|(oid, name)| (oid, relation(name))).collect();
        follow(&mut relations, pairs, &policy);
        let shown = |oid: u32| {
            let relation = &relations[&oid];
            let holds = match content(relation, &relation.columns.as_ref().unwrap()[1], &policy) {
                None => "plain",
                Some(Holds::Computed) => "neither",
                Some(_) => "cell",
            };
            format!("{holds} {:?}", relation.reach)
        };
        (1..).zip(names).map(|(oid, _)| shown(oid)).collect()
    }

    #[test]
    fn children_hold_cells_and_siblings_of_theirs_do_not() {
        let found = followed(&["p", "child", "grandchild", "plain"], &[(3, 2), (2, 1)]);
        assert_eq!(found, ["cell None", "cell Followed", "cell Followed", "plain None"]);
    }

    #[test]
    fn a_plain_parent_shows_cells_among_plain_values() {
        let found = followed(&["top", "parent", "p", "plain"], &[(3, 2), (2, 1), (4, 2)]);
        assert_eq!(found, ["neither Followed", "neither Followed", "cell None", "plain None"]);
    }

    #[test]
    fn tables_of_the_policy_agree_or_are_not_used() {
        let found = followed(&["p", "named", "other", "lacks"], &[(2, 1), (3, 1), (4, 1)]);
        assert_eq!(found[1], "cell None");
        assert!(found[2].starts_with("neither") && found[3].starts_with("neither"), "{found:?}");
        assert!(found[0].starts_with("neither"), "it shows rows of other domains");
    }
}
