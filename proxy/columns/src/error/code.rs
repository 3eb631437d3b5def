//! Trefoil's own error codes: one for each reason for which the proxy refuses what PostgreSQL would
//! take. `docs/errors.md` explains each, with an example and the way out.

use super::sqlstate as state;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $state:expr;)+) => {
        /// A reason for a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as users see it: `TF` and three digits.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// The SQLSTATE that goes with it.
            pub fn sqlstate(self) -> &'static str {
                match self { $(Self::$name => $state,)+ }
            }
        }
    };
}

codes! {
    /// The text is not in PostgreSQL's grammar.
    NotInGrammar = "TF101", state::SYNTAX_ERROR;
    /// The text is nested too deeply, or has too many tokens.
    TooDeep = "TF102", state::STATEMENT_TOO_COMPLEX;
    /// The analysis failed in itself.
    NotUnderstood = "TF103", state::FEATURE_NOT_SUPPORTED;
    /// The text is not UTF-8.
    NotUtf8 = "TF104", state::FEATURE_NOT_SUPPORTED;
    /// A form of statement without meaning over protected tables.
    Statement = "TF105", state::FEATURE_NOT_SUPPORTED;
    /// A clause without meaning where protected columns are involved.
    Clause = "TF106", state::FEATURE_NOT_SUPPORTED;
    /// COPY to or from files or programs of the server.
    CopyServerSide = "TF107", state::FEATURE_NOT_SUPPORTED;
    /// An option of COPY that cannot be followed over protected columns.
    CopyOption = "TF108", state::FEATURE_NOT_SUPPORTED;

    /// A cell as a function's argument.
    CellInFunction = "TF201", state::FEATURE_NOT_SUPPORTED;
    /// A cell as the operand of an operator other than equality.
    CellInOperator = "TF202", state::FEATURE_NOT_SUPPORTED;
    /// A cell cast to another type.
    CellInCast = "TF203", state::FEATURE_NOT_SUPPORTED;
    /// A cell in another place where only plain values can stand.
    CellInPlace = "TF204", state::FEATURE_NOT_SUPPORTED;
    /// Equality on a randomized column.
    NoEquality = "TF205", state::FEATURE_NOT_SUPPORTED;
    /// Order on a column without one.
    NoOrder = "TF206", state::FEATURE_NOT_SUPPORTED;
    /// Cells of two key domains meet.
    DomainsDiffer = "TF207", state::FEATURE_NOT_SUPPORTED;
    /// A plain value or column meets a cell.
    PlainMeetsCell = "TF208", state::FEATURE_NOT_SUPPORTED;
    /// A cell would be stored in a plain column.
    CellIntoPlain = "TF209", state::FEATURE_NOT_SUPPORTED;
    /// A literal, parameter or cast of a type that is not the column's.
    TypeMismatch = "TF210", state::DATATYPE_MISMATCH;
    /// One parameter used as two things.
    ParameterInTwoClasses = "TF211", state::FEATURE_NOT_SUPPORTED;
    /// A whole row of a protected table as one value.
    WholeRow = "TF212", state::FEATURE_NOT_SUPPORTED;
    /// A star over columns that are not known.
    UnknownColumns = "TF213", state::FEATURE_NOT_SUPPORTED;

    /// A name that may mean a protected table and another one.
    AmbiguousRelation = "TF301", state::FEATURE_NOT_SUPPORTED;
    /// A relation through which a protected table is reached in a way that is not understood.
    ReachesProtected = "TF302", state::FEATURE_NOT_SUPPORTED;
    /// A protected column that the database holds in clear.
    NotMigrated = "TF303", state::FEATURE_NOT_SUPPORTED;
    /// A relation that would hide a protected one.
    Shadows = "TF304", state::FEATURE_NOT_SUPPORTED;
    /// A column name that may mean a cell and something else.
    AmbiguousColumn = "TF305", state::AMBIGUOUS_COLUMN;
    /// A protected table changed after the statement was analysed.
    TableChanged = "TF306", state::FEATURE_NOT_SUPPORTED;
    /// DDL was rolled back in part, and a protected table may have changed.
    UncertainCatalog = "TF307", state::FEATURE_NOT_SUPPORTED;
    /// A relation made in this transaction, of columns that are seen after COMMIT only.
    ColumnsNotKnown = "TF308", state::FEATURE_NOT_SUPPORTED;
    /// A type of the policy that this database does not have, or not as the policy needs it.
    UnknownType = "TF309", state::FEATURE_NOT_SUPPORTED;

    /// EXECUTE of a prepared statement that does something to the session.
    NotExecutable = "TF310", state::FEATURE_NOT_SUPPORTED;
    /// A prepared statement or cursor is another one than when the statement that names it was prepared.
    NamesChanged = "TF311", state::FEATURE_NOT_SUPPORTED;
    /// A long name of a statement or cursor in other letters than ASCII.
    LongName = "TF312", state::FEATURE_NOT_SUPPORTED;

    /// A rename of what the policy names, or to such a name.
    Rename = "TF401", state::FEATURE_NOT_SUPPORTED;
    /// A constraint, default or index that a protected column cannot have.
    Definition = "TF402", state::FEATURE_NOT_SUPPORTED;
    /// A column defined with another type than the policy's.
    DefinedType = "TF403", state::DATATYPE_MISMATCH;
    /// The CHECK that only cells pass would go or change.
    CheckStays = "TF404", state::FEATURE_NOT_SUPPORTED;
    /// A column protected in one of two tables that share rows or definitions, and not in the other.
    HalfProtected = "TF405", state::FEATURE_NOT_SUPPORTED;
    /// Protected tables would be replicated.
    Published = "TF406", state::FEATURE_NOT_SUPPORTED;
    /// A label of an enum would be renamed that protected columns hold.
    EnumLabel = "TF407", state::FEATURE_NOT_SUPPORTED;

    /// A function that may reach a protected table.
    Function = "TF501", state::FEATURE_NOT_SUPPORTED;
    /// A DO block or function definition that may name a protected table.
    Body = "TF502", state::FEATURE_NOT_SUPPORTED;
    /// A FunctionCall message.
    FunctionCall = "TF503", state::FEATURE_NOT_SUPPORTED;
    /// A replication connection.
    Replication = "TF504", state::FEATURE_NOT_SUPPORTED;

    /// A share in a form that cannot be taken out.
    Carrier = "TF601", state::FEATURE_NOT_SUPPORTED;
    /// A request without its shares.
    NoShare = "TF602", state::INVALID_AUTHORIZATION;
    /// A statement that writes under an envelope made to read.
    ReadScope = "TF603", state::INSUFFICIENT_PRIVILEGE;
    /// A keyspace that the user does not have.
    KeyspaceNotGranted = "TF604", state::INSUFFICIENT_PRIVILEGE;
    /// A database that was encrypted under another tenant key.
    ForeignKeys = "TF605", state::INVALID_AUTHORIZATION;
    /// A carrier's name that is only known when it is bound.
    CarrierByParameter = "TF606", state::FEATURE_NOT_SUPPORTED;
    /// A share that does not fit, was withdrawn or is not understood.
    ShareRejected = "TF607", state::INVALID_AUTHORIZATION;
    /// A share whose envelope has expired.
    ShareExpired = "TF608", state::INVALID_AUTHORIZATION;
    /// The bootstrap is not finished: there is no tenant key.
    NotBootstrapped = "TF609", state::INVALID_AUTHORIZATION;
    /// The bootstrap was burnt: there is no tenant key.
    BootstrapBurnt = "TF610", state::INVALID_AUTHORIZATION;
    /// The check value of a database that had one is gone.
    CheckValueMissing = "TF611", state::INVALID_AUTHORIZATION;

    /// The audit log cannot be written, and nothing is shown unrecorded.
    AuditLog = "TF612", state::IO_ERROR;

    /// A table that the user's envelope is not for.
    TableLimit = "TF620", state::INSUFFICIENT_PRIVILEGE;

    /// A setting that decides how values are read changed, and is not reported yet.
    FormChanged = "TF701", state::FEATURE_NOT_SUPPORTED;
    /// `client_encoding` or `standard_conforming_strings` do not suit protected columns.
    SessionForm = "TF702", state::FEATURE_NOT_SUPPORTED;
    /// A text that these settings make ambiguous.
    TextForm = "TF703", state::FEATURE_NOT_SUPPORTED;

    /// A value in a form that PostgreSQL may take and the proxy does not read.
    ValueForm = "TF801", state::FEATURE_NOT_SUPPORTED;
    /// A parameter declared with a type that does not become the column's.
    DeclaredType = "TF802", state::DATATYPE_MISMATCH;
    /// A stored cell that is none, was altered or belongs elsewhere.
    Corrupted = "TF803", state::DATA_CORRUPTED;
}
