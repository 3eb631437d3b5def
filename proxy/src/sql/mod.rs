//! Statement text + policy + catalog -> [`Plan`] or refusal. No I/O, no keys, no values kept.
//!
//! A text passes untouched only if every node of its tree was walked and nothing in it names a
//! protected table or what reaches one; what names one is analysed in full, or refused.

mod analyzer;
mod calls;
mod children;
mod class;
mod effect;
mod extent;
mod forbidden;
mod form;
mod location;
mod mentions;
mod naming;
mod path;
mod plan;
mod refusal;
mod resolve;
mod schema;
mod scope;
mod seen;
mod setting;
mod shape;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod uses;
mod views;

pub use path::SearchPath;
pub use plan::{
    Beyond, CopyPlan, Edit, Naming, Parameter, Plan, ResultColumn, SettingChange, StatementPlan, Tables, Twin,
};
pub(crate) use refusal::{form_changed, names_changed, unknown_statement};
pub use schema::schema;
pub use shape::Shape;
pub(crate) use summary::all as summaries;
pub use summary::fingerprint;
pub use views::follow as follow_views;

use crate::error::ClientError;
use crate::lex::{Tokens, has_too_many_tokens};
use crate::policy::Policy;
use crate::policy::catalog::Catalog;
use analyzer::Analyzer;
use naming::Statements;
use path::Path;
use pg_raw_parse::{Node, nodes};
use resolve::Names;
use std::cell::OnceCell;
use std::convert::Infallible;
use std::sync::Arc;
use uses::Uses;

/// Why a text got no plan.
#[derive(Debug)]
pub enum Refusal {
    /// A relation that the catalog does not show: reload the catalog once and analyse again, then
    /// tell the client the error inside.
    UnknownRelation(ClientError),
    /// Refused for good.
    Refused(ClientError),
}

/// What analysis needs to know of the session.
pub struct Context<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The session's catalog, with what the running transaction changed.
    pub catalog: &'a Arc<Catalog>,
    /// What a name of a prepared statement stands for in the session.
    pub prepared: &'a dyn Fn(&str) -> Option<Arc<Plan>>,
    /// Whether an audit log is kept, so that plans have a summary.
    pub audited: bool,
}

impl Refusal {
    /// The same refusal, of a statement over these tables.
    fn over(self, tables: &Tables) -> Self {
        let over = |error: ClientError| error.over(tables.named().iter().map(ToString::to_string).collect());
        match self {
            Self::UnknownRelation(error) => Self::UnknownRelation(over(error)),
            Self::Refused(error) => Self::Refused(over(error)),
        }
    }

    /// The same refusal, pointing at a byte of the text if it does not point at one yet.
    fn at(self, position: Option<usize>) -> Self {
        let point = |error: ClientError| if error.position.is_none() { error.at(position) } else { error };
        match self {
            Self::UnknownRelation(error) => Self::UnknownRelation(point(error)),
            Self::Refused(error) => Self::Refused(point(error)),
        }
    }
}

/// Analyses a statement text (one or more statements) as it arrives in Query or Parse.
///
/// `text` is not changed; byte offsets in the plan refer to it. Text that is not UTF-8 gets a plan
/// only if it is proved not to touch a protected column. Needs a stack of 32 MiB or more: nesting
/// is limited, but generously.
///
/// Names that the search path decides are refused; [`analyze_by`] follows the path.
pub fn analyze(text: &[u8], context: &Context<'_>) -> Result<Plan, Refusal> {
    analyze_by(text, context, None).0
}

/// The same by a session's search path. Also says whether the outcome depends on the path: if so and
/// none was given, ask the server for it and analyse again.
pub fn analyze_by(
    text: &[u8],
    context: &Context<'_>,
    path: Option<&Arc<SearchPath>>,
) -> (Result<Plan, Refusal>, bool) {
    let by = Path::new(path.map(AsRef::as_ref));
    // The parser's crate panics where the grammar lets another node into a list than it expects
    // (CREATE STATISTICS … FROM a join). Nothing outlives the analysis, so nothing is left broken.
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| analyze_bytes(text, context, &by)))
            .unwrap_or_else(|_| Err(Refusal::Refused(refusal::not_understood())));
    let path = path.filter(|_| by.was_asked()).cloned();
    (outcome.map(|plan| Plan { path, ..plan }), by.was_asked())
}

fn analyze_bytes(text: &[u8], context: &Context<'_>, path: &Path<'_>) -> Result<Plan, Refusal> {
    let utf8 = String::from_utf8_lossy(text);
    let changed = matches!(utf8, std::borrow::Cow::Owned(_));
    let plan = analyze_utf8(&utf8, context, path)?;
    if changed
        && (plan.protected
            || !plan.edits.is_empty()
            || plan.statements.iter().any(|s| !s.settings.is_empty()))
    {
        return Err(Refusal::Refused(refusal::not_utf8()));
    }
    Ok(plan)
}

fn analyze_utf8(text: &str, context: &Context<'_>, path: &Path<'_>) -> Result<Plan, Refusal> {
    if comment_depth(text) > MAX_COMMENT_DEPTH {
        return Err(Refusal::Refused(refusal::too_deep()));
    }
    if has_too_many_tokens(text) {
        return Err(Refusal::Refused(refusal::too_many_tokens()));
    }
    let tree = pg_raw_parse::parse(text).map_err(|_| Refusal::Refused(refusal::syntax_error()))?;
    let tokens = OnceCell::new();
    let mut plan = Plan::default();
    plan.seen.found_in(context.catalog.version());
    let mut uses = Uses::default();
    let mut statements = Statements::of(context);
    let mut rolled_back = false;
    for raw in tree.iter() {
        if rolled_back && !setting::is_control(raw.stmt()) {
            return Err(Refusal::Refused(refusal::ddl_rolled_back()));
        }
        let catalog = plan.catalog_after.clone();
        let catalog = catalog.as_ref().unwrap_or(context.catalog);
        let names = Names { policy: catalog.policy(context.policy), catalog, path };
        analyze_statement(text, raw, names, &tokens, &statements, &mut plan, &mut uses)
            .map_err(|refusal| refusal.over(&plan.tables))?;
        if let Some(naming) = plan.statements.last().and_then(|statement| statement.naming.as_ref()) {
            statements.follow(naming);
        }
        // What the DDL before has made is gone, and nothing tells which of it.
        let changed =
            plan.changes_catalog || plan.catalog_after.is_some() || context.catalog.is_provisional();
        rolled_back |= changed && setting::rolls_back(raw.stmt());
    }
    (plan.parameters, plan.twins) = uses.finish();
    // The query of PREPARE has parameters of its own.
    let prepares = tree.iter().any(|raw| matches!(raw.stmt(), Node::PrepareStmt(_)));
    if plan.protected && !prepares && text.contains('$') {
        plan.highest = tokens.get_or_init(|| Tokens::of(text)).highest_parameter(text);
    }
    let mut plan = order_edits(text, plan)?;
    if context.audited && (plan.protected || plan.fetches().next().is_some()) {
        plan.summary = summary::of(text, tokens.get_or_init(|| Tokens::of(text)), &plan);
    }
    Ok(plan)
}

fn analyze_statement(
    text: &str,
    raw: &nodes::RawStmt,
    names: Names<'_>,
    tokens: &OnceCell<Tokens>,
    statements: &Statements<'_>,
    plan: &mut Plan,
    uses: &mut Uses,
) -> Result<(), Refusal> {
    let statement = raw.stmt();
    let mentions = mentions::of(statement, names)?;
    let extent = extent::of(statement, names)?;
    // Those of what is explained or prepared, too: estimates speak of rows, and values become cells now.
    plan.tables.join(&extent.tables);
    plan.seen.add(statement, names)?;
    forbidden::check(statement, names)?;
    let settings = setting::of(raw, text, tokens)?;
    if names.path.was_asked() && (plan.changes_path || plan.ends_transaction) {
        return Err(Refusal::Refused(refusal::path_changed()));
    }
    if names.path.was_asked() && matches!(statement, Node::PrepareStmt(_)) {
        let form = "PREPARE of a name that the search_path decides";
        return Err(Refusal::Refused(refusal::clause(form, "Qualify the name with its schema.")));
    }
    plan.copies_in |= extent::copies_in(statement);
    plan.changes_path |= setting::changes_path(statement, names.catalog);
    plan.ends_transaction |= setting::ends_transaction(statement);
    for (location, schema) in mentions.by_path {
        let tokens = tokens.get_or_init(|| Tokens::of(text));
        let name = offset(location).and_then(|at| tokens.get(tokens.index_at(at)?));
        let at = name.ok_or_else(refusal::not_understood)?.range.start;
        plan.edits.push(Edit::Text { range: at..at, with: format!("{}.", analyzer::quoted(&schema)) });
    }
    let executed = if names.policy.is_empty() {
        // Nothing is protected: whatever it is, it goes as it is.
        plan.writes |= matches!(statement, Node::ExecuteStmt(_));
        None
    } else {
        statements.executed(statement, &mut plan.executes)?
    };
    let executes = |what: fn(&Plan) -> bool| executed.as_deref().is_some_and(what);
    let touched = mentions.touched || executes(|plan| plan.protected);
    let writes = extent.writes || executes(|plan| plan.writes);
    let mut tables = extent.tables;
    if let Some(executed) = &executed {
        tables.join(&executed.tables);
        plan.tables.join(&executed.tables);
    }
    let changes_form = setting::changes_form(statement) || executes(|plan| plan.changes_form);
    plan.writes |= writes && naming::runs(statement);
    let (mut results, mut copy) = (None, None);
    let mut made = None;
    // What PREPARE or DECLARE gives a name.
    let mut inner = Plan { protected: touched, writes, tables, changes_form, ..Plan::default() };
    let mut declared = Arc::default();
    if mentions.touched && matches!(statement, Node::TruncateStmt(_)) {
        plan.protected = true;
    } else if touched && !needs_no_analysis(statement) {
        plan.protected = true;
        let prepares = matches!(statement, Node::PrepareStmt(_));
        let before = if prepares { Uses::default() } else { std::mem::take(uses) };
        let mut analyzer = Analyzer::new(text, names, tokens, before, executed);
        results = analyzer.statement(statement)?;
        copy = analyzer.copy.take().map(Arc::new);
        if prepares || matches!(statement, Node::DeclareCursorStmt(_)) {
            inner.written = analyzer.needed();
        } else {
            plan.written.append(&mut analyzer.written);
        }
        plan.edits.append(&mut analyzer.edits);
        plan.free.append(&mut analyzer.free);
        if prepares {
            (inner.parameters, _) = analyzer.uses.finish();
        } else {
            *uses = analyzer.uses;
        }
        declared = analyzer.declared;
        made = analyzer.made;
    }
    if matches!(statement, Node::PrepareStmt(_) | Node::DeclareCursorStmt(_)) {
        inner.seen.found_in(names.catalog.version());
        inner.seen.add(statement, names)?;
        inner.statements.push(StatementPlan { results: results.take(), ..StatementPlan::default() });
        if statements.audited {
            let own = text.get(location::of_statement(text, raw)).unwrap_or_default();
            inner.summary = summary::of(own, &Tokens::of(own), &inner);
        }
    }
    if plan.changes_form && touched {
        return Err(Refusal::Refused(refusal::form_changed()));
    }
    plan.changes_form |= changes_form;
    plan.edits.extend(settings.edits);
    for (number, parameter) in settings.parameters {
        uses.setting(number, parameter).map_err(Refusal::Refused)?;
    }
    plan.statements.push(StatementPlan {
        results,
        settings: settings.changes,
        naming: naming::of(statement, inner, declared)?,
        fetches: naming::fetches(statement)?,
        copy,
    });
    if effect::changes_catalog(statement) {
        plan.changes_catalog = true;
    }
    if let Some(after) = effect::after(statement, names, made) {
        plan.catalog_after = Some(Arc::new(after.provisional()));
    }
    Ok(())
}

/// Statements that carry no value and leave protected columns as they are.
fn needs_no_analysis(statement: Node<'_>) -> bool {
    matches!(
        statement,
        Node::LockStmt(_)
            | Node::VacuumStmt(_)
            | Node::GrantStmt(_)
            | Node::ReindexStmt(_)
            | Node::ClusterStmt(_)
            | Node::RefreshMatViewStmt(_)
            | Node::DropStmt(_)
            | Node::CreateSeqStmt(_)
            | Node::AlterSeqStmt(_)
            | Node::RenameStmt(_)
            | Node::AlterObjectSchemaStmt(_)
            | Node::AlterObjectDependsStmt(_)
    )
}

/// Puts the edits into the order of the text, and checks that what they make is a text of the same
/// statements.
fn order_edits(text: &str, mut plan: Plan) -> Result<Plan, Refusal> {
    if plan.edits.is_empty() {
        return Ok(plan);
    }
    plan.edits.sort_by_key(|edit| (edit.range().start, edit.range().end));
    let mut end = 0;
    for edit in &plan.edits {
        let range = edit.range();
        if range.start < end || !text.is_char_boundary(range.start) || !text.is_char_boundary(range.end) {
            return Err(Refusal::Refused(refusal::not_understood()));
        }
        end = range.end;
    }
    let Ok(rewritten) =
        plan.rewrite(text.as_bytes(), |_, _, _, _, _| Ok::<(), Infallible>(()), |_| String::new());
    let reparsed = std::str::from_utf8(&rewritten).ok().and_then(|text| pg_raw_parse::parse(text).ok());
    match reparsed {
        Some(tree) if tree.stmts().count() == plan.statements.len() => Ok(plan),
        _ => Err(Refusal::Refused(refusal::not_understood())),
    }
}

/// Deepest nesting of comments: the scanner takes quadratic time over them.
const MAX_COMMENT_DEPTH: usize = 500;

/// How deep comments nest at most, by openings and closings wherever they stand.
fn comment_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for pair in text.as_bytes().windows(2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The bytes of the token that begins at byte `at` of a text.
pub fn token_at(text: &str, at: usize) -> Option<std::ops::Range<usize>> {
    let tokens = Tokens::of(text);
    tokens.index_at(at).and_then(|index| tokens.get(index)).map(|token| token.range.clone())
}

/// A location of the grammar as a byte offset; -1 stands for none.
fn offset(location: i32) -> Option<usize> {
    usize::try_from(location).ok()
}
