//! Which relations and functions reach a protected table, from the database's own dependencies and the
//! functions' texts, to a fixed point. A text reaches what it mentions as a word, wherever, so the
//! answer errs on the side of reaching. A function that runs text which it makes reaches everything.

use crate::policy::catalog::{EXECUTE, TEXT_RUNNERS};
use std::collections::{HashMap, HashSet};

/// What depends on what, as pairs (dependent, what it depends on) of OIDs.
#[derive(Default)]
pub(super) struct Dependencies {
    /// Relation with a rule (views have one) -> relation that the rule names.
    pub(super) rule_relations: Vec<(u32, u32)>,
    /// Relation with a rule -> function that the rule calls.
    pub(super) rule_functions: Vec<(u32, u32)>,
    /// Inheritance child or partition -> parent. What holds or shows cells by it is among the protected.
    pub(super) parents: Vec<(u32, u32)>,
    /// Function (an aggregate) -> function that it is made of.
    pub(super) function_parts: Vec<(u32, u32)>,
}

/// A function, procedure or aggregate that is not PostgreSQL's own.
pub(super) struct Function {
    pub(super) oid: u32,
    /// Bare name.
    pub(super) name: String,
    /// Its definition as SQL; empty where it has none (aggregates).
    pub(super) definition: String,
    /// Whether it may change data; an aggregate's parts say so.
    pub(super) volatile: bool,
}

/// What reaches a protected table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reaching {
    /// OIDs; the protected tables are among them.
    pub(super) relations: HashSet<u32>,
    /// Those of them whose rules call a function that reaches one.
    pub(super) by_function: HashSet<u32>,
    /// Bare names.
    pub(super) functions: HashSet<String>,
}

/// Computes what reaches a protected table. `protected` are those tables' OIDs, `protected_names` the
/// bare names in the policy (of tables that do not exist yet, too), `name_of` the bare names by OID.
pub(super) fn compute(
    protected: impl IntoIterator<Item = u32>,
    protected_names: impl IntoIterator<Item = String>,
    name_of: &HashMap<u32, &str>,
    functions: &[Function],
    dependencies: &Dependencies,
) -> Reaching {
    let mut relations: HashSet<u32> = protected.into_iter().collect();
    let texts: Vec<Text> = functions.iter().map(|function| Text::new(&function.definition)).collect();
    let mut names: HashSet<String> = protected_names.into_iter().map(|name| name.to_lowercase()).collect();
    // What runs text that it makes may reach anything.
    names.extend(TEXT_RUNNERS.iter().chain([&EXECUTE]).map(|word| (*word).to_owned()));
    let mut reaching = HashSet::new();
    let mut by_function = HashSet::new();
    loop {
        names.extend(relations.iter().filter_map(|oid| name_of.get(oid)).map(|name| name.to_lowercase()));
        let before = (relations.len(), reaching.len());
        for (function, text) in functions.iter().zip(&texts) {
            if !reaching.contains(&function.oid) && text.mentions_any(&names) {
                reaching.insert(function.oid);
            }
        }
        spread(&mut reaching, dependencies.function_parts.iter().map(|(whole, part)| (*whole, part)));
        names.extend(
            functions
                .iter()
                .filter(|f| reaching.contains(&f.oid))
                .map(|function| function.name.to_lowercase()),
        );
        spread(&mut relations, dependencies.rule_relations.iter().map(|(view, named)| (*view, named)));
        for (view, called) in &dependencies.rule_functions {
            if reaching.contains(called) {
                relations.insert(*view);
                by_function.insert(*view);
            }
        }
        if before == (relations.len(), reaching.len()) {
            break;
        }
    }
    let functions = functions
        .iter()
        .filter(|f| reaching.contains(&f.oid))
        .map(|function| function.name.clone())
        .collect();
    Reaching { relations, by_function, functions }
}

/// The functions by bare name, with whether one of that name may change data by itself or by its parts; and
/// of the views, those that call one which may.
pub(super) fn volatile(
    functions: Vec<Function>,
    views: &HashMap<u32, String>,
    dependencies: &Dependencies,
) -> HashMap<String, bool> {
    let mut volatile = functions.iter().filter(|f| f.volatile).map(|f| f.oid).collect();
    let Dependencies { rule_relations, rule_functions, function_parts, .. } = dependencies;
    let shown = rule_relations.iter().chain(rule_functions).filter(|(view, _)| views.contains_key(view));
    let parts: Vec<_> = function_parts.iter().chain(shown).collect();
    while spread(&mut volatile, parts.iter().map(|(whole, part)| (*whole, part))) {}
    let views = views.iter().filter(|(oid, _)| volatile.contains(*oid));
    let mut by_name: HashMap<_, _> = views.map(|(_, name)| (name.clone(), true)).collect();
    for function in functions {
        *by_name.entry(function.name).or_default() |= volatile.contains(&function.oid);
    }
    by_name
}

/// Adds each dependent whose dependency is in the set; whether there was any new one.
fn spread<'a>(set: &mut HashSet<u32>, pairs: impl Iterator<Item = (u32, &'a u32)>) -> bool {
    let before = set.len();
    for (dependent, on) in pairs {
        if set.contains(on) {
            set.insert(dependent);
        }
    }
    set.len() > before
}

/// A function's text, in lower case, with its words.
struct Text {
    words: HashSet<String>,
    whole: String,
}

impl Text {
    fn new(definition: &str) -> Self {
        let whole = definition.to_lowercase();
        let words = whole.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self { words, whole }
    }

    fn mentions_any(&self, names: &HashSet<String>) -> bool {
        names.iter().any(|name| {
            self.words.contains(name)
                || (!name.chars().all(is_word)
                    && (self.whole.contains(name.as_str())
                        || self.whole.contains(&name.replace('"', "\"\""))))
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENTS: u32 = 1;

    fn function(oid: u32, name: &str, definition: &str) -> Function {
        Function { oid, name: name.to_owned(), definition: definition.to_owned(), volatile: false }
    }

    fn reaching(functions: &[Function], dependencies: &Dependencies) -> (Vec<u32>, Vec<String>) {
        let names = [(PATIENTS, "patients"), (2, "v"), (3, "w"), (4, "odd name")].into();
        let found = compute([PATIENTS], ["patients".to_owned()], &names, functions, dependencies);
        let mut relations: Vec<_> = found.relations.into_iter().collect();
        let mut functions: Vec<_> = found.functions.into_iter().collect();
        relations.sort_unstable();
        functions.sort();
        (relations, functions)
    }

    #[test]
    fn views_reach_through_views() {
        let dependencies =
            Dependencies { rule_relations: vec![(3, 2), (2, PATIENTS), (6, 5)], ..Dependencies::default() };
        assert_eq!(reaching(&[], &dependencies).0, [1, 2, 3]);
    }

    #[test]
    fn functions_reach_by_word_and_through_each_other() {
        let functions = [
            function(20, "direct", "SELECT * FROM public.PATIENTS p"),
            function(21, "quoted", "EXECUTE $q$select ssn from \"patients\"$q$"),
            function(22, "indirect", "SELECT Direct()"),
            function(23, "other", "SELECT inpatients, patients2, patients_x"),
            function(24, "odd", "select 1 from \"odd name\""),
            function(25, "sum_all", ""),
        ];
        let dependencies = Dependencies {
            rule_relations: vec![(4, PATIENTS)],
            function_parts: vec![(25, 22), (26, 23)],
            ..Dependencies::default()
        };
        let names = reaching(&functions, &dependencies).1;
        assert_eq!(names, ["direct", "indirect", "odd", "quoted", "sum_all"]);
    }

    #[test]
    fn an_aggregate_is_as_volatile_as_its_parts() {
        let changing = Function { volatile: true, ..function(20, "f", "") };
        let functions =
            vec![changing, function(21, "f", ""), function(22, "g", ""), function(23, "sum_all", "")];
        let dependencies =
            Dependencies { function_parts: vec![(23, 24), (24, 20)], ..Dependencies::default() };
        let dependencies = Dependencies {
            rule_functions: vec![(30, 20), (31, 22), (33, 20)],
            rule_relations: vec![(32, 30)],
            ..dependencies
        };
        let views = [(30, "v"), (31, "pure"), (32, "w")].map(|(oid, name)| (oid, name.to_owned())).into();
        let found = volatile(functions, &views, &dependencies);
        assert_eq!(
            found,
            [("f", true), ("g", false), ("sum_all", true), ("v", true), ("w", true)]
                .map(|(n, v)| (n.to_owned(), v))
                .into()
        );
    }

    #[test]
    fn views_over_functions_and_functions_over_those_views_reach() {
        let functions = [function(20, "f", "TABLE patients"), function(21, "g", "SELECT * FROM w")];
        let dependencies = Dependencies {
            rule_functions: vec![(3, 20)],
            rule_relations: vec![(2, 3)],
            ..Dependencies::default()
        };
        assert_eq!(
            reaching(&functions, &dependencies),
            (vec![1, 2, 3], vec!["f".to_owned(), "g".to_owned()])
        );
    }
}
