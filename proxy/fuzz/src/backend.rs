//! Each message of a server that is decoded. The first byte is the message's type.

use trefoil_proxy::wire::bind::Format;
use trefoil_proxy::wire::rows::{self, Fields, Values};
use trefoil_proxy::wire::{Malformed, backend, frame, writer};

/// Reads one message's body; descriptions and rows, written again, are the same.
pub fn run(data: &[u8]) -> bool {
    let Some((&tag, body)) = data.split_first() else { return false };
    let mut out = Vec::new();
    let read = match tag {
        b'D' => row_again(body, &mut out),
        b'T' => description_again(body, &mut out),
        b't' => rows::parameter_types(body)
            .and_then(|types| backend::parameter_description(&mut out, types.into_iter())),
        b'E' => return backend::severity(body).is_ok(),
        b'S' => return backend::parameter_status(body).is_ok(),
        b'C' => return backend::command_tag(body).is_ok(),
        b'Z' => return backend::ready_for_query(body).is_ok(),
        _ => return bytea(body),
    };
    if read.is_ok() {
        assert_eq!(out.get(frame::HEAD..), Some(body));
    }
    read.is_ok()
}

fn row_again(body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut values = Values::decode(body)?;
    writer::message(out, b'D', |out| {
        writer::count(out, values.len(), "column count")?;
        while !values.is_empty() {
            let value = values.next_value()?;
            bytea(value.unwrap_or_default());
            writer::value(out, value)?;
        }
        values.end()
    })
}

fn description_again(body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut fields = Fields::decode(body)?;
    writer::message(out, b'T', |out| {
        writer::count(out, fields.len(), "column count")?;
        while let Some(field) = fields.next_field()? {
            field.encode(out);
        }
        Ok(())
    })
}

/// A bytea in either text form; what is shown in the escape form is read as it was.
fn bytea(value: &[u8]) -> bool {
    let (mut bytes, mut shown, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let read = rows::bytea(value, Format::Text, &mut bytes);
    assert!(bytes.len() <= value.len());
    rows::escape(value, &mut shown);
    let escaped = rows::bytea(&shown, Format::Text, &mut again);
    assert!(escaped == Ok(false) && again == value);
    read.is_ok()
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        &b"D\0\x03\0\0\0\x04\\x01\xff\xff\xff\xff\0\0\0\0"[..],
        b"T\0\x01name\0\0\0\0\x01\0\x02\0\0\0\x11\xff\xff\xff\xff\xff\xff\0\0",
        b"t\0\x02\0\0\0\x17\0\0\0\x11",
        b"ESERROR\0VERROR\0C22P02\0Mm\0\0",
        b"EVFATAL\0\0",
        b"SDateStyle\0ISO, MDY\0",
        b"CSELECT 1\0",
        b"ZI",
        b"b\\xdeadbeef",
        b"b\\001a\\\\",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}
