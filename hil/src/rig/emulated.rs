//! The virtual rig: the real firmware in QEMU, its serial port on a simulated radio.

use std::path::{Path, PathBuf};
use std::process::Command;

use ::tests::{Process, find_program};
use anyhow::{Context, Result, bail};
use app::settings::SETTINGS_RECORD_LEN_MAX;
use shared::fault::FaultProfile;
use shared::wire::NodeId;
use tempfile::TempDir;

use super::{Firmware, NodePlan, Rig, SerialLine};
use crate::air::{Air, Medium, Tally};
use crate::judge::NodeEnd;

/// Nodes in QEMU that share a simulated radio.
#[derive(Debug)]
pub struct VirtualRig {
    firmware: Firmware,
    profile: FaultProfile,
    seed: u64,
    folder: TempDir,
    plans: Vec<NodePlan>,
    medium: Option<Medium>,
    nodes: Vec<Process>,
}

impl VirtualRig {
    /// The board whose firmware runs in QEMU.
    pub const BOARD: &'static str = "qemu-virt";
    /// What that firmware is compiled for.
    pub const TRIPLE: &'static str = "riscv32imac-unknown-none-elf";

    /// Creates a rig whose radio has the faults of `profile` both ways, drawn from `seed`.
    ///
    /// # Errors
    /// Where no temporary folder can be made.
    pub fn new(firmware: Firmware, profile: FaultProfile, seed: u64) -> Result<Self> {
        Ok(Self {
            firmware,
            profile,
            seed,
            folder: tempfile::Builder::new().prefix("hil-").tempdir()?,
            plans: Vec::new(),
            medium: None,
            nodes: Vec::new(),
        })
    }

    fn socket(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("line-{index}"))
    }

    fn settings_file(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("settings-{index}.bin"))
    }

    fn start_node(&self, index: usize, plan: &NodePlan) -> Result<Process> {
        let settings = self.settings_file(index);
        write_settings(&settings, plan)?;
        let mut qemu = Command::new(find_program(QEMU)?);
        // The machine waits for its line: no byte is sent before somebody listens.
        qemu.args(["-machine", "virt", "-m", "8M", "-bios", "none"])
            .args(["-no-reboot", "-display", "none", "-monitor", "none"])
            .arg("-kernel")
            .arg(self.firmware.path())
            .arg("-chardev")
            .arg(format!(
                "socket,id=line,server=on,wait=on,path={}",
                self.socket(index).display()
            ))
            .args(["-serial", "chardev:line", "-device"])
            .arg(format!(
                "loader,addr={SETTINGS_ADDRESS:#x},force-raw=on,file={}",
                settings.display()
            ));
        Process::spawn(plan.name(), &mut qemu)
    }
}

impl Rig for VirtualRig {
    fn name(&self) -> &'static str {
        "virtual"
    }

    fn check(&self, nodes: usize) -> Result<Vec<String>> {
        let qemu = find_program(QEMU)?;
        let version = Command::new(&qemu).arg("--version").output()?;
        let version = String::from_utf8_lossy(&version.stdout);
        Ok(vec![
            version.lines().next().unwrap_or(QEMU).to_owned(),
            format!("{nodes} nodes of {}", self.firmware.path().display()),
        ])
    }

    fn open(&mut self, nodes: &[NodePlan]) -> Result<SerialLine> {
        let ids: Vec<NodeId> = nodes.iter().map(|plan| plan.node_id).collect();
        let air = Air::new(self.profile, self.seed, &ids);
        let sockets = (0..nodes.len()).map(|index| self.socket(index)).collect();
        let medium = Medium::start(air, sockets)?;
        let path = medium.gateway_path().to_path_buf();
        self.plans = nodes.to_vec();
        self.medium = Some(medium);
        Ok(SerialLine {
            path,
            baud: 115_200,
        })
    }

    fn start(&mut self) -> Result<()> {
        let plans = self.plans.iter().enumerate();
        self.nodes = plans
            .map(|(index, plan)| self.start_node(index, plan))
            .collect::<Result<_>>()?;
        Ok(())
    }

    fn ends(&mut self) -> Result<Vec<NodeEnd>> {
        let ends = self.nodes.iter_mut().map(|node| {
            let Some(status) = node.try_wait()? else {
                return Ok(NodeEnd::Unfinished);
            };
            Ok(match status.code() {
                Some(0) => NodeEnd::Finished,
                code => NodeEnd::Failed(format!(
                    "{}; QEMU said: {}",
                    meaning(code),
                    node.log().tail(3)
                )),
            })
        });
        ends.collect()
    }

    fn air(&self) -> Option<Vec<Tally>> {
        self.medium.as_ref().map(Medium::tallies)
    }

    fn rig_lost(&self) -> u64 {
        self.medium.as_ref().map_or(0, Medium::clogged)
    }
}

fn write_settings(file: &Path, plan: &NodePlan) -> Result<()> {
    let mut record = [0; SETTINGS_RECORD_LEN_MAX];
    let settings = &plan.settings;
    let Ok(len) = settings.to_record(&mut record) else {
        bail!(
            "the settings of {} are not valid: {settings:?}",
            plan.name()
        );
    };
    std::fs::write(file, &record[..len]).context("cannot write the settings")
}

/// Returns what an exit code of the firmware means.
const fn meaning(code: Option<i32>) -> &'static str {
    match code {
        Some(1) => "the firmware panicked",
        Some(2) => "the firmware found no valid settings",
        Some(3) => "the firmware's storage failed",
        Some(4) => "the CPU met an instruction that it cannot run",
        Some(5) => "some publications were refused or dropped",
        _ => "QEMU failed",
    }
}

const QEMU: &str = "qemu-system-riscv32";

/// Where the firmware expects its settings: the first sector of its emulated flash.
const SETTINGS_ADDRESS: u32 = 0x8040_0000;
