//! Statements that nobody has seen before: parsed and analysed, without the cache of plans.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error; criterion's macros"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use trefoil_proxy::policy::Policy;
use trefoil_proxy::sql::{self, Context, Plan};

const COLUMNS: usize = 10;
/// Statements of one measurement.
const STATEMENTS: usize = 6;

/// A table of ten columns, every other one protected, among so many others.
fn tables(others: usize) -> (String, String) {
    let (mut policy, mut schema) = (String::new(), String::new());
    for table in 0..=others {
        let columns: Vec<String> = (0..COLUMNS).map(|column| format!("c{column} text")).collect();
        schema += &format!("CREATE TABLE t{table} ({});\n", columns.join(", "));
        policy += &format!("[tables.\"public.t{table}\"]\n");
        for column in (0..COLUMNS).step_by(2) {
            policy += &format!("c{column} = {{ type = \"text\", mode = \"deterministic\" }}\n");
        }
    }
    (policy, schema)
}

fn statements(table: &str) -> [(&'static str, String); STATEMENTS] {
    let list = |from: &str| (0..COLUMNS).map(|n| format!("{from}{n}")).collect::<Vec<_>>().join(", ");
    let places = (1..=COLUMNS).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let literals = (0..COLUMNS).map(|n| format!("'value {n}'")).collect::<Vec<_>>().join(", ");
    let columns = list("c");
    [
        ("SELECT by a key", format!("SELECT {columns} FROM {table} WHERE c0 = $1")),
        ("SELECT by a literal", format!("SELECT {columns} FROM {table} WHERE c0 = 'value'")),
        (
            "join",
            format!(
                "SELECT a.c0, b.{} FROM {table} a JOIN {table} b ON a.c2 = b.c2 WHERE a.c0 = $1",
                columns.replace(", ", ", b.")
            ),
        ),
        ("INSERT of parameters", format!("INSERT INTO {table} ({columns}) VALUES ({places})")),
        ("INSERT of literals", format!("INSERT INTO {table} ({columns}) VALUES ({literals})")),
        (
            "UPDATE",
            format!(
                "UPDATE {table} SET {} WHERE c0 = $11",
                (0..COLUMNS).map(|n| format!("c{n} = ${}", n + 1)).collect::<Vec<_>>().join(", ")
            ),
        ),
    ]
}

fn analysis(c: &mut Criterion) {
    let none = |_: &str| -> Option<Arc<Plan>> { None };
    for others in [0, 999] {
        let (policy, schema) = tables(others);
        let policy = Policy::parse(&policy).expect("a policy");
        let catalog = Arc::new(sql::schema(&schema, &policy).expect("a schema"));
        let context = Context { policy: &policy, catalog: &catalog, prepared: &none, audited: false };
        let schemas = ["pg_catalog", "public"].map(str::to_owned);
        let path = Arc::new(sql::SearchPath::new(schemas, Some("public".to_owned())));
        let name = if others == 0 { "analysis" } else { "analysis, policy of 1,000 tables" };
        let mut group = c.benchmark_group(name);
        // Of one table after the other, so that not all of it is in the processor's caches.
        let by_table: Vec<_> = (0..=others).map(|table| statements(&format!("t{table}"))).collect();
        for number in 0..STATEMENTS {
            let of_number = || by_table.iter().filter_map(|statements| statements.get(number));
            let Some((name, _)) = of_number().next() else { continue };
            let mut texts = of_number().cycle();
            group.bench_function(*name, |b| {
                b.iter(|| {
                    let (_, text) = texts.next().expect("a statement");
                    let (plan, _) = sql::analyze_by(black_box(text.as_bytes()), &context, Some(&path));
                    assert!(plan.is_ok_and(|plan| plan.protected));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, analysis);
criterion_main!(benches);
