//! What a form of statement is called in messages.

use pg_raw_parse::Node;

/// The name of the statement's form.
pub(super) fn of(statement: Node<'_>) -> &'static str {
    match statement {
        Node::MergeStmt(_) => "MERGE",
        Node::CopyStmt(_) => "COPY",
        Node::PrepareStmt(_) => "PREPARE",
        Node::ExecuteStmt(_) => "EXECUTE",
        Node::ExplainStmt(_) => "EXPLAIN",
        Node::DeclareCursorStmt(_) => "DECLARE CURSOR",
        Node::ViewStmt(_) => "CREATE VIEW",
        Node::CreateTableAsStmt(_) => "CREATE TABLE AS or CREATE MATERIALIZED VIEW",
        Node::RuleStmt(_) => "CREATE RULE",
        Node::CreateTrigStmt(_) => "CREATE TRIGGER",
        Node::CreatePolicyStmt(_) => "CREATE POLICY",
        Node::CreateStatsStmt(_) => "CREATE STATISTICS",
        Node::CreatePublicationStmt(_) | Node::AlterPublicationStmt(_) => "a publication",
        Node::DoStmt(_) => "DO",
        Node::CallStmt(_) => "CALL",
        Node::CreateFunctionStmt(_) => "CREATE FUNCTION",
        _ => "this form of statement",
    }
}
