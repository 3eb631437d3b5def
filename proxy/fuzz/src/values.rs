//! Values of each logical type, in text and in binary form. Four bytes choose the type, what is done, the
//! type that the client declares, and the session's settings.

use std::sync::LazyLock;
use trefoil_columns::policy::types::{Type, TypeKind, Types};
use trefoil_columns::policy::{LogicalType, Policy, Purpose, QualifiedName, oid};
use trefoil_columns::value::{self, Settings, array::Array};

/// Those of the tests' corpus, and what has modifiers.
static TYPES: LazyLock<Vec<LogicalType>> = LazyLock::new(|| {
    let own = |name: &str, oid, kind| Type {
        name: QualifiedName::new("public", name),
        oid,
        array_oid: oid + 1,
        kind,
    };
    let labels = ["sad", "ok", "so, \"happy\""].map(str::to_owned).to_vec();
    let domain = |base, typmod, not_null, checked| TypeKind::Domain { base, typmod, not_null, checked };
    let known = Types::new([
        own("mood", 90_000, TypeKind::Enum(labels)),
        own("email", 90_010, domain(oid::VARCHAR, 34, false, false)),
        own("score", 90_020, domain(oid::INT4, -1, true, false)),
        own("checked", 90_030, domain(oid::INT4, -1, false, true)),
    ]);
    let policy = Policy::parse(include_str!("../../../tests/corpus/policy.toml")).expect("the corpus's");
    let mut types: Vec<LogicalType> =
        policy.columns().iter().filter_map(|column| known.resolve(&column.logical)).collect();
    let arrays: Vec<_> = types.iter().map(|element| LogicalType::Array(Box::new(element.clone()))).collect();
    types.extend(arrays.into_iter().filter_map(|array| known.resolve(&array)));
    types.extend([
        LogicalType::Numeric { precision: 1000, scale: 500 },
        LogicalType::Time(Some(0)),
        LogicalType::Timetz(Some(2)),
        LogicalType::Interval(Some(3)),
        LogicalType::Timestamptz(Some(0)),
    ]);
    let mut names = std::collections::BTreeSet::new();
    types.retain(|logical| names.insert(format!("{logical:?}")));
    types
});

/// What a client may declare.
const DECLARED: [u32; 16] = [
    0,
    oid::UNKNOWN,
    oid::TEXT,
    oid::VARCHAR,
    oid::NAME,
    oid::INT2,
    oid::INT4,
    oid::INT8,
    oid::NUMERIC,
    oid::FLOAT4,
    oid::FLOAT8,
    oid::DATE,
    oid::TIMESTAMP,
    oid::TIMESTAMPTZ,
    oid::INET,
    oid::BPCHAR,
];

const STYLES: [&str; 4] = ["ISO, MDY", "SQL, DMY", "German, DMY", "Postgres, MDY"];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/St_Johns", "<+05:30>-05:30"];
const INTERVALS: [&str; 4] = ["postgres", "postgres_verbose", "sql_standard", "iso_8601"];

/// Reads one value; what was read is shown, and read again as the same.
pub fn run(data: &[u8]) -> bool {
    let Some((&[logical, how, declared, set], bytes)) = data.split_first_chunk() else { return false };
    let Some(logical) = TYPES.get(usize::from(logical) % TYPES.len()) else { return false };
    let purpose = match how & 3 {
        0 | 1 => Purpose::Assign,
        2 => Purpose::Compare,
        _ => Purpose::Flow,
    };
    let declared = DECLARED.get(usize::from(declared) % DECLARED.len()).copied().unwrap_or_default();
    let mut settings = Settings::default();
    let choose =
        |names: &[&'static str; 4], shift: u8| *names.get(usize::from(set >> shift & 3)).unwrap_or(&"");
    settings.set("DateStyle", choose(&STYLES, 0));
    settings.set("TimeZone", choose(&ZONES, 2));
    settings.set("IntervalStyle", choose(&INTERVALS, 4));
    let mut canonical = b"before".to_vec();
    let read = match how >> 2 & 3 {
        0 => value::from_text(logical, bytes, purpose, &settings, &mut canonical),
        1 => value::from_declared_text(logical, declared, bytes, purpose, &settings, &mut canonical),
        2 => value::from_binary(logical, declared, bytes, purpose, &settings, &mut canonical),
        _ => {
            // What a cell holds may be of another policy.
            show(logical, bytes, &settings);
            Array::from_binary(bytes).map(|_| ()).or(Ok(()))
        }
    };
    if read.is_err() {
        return false;
    }
    let canonical = canonical.get(6..).unwrap_or_default();
    if how >> 2 & 3 != 3 && purpose == Purpose::Assign {
        read_again(logical, canonical);
    }
    show(logical, canonical, &settings);
    true
}

fn show(logical: &LogicalType, canonical: &[u8], settings: &Settings) {
    let mut out = Vec::new();
    let _ = value::to_text(logical, canonical, settings, &mut out);
    let _ = value::to_escaped_text(logical, canonical, settings, &mut out);
    let _ = value::to_binary(logical, canonical, &mut out);
}

/// What was read for a column is shown, and read again as the same.
fn read_again(logical: &LogicalType, canonical: &[u8]) {
    let settings = Settings::default();
    let (mut text, mut again) = (Vec::new(), Vec::new());
    value::to_text(logical, canonical, &settings, &mut text).expect("it was read");
    value::from_text(logical, &text, Purpose::Assign, &settings, &mut again).expect("it was shown");
    let mut shown = Vec::new();
    value::to_text(logical, &again, &settings, &mut shown).expect("it was read");
    assert_eq!(shown, text, "{logical:?}");
    // Without equality, as of NaN, equal texts may be different bytes.
    if logical.supports_deterministic() {
        assert_eq!(again, canonical, "{logical:?}: {}", text.escape_ascii());
    }
    let (mut binary, mut again) = (Vec::new(), Vec::new());
    value::to_binary(logical, canonical, &mut binary).expect("it was read");
    value::from_binary(logical, 0, &binary, Purpose::Assign, &settings, &mut again).expect("it was shown");
    assert_eq!(again, canonical, "{logical:?} in binary");
}

/// A value of each type, as text.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "1",
        "-32768",
        "t",
        "1961-02-03",
        "2024-05-06 07:08:09.123456+02",
        "infinity",
        "-0.07",
        "NaN",
        "1e23",
        "aaaaaaaa-0000-4000-8000-000000000001",
        "\\x00ff",
        "{\"a\": [1, 2.50, null]}",
        "12:34:56.789+02",
        "1 year 2 mons -3 days 04:05:06.7",
        "P1Y2M",
        "10.0.0.0/24",
        "::1",
        "08:00:2b:01:02:03",
        "ok",
        "{1,NULL,-3}",
        "{\"SEED, \\\"b\\\"\",NULL,\"NULL\"}",
        "[0:1]={2024-01-01,2024-01-02}",
        "{{a,b},{c,d}}",
        "",
    ];
    let count = u8::try_from(TYPES.len()).unwrap_or(u8::MAX);
    let of = |index: u8, text: &str| [&[index, 0, 0, 0][..], text.as_bytes()].concat();
    let all = (0..count).flat_map(|index| texts.iter().map(move |text| of(index, text)));
    all.filter(|seed| run(seed)).collect()
}
