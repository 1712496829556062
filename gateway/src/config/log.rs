//! What is logged, and how.

use super::reader::Section;

/// The log, where neither the command line nor the environment says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level, one of [`LEVELS`].
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The levels, the most severe first.
pub const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
/// The level where none is configured.
pub const DEFAULT_LEVEL: &str = "info";
/// The formats.
pub const FORMATS: &[&str] = &[DEFAULT_FORMAT, JSON];
/// The format where none is configured.
pub const DEFAULT_FORMAT: &str = "text";
const JSON: &str = "json";

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: DEFAULT_LEVEL.to_owned(),
            format: LogFormat::default(),
        }
    }
}

impl LogConfig {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let format: String = section.or("format", DEFAULT_FORMAT.to_owned());
        Self {
            level: section.or("level", DEFAULT_LEVEL.to_owned()),
            format: match format.as_str() {
                JSON => LogFormat::Json,
                _ => LogFormat::Text,
            },
        }
    }
}
