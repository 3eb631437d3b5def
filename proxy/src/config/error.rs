//! Why the configuration is refused.

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {reason}; give the path of the file by --config")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is not TOML. Without the line itself, which may hold the password.
    #[error("{path}, line {line}: not valid TOML: {problem}; correct the syntax")]
    Syntax {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Unknown or missing keys, or values of a wrong kind.
    #[error("{file}, with environment and flags: {reason}")]
    Keys {
        /// The file.
        file: String,
        /// What is wrong.
        reason: config::ConfigError,
    },
    /// The same, and there is no file.
    #[error("{0}; give the path of a configuration file by --config")]
    NoFile(config::ConfigError),
    /// A value that is not allowed.
    #[error("`{key}`: {problem}; {remedy}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
}
