//! A real mosquitto with its own folder and port.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::process::{Process, find_program};
use crate::{PATIENCE, ports};

/// A broker process; ended by its process id, its folder removed, on drop.
#[derive(Debug)]
pub struct Mosquitto {
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    options: MosquittoOptions,
}

/// What the broker shall ask of its clients and keep over a restart.
#[derive(Clone, Debug, Default)]
pub struct MosquittoOptions {
    /// The only user it lets in; everybody where `None`.
    pub credentials: Option<Credentials>,
    /// Whether sessions, queues and retained messages survive [`Mosquitto::restart`].
    pub persistence: bool,
    /// Whether its port speaks TLS, with a certificate for `localhost` that
    /// [`Mosquitto::ca_file`] vouches for.
    pub tls: bool,
}

/// A user name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Mosquitto {
    /// Starts a broker on an ephemeral port of the loopback and waits until it answers.
    ///
    /// # Errors
    /// Where mosquitto is not installed (the message names `tests/run`) or does not start.
    pub fn start(options: MosquittoOptions) -> Result<Self> {
        Self::start_on(ports::free_tcp_port()?, options)
    }

    /// Starts a broker like [`Self::start`], but on the given port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(port: u16, options: MosquittoOptions) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mosquitto-").tempdir()?;
        let mut broker = Self {
            process: None,
            directory,
            port,
            options,
        };
        broker.write_files()?;
        broker.resume()?;
        Ok(broker)
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the credentials that it asks for.
    #[must_use]
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.options.credentials.as_ref()
    }

    /// Returns the certificate that vouches for the broker's own.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Returns the process, for its log and its usage; `None` while it is stopped.
    #[must_use]
    pub const fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Stops the broker in an orderly way (SIGTERM); its folder stays for [`Self::resume`].
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM)?;
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Ends the broker without any chance to tidy up (SIGKILL).
    ///
    /// # Errors
    /// The system's error.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Starts a stopped broker again, on the same port and with what it kept.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(find_program("mosquitto")?);
        command.arg("-c").arg(self.file("mosquitto.conf"));
        let mut process = Process::spawn("mosquitto", &mut command)?;
        self.wait_until_open(&mut process)?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops the broker and starts it again.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.resume()
    }

    /// Returns whether the port speaks TLS.
    #[must_use]
    pub const fn speaks_tls(&self) -> bool {
        self.options.tls
    }

    /// Returns the distribution's own clients, set up for this broker.
    #[must_use]
    pub fn client(&self) -> MosquittoClient {
        MosquittoClient {
            port: self.port,
            credentials: self.credentials().cloned(),
            ca_file: self.options.tls.then(|| self.ca_file()),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_files(&self) -> Result<()> {
        let mut conf = format!(
            "listener {} 127.0.0.1\nuser root\nlog_dest stderr\nlog_type all\n\
             connection_messages true\nset_tcp_nodelay true\nmax_queued_messages 0\n\
             sys_interval 1\n\
             allow_anonymous {}\n",
            self.port,
            self.options.credentials.is_none()
        );
        if let Some(credentials) = self.credentials() {
            let file = self.file("passwords");
            write_password_file(&file, credentials)?;
            conf.push_str(&format!("password_file {}\n", file.display()));
        }
        if self.options.persistence {
            let folder = self.directory.path().display();
            conf.push_str(&format!(
                "persistence true\npersistence_location {folder}/\n"
            ));
        }
        if self.options.tls {
            write_certificates(self.directory.path())?;
            for (key, file) in [("certfile", "server.pem"), ("keyfile", "server.key")] {
                conf.push_str(&format!("{key} {}\n", self.file(file).display()));
            }
        }
        std::fs::write(self.file("mosquitto.conf"), conf)?;
        Ok(())
    }

    /// Waits until somebody answers at the port; a broker that lost it to another program
    /// ends and is reported with what it said.
    fn wait_until_open(&self, process: &mut Process) -> Result<()> {
        process.wait_for_line("running", PATIENCE)?;
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("mosquitto does not answer\n{}", process.log().tail(20));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

fn write_password_file(file: &Path, credentials: &Credentials) -> Result<()> {
    let status = Command::new(find_program("mosquitto_passwd")?)
        .args(["-b", "-c"])
        .arg(file)
        .args([&credentials.user, &credentials.password])
        .status()?;
    if !status.success() {
        bail!("mosquitto_passwd failed");
    }
    Ok(())
}

/// Makes an authority and a certificate for `localhost`, as PEM.
fn write_certificates(directory: &Path) -> Result<()> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // With the broker's name it would pass for a certificate that signed itself.
    let name = &mut authority.distinguished_name;
    name.push(DnType::CommonName, "test authority");
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    for (file, pem) in [
        ("ca.pem", authority_pem),
        ("server.pem", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        std::fs::write(directory.join(file), pem)?;
    }
    Ok(())
}

/// `mosquitto_pub` and `mosquitto_sub`, for any broker on the loopback.
#[derive(Clone, Debug)]
pub struct MosquittoClient {
    /// The broker's port.
    pub port: u16,
    /// The user to log in as.
    pub credentials: Option<Credentials>,
    /// The authority of the broker's certificate; speaks TLS where there is one.
    pub ca_file: Option<PathBuf>,
}

impl MosquittoClient {
    /// Creates clients for a broker that lets everybody in, without TLS.
    #[must_use]
    pub const fn at(port: u16) -> Self {
        Self {
            port,
            credentials: None,
            ca_file: None,
        }
    }

    /// Publishes with `mosquitto_pub`.
    ///
    /// # Errors
    /// Where the client is not installed or reports a failure.
    pub fn publish(&self, topic: &str, payload: &str, qos: u8, retain: bool) -> Result<()> {
        let mut command = self.command("mosquitto_pub")?;
        command.args(["-t", topic, "-m", payload, "-q", &qos.to_string()]);
        if retain {
            command.arg("-r");
        }
        let output = command.output().context("cannot start mosquitto_pub")?;
        if !output.status.success() {
            bail!(
                "mosquitto_pub: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Publishes each payload of `lines`, none of which has a line feed, with one
    /// `mosquitto_pub -l`; they keep their order.
    ///
    /// # Errors
    /// Where the client is not installed or reports a failure.
    pub fn publish_lines(
        &self,
        topic: &str,
        qos: u8,
        lines: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        let mut command = self.command("mosquitto_pub")?;
        command.args(["-t", topic, "-q", &qos.to_string(), "-l"]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start mosquitto_pub")?;
        let stdin = child.stdin.take().context("no pipe")?;
        let mut stdin = BufWriter::new(stdin);
        for line in lines {
            writeln!(stdin, "{line}")?;
        }
        // Closed, it tells the client that this is all.
        drop(stdin);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "mosquitto_pub: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Starts `mosquitto_sub -t FILTER -v` and waits until the broker has taken the
    /// subscription; what it prints is the process's log.
    ///
    /// # Errors
    /// Where the client is not installed or cannot subscribe.
    pub fn subscriber(&self, filter: &str) -> Result<Process> {
        let mut command = self.command("mosquitto_sub")?;
        command.args(["-t", filter, "-q", "2", "-v", "-d"]);
        let mut process = Process::spawn("mosquitto_sub", &mut command)?;
        process.wait_for_line("Subscribed (mid", PATIENCE)?;
        Ok(process)
    }

    fn command(&self, name: &str) -> Result<Command> {
        // By lines: what they print goes to a pipe, and would else be seen at their end.
        let mut command = Command::new(find_program("stdbuf")?);
        command.arg("-oL").arg(find_program(name)?);
        // A certificate is for a name, and resolving one may give an IPv6 address.
        let host = self.ca_file.as_ref().map_or("127.0.0.1", |_| "localhost");
        command.args(["-h", host, "-p", &self.port.to_string()]);
        if let Some(Credentials { user, password }) = &self.credentials {
            command.args(["-u", user, "-P", password]);
        }
        if let Some(ca_file) = &self.ca_file {
            command.arg("--cafile").arg(ca_file);
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests;
