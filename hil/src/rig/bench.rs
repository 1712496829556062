//! The bench rig: real boards on serial ports, and the gateway's radio beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

use ::tests::find_program;
use anyhow::{Context, Result, bail, ensure};
use app::settings::SETTINGS_RECORD_LEN_MAX;
use serde::Deserialize;

use super::{Firmware, NodePlan, Rig, SerialLine};
use crate::air::Tally;
use crate::judge::NodeEnd;

/// What is on the bench, as a TOML file says it:
///
/// ```toml
/// [radio]                      # the gateway's end
/// path = "/dev/serial/by-id/usb-radio"
/// baud = 57600
///
/// [[board]]                    # one for each node
/// name = "bench-1"
/// chip = "esp32c3"
/// port = "/dev/serial/by-id/usb-board-1"
/// node_id = 1
/// pins = "radio TX = GPIO6, RX = GPIO7"
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchPlan {
    /// The gateway's radio.
    pub radio: Radio,
    /// The boards.
    #[serde(default)]
    pub board: Vec<Board>,
}

/// The gateway's radio.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Radio {
    /// The serial device.
    pub path: PathBuf,
    /// Its bit rate.
    pub baud: u32,
}

/// One board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What it is called in reports.
    pub name: String,
    /// Its chip.
    pub chip: Chip,
    /// The serial port that it is flashed through.
    pub port: PathBuf,
    /// Its name on the shared radio.
    pub node_id: u8,
    /// How it is wired, for the person at the bench; printed by the check.
    #[serde(default)]
    pub pins: String,
}

/// The chips that there is firmware for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chip {
    /// ESP32-C3.
    Esp32c3,
    /// ESP32-C6.
    Esp32c6,
}

impl Chip {
    /// Returns the name of the board's firmware.
    #[must_use]
    pub const fn board(self) -> &'static str {
        match self {
            Self::Esp32c3 => "esp32c3",
            Self::Esp32c6 => "esp32c6",
        }
    }

    /// Returns what its firmware is compiled for.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Self::Esp32c3 => "riscv32imc-unknown-none-elf",
            Self::Esp32c6 => "riscv32imac-unknown-none-elf",
        }
    }
}

impl BenchPlan {
    /// Reads the plan from a TOML file.
    ///
    /// # Errors
    /// Where the file cannot be read, or what in it is not understood, with its line.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", file.display()))
    }
}

/// Boards and a radio on a bench.
#[derive(Debug)]
pub struct BenchRig {
    plan: BenchPlan,
    nodes: Vec<NodePlan>,
}

impl BenchRig {
    /// Creates the rig of a plan.
    #[must_use]
    pub const fn new(plan: BenchPlan) -> Self {
        Self {
            plan,
            nodes: Vec::new(),
        }
    }

    /// Returns what would be done for `nodes` nodes, without looking at any device.
    ///
    /// # Errors
    /// Where the firmware's partition table is missing or names no place for the settings.
    pub fn dry_run(&self, nodes: usize) -> Result<Vec<String>> {
        let mut lines = vec![format!(
            "gateway on {} at {} baud",
            self.plan.radio.path.display(),
            self.plan.radio.baud
        )];
        for board in self.plan.board.iter().take(nodes) {
            lines.push(format!(
                "{}: {} on {}, node id {}{}{}",
                board.name,
                board.chip.board(),
                board.port.display(),
                board.node_id,
                if board.pins.is_empty() { "" } else { ", " },
                board.pins
            ));
            for arguments in [flash_arguments(board), settings_arguments(board)?] {
                lines.push(format!("  espflash {}", arguments.join(" ")));
            }
        }
        Ok(lines)
    }

    fn flash(&self, board: &Board, node: &NodePlan) -> Result<()> {
        let firmware = Firmware::build(board.chip.board(), board.chip.triple())?;
        espflash(&flash_arguments(board), firmware.path())?;
        let mut record = [0; SETTINGS_RECORD_LEN_MAX];
        let Ok(len) = node.settings.to_record(&mut record) else {
            bail!("the settings of {} are not valid", node.name());
        };
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), &record[..len])?;
        espflash(&settings_arguments(board)?, file.path())
    }
}

impl Rig for BenchRig {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn check(&self, nodes: usize) -> Result<Vec<String>> {
        let boards = &self.plan.board;
        ensure!(
            boards.len() >= nodes,
            "the scenario needs {nodes} boards, the bench has {}",
            boards.len()
        );
        let tool = find_program("espflash").map_err(|_| {
            anyhow::anyhow!("espflash is not installed: cargo install espflash --locked")
        })?;
        let mut found = vec![format!("{}", tool.display())];
        let ports = boards.iter().take(nodes).map(|board| &board.port);
        let missing: Vec<String> = std::iter::once(&self.plan.radio.path)
            .chain(ports)
            .filter(|path| !is_device(path))
            .map(|path| path.display().to_string())
            .collect();
        if !missing.is_empty() {
            bail!(
                "no board is connected at {}; plug it in, or correct the bench file",
                missing.join(", ")
            );
        }
        found.extend(self.dry_run(nodes)?);
        Ok(found)
    }

    fn open(&mut self, nodes: &[NodePlan]) -> Result<SerialLine> {
        self.nodes = nodes.to_vec();
        for (node, board) in self.nodes.iter_mut().zip(&self.plan.board) {
            let id = shared::wire::NodeId::new(&[board.node_id]);
            node.node_id = id.context("a node id of one octet")?;
            let octets = heapless::Vec::from_slice(node.node_id.as_bytes());
            node.settings.node_id = octets.ok();
        }
        Ok(SerialLine {
            path: self.plan.radio.path.clone(),
            baud: self.plan.radio.baud,
        })
    }

    fn start(&mut self) -> Result<()> {
        for (node, board) in self.nodes.iter().zip(&self.plan.board) {
            self.flash(board, node)
                .with_context(|| format!("board {}", board.name))?;
        }
        Ok(())
    }

    fn ends(&mut self) -> Result<Vec<NodeEnd>> {
        // A board does not switch itself off when its work is done.
        Ok(vec![NodeEnd::Endless; self.nodes.len()])
    }

    fn air(&self) -> Option<Vec<Tally>> {
        None
    }

    fn rig_lost(&self) -> u64 {
        0
    }
}

fn flash_arguments(board: &Board) -> Vec<String> {
    let port = board.port.display().to_string();
    let table = partition_table().display().to_string();
    let chip = board.chip.board();
    [
        "flash",
        "--chip",
        chip,
        "--port",
        &port,
        "--partition-table",
        &table,
    ]
    .map(str::to_owned)
    .into()
}

fn settings_arguments(board: &Board) -> Result<Vec<String>> {
    let table = std::fs::read_to_string(partition_table())
        .context("node-firmware/partitions.csv is missing")?;
    let offset = settings_offset(&table).context("partitions.csv has no partition \"node\"")?;
    let port = board.port.display().to_string();
    let chip = board.chip.board();
    Ok(["write-bin", "--chip", chip, "--port", &port, &offset]
        .map(str::to_owned)
        .into())
}

fn partition_table() -> PathBuf {
    ::tests::workspace_root().join("node-firmware/partitions.csv")
}

/// Returns where the partition that holds the settings begins, as the table writes it.
fn settings_offset(table: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        match columns[..] {
            ["node", _, _, offset, ..] => Some(offset.to_owned()),
            _ => None,
        }
    })
}

fn espflash(arguments: &[String], file: &Path) -> Result<()> {
    let status = Command::new(find_program("espflash")?)
        .args(arguments)
        .arg(file)
        .status()?;
    ensure!(status.success(), "espflash {} failed", arguments.join(" "));
    Ok(())
}

fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_char_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
        [radio]
        path = "/dev/no-such-radio"
        baud = 57600
        [[board]]
        name = "bench-1"
        chip = "esp32c3"
        port = "/dev/no-such-board"
        node_id = 1
        pins = "TX 21"
    "#;

    fn rig() -> BenchRig {
        BenchRig::new(toml::from_str(PLAN).unwrap())
    }

    #[test]
    fn a_dry_run_names_devices_pins_and_commands() {
        let lines = rig().dry_run(1).unwrap().join("\n");
        for part in [
            "/dev/no-such-radio",
            "TX 21",
            "espflash flash --chip esp32c3",
        ] {
            assert!(lines.contains(part), "{lines}");
        }
    }

    #[test]
    fn the_offset_is_the_tables() {
        let table = "# Name, Type, SubType, Offset, Size\nnode, data, 0x40, 0x3fd000, 0x3000,\n";
        assert_eq!(settings_offset(table).as_deref(), Some("0x3fd000"));
        assert_eq!(settings_offset("factory, app, factory, 0x10000, 1M"), None);
    }

    #[test]
    fn a_missing_board_is_said() {
        assert!(rig().check(2).unwrap_err().to_string().contains("2 boards"));
        let error = rig().check(1).unwrap_err().to_string();
        assert!(
            error.contains("no board is connected") || error.contains("espflash"),
            "{error}"
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<BenchPlan>(&format!("{PLAN}\ncolour = 1")).is_err());
    }
}
