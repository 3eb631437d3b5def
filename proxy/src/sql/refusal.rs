//! Every reason for which analysis refuses a statement, with SQLSTATE, message and hint. Only names
//! go in, never a literal.

use crate::error::{ClientError, Code, sqlstate};
use crate::policy::{ProtectedColumn, QualifiedName};
use trefoil_keys::cell::Mode;
use trefoil_keys::lex::MAX_TOKENS;

fn column(c: &ProtectedColumn) -> String {
    format!("{}.{}.{}", c.table.schema, c.table.name, c.name)
}

fn mode(m: Mode) -> &'static str {
    match m {
        Mode::Randomized => "randomized",
        Mode::Deterministic => "deterministic",
    }
}

/// Not a statement of PostgreSQL's grammar.
pub(super) fn syntax_error() -> ClientError {
    ClientError::refused(
        Code::NotInGrammar,
        "syntax error: the statement is not in PostgreSQL's grammar",
        "It was not sent to the database. The offending word is left out of this message because it may belong to a value.",
    )
}

/// Nested too deeply.
pub(super) fn too_deep() -> ClientError {
    ClientError::refused(
        Code::TooDeep,
        "the statement is nested too deeply to be analysed",
        "Split it, or replace chains of operators by IN lists.",
    )
}

/// So long that its tree would take too much memory.
pub(super) fn too_many_tokens() -> ClientError {
    ClientError::refused(
        Code::TooDeep,
        format!("the statement has more than {MAX_TOKENS} tokens and is too long to be analysed"),
        "Send many rows by COPY or in several statements, and large values as parameters.",
    )
}

/// A tree that the parser should not have made, or analysis that failed in itself.
pub(super) fn not_understood() -> ClientError {
    ClientError::refused(
        Code::NotUnderstood,
        "the statement was not understood and has not been sent",
        "Please report its form.",
    )
}

/// Text that is not UTF-8 where it matters.
pub(super) fn not_utf8() -> ClientError {
    ClientError::refused(
        Code::NotUtf8,
        "a statement that is not UTF-8 text cannot be analysed for protected columns",
        "Use client_encoding UTF8.",
    )
}

/// A relation that the catalog does not show.
pub(super) fn unknown_relation(name: &str) -> ClientError {
    ClientError::new(
        sqlstate::UNDEFINED_TABLE,
        format!("relation \"{name}\" does not exist"),
        "The proxy looked for it in the database's catalog. A table that a function has made is not seen before COMMIT, and a temporary one not at all.",
    )
}

/// An unqualified name with several candidates.
pub(super) fn ambiguous_relation(name: &str) -> ClientError {
    ClientError::refused(
        Code::AmbiguousRelation,
        format!("\"{name}\" exists in more than one schema, and one of them is protected"),
        "Qualify it with its schema.",
    )
}

/// A name that the search path decides, after a statement of the same text that changes the path.
pub(super) fn path_changed() -> ClientError {
    ClientError::refused(
        Code::AmbiguousRelation,
        "a name depends on the search_path, which a statement before it in the same text may have changed",
        "Qualify the name with its schema, or send the statements one by one.",
    )
}

/// A view, partition or the like over a protected table.
pub(super) fn reaches_protected(name: &QualifiedName) -> ClientError {
    ClientError::refused(
        Code::ReachesProtected,
        format!("relation \"{}.{}\" reaches a protected table", name.schema, name.name),
        "Use the table that the policy names.",
    )
}

/// A write to a view whose rules or triggers may do anything with the values.
pub(super) fn view_rules(name: &QualifiedName) -> ClientError {
    ClientError::refused(
        Code::ReachesProtected,
        format!(
            "view \"{}.{}\" cannot be written to: it has rules or triggers of its own",
            name.schema, name.name
        ),
        "They may do anything with the values. Write to the table itself.",
    )
}

/// A view's column that is an expression over cells.
pub(super) fn computed(name: &str) -> ClientError {
    ClientError::refused(
        Code::ReachesProtected,
        format!("column \"{name}\" of a view is computed from protected columns and has no meaning"),
        "The view computes with ciphertext. Select the protected columns themselves, and compute in the application.",
    )
}

/// A column that the policy protects and the database holds in clear.
pub(super) fn not_migrated(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::NotMigrated,
        format!("column {} is protected by the policy but is not stored as bytea", column(c)),
        "It is not migrated: create the table through the proxy, or take the column out of the policy.",
    )
    .of_column(column(c))
}

/// A column whose type is of the database's own, and not there or not fit.
pub(super) fn unresolved_type(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::UnknownType,
        format!(
            "column {} has the type {} in the policy, which cannot be used in this database",
            column(c),
            c.logical
        ),
        "It must be an enum, or a domain over a type that a policy can name; a domain that is NOT NULL or has \
         a CHECK needs the column to be NOT NULL, and one in mode deterministic needs a base type fit for it.",
    )
    .of_column(column(c))
}

/// A setting under which floats would be shown otherwise than from cells.
pub(super) fn float_digits() -> ClientError {
    ClientError::refused(
        Code::SessionForm,
        "extra_float_digits below 1 is not supported: protected columns of type real or double precision are shown in full",
        "Leave it at 1 or above.",
    )
}

/// A change of an enum under the cells that hold its labels.
pub(super) fn enum_label(name: &str) -> ClientError {
    ClientError::refused(
        Code::EnumLabel,
        format!("a label of type {name} cannot be renamed: protected columns hold it encrypted"),
        "Add a new label, update the rows, and leave the old one.",
    )
}

/// A form of statement that has no meaning over protected tables.
pub(super) fn statement(form: &str) -> ClientError {
    ClientError::refused(
        Code::Statement,
        format!("{form} is not supported on a protected table"),
        "Use SELECT, INSERT, UPDATE or DELETE on the table itself.",
    )
}

/// A clause or expression that has no meaning where protected tables are involved.
pub(super) fn clause(form: &str, hint: &str) -> ClientError {
    ClientError::refused(
        Code::Clause,
        format!("{form} is not supported together with protected columns"),
        hint,
    )
}

/// A function that may reach a protected table.
pub(super) fn function(name: &str) -> ClientError {
    ClientError::refused(
        Code::Function,
        format!("function \"{name}\" may reach a protected table"),
        "Its body names a protected table, or it runs SQL text that it makes or is given. Call it over a connection that does not use the proxy, or do its work in the application.",
    )
}

const COMPUTE: &str =
    "The database sees only its ciphertext. Select the column and compute in the application.";

fn cannot_be_used(c: &ProtectedColumn, place: &str) -> String {
    format!("protected column {} cannot be used in {place}", column(c))
}

/// A DO block or function definition that may name a protected table.
pub(super) fn body() -> ClientError {
    ClientError::refused(
        Code::Body,
        "a function or DO block may not name a protected table, or what reaches one",
        "Send its statements one by one through the proxy, or define it over a connection that does not use the proxy.",
    )
}

/// A cell where only plain values can stand.
pub(super) fn cell_in(c: &ProtectedColumn, place: &str) -> ClientError {
    ClientError::refused(Code::CellInPlace, cannot_be_used(c, place), COMPUTE).of_column(column(c))
}

/// A cell as a function's argument.
pub(super) fn cell_in_function(c: &ProtectedColumn, name: &str) -> ClientError {
    ClientError::refused(Code::CellInFunction, cannot_be_used(c, &format!("function {name}")), COMPUTE)
        .of_column(column(c))
}

/// A cell as an operator's operand.
pub(super) fn cell_in_operator(c: &ProtectedColumn, name: &str) -> ClientError {
    ClientError::refused(Code::CellInOperator, cannot_be_used(c, &format!("operator {name}")), COMPUTE)
        .of_column(column(c))
}

/// A cell cast to another type.
pub(super) fn cell_in_cast(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(Code::CellInCast, cannot_be_used(c, "a cast to another type"), COMPUTE)
        .of_column(column(c))
}

/// Equality on a randomized column.
pub(super) fn no_equality(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::NoEquality,
        format!("column {} is {} and has no equality", column(c), mode(c.mode)),
        "Only mode \"deterministic\" allows =, IN, joins, GROUP BY, DISTINCT, UNIQUE and keys.",
    )
    .of_column(column(c))
}

/// Order on a column without one.
pub(super) fn no_order(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::NoOrder,
        format!("column {} is {} and has no order", column(c), mode(c.mode)),
        "Sort or compare in the application.",
    )
    .of_column(column(c))
}

/// Two cells of different key domains.
pub(super) fn domains_differ(a: &ProtectedColumn, b: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::DomainsDiffer,
        format!("columns {} and {} are in different key domains", column(a), column(b)),
        "Give both the same \"domain\" in the policy before data is written.",
    )
    .of_column(column(a))
    .of_column(column(b))
}

/// A plain value or column meets a cell.
pub(super) fn plain_meets_cell(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::PlainMeetsCell,
        format!("a plain value meets protected column {}", column(c)),
        "Use a literal or a parameter, which the proxy encrypts, or a column of the same key domain.",
    )
    .of_column(column(c))
}

/// A protected value would be stored in a plain column.
pub(super) fn cell_into_plain(c: &ProtectedColumn, target: &str) -> ClientError {
    ClientError::refused(
        Code::CellIntoPlain,
        format!("protected column {} cannot be assigned to plain column \"{target}\"", column(c)),
        "Protect the target column too, in the same key domain.",
    )
    .of_column(column(c))
}

/// A literal or cast of a type that is not the column's.
pub(super) fn type_mismatch(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::TypeMismatch,
        format!(
            "column {} is of type {} but the expression is of another type",
            column(c),
            c.logical.sql_name()
        ),
        "Write the value as a quoted literal or a parameter of the column's type, without a cast to another type.",
    )
    .of_column(column(c))
}

/// An array that is neither a literal, a parameter nor a list, where cells are its elements.
pub(super) fn array_value(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::PlainMeetsCell,
        format!("protected column {} is compared with an array whose elements are not known", column(c)),
        "Use = ANY ($1) with one array parameter, = ANY (ARRAY[…]) or IN (…).",
    )
    .of_column(column(c))
}

/// A parameter used as two different things.
pub(super) fn parameter_in_two_classes(number: usize) -> ClientError {
    ClientError::refused(
        Code::ParameterInTwoClasses,
        format!("parameter ${number} is used for a protected column and for something else"),
        "Use two parameters.",
    )
}

/// A column that none of the sources has.
pub(super) fn unknown_column(name: &str) -> ClientError {
    ClientError::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"), "")
}

/// A column that cannot be told apart.
pub(super) fn ambiguous_column(name: &str) -> ClientError {
    ClientError::refused(
        Code::AmbiguousColumn,
        format!("column reference \"{name}\" is ambiguous"),
        "Qualify it with its table.",
    )
}

/// A star over a source whose columns are not known.
pub(super) fn unknown_columns() -> ClientError {
    ClientError::refused(
        Code::UnknownColumns,
        "* over a source whose columns the proxy does not know is not supported together with protected columns",
        "Name the columns.",
    )
}

/// A whole row of a protected table as one value.
pub(super) fn whole_row(name: &str) -> ClientError {
    ClientError::refused(
        Code::WholeRow,
        format!("the whole row of \"{name}\" cannot be used as one value: it has protected columns"),
        "Name the columns.",
    )
}

/// A rename of something that the policy names.
pub(super) fn rename() -> ClientError {
    ClientError::refused(
        Code::Rename,
        "nothing can be renamed or moved from, or to, the name of a protected table, column or schema",
        "The policy names it: change the policy and the name together, with the proxy stopped.",
    )
}

/// Logical replication, which hands rows on.
pub(super) fn replication(form: &str) -> ClientError {
    ClientError::refused(
        Code::Published,
        format!("{form} would replicate protected tables"),
        "Publish tables by name, without the protected ones.",
    )
}

/// The CHECK that only cells pass.
pub(super) fn check_stays() -> ClientError {
    ClientError::refused(
        Code::CheckStays,
        "a constraint whose name begins with trefoil_cell_ cannot be dropped, altered or renamed",
        "Only cells pass it. It goes when its column is dropped.",
    )
}

/// A column that would be a cell in one table and plain in another that shows the same rows.
pub(super) fn half_protected(c: &ProtectedColumn, other: &QualifiedName) -> ClientError {
    ClientError::refused(
        Code::HalfProtected,
        format!("protected column {} would have to be protected in {other} in the same way", column(c)),
        "Name the column in the policy for both tables, with the same type, mode and domain.",
    )
    .of_column(column(c))
}

/// A child that would no longer be known to hold cells.
pub(super) fn parts(child: &QualifiedName) -> ClientError {
    ClientError::refused(
        Code::HalfProtected,
        format!("{child} holds protected columns of its parent and is not in the policy itself"),
        "Name it in the policy with the same columns first, or drop it.",
    )
}

/// A table whose columns are not known.
pub(super) fn columns_not_known(name: &QualifiedName) -> ClientError {
    ClientError::refused(
        Code::ColumnsNotKnown,
        format!("the columns of {name} are not known yet"),
        "It was made in this transaction in a way that is seen after COMMIT only: commit first.",
    )
}

/// More values than columns.
pub(super) fn too_many_values() -> ClientError {
    ClientError::new(sqlstate::SYNTAX_ERROR, "INSERT has more expressions than target columns", "")
}

/// A definition that does not agree with the policy.
pub(super) fn definition(c: &ProtectedColumn, what: &str) -> ClientError {
    ClientError::refused(
        Code::Definition,
        format!("{what} on protected column {}", column(c)),
        "Leave it out, or take the column out of the policy.",
    )
    .of_column(column(c))
}

/// A column defined with another type than the policy's.
pub(super) fn defined_type(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::DefinedType,
        format!("the policy declares column {} as {}", column(c), c.logical.sql_name()),
        "Define it with exactly that type: the proxy stores it as bytea.",
    )
    .of_column(column(c))
}

/// A temporary table that would hide a protected one.
pub(super) fn shadows(name: &str) -> ClientError {
    ClientError::refused(
        Code::Shadows,
        format!("relation \"{name}\" would hide a protected table of that name"),
        "Choose another name.",
    )
}

/// A setting that decides how values are read was changed, and the server has not reported it yet.
pub(crate) fn form_changed() -> ClientError {
    ClientError::refused(
        Code::FormChanged,
        "a protected table cannot be used before the server has reported a change of TimeZone, DateStyle or another \
         setting that decides how values are read",
        "Send the SET by itself, and Sync after it.",
    )
}

/// A prepared statement that SQL's EXECUTE names and the session does not know.
pub(crate) fn unknown_statement(name: &str) -> ClientError {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{name}\" does not exist")
    };
    ClientError::new(sqlstate::INVALID_SQL_STATEMENT_NAME, message, "")
}

/// EXECUTE of a prepared statement that does something to the session.
pub(super) fn not_executable(name: &str) -> ClientError {
    ClientError::refused(
        Code::NotExecutable,
        format!("prepared statement \"{name}\" cannot be run by EXECUTE"),
        "It sets, names or defines something. Execute it by the protocol, or write it out.",
    )
}

/// A statement that runs others by name, which stand for something else by now.
pub(crate) fn names_changed(name: &str) -> ClientError {
    ClientError::refused(
        Code::NamesChanged,
        format!("\"{name}\" stands for something else than when this statement was prepared"),
        "Prepare the statement that names it again.",
    )
}

/// A name that the server may tell apart from others otherwise than this side does.
pub(super) fn long_name() -> ClientError {
    ClientError::refused(
        Code::LongName,
        "a name of this length in other letters than ASCII cannot stand for a statement or cursor",
        "Choose a shorter name.",
    )
}

/// A protected column of a table made by a query gets no cell, or one of unknown type.
pub(super) fn created_null(c: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::Clause,
        format!("NULL alone does not make a column that can hold protected column {}", column(c)),
        "Create the table with its columns first, then INSERT … SELECT.",
    )
    .of_column(column(c))
}

/// A table made by EXECUTE whose columns have no names in the text.
pub(super) fn created_names() -> ClientError {
    clause(
        "CREATE TABLE … AS EXECUTE without names for all columns",
        "Name them: CREATE TABLE t (a, b) AS EXECUTE …",
    )
}

/// A share in SQL in a form that cannot be taken out.
pub(super) fn carrier(form: &str) -> ClientError {
    ClientError::refused(
        Code::Carrier,
        format!("{form} cannot carry a share"),
        "Use SET trefoil.\"user\" = '…', set_config('trefoil.user', '…', true|false) with literals or parameters, or the comment.",
    )
}

/// COPY to or from the server's files or programs.
pub(super) fn server_side_copy() -> ClientError {
    ClientError::refused(
        Code::CopyServerSide,
        "COPY of a protected table to or from the server's files or programs is not supported",
        "The server has no keys. Use COPY … FROM STDIN or TO STDOUT, as \\copy of psql does.",
    )
}

/// An option of COPY that cannot be followed over protected columns.
pub(super) fn copy_option(name: &str, hint: &str) -> ClientError {
    ClientError::refused(
        Code::CopyOption,
        format!("COPY option \"{name}\" as it is given is not supported on a protected table"),
        hint,
    )
}

/// A parameter that meets a protected column, and would go up in clear for another use.
pub(super) fn parameter_in_clear(number: usize) -> ClientError {
    ClientError::refused(
        Code::ParameterInTwoClasses,
        format!(
            "parameter ${number} meets a protected column, and its other use would show it to the database"
        ),
        "Use IS NULL, compare it with columns only, or send the value that may be seen as another parameter.",
    )
}

/// Lists that must be of one length and are not: an error of PostgreSQL's own.
pub(super) fn width(message: &str) -> ClientError {
    ClientError::new(sqlstate::SYNTAX_ERROR, message, "")
}

/// What follows a rollback of DDL in the same text, or of DDL whose end is not yet known.
pub(super) fn ddl_rolled_back() -> ClientError {
    ClientError::refused(
        Code::UncertainCatalog,
        "nothing can follow a ROLLBACK of DDL in the same text: it may mean other tables than before",
        "Send the ROLLBACK by itself.",
    )
}

/// More output columns than PostgreSQL has.
pub(super) fn too_many_targets() -> ClientError {
    ClientError::new("54011", "target lists can have at most 1664 entries", "")
}

/// A type that columns of the policy have.
pub(super) fn type_in_use(name: &str) -> ClientError {
    ClientError::new(
        "2BP01",
        format!("cannot drop type {name} because protected columns have it"),
        "Drop their tables, and take them out of the policy, first.",
    )
}

/// A CHECK or default of a domain that protected columns have: it would be over values.
pub(super) fn domain(name: &str) -> ClientError {
    ClientError::refused(
        Code::Definition,
        format!("a CHECK or DEFAULT of domain {name}, which protected columns have, cannot be added"),
        "The database cannot try it on cells. Check in the application.",
    )
}
