//! Names of prepared statements and cursors: what a statement does to them, and what they stand for
//! while a text runs.

use super::plan::{Naming, Plan};
use super::{Context, Refusal, refusal};
use pg_raw_parse::{Node, nodes};
use std::collections::HashMap;
use std::sync::Arc;

/// What names of prepared statements stand for at a point of a text.
pub(super) struct Statements<'c> {
    session: &'c dyn Fn(&str) -> Option<Arc<Plan>>,
    /// What the text has made of a name so far, if it gets there.
    within: HashMap<String, Option<Arc<Plan>>>,
    /// The text has dropped all that the session knows.
    dropped: bool,
    /// Whether what the text prepares gets a summary.
    pub(super) audited: bool,
}

impl<'c> Statements<'c> {
    /// Those of the session.
    pub(super) fn of(context: &Context<'c>) -> Self {
        let Context { prepared: session, audited, .. } = *context;
        Self { session, within: HashMap::new(), dropped: false, audited }
    }

    /// What the statement runs by EXECUTE, if it does. Where the session knows it, it is noted in
    /// `outside`.
    pub(super) fn executed(
        &self,
        statement: Node<'_>,
        outside: &mut Vec<(String, Arc<Plan>)>,
    ) -> Result<Option<Arc<Plan>>, Refusal> {
        let Some(execute) = execute(statement) else { return Ok(None) };
        let name = checked(execute.name())?;
        match self.get(name) {
            Some(plan) if plan.executable() => {
                if !self.within.contains_key(name) {
                    outside.push((name.to_owned(), Arc::clone(&plan)));
                }
                Ok(Some(plan))
            }
            Some(_) => Err(refusal::not_executable(name).into()),
            None => Err(refusal::unknown_statement(name).into()),
        }
    }

    fn get(&self, name: &str) -> Option<Arc<Plan>> {
        match self.within.get(name) {
            Some(found) => found.clone(),
            None if self.dropped => None,
            None => (self.session)(name),
        }
    }

    /// The statement has succeeded, or the text ends here.
    pub(super) fn follow(&mut self, naming: &Naming) {
        match naming {
            // A name that is in use makes PREPARE fail: what comes after it never runs, and its values are
            // treated as before.
            Naming::Prepare { name, .. } if self.get(name).is_some() => {}
            Naming::Prepare { name, plan, .. } => {
                self.within.insert(name.clone(), Some(Arc::clone(plan)));
            }
            Naming::Deallocate(name) => {
                self.within.insert(name.clone(), None);
            }
            Naming::DeallocateAll | Naming::DiscardAll => {
                self.within.clear();
                self.dropped = true;
            }
            Naming::Declare { .. } | Naming::Close(_) | Naming::CloseAll => {}
        }
    }
}

/// The EXECUTE in a statement, by itself or as what is explained or made a table of.
fn execute(mut statement: Node<'_>) -> Option<&nodes::ExecuteStmt> {
    loop {
        statement = match statement {
            Node::ExplainStmt(explain) => explain.query(),
            Node::CreateTableAsStmt(create) => create.query(),
            Node::ExecuteStmt(execute) => return Some(execute),
            _ => return None,
        };
    }
}

/// Whether what is inside of the statement runs with it, not later or never.
pub(super) fn runs(statement: Node<'_>) -> bool {
    match statement {
        Node::PrepareStmt(_) => false,
        Node::ExplainStmt(explain) => analyzes(explain),
        _ => true,
    }
}

/// Whether an EXPLAIN may run what it explains: any mention of the option counts.
pub(super) fn analyzes(explain: &nodes::ExplainStmt) -> bool {
    explain.options().iter().any(|option| option.defname() == Some("analyze"))
}

/// What a statement does to names; `inner` is what it prepares or declares.
pub(super) fn of(statement: Node<'_>, inner: Plan, declared: Arc<[u32]>) -> Result<Option<Naming>, Refusal> {
    Ok(Some(match statement {
        Node::PrepareStmt(prepare) => {
            Naming::Prepare { name: checked(prepare.name())?.to_owned(), plan: Arc::new(inner), declared }
        }
        Node::DeallocateStmt(deallocate) => match deallocate.name() {
            Some(name) => Naming::Deallocate(checked(Some(name))?.to_owned()),
            None => Naming::DeallocateAll,
        },
        Node::DeclareCursorStmt(declare) => Naming::Declare {
            name: checked(declare.portalname())?.to_owned(),
            plan: Arc::new(inner),
            hold: declare.options & HOLD != 0,
            binary: declare.options & BINARY != 0,
        },
        Node::ClosePortalStmt(close) => match close.portalname() {
            Some(name) => Naming::Close(checked(Some(name))?.to_owned()),
            None => Naming::CloseAll,
        },
        Node::DiscardStmt(discard) if discard.target == nodes::DiscardMode::DISCARD_ALL => Naming::DiscardAll,
        _ => return Ok(None),
    }))
}

/// The cursor that a statement runs.
pub(super) fn fetches(statement: Node<'_>) -> Result<Option<String>, Refusal> {
    match statement {
        Node::FetchStmt(fetch) => Ok(Some(checked(fetch.portalname())?.to_owned())),
        _ => Ok(None),
    }
}

/// `CURSOR_OPT_BINARY` and `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const BINARY: i32 = 0x0001;
const HOLD: i32 = 0x0020;

/// PostgreSQL cuts names to 63 bytes of the server's encoding: where that may differ from what is cut
/// here, two names of the one side are one of the other.
fn checked(name: Option<&str>) -> Result<&str, Refusal> {
    let name = name.ok_or_else(refusal::not_understood)?;
    if name.len() > 60 && !name.is_ascii() { Err(refusal::long_name().into()) } else { Ok(name) }
}
