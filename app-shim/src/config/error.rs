//! Why the configuration is refused.

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("configuration: {path}: {reason}; give the path of the file by --config")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// Malformed, or unknown or missing keys.
    #[error("configuration: {file}, with environment and flags: {reason}")]
    Keys {
        /// The file.
        file: String,
        /// What is wrong.
        reason: config::ConfigError,
    },
    /// The same, and there is no file.
    #[error("configuration: {0}; give the path of a configuration file by --config")]
    NoFile(config::ConfigError),
    /// A value that is not allowed.
    #[error("configuration: `{key}`: {problem}; {remedy}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
}
