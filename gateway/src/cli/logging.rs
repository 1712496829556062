//! The log: lines for people or JSON for machines, on stderr.

use std::{fmt, io};

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, reload};

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
    /// The log is not that of the process any more.
    #[error("the log is gone")]
    Gone,
}

/// A log that was set up, whose level can be changed.
pub struct Log {
    args: LogArgs,
    replace: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl Log {
    /// Takes the level of another configuration, unless the command line or the environment
    /// has said one, and returns whether it did.
    ///
    /// # Errors
    ///
    /// [`LoggingError::Level`] where the level cannot be read, and [`LoggingError::Gone`] where
    /// the log of the process is another one.
    pub fn apply(&self, config: &LogConfig) -> Result<bool, LoggingError> {
        (self.replace)(filter(&self.args, config)?).map_err(|_| LoggingError::Gone)?;
        Ok(said_level(&self.args).is_none())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// Sets the log of the process up. The command line goes before the environment (RUST_LOG),
/// and that before the configuration.
///
/// # Errors
///
/// [`LoggingError`] where the level cannot be read, or where there is a log already.
pub fn init(args: &LogArgs, config: &LogConfig) -> Result<Log, LoggingError> {
    let (subscriber, log) = subscriber(args, config, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    Ok(log)
}

pub(super) fn subscriber<W>(
    args: &LogArgs,
    config: &LogConfig,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Log), LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(args, config)?)
        .with_writer(writer)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    let log = |replace| Log {
        args: args.clone(),
        replace,
    };
    Ok(match args.log_format.unwrap_or(config.format) {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let replace = Box::new(move |filter| handle.reload(filter));
            (Box::new(builder.finish()), log(replace))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let replace = Box::new(move |filter| handle.reload(filter));
            (Box::new(builder.finish()), log(replace))
        }
    })
}

fn filter(args: &LogArgs, config: &LogConfig) -> Result<EnvFilter, LoggingError> {
    let level = said_level(args).unwrap_or(&config.level);
    EnvFilter::try_new(directives(level)).map_err(|source| LoggingError::Level {
        level: level.to_owned(),
        source,
    })
}

/// Returns the level that goes before the one in the configuration.
fn said_level(args: &LogArgs) -> Option<&str> {
    args.log_level.as_deref().filter(|level| !level.is_empty())
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
        let (subscriber, _) = subscriber(args, config, move || writer.clone()).unwrap();
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
    fn the_level_changes_unless_the_command_line_has_said_one() {
        let debug = LogConfig {
            level: "debug".to_owned(),
            ..LogConfig::default()
        };
        for (log_level, log_format, lines) in [
            (None, LogFormat::Text, 1),
            (None, LogFormat::Json, 1),
            (Some("warn".to_owned()), LogFormat::Text, 0),
        ] {
            let args = LogArgs {
                log_format: Some(log_format),
                log_level,
            };
            let sink = Sink::default();
            let writer = sink.clone();
            let config = LogConfig::default();
            let (subscriber, log) = subscriber(&args, &config, move || writer.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("detail");
                assert_eq!(log.apply(&debug).unwrap(), lines == 1);
                tracing::debug!("detail");
            });
            let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), lines, "{text}");
        }
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
