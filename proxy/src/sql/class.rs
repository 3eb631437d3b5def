//! What an expression is over protected columns: plain, a cell of a key domain, or still open
//! (made of literals and parameters without a type of their own).

use crate::policy::{LogicalType, ProtectedColumn};
use pg_raw_parse::{ConstValue, Node, nodes};
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The class of an expression.
pub(super) enum Class {
    /// A value that the database may see.
    Plain,
    /// A cell of this column's key domain.
    Cell(Arc<ProtectedColumn>),
    /// Literals and parameters that become cells if they meet one; no leaf at all is NULL.
    Open(Vec<Leaf>),
}

/// A literal or parameter whose class is not yet decided.
pub(super) struct Leaf {
    /// What it is.
    pub(super) value: Value,
    /// The bytes of the literal or parameter itself.
    pub(super) token: Range<usize>,
    /// The casts around it, each with the bytes to take out when it becomes a cell.
    pub(super) casts: Vec<Cast>,
    /// The name of the output column that it is by itself, where the text gives none: what stands in
    /// its place would be named otherwise.
    pub(super) label: Option<String>,
}

/// The value of a leaf.
pub(super) enum Value {
    /// A literal, with its value as PostgreSQL reads it.
    Literal(Form, Zeroizing<String>),
    /// `$n`.
    Parameter(usize),
}

/// The lexical form of a literal, which gives it a type unless it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In quotes of any kind: of unknown type.
    Quoted,
    /// An integer.
    Integer,
    /// A number with a point or an exponent, or beyond bigint.
    Decimal,
    /// TRUE or FALSE.
    Boolean,
}

/// A cast to a type by name.
pub(super) struct Cast {
    name: String,
    modifiers: Vec<i32>,
    scalar: bool,
    /// The bytes that make the cast.
    pub(super) strips: Vec<Range<usize>>,
}

impl Cast {
    /// Reads the type's name; what it takes out of the text is for the caller to say.
    pub(super) fn to(type_name: &nodes::TypeName, strips: Vec<Range<usize>>) -> Self {
        let names: Vec<&str> = type_name.names().iter().filter_map(nodes::String::sval).collect();
        let name = match names.as_slice() {
            [name] | ["pg_catalog", name] => (*name).to_owned(),
            _ => String::new(),
        };
        let modifiers = type_name.typmods().iter().map(|n| integer(n).unwrap_or(-1)).collect();
        let scalar = type_name.array_bounds().is_empty() && !type_name.setof && !type_name.pct_type;
        Self { name, modifiers, scalar, strips }
    }

    /// Whether casting a value to this type and then using it as `logical` is the same as using it
    /// as `logical` at once.
    pub(super) fn is_identity_for(&self, logical: &LogicalType) -> bool {
        if !self.scalar {
            return false;
        }
        let name = self.name.as_str();
        let modifiers = self.modifiers.as_slice();
        match logical {
            LogicalType::Numeric { precision, scale } => {
                name == "numeric"
                    && (modifiers.is_empty() || modifiers == [i32::from(*precision), i32::from(*scale)])
            }
            LogicalType::Text | LogicalType::Varchar(_) => {
                matches!(name, "text" | "varchar") && modifiers.is_empty()
            }
            LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
                matches!(name, "int2" | "int4" | "int8")
            }
            LogicalType::Bool => name == "bool",
            LogicalType::Date => name == "date",
            LogicalType::Timestamptz => name == "timestamptz" && modifiers.is_empty(),
            LogicalType::Uuid => name == "uuid",
            LogicalType::Bytea => name == "bytea",
            LogicalType::Jsonb => name == "jsonb",
        }
    }

    /// Whether the name is exactly this logical type's, modifiers included: for definitions.
    pub(super) fn defines(&self, logical: &LogicalType) -> bool {
        let wanted: &[i32] = match logical {
            LogicalType::Numeric { precision, scale } => &[i32::from(*precision), i32::from(*scale)],
            LogicalType::Varchar(Some(length)) => &[i32::try_from(*length).unwrap_or(-1)],
            _ => &[],
        };
        let integer_width = match logical {
            LogicalType::Int2 => self.name == "int2",
            LogicalType::Int4 => self.name == "int4",
            LogicalType::Int8 => self.name == "int8",
            LogicalType::Text => self.name == "text",
            LogicalType::Varchar(_) => self.name == "varchar",
            _ => true,
        };
        let scale_left_out = matches!(
            (logical, self.modifiers.as_slice()),
            (LogicalType::Numeric { precision, scale: 0 }, [p]) if *p == i32::from(*precision)
        );
        let base =
            Self { name: self.name.clone(), modifiers: Vec::new(), scalar: self.scalar, strips: Vec::new() };
        base.is_identity_for(logical) && integer_width && (self.modifiers == wanted || scale_left_out)
    }
}

/// The value of an integer constant node.
pub(super) fn integer(node: Node<'_>) -> Option<i32> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::Integer(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// The value of a quoted constant node.
pub(super) fn string(node: Node<'_>) -> Option<&str> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::String(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

impl Form {
    /// Whether a literal of this form may stand where `logical` is compared or, with `assigned`,
    /// stored, as PostgreSQL's implicit and assignment casts allow.
    pub(super) fn suits(self, logical: &LogicalType, assigned: bool) -> bool {
        let text = matches!(logical, LogicalType::Text | LogicalType::Varchar(_));
        match self {
            Self::Quoted => true,
            Self::Integer => {
                matches!(
                    logical,
                    LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 | LogicalType::Numeric { .. }
                ) || (text && assigned)
            }
            Self::Decimal => matches!(logical, LogicalType::Numeric { .. }),
            Self::Boolean => *logical == LogicalType::Bool,
        }
    }
}
