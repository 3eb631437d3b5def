//! Enums and domains: what a database's catalog says of the types that a policy only names.

use super::{LogicalType, QualifiedName, oid};
use std::collections::HashMap;
use std::sync::Arc;

/// An enum type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Enum {
    /// Its name.
    pub name: QualifiedName,
    /// Its OID.
    pub oid: u32,
    /// The OID of arrays of it.
    pub array_oid: u32,
    /// Its labels.
    pub labels: Vec<String>,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Its name.
    pub name: QualifiedName,
    /// Its OID.
    pub oid: u32,
    /// The OID of arrays of it.
    pub array_oid: u32,
    /// What it is a domain over.
    pub base: LogicalType,
    /// Whether it, or a domain that it is over, is NOT NULL.
    pub not_null: bool,
    /// Whether it, or a domain that it is over, has a CHECK. Nobody can check it over cells.
    pub checked: bool,
}

/// An enum or domain as `pg_type` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its name.
    pub name: QualifiedName,
    /// `oid`
    pub oid: u32,
    /// `typarray`
    pub array_oid: u32,
    /// What it is.
    pub kind: TypeKind,
}

/// What a type of the database's own is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// An enum with these labels, in their order.
    Enum(Vec<String>),
    /// A domain.
    Domain {
        /// `typbasetype`
        base: u32,
        /// `typtypmod`
        typmod: i32,
        /// `typnotnull`
        not_null: bool,
        /// Whether it has a CHECK of its own.
        checked: bool,
    },
}

/// A database's enums and domains.
#[derive(Debug, Default)]
pub struct Types {
    by_oid: HashMap<u32, Type>,
}

/// Domains over domains are followed this far.
const MAX_DEPTH: u8 = 32;

impl Types {
    /// All of these.
    pub fn new(types: impl IntoIterator<Item = Type>) -> Self {
        Self { by_oid: types.into_iter().map(|t| (t.oid, t)).collect() }
    }

    /// The logical type with what it names filled in; `None` if that does not exist or is of no kind
    /// that a protected column can have.
    pub fn resolve(&self, logical: &LogicalType) -> Option<LogicalType> {
        match logical {
            LogicalType::Named(name) => {
                let own = self.by_oid.values().find(|own| own.name == **name)?;
                self.logical(own, MAX_DEPTH)
            }
            LogicalType::Array(element) => match self.resolve(element)? {
                LogicalType::Domain(domain) if matches!(domain.base, LogicalType::Array(_)) => None,
                element => Some(LogicalType::Array(Box::new(element))),
            },
            other => Some(other.clone()),
        }
    }

    fn logical(&self, own: &Type, depth: u8) -> Option<LogicalType> {
        let depth = depth.checked_sub(1)?;
        let (name, oid, array_oid) = (own.name.clone(), own.oid, own.array_oid);
        Some(match &own.kind {
            TypeKind::Enum(labels) => {
                LogicalType::Enum(Arc::new(Enum { name, oid, array_oid, labels: labels.clone() }))
            }
            TypeKind::Domain { base, typmod, not_null, checked } => {
                let base = self.by_oid(*base, *typmod, depth)?;
                let (inner_not_null, inner_checked) = match &base {
                    LogicalType::Domain(inner) => (inner.not_null, inner.checked),
                    _ => (false, false),
                };
                LogicalType::Domain(Arc::new(Domain {
                    name,
                    oid,
                    array_oid,
                    base,
                    not_null: *not_null || inner_not_null,
                    checked: *checked || inner_checked,
                }))
            }
        })
    }

    fn by_oid(&self, oid: u32, typmod: i32, depth: u8) -> Option<LogicalType> {
        if let Some(own) = self.by_oid.get(&oid) {
            return self.logical(own, depth);
        }
        let element = self.by_oid.values().find(|own| own.array_oid == oid);
        let element = match element {
            Some(own) => Some(self.logical(own, depth)?),
            None => match oid::element_of(oid) {
                Some(element) => Some(LogicalType::of(element, typmod)?),
                None => None,
            },
        };
        match element {
            Some(element) => Some(LogicalType::Array(Box::new(element))),
            None => LogicalType::of(oid, typmod),
        }
    }
}

impl LogicalType {
    /// The built-in type with this OID and modifier.
    fn of(oid: u32, typmod: i32) -> Option<Self> {
        let length = || u32::try_from(typmod.checked_sub(4)?).ok();
        let precision = u8::try_from(typmod & 0xffff).ok().filter(|digits| typmod >= 0 && *digits <= 6);
        Some(match oid {
            oid::TEXT => Self::Text,
            oid::VARCHAR if typmod < 0 => Self::Varchar(None),
            oid::VARCHAR => Self::Varchar(Some(length()?)),
            oid::BPCHAR => Self::Char(length()?),
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::FLOAT4 => Self::Float4,
            oid::FLOAT8 => Self::Float8,
            oid::BOOL => Self::Bool,
            oid::DATE => Self::Date,
            oid::TIME => Self::Time(precision),
            oid::TIMETZ => Self::Timetz(precision),
            oid::TIMESTAMP => Self::Timestamp(precision),
            oid::TIMESTAMPTZ => Self::Timestamptz(precision),
            // Fields, such as `interval day to minute`, are not followed.
            oid::INTERVAL if typmod >= 0 && typmod >> 16 != 0x7fff => return None,
            oid::INTERVAL => Self::Interval(precision),
            oid::UUID => Self::Uuid,
            oid::BYTEA => Self::Bytea,
            oid::NUMERIC if typmod < 0 => Self::UnboundedNumeric,
            oid::NUMERIC => {
                let packed = length()?;
                let precision = u16::try_from(packed >> 16).ok()?;
                let scale = u16::try_from(packed & 0x7ff).ok()?;
                if scale > precision {
                    return None;
                }
                Self::Numeric { precision, scale }
            }
            oid::INET => Self::Inet,
            oid::CIDR => Self::Cidr,
            oid::MACADDR => Self::Macaddr,
            oid::JSON => Self::Json,
            oid::JSONB => Self::Jsonb,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_types_are_known_by_their_numbers() {
        for name in [
            "text",
            "varchar",
            "varchar(5)",
            "char(3)",
            "int2",
            "int4",
            "int8",
            "real",
            "float8",
            "bool",
            "date",
            "time",
            "time(0)",
            "timetz(3)",
            "timestamp",
            "timestamp(6)",
            "timestamptz(1)",
            "interval",
            "interval(4)",
            "uuid",
            "bytea",
            "numeric",
            "numeric(12,2)",
            "numeric(1000,1000)",
            "inet",
            "cidr",
            "macaddr",
            "json",
            "jsonb",
        ] {
            let logical = LogicalType::parse(name).unwrap();
            assert_eq!(LogicalType::of(logical.oid(), logical.typmod()), Some(logical), "{name}");
        }
        assert_eq!(LogicalType::of(oid::INTERVAL, 0x0400_ffff), None);
        assert_eq!(LogicalType::of(600, -1), None);
    }

    #[test]
    fn domains_are_followed_to_their_base() {
        let own = |oid, name: &str, kind| Type {
            name: QualifiedName::new("public", name),
            oid,
            array_oid: oid + 1,
            kind,
        };
        let domain = |base, typmod, not_null, checked| TypeKind::Domain { base, typmod, not_null, checked };
        let types = Types::new([
            own(100, "mood", TypeKind::Enum(vec!["sad".to_owned(), "ok".to_owned()])),
            own(200, "feeling", domain(100, -1, true, false)),
            own(300, "feelings", domain(201, -1, false, false)),
            own(400, "code", domain(oid::VARCHAR, 9, false, true)),
            own(500, "codes", domain(1015, 9, false, false)),
            own(600, "subcode", domain(400, -1, false, false)),
            own(700, "spot", domain(600_000, -1, false, false)),
            own(800, "loop", domain(800, -1, false, false)),
        ]);
        let resolve = |name: &str| types.resolve(&LogicalType::parse(name).unwrap());
        let mood = resolve("public.mood").unwrap();
        assert_eq!((mood.oid(), mood.size(), mood.supports_deterministic()), (100, 4, true));
        assert_eq!(resolve("public.mood[]").unwrap().oid(), 101);
        let Some(LogicalType::Domain(feeling)) = resolve("public.feeling") else { panic!() };
        assert_eq!((&feeling.base, feeling.not_null, feeling.checked), (&mood, true, false));
        let feelings = resolve("public.feelings").unwrap();
        assert_eq!((feelings.oid(), feelings.own_oid()), (201, 300));
        assert!(resolve("public.feelings[]").is_none());
        let codes = resolve("public.codes").unwrap();
        assert_eq!((codes.oid(), codes.typmod()), (1015, 9));
        let Some(LogicalType::Domain(subcode)) = resolve("public.subcode") else { panic!() };
        assert!(subcode.checked && subcode.base.typmod() == 9);
        for name in ["public.spot", "public.loop", "public.none", "other.mood"] {
            assert!(resolve(name).is_none(), "{name}");
        }
        assert_eq!(resolve("text[]").unwrap().oid(), 1009);
    }
}
