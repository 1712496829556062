//! The gateway's real binary as a process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::{Mosquitto, PATIENCE, Profile, Usage, cargo, ports};

/// A running gateway; ended by its process id, its folder removed, on drop.
#[derive(Debug)]
pub struct Sandgrouse {
    process: Process,
    directory: TempDir,
    launch: Launch,
}

/// What a gateway is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The configuration.
    pub config_toml: String,
    /// The port of the UDP link on the loopback that the configuration names, if it does.
    pub udp_port: Option<u16>,
    /// How the binary is compiled.
    pub profile: Profile,
}

/// How to end the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: it says good-bye to its nodes and flushes what it holds.
    Orderly,
    /// SIGKILL: as in a power cut.
    Kill,
}

impl Sandgrouse {
    /// Starts the gateway and waits until it is ready.
    ///
    /// # Errors
    /// Where the gateway does not build, or ends before it is ready; the message holds its log.
    pub fn start(launch: Launch) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("sandgrouse-").tempdir()?;
        std::fs::write(directory.path().join(CONFIG_FILE), &launch.config_toml)?;
        let process = spawn(directory.path(), launch.profile)
            .with_context(|| format!("with this configuration:\n{}", launch.config_toml))?;
        Ok(Self {
            process,
            directory,
            launch,
        })
    }

    /// Starts a gateway with one UDP link on an ephemeral port and `broker` as its upstream.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn beside(broker: &Mosquitto) -> Result<Self> {
        let udp_port = ports::free_udp_port()?;
        Self::start(Launch {
            config_toml: config::udp_with_broker(udp_port, broker),
            udp_port: Some(udp_port),
            profile: Profile::from_env(),
        })
    }

    /// Starts a gateway with `config_toml`, which names a UDP link at `udp_port`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_config(udp_port: u16, config_toml: String) -> Result<Self> {
        Self::start(Launch {
            config_toml,
            udp_port: Some(udp_port),
            profile: Profile::from_env(),
        })
    }

    /// Starts a gateway with one UDP link and the embedded broker, both on ephemeral ports,
    /// and returns it with the broker's port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn alone() -> Result<(Self, u16)> {
        let (udp_port, mqtt_port) = (ports::free_udp_port()?, ports::free_tcp_port()?);
        let gateway = Self::start(Launch {
            config_toml: config::udp_with_embedded_broker(udp_port, mqtt_port),
            udp_port: Some(udp_port),
            profile: Profile::from_env(),
        })?;
        Ok((gateway, mqtt_port))
    }

    /// Returns the address of the UDP link; of port 0 where it was started without one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.launch.udp_port.unwrap_or(0)).into()
    }

    /// Returns the process, for its log and its signals.
    #[must_use]
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns the gateway's own folder, where its configuration lies.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    /// Returns what the gateway has used so far.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.pid())
    }

    /// Returns how many datagrams the kernel dropped at the UDP link.
    ///
    /// # Errors
    /// Where the gateway has no such socket.
    pub fn udp_drops(&self) -> Result<u64> {
        ports::udp_drops(self.address().port())
    }

    /// Ends the gateway and returns its exit status.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self, how: Stop) -> Result<ExitStatus> {
        self.process.signal(match how {
            Stop::Orderly => Signal::SIGTERM,
            Stop::Kill => Signal::SIGKILL,
        })?;
        self.process.wait(PATIENCE)
    }

    /// Starts a stopped gateway again, with the same configuration and folder.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn resume(&mut self) -> Result<()> {
        self.process = spawn(self.directory.path(), self.launch.profile)?;
        Ok(())
    }
}

fn spawn(directory: &Path, profile: Profile) -> Result<Process> {
    let mut command = Command::new(cargo::gateway_binary(profile)?);
    command
        .args(["run", "--config", CONFIG_FILE, "--log-format", "json"])
        .current_dir(directory);
    let mut process = Process::spawn("sandgrouse", &mut command)?;
    // The embedded broker says that it is ready, too, but earlier.
    process.wait_for_line(r#""message":"ready""#, PATIENCE)?;
    Ok(process)
}

const CONFIG_FILE: &str = "sandgrouse.toml";

/// Configurations that several tests and rigs need.
pub mod config {
    use std::path::Path;

    use crate::{Credentials, Mosquitto};

    /// Returns a configuration with one UDP link on the loopback and `broker` upstream.
    #[must_use]
    pub fn udp_with_broker(udp_port: u16, broker: &Mosquitto) -> String {
        format!("{}{}", udp_link(udp_port), upstream(broker))
    }

    /// Returns a configuration with one UDP link and the embedded broker at `mqtt_port`.
    #[must_use]
    pub fn udp_with_embedded_broker(udp_port: u16, mqtt_port: u16) -> String {
        format!(
            "[broker]\nlisten = \"127.0.0.1:{mqtt_port}\"\n{}",
            udp_link(udp_port)
        )
    }

    /// Returns the section of a UDP link on the loopback, with a retry clock for a test.
    #[must_use]
    pub fn udp_link(udp_port: u16) -> String {
        format!("[[link]]\nname = \"udp\"\ntype = \"udp\"\nlisten = \"127.0.0.1:{udp_port}\"\n")
    }

    /// Returns the section of a serial link on `device`.
    #[must_use]
    pub fn serial_link(device: &Path) -> String {
        format!(
            "[[link]]\nname = \"serial\"\ntype = \"serial\"\npath = \"{}\"\n",
            device.display()
        )
    }

    /// Returns the section of an upstream at `broker`.
    #[must_use]
    pub fn upstream(broker: &Mosquitto) -> String {
        let mut section = if broker.speaks_tls() {
            format!(
                "[upstream]\nurl = \"mqtts://localhost:{}\"\nca_file = \"{}\"\n",
                broker.port(),
                broker.ca_file().display()
            )
        } else {
            format!("[upstream]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port())
        };
        if let Some(Credentials { user, password }) = broker.credentials() {
            section.push_str(&format!(
                "username = \"{user}\"\npassword = \"{password}\"\n"
            ));
        }
        section
    }
}
