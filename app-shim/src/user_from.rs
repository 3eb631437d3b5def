//! By what the sidecar knows whose shares a statement needs, as its configuration says: the ways in which
//! applications name a user already, in a fixed order. The first of them that has a value decides.

/// The settings that are followed on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `trefoil.user`
    User,
    /// `trefoil.envelope`
    Envelope,
    /// `trefoil.app_share`
    AppShare,
    /// `request.jwt.claims`
    Claims,
    /// The one that the configuration names.
    Setting,
    /// `role`
    Role,
    /// `session_authorization`
    Authorization,
    /// `application_name`
    Application,
}

/// The ways to name a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserFrom {
    /// Key of an SQLCommenter comment on the statement.
    pub(crate) comment: Option<String>,
    /// Claim in the setting `request.jwt.claims`.
    pub(crate) claim: Option<String>,
    /// Name of a setting.
    pub(crate) setting: Option<String>,
    /// The role that the statement runs as.
    pub(crate) role: bool,
    /// `application_name`.
    pub(crate) application_name: bool,
}

const CLAIMS: &str = "request.jwt.claims";

impl UserFrom {
    /// The followed setting with this full name, which PostgreSQL reads in any case.
    pub(crate) fn follows(&self, name: &str) -> Option<Name> {
        let of = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if of("trefoil.user") => Some(Name::User),
            () if of("trefoil.envelope") => Some(Name::Envelope),
            () if of("trefoil.app_share") => Some(Name::AppShare),
            () if self.claim.is_some() && of(CLAIMS) => Some(Name::Claims),
            () if self.setting.as_deref().is_some_and(of) => Some(Name::Setting),
            () if self.role && of("role") => Some(Name::Role),
            () if self.role && of("session_authorization") => Some(Name::Authorization),
            () if self.application_name && of("application_name") => Some(Name::Application),
            () => None,
        }
    }

    /// The claim's value in `request.jwt.claims`: empty where there is none. An error if it is no text.
    pub(crate) fn claimed(&self, claims: &str) -> Result<String, NotFollowed> {
        let Some(claim) = self.claim.as_deref().filter(|_| !claims.is_empty()) else {
            return Ok(String::new());
        };
        let claims: serde_json::Value = serde_json::from_str(claims).map_err(|_| NotFollowed)?;
        match claims.as_object().ok_or(NotFollowed)?.get(claim) {
            None | Some(serde_json::Value::Null) => Ok(String::new()),
            Some(serde_json::Value::String(user)) => Ok(user.clone()),
            Some(_) => Err(NotFollowed),
        }
    }
}

/// Whom something names cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFollowed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_configured_is_followed() {
        let none = UserFrom::default();
        assert_eq!(none.follows("Trefoil.User"), Some(Name::User));
        for name in [CLAIMS, "role", "session_authorization", "application_name", "app.current_user"] {
            assert_eq!(none.follows(name), None);
        }
        let from = UserFrom { setting: Some("app.current_user".to_owned()), role: true, ..none };
        assert_eq!(from.follows("App.Current_User"), Some(Name::Setting));
        assert_eq!(from.follows("ROLE"), Some(Name::Role));
        assert_eq!(from.follows(CLAIMS), None);
    }

    #[test]
    fn claims() {
        let from = UserFrom { claim: Some("sub".to_owned()), ..UserFrom::default() };
        let claimed = |claims| from.claimed(claims);
        assert_eq!(claimed(r#"{"role":"web","sub":"al\u0069ce"}"#).as_deref(), Ok("alice"));
        for none in ["", "{}", r#"{"sub":null}"#, r#"{"sub":""}"#, r#"{"a":{"sub":"x"}}"#] {
            assert_eq!(claimed(none).as_deref(), Ok(""), "{none}");
        }
        for unclear in ["x", "[]", r#""sub""#, r#"{"sub":1}"#, r#"{"sub":["a"]}"#, r#"{"sub":"a""#] {
            assert_eq!(claimed(unclear), Err(NotFollowed), "{unclear}");
        }
    }
}
