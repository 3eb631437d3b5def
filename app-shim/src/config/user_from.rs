//! The part of the configuration that says how the application names its users.

use super::ConfigError;
use crate::user_from::UserFrom;
use serde::Deserialize;

/// [`UserFrom`] as the file has it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUserFrom {
    comment: Option<String>,
    claim: Option<String>,
    setting: Option<String>,
    #[serde(default)]
    role: bool,
    #[serde(default)]
    application_name: bool,
}

impl RawUserFrom {
    pub(super) fn check(raw: Option<Self>, acts_for_one: bool) -> Result<UserFrom, ConfigError> {
        let Some(Self { comment, claim, setting, role, application_name }) = raw else {
            return Ok(UserFrom::default());
        };
        let refuse =
            |key, problem: &str, remedy| Err(ConfigError::Value { key, problem: problem.to_owned(), remedy });
        if acts_for_one {
            return refuse(
                "user_from",
                "the sidecar acts for one user already, as `act_for` says",
                "remove `act_for`, or `user_from`",
            );
        }
        if comment.as_deref().is_some_and(|key| !is_key(key)) {
            return refuse(
                "user_from.comment",
                "it is not a key that an SQLCommenter comment can have beside Trefoil's own",
                "name the key alone: comment = \"user\" for /*user='alice'*/",
            );
        }
        if claim.as_deref() == Some("") {
            return refuse(
                "user_from.claim",
                "it is empty",
                "name a claim of the setting request.jwt.claims: claim = \"sub\"",
            );
        }
        if setting.as_deref().is_some_and(|name| !is_custom(name)) {
            return refuse(
                "user_from.setting",
                "it is not the name of a setting of the application's own",
                "name one with a dot: setting = \"app.current_user\"; for role and application_name there are keys",
            );
        }
        let from = UserFrom { comment, claim, setting, role, application_name };
        if from == UserFrom::default() {
            return refuse(
                "user_from",
                "it names no way",
                "set comment, claim, setting, role or application_name, or remove it",
            );
        }
        Ok(from)
    }
}

fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"='\",/*%\\".contains(&byte);
    !key.is_empty() && key.bytes().all(plain) && !key.to_ascii_lowercase().starts_with("trefoil")
}

/// Whether PostgreSQL takes it for the name of a setting of somebody else's.
fn is_custom(name: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte))
    };
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("trefoil.") || lower == "request.jwt.claims";
    name.contains('.') && name.split('.').all(word) && !reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<UserFrom, String> {
        let raw = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .build()
            .unwrap()
            .try_deserialize()
            .unwrap();
        RawUserFrom::check(Some(raw), false).map_err(|error| error.to_string())
    }

    #[test]
    fn ways() {
        let from = check("setting = 'app.current_user'\nrole = true").unwrap();
        assert_eq!((from.setting.as_deref(), from.role), (Some("app.current_user"), true));
        assert!(check("comment = 'user'\nclaim = 'sub'\napplication_name = true").is_ok());
        assert_eq!(RawUserFrom::check(None, true).unwrap(), UserFrom::default());
    }

    #[test]
    fn refused_with_what_to_do() {
        for (text, reason) in [
            ("", "names no way"),
            ("role = false", "names no way"),
            ("comment = ''", "SQLCommenter"),
            ("comment = 'trefoil_user'", "SQLCommenter"),
            ("comment = 'a b'", "SQLCommenter"),
            ("claim = ''", "user_from.claim"),
            ("setting = 'role'", "with a dot"),
            ("setting = 'trefoil.user'", "with a dot"),
            ("setting = 'request.jwt.claims'", "with a dot"),
            ("setting = 'app.current user'", "with a dot"),
            ("setting = 'app.'", "with a dot"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let raw = RawUserFrom { role: true, ..RawUserFrom::default() };
        assert!(RawUserFrom::check(Some(raw), true).unwrap_err().to_string().contains("act_for"));
    }
}
