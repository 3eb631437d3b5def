//! The session's settings as the server reports them, by ParameterStatus.

use crate::error::{ClientError, Code};
use crate::value::Settings;

/// What decides how texts and values are read.
pub(super) struct Parameters {
    pub(super) values: Settings,
    /// Whether a line `\.` ends the CSV data of a COPY: so up to PostgreSQL 17.
    pub(super) csv_ends: bool,
    standard_conforming_strings: bool,
    encoding: Encoding,
}

enum Encoding {
    /// UTF8 or SQL_ASCII.
    Utf8,
    /// Every byte below 128 is that ASCII character.
    AsciiSafe,
    /// Bytes below 128 may be the end of another character.
    Other,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            values: Settings::default(),
            csv_ends: true,
            standard_conforming_strings: true,
            encoding: Encoding::AsciiSafe,
        }
    }
}

impl Parameters {
    /// Follows a report.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) else { return };
        match name {
            "standard_conforming_strings" => self.standard_conforming_strings = value == "on",
            "server_version" => {
                let major = value.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
                self.csv_ends = major.is_none_or(|major: u32| major < 18);
            }
            "client_encoding" => {
                self.encoding = match value {
                    "UTF8" | "SQL_ASCII" => Encoding::Utf8,
                    "BIG5" | "GB18030" | "GBK" | "JOHAB" | "SJIS" | "SHIFT_JIS_2004" | "UHC" => {
                        Encoding::Other
                    }
                    _ => Encoding::AsciiSafe,
                }
            }
            _ => self.values.set(name, value),
        }
    }

    /// Refuses a text that the server would split into other tokens than the analysis does.
    pub(super) fn check_text(&self, text: &[u8]) -> Result<(), ClientError> {
        if !self.standard_conforming_strings && text.contains(&b'\\') {
            return Err(ClientError::refused(
                Code::TextForm,
                "a statement with a backslash cannot be analysed while standard_conforming_strings is off",
                "SET standard_conforming_strings = on, and write E'…' where escapes are meant.",
            ));
        }
        if matches!(self.encoding, Encoding::Other) && !text.is_ascii() {
            return Err(ClientError::refused(
                Code::TextForm,
                "a statement that is not ASCII cannot be analysed in this client_encoding",
                "SET client_encoding = 'UTF8'.",
            ));
        }
        Ok(())
    }

    /// Whether texts and values can be read as protected columns need it.
    pub(super) fn suit_protection(&self) -> bool {
        self.standard_conforming_strings && matches!(self.encoding, Encoding::Utf8)
    }
}
