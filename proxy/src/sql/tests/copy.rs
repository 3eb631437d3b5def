//! COPY: what its data is, or why it is refused.

use super::{plan, refused, rewritten, untouched};
use crate::copy::{Format, Header};
use crate::sql::CopyPlan;
use std::sync::Arc;

#[track_caller]
fn copied(text: &str, expected: &str) -> Arc<CopyPlan> {
    let plan = rewritten(text, expected);
    assert!(plan.protected);
    Arc::clone(plan.copy().unwrap())
}

fn shown(copy: &CopyPlan) -> String {
    let column = |(column, cell): (&crate::copy::Column, &Option<_>)| {
        assert_eq!(column.cell, cell.is_some());
        format!("{}{}", column.name, if column.cell { "*" } else { "" })
    };
    copy.layout.columns.iter().zip(&copy.cells).map(column).collect::<Vec<_>>().join(",")
}

#[test]
fn columns_are_written_out() {
    let all = r#"("id", "name", "ssn", "notes", "age", "code", "balance", "city")"#;
    let copy = copied("copy patients from stdin", &format!("copy patients {all} from stdin"));
    assert!(copy.from);
    assert_eq!(shown(&copy), "id,name*,ssn*,notes*,age*,code*,balance*,city");
    let copy = copied("copy public.patients to stdout", &format!("copy public.patients {all} to stdout"));
    assert!(!copy.from);
    let text = "copy patients (ssn, id) from stdin";
    assert_eq!(shown(&copied(text, text)), "ssn*,id");
    let copy = copied(
        "copy binary visits from stdin",
        r#"copy binary visits ("id", "patient", "ssn", "reason") from stdin"#,
    );
    assert_eq!(copy.layout.format, Format::Binary);
}

#[test]
fn queries() {
    let copy = copied(
        "copy (select ssn as x, id, age from patients where ssn = 'MARKER') to stdout",
        "copy (select ssn as x, id, age from patients where ssn = «ssn:MARKER:C») to stdout",
    );
    assert_eq!(shown(&copy), "x*,id,age*");
    let copy = copied(
        "copy (insert into visits (id, ssn) values (1, 'MARKER') returning ssn) to stdout csv",
        "copy (insert into visits (id, ssn) values (1, «ssn:MARKER:A») returning ssn) to stdout csv",
    );
    assert_eq!(shown(&copy), "ssn*");
    assert!(plan("copy (delete from visits returning ssn) to stdout").unwrap().writes);
    let read = plan("copy (select ssn from patients) to stdout").unwrap();
    assert!(!read.writes && read.keyed());
    assert!(plan("copy visits (ssn) from stdin").unwrap().writes);
    // The values of a condition on what comes in.
    copied(
        "copy visits (ssn) from stdin where ssn = 'MARKER'",
        "copy visits (ssn) from stdin where ssn = «ssn:MARKER:C»",
    );
    refused("copy visits (ssn) from stdin where lower(ssn) = 'MARKER'", "0A000");
}

#[test]
fn options() {
    let text = "copy visits (ssn, id) from stdin (format csv, header match, delimiter ';', null 'n', quote '''', \
                escape '\\', force_null (ssn), force_not_null (id), default 'd', encoding 'utf-8', freeze)";
    let layout = Arc::clone(&copied(text, text).layout);
    assert_eq!((layout.format, layout.header), (Format::Csv, Header::Match));
    assert_eq!((layout.delimiter, layout.quote, layout.escape), (b';', b'\'', b'\\'));
    assert_eq!((layout.null.as_slice(), layout.default.as_deref()), (&b"n"[..], Some(&b"d"[..])));
    let forced: Vec<_> =
        layout.columns.iter().map(|c| (c.force_quote, c.force_not_null, c.force_null)).collect();
    assert_eq!(forced, [(false, false, true), (false, true, false)]);
    let old =
        "copy visits (ssn) to stdout with delimiter as '|' null as '' csv header quote as '$' force quote *";
    let layout = Arc::clone(&copied(old, old).layout);
    assert_eq!((layout.format, layout.header), (Format::Csv, Header::Skipped));
    assert_eq!((layout.delimiter, layout.quote, layout.escape), (b'|', b'$', b'$'));
    assert!(layout.columns[0].force_quote);
    let plain = "copy visits (ssn) to stdout using delimiters '|'";
    assert_eq!(copied(plain, plain).layout.delimiter, b'|');
    let plain = "copy visits (ssn) to stdout (header false)";
    assert_eq!(copied(plain, plain).layout.header, Header::None);
}

#[test]
fn what_is_refused() {
    for text in [
        "copy visits from '/tmp/MARKER'",
        "copy visits to '/tmp/MARKER'",
        "copy visits to program 'MARKER'",
        "copy visits from program 'MARKER'",
        "copy (select ssn from visits) to '/tmp/MARKER'",
        "copy visits from stdin (encoding 'latin1')",
        "copy visits from stdin (on_error ignore)",
        "copy visits from stdin (on_error ignore, reject_limit 3)",
        "copy visits from stdin (made_up 'MARKER')",
        "copy visits from stdin (format 'MARKER')",
        "copy visits from stdin (delimiter 'MARKER')",
        "copy visits from stdin (format csv, quote '\\')",
        "copy visits from stdin (null '\\x01MARKER')",
        "copy visits from stdin (format csv, format text)",
        "copy patient_view to stdout",
        "copy (select lower(ssn) from visits) to stdout",
    ] {
        refused(text, "0A000");
    }
    refused("copy visits (nowhere) from stdin", "42703");
    refused("copy future from stdin", "42P01");
    untouched("copy logs to '/tmp/x'");
    untouched("copy (select message from logs) to stdout (format csv, encoding 'latin1')");
}
