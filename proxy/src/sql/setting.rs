//! The carriers in SQL: `SET trefoil.…`, `set_config('trefoil.…', …)`, `SHOW trefoil.…`. The share is taken out of
//! the text; `set` goes upstream in its place, so that the server keeps track of transactions.

use super::class::string;
use super::plan::{Edit, Parameter, SettingChange};
use super::{Refusal, children, location, offset, refusal};
use crate::lex::Tokens;
use crate::policy::catalog::Catalog;
use pg_raw_parse::nodes::{self, VariableSetKind};
use pg_raw_parse::{ConstValue, Node};
use std::cell::OnceCell;
use std::ops::Range;
use zeroize::Zeroizing;

/// The carriers' names, without their prefix.
const NAMES: [&str; 3] = ["user", "envelope", "app_share"];
const PREFIX: &str = "trefoil.";

/// What a statement does to the carriers.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) changes: Vec<SettingChange>,
    pub(super) edits: Vec<Edit>,
    /// Parameters that are settings' names or carriers, by number from 1.
    pub(super) parameters: Vec<(usize, Parameter)>,
}

/// Whether a statement may change the search path, or which schemas it comes to.
pub(super) fn changes_path(statement: Node<'_>, catalog: &Catalog) -> bool {
    match statement {
        Node::InsertStmt(_)
        | Node::UpdateStmt(_)
        | Node::DeleteStmt(_)
        | Node::MergeStmt(_)
        | Node::SelectStmt(_)
        | Node::CopyStmt(_)
        | Node::PrepareStmt(_)
        | Node::DeclareCursorStmt(_) => {
            let mut sets = false;
            let walked = children::walk(statement, |node| {
                if let Node::FuncCall(call) = node {
                    // A function of one's own may do anything.
                    let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
                    sets |= name == "set_config" || catalog.own_function(name).is_some();
                }
                Ok::<(), children::NotFromParser>(())
            });
            sets || walked.is_err()
        }
        Node::VariableSetStmt(set) => match set.name().map(str::to_lowercase) {
            Some(name) => ["search_path", "role", "session_authorization"].contains(&name.as_str()),
            None => set.kind == VariableSetKind::VAR_RESET_ALL,
        },
        // Those that end a transaction are followed by their replies.
        Node::TransactionStmt(_)
        | Node::VariableShowStmt(_)
        | Node::DeallocateStmt(_)
        | Node::ClosePortalStmt(_)
        | Node::ListenStmt(_)
        | Node::UnlistenStmt(_)
        | Node::NotifyStmt(_)
        | Node::LockStmt(_)
        | Node::TruncateStmt(_)
        | Node::ConstraintsSetStmt(_) => false,
        _ => true,
    }
}

/// Whether a statement takes back what others have done, or some of it.
pub(super) fn rolls_back(statement: Node<'_>) -> bool {
    use nodes::TransactionStmtKind as Transaction;
    matches!(statement, Node::TransactionStmt(transaction) if matches!(
        transaction.kind,
        Transaction::TRANS_STMT_ROLLBACK | Transaction::TRANS_STMT_ROLLBACK_TO
    ))
}

/// Whether a statement names nothing of the catalog.
pub(super) fn is_control(statement: Node<'_>) -> bool {
    matches!(statement, Node::TransactionStmt(_) | Node::VariableSetStmt(_) | Node::VariableShowStmt(_))
}

/// Whether a statement takes back, or may, what was set in a transaction.
pub(super) fn ends_transaction(statement: Node<'_>) -> bool {
    use nodes::TransactionStmtKind as Transaction;
    match statement {
        Node::TransactionStmt(transaction) => !matches!(
            transaction.kind,
            Transaction::TRANS_STMT_BEGIN
                | Transaction::TRANS_STMT_START
                | Transaction::TRANS_STMT_SAVEPOINT
                | Transaction::TRANS_STMT_RELEASE
        ),
        _ => false,
    }
}

/// Reads a statement.
pub(super) fn of(raw: &nodes::RawStmt, text: &str, tokens: &OnceCell<Tokens>) -> Result<Settings, Refusal> {
    let mut found = Settings::default();
    let reader = Reader { text, tokens };
    let statement = raw.stmt();
    match statement {
        Node::VariableShowStmt(show) => {
            if let Some(known) = show.name().and_then(carrier) {
                let name = known.ok_or_else(|| refusal::carrier("a setting of this name"))?;
                found.edits.push(Edit::Shown { range: reader.whole(raw)?, name });
            }
            return Ok(found);
        }
        Node::VariableSetStmt(set) => {
            reader.set(set, &mut found)?;
            return Ok(found);
        }
        Node::DiscardStmt(discard) if discard.target == nodes::DiscardMode::DISCARD_ALL => {
            found.changes.extend(reset_all());
        }
        _ => {}
    }
    let is_query = matches!(statement, Node::SelectStmt(_));
    children::walk(statement, |node| match node {
        Node::VariableSetStmt(set) if set.name().and_then(carrier).is_some() => {
            Err(Refusal::from(refusal::carrier("a default for a role, database or function")))
        }
        Node::FuncCall(call) => reader.set_config(call, &mut found),
        _ => Ok(()),
    })?;
    let carries = !found.edits.is_empty() || !found.parameters.is_empty();
    if carries && !is_query {
        return Err(refusal::carrier("set_config in another statement than SELECT").into());
    }
    Ok(found)
}

/// The carrier with this full name: itself, or an error to be if it has the prefix and is none.
fn carrier(name: &str) -> Option<Option<&'static str>> {
    let prefix = name.get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX))?;
    let rest = name.get(prefix.len()..).unwrap_or_default();
    Some(NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(rest)))
}

/// Settings that decide how texts and values are read and shown, in lower case.
const FORM: [&str; 8] = [
    "timezone",
    "datestyle",
    "intervalstyle",
    "bytea_output",
    "extra_float_digits",
    "client_encoding",
    "standard_conforming_strings",
    "backslash_quote",
];

/// Whether a statement changes how texts and values are read or shown.
pub(super) fn changes_form(statement: Node<'_>) -> bool {
    let named = |name: Option<&str>| name.is_none_or(|name| FORM.contains(&name.to_lowercase().as_str()));
    match statement {
        Node::VariableSetStmt(set) => named(set.name()),
        Node::DiscardStmt(_) => true,
        _ => {
            let mut found = false;
            let walked = children::walk(statement, |node| {
                if let Node::FuncCall(call) = node
                    && call.funcname().iter().next_back().and_then(Node::as_str) == Some("set_config")
                {
                    found |= named(call.args().iter().next().map(without_casts).and_then(string));
                }
                Ok::<(), Refusal>(())
            });
            found || walked.is_err()
        }
    }
}

fn reset_all() -> impl Iterator<Item = SettingChange> {
    NAMES.into_iter().map(|name| SettingChange { name, value: None, local: false })
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t OnceCell<Tokens>,
}

impl Reader<'_> {
    fn set(&self, set: &nodes::VariableSetStmt, found: &mut Settings) -> Result<(), Refusal> {
        if set.kind == VariableSetKind::VAR_RESET_ALL {
            found.changes.extend(reset_all());
            return Ok(());
        }
        let Some(known) = set.name().and_then(carrier) else { return Ok(()) };
        let name = known.ok_or_else(|| refusal::carrier("a setting of this name"))?;
        let local = set.is_local;
        if set.kind != VariableSetKind::VAR_SET_VALUE {
            found.changes.push(SettingChange { name, value: None, local });
            return Ok(());
        }
        let mut arguments = set.args().iter();
        match (arguments.next(), arguments.next()) {
            (Some(argument @ Node::A_Const(constant)), None) => {
                let value =
                    string(argument).ok_or_else(|| refusal::carrier("a value that is not a string"))?;
                self.assign(name, value, local, constant.location, found)
            }
            _ => Err(refusal::carrier("a list of values").into()),
        }
    }

    fn set_config<'a>(&self, call: &'a nodes::FuncCall, found: &mut Settings) -> Result<(), Refusal> {
        if call.funcname().iter().next_back().and_then(Node::as_str) != Some("set_config") {
            return Ok(());
        }
        let arguments: Vec<Node<'a>> = call.args().iter().map(without_casts).collect();
        let [name, value, local] = arguments.as_slice() else {
            return Err(refusal::carrier("set_config of this form").into());
        };
        if let Node::ParamRef(parameter) = name {
            found.parameters.push((number(parameter), Parameter::SettingName));
            return Ok(());
        }
        let Some(known) = string(*name).map(carrier) else {
            return Err(refusal::carrier("set_config with a computed name").at(offset(call.location)).into());
        };
        let Some(known) = known else { return Ok(()) };
        let name = known.ok_or_else(|| refusal::carrier("a setting of this name"))?;
        let local =
            boolean(*local).ok_or_else(|| refusal::carrier("set_config with a computed third argument"))?;
        match value {
            Node::ParamRef(parameter) => {
                found.parameters.push((number(parameter), Parameter::Carrier { name, local }));
                Ok(())
            }
            Node::A_Const(constant) => {
                let value = string(*value).ok_or_else(|| refusal::carrier("a value that is not a string"))?;
                self.assign(name, value, local, constant.location, found)
            }
            _ => Err(refusal::carrier("a computed value").into()),
        }
    }

    fn assign(
        &self,
        name: &'static str,
        value: &str,
        local: bool,
        location: i32,
        found: &mut Settings,
    ) -> Result<(), Refusal> {
        let range = self.token(location)?;
        if name != "user" && !value.is_empty() {
            found.edits.push(Edit::Text { range, with: "'set'".to_owned() });
        }
        let value = Some(Zeroizing::new(value.to_owned())).filter(|v| !v.is_empty());
        found.changes.push(SettingChange { name, value, local });
        Ok(())
    }

    /// The bytes of a statement, from its first token to its last.
    fn whole(&self, raw: &nodes::RawStmt) -> Result<Range<usize>, Refusal> {
        let tokens = self.tokens.get_or_init(|| Tokens::of(self.text));
        let statement = location::of_statement(self.text, raw);
        Ok(tokens.span(self.text, statement).ok_or_else(refusal::not_understood)?)
    }

    fn token(&self, location: i32) -> Result<Range<usize>, Refusal> {
        let tokens = self.tokens.get_or_init(|| Tokens::of(self.text));
        let index =
            offset(location).and_then(|at| tokens.index_at(at)).ok_or_else(refusal::not_understood)?;
        Ok(tokens.get(index).ok_or_else(refusal::not_understood)?.range.clone())
    }
}

fn without_casts(mut node: Node<'_>) -> Node<'_> {
    while let Node::TypeCast(cast) = node {
        node = cast.arg();
    }
    node
}

fn number(parameter: &nodes::ParamRef) -> usize {
    usize::try_from(parameter.number).unwrap_or(0)
}

fn boolean(node: Node<'_>) -> Option<bool> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::Boolean(value) => Some(value),
            ConstValue::String("true" | "t" | "on" | "yes" | "1") => Some(true),
            ConstValue::String("false" | "f" | "off" | "no" | "0") => Some(false),
            _ => None,
        },
        _ => None,
    }
}
