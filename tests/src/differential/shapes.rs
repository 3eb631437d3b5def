//! Which shapes of statements are right by now. Turning one on is one line.

/// A shape that the proxy came to support later than others, or does not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `NULL::date` beside a cell.
    TypedNull,
    /// A cell of a type with a modifier, or of cidr, in COALESCE, CASE and NULLIF with values, or cast to
    /// its type without the modifier: the result is described without it, or as the wider type.
    LostModifier,
    /// `= ANY (ARRAY[…])`, of literals and parameters.
    AnyOfArray,
    /// `= ANY ($1)` and `= ANY ('{…}')`.
    AnyOfArrayValue,
    /// One parameter beside a cell and beside what is plain.
    TwoClasses,
    /// `(a, b) = (SELECT …)` in a condition.
    RowWithSubquery,
    /// INSERT … SELECT whose literals stand in FROM or in a WITH query.
    ValuesIntoCells,
    /// MERGE.
    Merge,
    /// PREPARE, EXECUTE, DEALLOCATE.
    Prepare,
    /// `PREPARE … ARRAY[$1]`.
    PreparedArray,
    /// DECLARE, FETCH, MOVE, CLOSE.
    Cursor,
    /// COPY … TO STDOUT.
    CopyOut,
    /// COPY … FROM STDIN.
    CopyIn,
}

/// What is not generated: it is refused, or known to be wrong.
const OFF: &[Form] = &[Form::TypedNull, Form::LostModifier, Form::PreparedArray];

impl Form {
    /// Whether it is generated.
    pub fn is_on(self) -> bool {
        !OFF.contains(&self)
    }
}
