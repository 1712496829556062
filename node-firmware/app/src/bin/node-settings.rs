//! Writes the settings of a node: TOML in, the record for its flash out.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use app::Settings;
use app::record::{Kind, Record};
use app::settings::SETTINGS_RECORD_LEN_MAX;
use clap::{Parser, Subcommand};

/// Makes and shows the settings of a node.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the record for a node's flash from a TOML file.
    Make {
        /// The settings, in TOML; every key has a default except `client_id`.
        toml: PathBuf,
        /// Where the record goes.
        record: PathBuf,
        /// The node's name instead of the file's `client_id`: one file serves many nodes.
        #[arg(long)]
        client_id: Option<String>,
    },
    /// Checks a record and prints its settings as TOML, the password as it is.
    Show {
        /// The record.
        record: PathBuf,
    },
    /// Prints the defaults as TOML.
    Defaults {
        /// The node's name.
        #[arg(default_value = "node-1")]
        client_id: String,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Make {
            toml,
            record,
            client_id,
        } => {
            let text = fs::read_to_string(&toml).with_context(|| toml.display().to_string())?;
            let bytes =
                make(&text, client_id.as_deref()).with_context(|| toml.display().to_string())?;
            fs::write(&record, &bytes).with_context(|| record.display().to_string())?;
            println!("{}: {} octets", record.display(), bytes.len());
        }
        Command::Show { record } => {
            let bytes = fs::read(&record).with_context(|| record.display().to_string())?;
            print!(
                "{}",
                show(&bytes).with_context(|| record.display().to_string())?
            );
        }
        Command::Defaults { client_id } => {
            print!("{}", toml::to_string(&Settings::new(&client_id)?)?);
        }
    }
    Ok(())
}

fn make(text: &str, client_id: Option<&str>) -> Result<Vec<u8>> {
    let mut settings: Settings = toml::from_str(text)?;
    if let Some(client_id) = client_id {
        settings.client_id = Settings::new(client_id)?.client_id;
    }
    let mut record = [0; SETTINGS_RECORD_LEN_MAX];
    let len = settings.to_record(&mut record)?;
    Ok(record.iter().copied().take(len).collect())
}

fn show(record: &[u8]) -> Result<String> {
    let payload = Record::parse(Kind::Settings, record)?.payload;
    Ok(toml::to_string(&Settings::from_payload(payload)?)?)
}

#[cfg(test)]
mod tests {
    use app::settings::RadioSettings;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../settings.example.toml");

    #[test]
    fn toml_goes_through_the_record_and_back() {
        let text = r#"
            client_id = "pump-7"
            node_id = [7]
            command_topic = { name = "cmd/pumps/#" }
            interval_s = 5
            [radio.udp]
            gateway = [192, 168, 1, 2]
            port = 10000
            ssid = "field"
            password = "secret"
        "#;
        let record = make(text, None).unwrap();
        let shown = show(&record).unwrap();
        assert_eq!(make(&shown, None).unwrap(), record);
        let other = Settings::from_record(&make(text, Some("pump-8")).unwrap()).unwrap();
        assert_eq!(other.client_id, "pump-8");
        assert_eq!(other.interval_s, 5);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| make(text, None).unwrap_err().to_string();
        assert!(error("client_id = 'a'\nintervall = 5").contains("intervall"));
        assert!(error("client_id = 'a'\nqos = 3").contains("qos"));
        assert!(error("qos = 1").contains("client_id"));
        assert!(show(&[0xFF; 64]).is_err());
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let example: Settings = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example, Settings::new("pump-7").unwrap());
        // Every key is there, and what is commented out is valid, too.
        let keys = toml::to_string(&example).unwrap();
        for key in keys.lines().filter_map(|line| line.split_once(" = ")) {
            assert!(EXAMPLE.contains(&format!("{} = ", key.0)), "{}", key.0);
        }
        let all: String = EXAMPLE
            .replace("[radio.serial]\nbaud = 57600\n", "")
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.contains(" = ") || key.starts_with('[') => key,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let all = Settings::from_record(&make(&all, None).unwrap()).unwrap();
        assert_eq!(all.status_topic, Some(app::settings::Topic::Predefined(12)));
        assert!(matches!(all.radio, RadioSettings::Udp { port: 10_000, .. }));
    }

    #[test]
    fn the_defaults_are_valid_toml() {
        let text = toml::to_string(&Settings::new("node-1").unwrap()).unwrap();
        assert!(make(&text, None).is_ok());
    }
}
