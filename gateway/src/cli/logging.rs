//! The log: lines for people or JSON for machines, on stderr.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogConfig, LogFormat};

/// What of the log can be said on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogArgs {
    /// What is logged: a level, or directives such as `info,gateway::link=debug`
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", global = true)]
    pub log_level: Option<String>,
    /// How a line looks
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// The level is neither a level nor a list of directives.
    #[error(
        "--log-level {level}: {source}; allowed are error, warn, info, debug, trace, off, or \
         directives such as info,gateway::link=debug"
    )]
    Level {
        /// What was asked for.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is a log already.
    #[error("the log is set up already")]
    Twice,
}

/// Sets the log of the process up. The command line goes before the environment (RUST_LOG),
/// and that before the configuration.
///
/// # Errors
///
/// [`LoggingError`] where the level cannot be read, or where there is a log already.
pub fn init(args: &LogArgs, config: &LogConfig) -> Result<(), LoggingError> {
    let subscriber = subscriber(args, config, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)
}

fn subscriber<W>(
    args: &LogArgs,
    config: &LogConfig,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = args.log_level.as_deref().filter(|level| !level.is_empty());
    let level = level.unwrap_or(&config.level);
    let filter = EnvFilter::try_new(directives(level)).map_err(|source| LoggingError::Level {
        level: level.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    Ok(match args.log_format.unwrap_or(config.format) {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// Returns the directives for what was asked for: the embedded broker, which tells every
/// connection, is quieter than the gateway unless it is named.
fn directives(level: &str) -> String {
    if matches!(level, "off" | "error") {
        return level.to_owned();
    }
    format!("{},{level}", crate::broker::LOG_DIRECTIVE)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Logs a line of every level and returns what was written.
    fn written(args: &LogArgs, config: &LogConfig) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(args, config, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(octets = 7, "careful");
            tracing::info!("told");
            tracing::debug!("detail");
            tracing::info!(target: "mqtt5::broker", "chatter");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_command_line_goes_before_the_configuration() {
        let config = LogConfig::default();
        let text = written(&LogArgs::default(), &config);
        assert!(text.contains("told") && !text.contains("detail"), "{text}");
        assert!(!text.contains("chatter"), "{text}");
        let args = LogArgs {
            log_level: Some("warn".to_owned()),
            log_format: Some(LogFormat::Json),
        };
        let text = written(&args, &config);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["octets"]),
            (&"WARN".into(), &7.into())
        );
        assert_eq!(line["message"], "careful");
    }

    #[test]
    fn one_module_can_tell_more_than_the_others() {
        let args = LogArgs {
            log_level: Some("off,gateway::cli=debug".to_owned()),
            log_format: None,
        };
        let text = written(&args, &LogConfig::default());
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn the_embedded_broker_tells_more_where_it_is_named() {
        let args = LogArgs {
            log_level: Some("info,mqtt5=info".to_owned()),
            log_format: None,
        };
        let text = written(&args, &LogConfig::default());
        assert!(text.contains("chatter"), "{text}");
    }

    #[test]
    fn a_wrong_level_says_what_is_allowed() {
        let args = LogArgs {
            log_level: Some("gateway=loud".to_owned()),
            log_format: None,
        };
        let error = subscriber(&args, &LogConfig::default(), io::stderr);
        let text = error.map(|_| ()).unwrap_err().to_string();
        assert!(
            text.contains("gateway=loud") && text.contains("directives"),
            "{text}"
        );
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
