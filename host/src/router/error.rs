//! What can be wrong with a pattern, and with a set of rules.

use std::fmt;

use super::{MAX_PATTERN_BYTES, MAX_REGEXES_PER_HOST, MAX_RULES, MAX_SEGMENTS};

/// Why a host, path or value pattern is refused. Most of these would silently match no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// A host with a port.
    HostPort,
    /// Not a host name.
    HostName,
    /// Brackets that do not contain an IPv6 address.
    HostAddress,
    /// A path that does not start with `/`.
    NotAbsolute,
    /// A character that cannot be in a request path.
    Character(char),
    /// A `.` or `..` segment.
    DotSegment,
    /// A `*` that is not the whole last segment.
    Wildcard,
    /// Braces that are not a whole segment, or do not contain a valid name.
    Parameter(String),
    /// `{name...}` before the last segment.
    RestNotLast(String),
    /// Two parameters with one name.
    DuplicateParameter(String),
    /// Exceeds the documented limits.
    TooLong,
    /// A regular expression that does not compile.
    Regex(String),
}

impl std::error::Error for PatternError {}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::HostPort => f.write_str("a host is matched without its port: leave the port out"),
            PatternError::HostName => {
                f.write_str("not a host name: write `api.example.com`, `*.example.com` or `*` (IDN as `xn--...`)")
            }
            PatternError::HostAddress => f.write_str("not an IPv6 address in brackets, such as `[::1]`"),
            PatternError::NotAbsolute => f.write_str("a path starts with `/`"),
            PatternError::Character(character @ ('?' | '#')) => {
                write!(f, "a path ends before `{character}`: match the query with `query`")
            }
            PatternError::Character(character) => {
                write!(f, "{character:?} cannot stand in a request path: percent-encode it")
            }
            PatternError::DotSegment => f.write_str("`.` and `..` are resolved before a path is matched"),
            PatternError::Wildcard => f.write_str("`*` can only be the whole last segment, as in `/orders/*`"),
            PatternError::Parameter(segment) => {
                write!(
                    f,
                    "`{segment}` is not a parameter: a whole segment such as `{{id}}`, or `{{rest...}}` at the end"
                )
            }
            PatternError::RestNotLast(segment) => write!(f, "`{segment}` can only be the last segment"),
            PatternError::DuplicateParameter(name) => write!(f, "the parameter `{name}` stands here twice"),
            PatternError::TooLong => {
                write!(f, "longer than {MAX_PATTERN_BYTES} bytes, or more than {MAX_SEGMENTS} segments")
            }
            PatternError::Regex(message) => write!(f, "not a regular expression: {message}"),
        }
    }
}

/// What is wrong with one rule of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// Position of the rule in the list.
    pub rule: usize,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Every request for `host` that this rule matches goes to earlier rules that ask for the same.
    Duplicate {
        host: String,
        /// Position of one of those rules.
        earlier: usize,
    },
    /// A header condition whose name cannot be a header name.
    HeaderName(String),
    /// More than [`MAX_REGEXES_PER_HOST`] regex paths on one host.
    TooManyRegexes { host: String },
    /// More than [`MAX_RULES`].
    TooManyRules,
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Duplicate { host, .. } => {
                write!(f, "never reached on host `{host}`: an earlier rule asks for exactly the same")
            }
            Problem::HeaderName(name) => write!(f, "`{name}` is not a header name"),
            Problem::TooManyRegexes { host } => {
                write!(
                    f,
                    "more than {MAX_REGEXES_PER_HOST} regex paths on host `{host}`: each costs every request there"
                )
            }
            Problem::TooManyRules => write!(f, "more than {MAX_RULES} rules"),
        }
    }
}
