//! What a column reads as for a user without a share in its keyspace, in a statement that only reads:
//!
//! ```toml
//! denied = "refuse"                        # the default: the statement is refused
//! denied = "null"
//! denied = { text = "•••" }
//! denied = { last = 4, keyspace = "main" } # for holders of another keyspace: `****` and the last four
//! ```
//!
//! Invariant: what a mask shows is at most what is written here, and of a value that is not longer
//! nothing.

use super::parse::{Parser, PolicyError, Value};
use super::{DEFAULT_KEYSPACE, LogicalType};

/// Most characters that a mask may show: of four bytes each, they fit into a cell's visible part.
const MAX_LAST: u8 = 32;
/// Stars in front of what is shown, where the type leaves room for them. Not one for each character
/// that is hidden: that would tell the length.
const STARS: usize = 4;

/// What is shown in place of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Denied {
    /// Nothing: the statement is refused.
    #[default]
    Refuse,
    /// NULL, whatever the column's constraints say.
    Null,
    /// This text.
    Text(String),
    /// The value's end, to holders of the mask's keyspace; to others nothing: refused.
    Last(Last),
}

/// A mask that shows a value's last characters. They are stored when the value is, under a key of
/// their own: nothing else could show them to somebody without the column's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// How many characters it shows.
    characters: usize,
    /// Stars in front of them.
    stars: usize,
    /// Whose holders see them.
    pub keyspace: String,
}

impl Last {
    /// What may be seen of a value.
    pub fn visible<'t>(&self, value: &'t str) -> &'t str {
        match value.char_indices().rev().nth(self.characters.saturating_sub(1)) {
            Some((start, _)) if start > 0 => value.get(start..).unwrap_or_default(),
            // All of it, or less than is shown.
            _ => "",
        }
    }

    /// Appends what is shown of a value of which this may be seen.
    pub fn show(&self, visible: &[u8], out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(b'*', self.stars));
        out.extend_from_slice(visible);
    }

    /// How many characters it shows.
    pub fn characters(&self) -> usize {
        self.characters
    }
}

impl Denied {
    /// The mask whose part is stored in the column's cells.
    pub fn stored(&self) -> Option<&Last> {
        if let Self::Last(last) = self { Some(last) } else { None }
    }
}

impl<'t> Parser<'t> {
    /// Reads `denied` of a column of this type and keyspace.
    pub(super) fn denied(
        &self,
        value: &Value<'t>,
        logical: &LogicalType,
        keyspace: &str,
    ) -> Result<Denied, PolicyError> {
        const REMEDY: &str =
            "use \"refuse\", \"null\", { text = \"…\" } or { last = 4, keyspace = \"main\" }";
        let at = value.span().start;
        if let Some(word) = value.get_ref().as_str() {
            return match word {
                "refuse" => Ok(Denied::Refuse),
                "null" => Ok(Denied::Null),
                other => Err(self.error(at, format!("unknown `denied` value `{other}`"), REMEDY)),
            };
        }
        let (mut text, mut last, mut mask) = (None, None, None);
        for (key, value) in self.table(value, "`denied`")? {
            match key.get_ref().as_ref() {
                "text" => text = Some(self.masking_text(value, logical)?),
                "last" => last = Some(self.last(value, logical)?),
                "keyspace" => mask = Some((self.keyspace(value)?, value.span().start)),
                _ => return Err(self.unknown(key, REMEDY)),
            }
        }
        match (text, last) {
            (Some(text), None) if mask.is_none() => Ok(Denied::Text(text)),
            (None, Some((characters, stars))) => {
                let (mask, mask_at) = mask.unwrap_or_else(|| (DEFAULT_KEYSPACE.to_owned(), at));
                if mask == keyspace {
                    return Err(self.error(
                        mask_at,
                        format!(
                            "the mask's keyspace is the column's own, `{keyspace}`, which shows all of it"
                        ),
                        "name the keyspace whose holders are to see the mask",
                    ));
                }
                Ok(Denied::Last(Last { characters, stars, keyspace: mask }))
            }
            _ => Err(self.error(at, "`denied` is no kind of mask".to_owned(), REMEDY)),
        }
    }

    fn masking_text(&self, value: &Value<'t>, logical: &LogicalType) -> Result<String, PolicyError> {
        const REMEDY: &str = "use \"null\", or a text of the column's type";
        let text = self.string(value, "`text`")?;
        let at = value.span().start;
        let limit = match logical {
            LogicalType::Text | LogicalType::Varchar(None) => None,
            LogicalType::Varchar(Some(limit)) | LogicalType::Char(limit) => Some(length(*limit)),
            _ => {
                return Err(self.error(at, format!("a column of type {logical} cannot show a text"), REMEDY));
            }
        };
        let characters = text.chars().count();
        if text.contains('\0') || limit.is_some_and(|limit| characters > limit) {
            return Err(self.error(at, format!("the text is no value of type {logical}"), REMEDY));
        }
        let padding = if let LogicalType::Char(length_of) = logical {
            length(*length_of).saturating_sub(characters)
        } else {
            0
        };
        Ok(format!("{text}{}", " ".repeat(padding)))
    }

    /// Characters that are shown, and stars before them.
    fn last(&self, value: &Value<'t>, logical: &LogicalType) -> Result<(usize, usize), PolicyError> {
        let at = value.span().start;
        let number = value.get_ref().as_integer().filter(|number| number.radix() == 10);
        let number = number.and_then(|number| number.as_str().parse::<u8>().ok());
        let Some(number) = number.filter(|number| (1..=MAX_LAST).contains(number)) else {
            return Err(self.error(
                at,
                "`last` is not a number of characters".to_owned(),
                format!("use a whole number from 1 to {MAX_LAST}"),
            ));
        };
        let characters = usize::from(number);
        let room = match logical {
            LogicalType::Text | LogicalType::Varchar(None) => STARS,
            LogicalType::Varchar(Some(limit)) => length(*limit).saturating_sub(characters),
            _ => {
                return Err(self.error(
                    at,
                    format!("a column of type {logical} cannot show its last characters"),
                    "use text or varchar, or denied = \"null\"",
                ));
            }
        };
        if room == 0 {
            return Err(self.error(
                at,
                format!("no value of type {logical} is longer than that, so that none would be shown"),
                "show fewer characters, or use denied = { text = \"…\" }",
            ));
        }
        Ok((characters, room.min(STARS)))
    }
}

fn length(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::{Denied, Last};
    use proptest::prelude::proptest;

    fn denied(column_type: &str, more: &str) -> Result<Denied, (usize, String)> {
        let text =
            format!("[tables.\"a.b\"]\nc = {{ type = \"{column_type}\", mode = \"randomized\", {more} }}");
        match Policy::parse(&text) {
            Ok(policy) => Ok(policy.columns()[0].denied.clone()),
            Err(error) => {
                assert_eq!(error.line, 2);
                Err((error.column, error.problem))
            }
        }
    }

    fn last(characters: usize, stars: usize, keyspace: &str) -> Denied {
        Denied::Last(Last { characters, stars, keyspace: keyspace.to_owned() })
    }

    #[test]
    fn reads_what_is_shown_in_place_of_a_value() {
        let clinical = |denied: &str| format!("keyspace = \"clinical\", denied = {denied}");
        assert_eq!(denied("text", "keyspace = \"k\""), Ok(Denied::Refuse));
        assert_eq!(denied("int4", "denied = \"refuse\""), Ok(Denied::Refuse));
        assert_eq!(denied("int4", "denied = \"null\""), Ok(Denied::Null));
        assert_eq!(denied("text", "denied = { text = \"•••\" }"), Ok(Denied::Text("•••".to_owned())));
        assert_eq!(denied("char(5)", "denied = { text = \"•••\" }"), Ok(Denied::Text("•••  ".to_owned())));
        assert_eq!(denied("text", &clinical("{ last = 4 }")), Ok(last(4, 4, "main")));
        let other = clinical("{ last = 4, keyspace = \"office\" }");
        assert_eq!(denied("varchar(6)", &other), Ok(last(4, 2, "office")));
        // The mask's keyspace is compared whatever comes first.
        assert_eq!(denied("text", "denied = { last = 4 }, keyspace = \"k\""), Ok(last(4, 4, "main")));
    }

    #[test]
    fn says_what_is_no_mask() {
        for (column_type, more, column, problem) in [
            ("text", "denied = \"hide\"", 52, "unknown `denied` value `hide`"),
            ("text", "denied = 4", 52, "of kind integer"),
            ("text", "denied = {}", 52, "no kind of mask"),
            ("text", "denied = { text = \"x\", last = 4 }", 52, "no kind of mask"),
            ("text", "denied = { text = \"x\", keyspace = \"k\" }", 52, "no kind of mask"),
            ("text", "denied = { first = 4 }", 54, "unknown key `first`"),
            ("text", "denied = { text = 1 }", 61, "of kind integer"),
            ("int4", "denied = { text = \"x\" }", 61, "type integer cannot show a text"),
            ("text[]", "denied = { text = \"x\" }", 63, "cannot show a text"),
            ("varchar(2)", "denied = { text = \"xxx\" }", 67, "the text is no value of type"),
            ("text", "denied = { last = 0 }", 61, "not a number of characters"),
            ("text", "denied = { last = 33 }", 61, "not a number of characters"),
            ("text", "denied = { last = \"4\" }", 61, "not a number of characters"),
            ("date", "denied = { last = 4 }", 61, "type date cannot show its last"),
            ("char(9)", "denied = { last = 4 }", 64, "cannot show its last"),
            ("varchar(4)", "denied = { last = 4 }", 67, "longer than that"),
            ("text", "denied = { last = 4 }", 52, "the column's own, `main`"),
            ("text", "denied = { last = 4, keyspace = \"main\" }", 75, "the column's own, `main`"),
        ] {
            let found = denied(column_type, more);
            let Err((at, said)) = &found else { panic!("{more}: {found:?}") };
            assert!(said.contains(problem), "{more}: {found:?}");
            assert_eq!(*at, column, "{more}: {found:?}");
        }
    }

    #[test]
    fn columns_of_one_domain_hide_alike() {
        let column = |denied: &str| {
            format!(
                "{{ type = \"text\", mode = \"deterministic\", domain = \"d\", keyspace = \"k\", denied = {denied} }}"
            )
        };
        let both = |a: &str, b: &str| {
            Policy::parse(&format!("[tables.\"a.b\"]\nc = {}\nd = {}", column(a), column(b))).map(drop)
        };
        assert_eq!(both("{ last = 4 }", "{ last = 4 }"), Ok(()));
        let error = both("{ last = 4 }", "\"null\"").unwrap_err();
        assert!(error.problem.contains("differ in `denied`"), "{error}");
    }

    fn shown(last: &Last, value: &str) -> String {
        let mut out = Vec::new();
        last.show(last.visible(value).as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_mask_shows_the_end_of_what_is_longer() {
        let last = Last { characters: 4, stars: 4, keyspace: "main".to_owned() };
        for (value, masked) in [
            ("078-05-1120", "****1120"),
            ("51120", "****1120"),
            ("1120", "****"),
            ("20", "****"),
            ("", "****"),
            ("Zoë Grüß", "****Grüß"),
            ("ñandú", "****andú"),
        ] {
            assert_eq!(shown(&last, value), masked);
        }
    }

    proptest! {
        #[test]
        fn a_mask_never_shows_more(value in "\\PC{0,12}", characters in 1..9_usize, stars in 1..5_usize) {
            let last = Last { characters, stars, keyspace: "main".to_owned() };
            let visible = last.visible(&value);
            assert!(value.ends_with(visible));
            let count = value.chars().count();
            assert_eq!(visible.chars().count(), if count > characters { characters } else { 0 });
        }
    }
}
