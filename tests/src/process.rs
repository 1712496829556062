//! A child process: its output is kept, and it is ended when its owner goes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running program that this process started; killed by its process id on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

impl Process {
    /// Starts `command` with its output captured and nothing on its standard input.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({command:?})"))?;
        let log = Arc::new(Log::default());
        capture(child.stdout.take(), &log);
        capture(child.stderr.take(), &log);
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the process printed so far.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends `signal` to the process, unless it has ended.
    ///
    /// # Errors
    /// The system's error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // Once it has been waited for, its id may belong to somebody else.
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_raw(i32::try_from(self.child.id())?);
            kill(pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }

    /// Returns the exit status if the process has ended.
    ///
    /// # Errors
    /// The system's error.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// Where it still runs after `timeout`; the message holds the end of its log.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > timeout {
                bail!(
                    "{} still runs after {timeout:?}\n{}",
                    self.name,
                    self.log.tail(20)
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the process has printed a line that contains `text`.
    ///
    /// # Errors
    /// Where it ends or `timeout` passes first; the message holds the end of its log.
    pub fn wait_for_line(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Some(line) = self.log.find(text) {
                return Ok(line);
            }
            if let Some(status) = self.child.try_wait()? {
                // What it printed last may still be on its way through the pipe.
                std::thread::sleep(POLL);
                return self.log.find(text).with_context(|| {
                    format!("{} ended ({status})\n{}", self.name, self.log.tail(20))
                });
            }
            if start.elapsed() > timeout {
                bail!(
                    "{} did not print \"{text}\" within {timeout:?}\n{}",
                    self.name,
                    self.log.tail(20)
                );
            }
            self.log.wait(POLL);
        }
    }

    /// Ends the process at once (SIGKILL) and waits for it.
    ///
    /// # Errors
    /// The system's error.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The lines a process printed: the last [`Log::LINES_MAX`] of them, and how many in all.
#[derive(Debug, Default)]
pub struct Log {
    kept: Mutex<Kept>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    line_count: u64,
}

impl Log {
    /// The lines that are kept; older ones are only counted.
    pub const LINES_MAX: usize = 20_000;

    /// Returns how many lines were printed in all.
    #[must_use]
    pub fn line_count(&self) -> u64 {
        self.lock().line_count
    }

    /// Returns the first kept line that contains `text`.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<String> {
        let kept = self.lock();
        kept.lines.iter().find(|line| line.contains(text)).cloned()
    }

    /// Returns every kept line that contains `text`.
    #[must_use]
    pub fn all(&self, text: &str) -> Vec<String> {
        let kept = self.lock();
        let lines = kept.lines.iter().filter(|line| line.contains(text));
        lines.cloned().collect()
    }

    /// Returns the last `count` lines as one text.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let kept = self.lock();
        let skipped = kept.lines.len().saturating_sub(count);
        let tail: Vec<&str> = kept.lines.iter().skip(skipped).map(|l| &**l).collect();
        tail.join("\n")
    }

    fn push(&self, line: String) {
        let mut kept = self.lock();
        kept.line_count += 1;
        if kept.lines.len() == Self::LINES_MAX {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
        drop(kept);
        self.grown.notify_all();
    }

    fn wait(&self, timeout: Duration) {
        let kept = self.lock();
        drop(self.grown.wait_timeout(kept, timeout));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the full path of a program on `PATH` or in the administrator's directories, where
/// Debian keeps the broker.
///
/// # Errors
/// Where it is not installed; the message says what installs it.
pub fn find_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| is_program(file))
        .with_context(|| format!("{name} is not installed: run tests/run, which installs it"))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn capture(stream: Option<impl Read + Send + 'static>, log: &Arc<Log>) {
    let Some(stream) = stream else { return };
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
}

/// How often a waiting loop looks again.
const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_streams_are_kept_and_counted() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; echo two >&2; echo three; exit 7"]);
        let mut process = Process::spawn("sh", &mut shell).unwrap();
        process
            .wait_for_line("three", Duration::from_secs(5))
            .unwrap();
        process
            .wait_for_line("two", Duration::from_secs(5))
            .unwrap();
        assert_eq!(
            process.wait(Duration::from_secs(5)).unwrap().code(),
            Some(7)
        );
        assert_eq!(process.log().line_count(), 3);
    }

    #[test]
    fn a_process_that_ends_early_is_an_error_with_its_log() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo the reason"]);
        let mut process = Process::spawn("sh", &mut shell).unwrap();
        let error = process
            .wait_for_line("ready", Duration::from_secs(5))
            .unwrap_err();
        assert!(format!("{error:#}").contains("the reason"), "{error:#}");
    }

    #[test]
    fn dropping_ends_the_process() {
        let mut sleep = Command::new("sleep");
        let process = Process::spawn("sleep", sleep.arg("60")).unwrap();
        let proc_entry = format!("/proc/{}", process.pid());
        assert!(Path::new(&proc_entry).exists());
        drop(process);
        assert!(!Path::new(&proc_entry).exists());
    }

    #[test]
    fn a_missing_program_names_what_installs_it() {
        let error = find_program("no-such-program-here").unwrap_err();
        assert!(error.to_string().contains("tests/run"), "{error}");
    }
}
