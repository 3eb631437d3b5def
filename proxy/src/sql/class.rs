//! What an expression is over protected columns: plain, a cell of a key domain, or still open
//! (made of literals and parameters without a type of their own).

use crate::policy::{LogicalType, ProtectedColumn, QualifiedName, oid};
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
#[derive(Clone)]
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
#[derive(Clone)]
pub(super) enum Value {
    /// A literal, with its value as PostgreSQL reads it.
    Literal(Form, Zeroizing<String>),
    /// `$n`.
    Parameter(usize),
    /// A column of a subquery, `VALUES` or WITH query that is open itself: the slot with this index.
    Column(usize),
}

/// The lexical form of a literal, which gives it a type unless it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
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
#[derive(Clone)]
pub(super) struct Cast {
    /// `None` where the name has none, or PostgreSQL's own.
    schema: Option<String>,
    name: String,
    modifiers: Vec<i32>,
    array: bool,
    /// Whether it is neither `SETOF` nor `%TYPE`.
    plain: bool,
    /// The bytes of the type's name.
    pub(super) type_name: Range<usize>,
    /// The bytes that make the cast.
    pub(super) strips: Vec<Range<usize>>,
}

impl Cast {
    /// Reads the type's name; what it takes out of the text is for the caller to say.
    pub(super) fn to(type_name: &nodes::TypeName, strips: Vec<Range<usize>>) -> Self {
        let names: Vec<&str> = type_name.names().iter().filter_map(nodes::String::sval).collect();
        let (schema, name) = match names.as_slice() {
            [name] | ["pg_catalog", name] => (None, (*name).to_owned()),
            [schema, name] => (Some((*schema).to_owned()), (*name).to_owned()),
            _ => (None, String::new()),
        };
        let modifiers = type_name.typmods().iter().map(|n| integer(n).unwrap_or(-1)).collect();
        let array = !type_name.array_bounds().is_empty();
        let plain = !type_name.setof && !type_name.pct_type;
        Self { schema, name, modifiers, array, plain, strips, type_name: 0..0 }
    }

    /// The cast to `text` that the server puts around what leaves a subquery without a type.
    pub(super) fn to_text() -> Self {
        Self {
            schema: None,
            name: "text".to_owned(),
            modifiers: Vec::new(),
            array: false,
            plain: true,
            strips: Vec::new(),
            type_name: 0..0,
        }
    }

    /// Whether it is to an array whose elements are what [`Cast::is_identity_for`] says.
    pub(super) fn is_array_of(&self, logical: &LogicalType) -> bool {
        self.array && Self { array: false, ..self.clone() }.is_identity_for(logical)
    }

    /// Whether casting a value to this type and then using it as `logical` is the same as using it
    /// as `logical` at once.
    pub(super) fn is_identity_for(&self, logical: &LogicalType) -> bool {
        if !self.plain {
            return false;
        }
        match logical {
            LogicalType::Array(element) => self.array && self.modifiers.is_empty() && self.names(element),
            // The cast to a domain itself gives the domain's checks as assignment does.
            LogicalType::Domain(domain) => self.names(logical) || self.is_identity_for(&domain.base),
            _ if self.array => false,
            &LogicalType::Numeric { precision, scale } => {
                let whole = self.modifiers == [i32::from(precision), i32::from(scale)];
                self.names(logical) && (self.modifiers.is_empty() || whole)
            }
            LogicalType::Text | LogicalType::Varchar(_) => {
                (self.names(&LogicalType::Text) || self.names(&LogicalType::Varchar(None)))
                    && self.modifiers.is_empty()
            }
            LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
                [LogicalType::Int2, LogicalType::Int4, LogicalType::Int8].iter().any(|of| self.names(of))
            }
            _ => self.names(logical) && self.modifiers.is_empty(),
        }
    }

    /// The OID of the type, where it may be another one than that of a column that it is used as; else 0.
    pub(super) fn oid(&self) -> u32 {
        match self.name.as_str() {
            "text" => oid::TEXT,
            "varchar" => oid::VARCHAR,
            "int2" => oid::INT2,
            "int4" => oid::INT4,
            "int8" => oid::INT8,
            _ => 0,
        }
    }

    /// The type's OID, if it is one of PostgreSQL's own that a column could have.
    pub(super) fn builtin_oid(&self) -> Option<u32> {
        let element = match (self.schema.as_deref(), self.name.as_str()) {
            (Some(_), _) => return None,
            (None, "text") => oid::TEXT,
            (None, "varchar") => oid::VARCHAR,
            (None, "bpchar") => oid::BPCHAR,
            (None, "int2") => oid::INT2,
            (None, "int4") => oid::INT4,
            (None, "int8") => oid::INT8,
            (None, "float4") => oid::FLOAT4,
            (None, "float8") => oid::FLOAT8,
            (None, "numeric") => oid::NUMERIC,
            (None, "bool") => oid::BOOL,
            (None, "date") => oid::DATE,
            (None, "time") => oid::TIME,
            (None, "timetz") => oid::TIMETZ,
            (None, "timestamp") => oid::TIMESTAMP,
            (None, "timestamptz") => oid::TIMESTAMPTZ,
            (None, "interval") => oid::INTERVAL,
            (None, "uuid") => oid::UUID,
            (None, "bytea") => oid::BYTEA,
            (None, "json") => oid::JSON,
            (None, "jsonb") => oid::JSONB,
            (None, "inet") => oid::INET,
            (None, "cidr") => oid::CIDR,
            (None, "macaddr") => oid::MACADDR,
            _ => return None,
        };
        if self.array { oid::array_of(element) } else { Some(element) }
    }

    /// Whether the name is exactly this logical type's, modifiers included: for definitions.
    pub(super) fn defines(&self, logical: &LogicalType) -> bool {
        let (element, array) = match logical {
            LogicalType::Array(element) => (element.as_ref(), true),
            other => (other, false),
        };
        let length = |length: &u32| vec![i32::try_from(*length).unwrap_or(-1)];
        let wanted = match element {
            &LogicalType::Numeric { precision, scale: 0 } if self.modifiers.len() == 1 => {
                vec![i32::from(precision)]
            }
            &LogicalType::Numeric { precision, scale } => vec![i32::from(precision), i32::from(scale)],
            LogicalType::Varchar(Some(n)) | LogicalType::Char(n) => length(n),
            LogicalType::Time(Some(digits))
            | LogicalType::Timetz(Some(digits))
            | LogicalType::Timestamp(Some(digits))
            | LogicalType::Timestamptz(Some(digits)) => vec![i32::from(*digits)],
            LogicalType::Interval(Some(digits)) => vec![INTERVAL_FULL_RANGE, i32::from(*digits)],
            _ => Vec::new(),
        };
        self.plain && self.array == array && self.modifiers == wanted && self.names(element)
    }

    /// Whether it is the name of this type, arrays and modifiers aside. A type of the database's own
    /// may stand without its schema.
    fn names(&self, logical: &LogicalType) -> bool {
        let own = |own: &QualifiedName| {
            self.name == own.name && self.schema.as_ref().is_none_or(|schema| *schema == own.schema)
        };
        let name = match logical {
            LogicalType::Text => "text",
            LogicalType::Varchar(_) => "varchar",
            LogicalType::Char(_) => "bpchar",
            LogicalType::Int2 => "int2",
            LogicalType::Int4 => "int4",
            LogicalType::Int8 => "int8",
            LogicalType::Float4 => "float4",
            LogicalType::Float8 => "float8",
            LogicalType::Bool => "bool",
            LogicalType::Date => "date",
            LogicalType::Time(_) => "time",
            LogicalType::Timetz(_) => "timetz",
            LogicalType::Timestamp(_) => "timestamp",
            LogicalType::Timestamptz(_) => "timestamptz",
            LogicalType::Interval(_) => "interval",
            LogicalType::Uuid => "uuid",
            LogicalType::Bytea => "bytea",
            LogicalType::Numeric { .. } | LogicalType::UnboundedNumeric => "numeric",
            LogicalType::Inet => "inet",
            LogicalType::Cidr => "cidr",
            LogicalType::Macaddr => "macaddr",
            LogicalType::Json => "json",
            LogicalType::Jsonb => "jsonb",
            LogicalType::Named(name) => return own(name),
            LogicalType::Enum(of) => return own(&of.name),
            LogicalType::Domain(of) => return own(&of.name),
            LogicalType::Array(_) => return false,
        };
        self.schema.is_none() && self.name == name
    }
}

/// What the grammar gives as the fields of `interval(n)`.
const INTERVAL_FULL_RANGE: i32 = 0x7fff;

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
    /// The type that PostgreSQL gives a literal of this form, where a number's differs from the column's; 0
    /// where it has the column's.
    pub(super) fn declared(self, literal: &str, logical: &LogicalType) -> u32 {
        let number = match logical {
            LogicalType::Domain(domain) => return self.declared(literal, &domain.base),
            LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => false,
            _ => matches!(self, Self::Integer | Self::Decimal),
        };
        match (number, self) {
            (false, _) => 0,
            (true, Self::Integer) if literal.parse::<i32>().is_ok() => oid::INT4,
            (true, Self::Integer) if literal.parse::<i64>().is_ok() => oid::INT8,
            _ => oid::NUMERIC,
        }
    }

    /// Whether a literal of this form may stand where `logical` is compared or, with `assigned`,
    /// stored, as PostgreSQL's implicit and assignment casts allow.
    pub(super) fn suits(self, logical: &LogicalType, assigned: bool) -> bool {
        use LogicalType::{
            Char, Domain, Float4, Float8, Int2, Int4, Int8, Numeric, Text, UnboundedNumeric, Varchar,
        };
        if let Domain(domain) = logical {
            return self.suits(&domain.base, assigned);
        }
        match self {
            Self::Quoted => true,
            Self::Integer => match logical {
                Int2 | Int4 | Int8 | Numeric { .. } | UnboundedNumeric | Float4 | Float8 => true,
                Text | Varchar(_) | Char(_) => assigned,
                _ => false,
            },
            Self::Decimal => {
                matches!(logical, Int2 | Int4 | Int8 | Numeric { .. } | UnboundedNumeric | Float4 | Float8)
            }
            Self::Boolean => *logical == LogicalType::Bool,
        }
    }
}
