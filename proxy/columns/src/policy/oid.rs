//! Type OIDs (`pg_type.oid`) that clients declare for parameters or see in descriptions.

/// `boolean`
pub const BOOL: u32 = 16;
/// `bytea`
pub const BYTEA: u32 = 17;
/// `name`
pub const NAME: u32 = 19;
/// `bigint`
pub const INT8: u32 = 20;
/// `smallint`
pub const INT2: u32 = 21;
/// `integer`
pub const INT4: u32 = 23;
/// `text`
pub const TEXT: u32 = 25;
/// `json`
pub const JSON: u32 = 114;
/// `cidr`
pub const CIDR: u32 = 650;
/// `real`
pub const FLOAT4: u32 = 700;
/// `double precision`
pub const FLOAT8: u32 = 701;
/// The pseudo-type of a literal or parameter without a type of its own.
pub const UNKNOWN: u32 = 705;
/// `macaddr`
pub const MACADDR: u32 = 829;
/// `inet`
pub const INET: u32 = 869;
/// `character(n)`
pub const BPCHAR: u32 = 1042;
/// `character varying`
pub const VARCHAR: u32 = 1043;
/// `date`
pub const DATE: u32 = 1082;
/// `time without time zone`
pub const TIME: u32 = 1083;
/// `timestamp without time zone`
pub const TIMESTAMP: u32 = 1114;
/// `timestamp with time zone`
pub const TIMESTAMPTZ: u32 = 1184;
/// `interval`
pub const INTERVAL: u32 = 1186;
/// `time with time zone`
pub const TIMETZ: u32 = 1266;
/// `numeric`
pub const NUMERIC: u32 = 1700;
/// `uuid`
pub const UUID: u32 = 2950;
/// `jsonb`
pub const JSONB: u32 = 3802;

/// Whether the type's values are strings: `text`, `varchar`, `character(n)`, `name`.
pub fn is_string(oid: u32) -> bool {
    matches!(oid, TEXT | VARCHAR | BPCHAR | NAME)
}

/// Whether it is `smallint`, `integer` or `bigint`.
pub fn is_integer(oid: u32) -> bool {
    matches!(oid, INT2 | INT4 | INT8)
}

/// The OID of the array type over an element type (`pg_type.typarray`), for the types that a column
/// can have.
pub fn array_of(element: u32) -> Option<u32> {
    ARRAYS.iter().find(|(of, _)| *of == element).map(|(_, array)| *array)
}

/// The OID of an array type's elements.
pub fn element_of(array: u32) -> Option<u32> {
    ARRAYS.iter().find(|(_, oid)| *oid == array).map(|(element, _)| *element)
}

/// Element types and their array types.
const ARRAYS: [(u32, u32); 29] = [
    (BOOL, 1000),
    (BYTEA, 1001),
    (NAME, 1003),
    (INT2, 1005),
    (INT4, 1007),
    (TEXT, 1009),
    (BPCHAR, 1014),
    (VARCHAR, 1015),
    (INT8, 1016),
    (FLOAT4, 1021),
    (FLOAT8, 1022),
    (JSON, 199),
    (CIDR, 651),
    (774, 775),
    (790, 791),
    (MACADDR, 1040),
    (INET, 1041),
    (TIMESTAMP, 1115),
    (DATE, 1182),
    (TIME, 1183),
    (TIMESTAMPTZ, 1185),
    (INTERVAL, 1187),
    (NUMERIC, 1231),
    (TIMETZ, 1270),
    (1560, 1561),
    (1562, 1563),
    (UUID, 2951),
    (JSONB, 3807),
    (26, 1028),
];
