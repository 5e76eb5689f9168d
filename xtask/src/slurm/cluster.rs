//! A Slurm of one node, in a folder: no systemd, no cgroups, no accounting, ports that nobody has.

use crate::setup::{root, run_command};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What it takes, of the system's own suite.
pub const PACKAGES: [&str; 4] = ["slurmctld", "slurmd", "slurm-client", "munge"];
const DAEMONS: [&str; 3] = ["/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/sbin/munged"];
/// How long it may take until the node is ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long anything may take to end.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is a Slurm that can be started here; installs it, if it can.
pub fn installed() -> bool {
    let there = || DAEMONS.iter().all(|daemon| Path::new(daemon).exists());
    // slurmd becomes the user that a job belongs to.
    if !output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        return false;
    }
    if !there() {
        println!("installing {}", PACKAGES.join(", "));
        let apt = |args: &[&str]| {
            let mut apt = Command::new("apt-get");
            let _ = apt.args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
        };
        apt(&["update", "-qq"]);
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"][..], &PACKAGES].concat());
    }
    there()
}

/// A running one; ended when dropped.
pub struct Cluster {
    folder: PathBuf,
    daemons: Vec<Child>,
}

impl Cluster {
    /// Starts it, and waits until its node takes jobs.
    pub fn start(folder: &Path) -> Result<Cluster> {
        let mut cluster = Cluster { folder: folder.to_owned(), daemons: vec![] };
        // Jobs that are not root's must get in.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        for name in ["state", "spool"] {
            fs::create_dir(folder.join(name))?;
        }
        let key = folder.join("munge.key");
        fs::write(&key, random()?)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400))?;
        fs::write(folder.join("slurm.conf"), configuration(folder)?)?;

        let mut munged = Command::new(DAEMONS[2]);
        munged.args(["--force", "--foreground"]);
        for (option, name) in [
            ("key-file", "munge.key"),
            ("socket", "munge.sock"),
            ("pid-file", "munge.pid"),
            ("log-file", "munge.log"),
            ("seed-file", "munge.seed"),
        ] {
            munged.arg(format!("--{option}={}", folder.join(name).display()));
        }
        cluster.spawn(munged)?;
        cluster.wait("munged", |cluster| cluster.folder.join("munge.sock").exists())?;
        let mut controller = cluster.command(DAEMONS[0]);
        controller.args(["-D", "-i"]);
        cluster.spawn(controller)?;
        let mut node = cluster.command(DAEMONS[1]);
        node.arg("-D");
        cluster.spawn(node)?;
        cluster.wait("the node to be idle", |cluster| {
            let mut sinfo = cluster.command("sinfo");
            sinfo.args(["--noheader", "--format=%T"]);
            output(&mut sinfo).is_ok_and(|states| states.starts_with("idle"))
        })?;
        Ok(cluster)
    }

    /// A command that speaks to it, and finds `dormouse`; what it starts does, too.
    pub fn command(&self, program: &str) -> Command {
        let mut path = root().join("target/release").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.folder.join("slurm.conf")).env("PATH", path);
        command
    }

    /// A job's; nothing, once it is forgotten.
    pub fn state(&self, id: &str) -> Result<String> {
        let mut squeue = self.command("squeue");
        squeue.args(["--noheader", "--states=all", "--format=%T", "--jobs", id]);
        Ok(output(&mut squeue)?.trim().to_owned())
    }

    /// The ends of its logs.
    pub fn last_words(&self) -> String {
        let mut all = String::new();
        for name in ["slurmctld.log", "slurmd.log"] {
            let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(30)..].join("\n");
            all += &format!("{name}:\n{last}\n");
        }
        all
    }

    fn spawn(&mut self, mut daemon: Command) -> Result<()> {
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = daemon.spawn().with_context(|| format!("{:?}", daemon.get_program()))?;
        self.daemons.push(child);
        Ok(())
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Cluster) -> bool) -> Result<()> {
        let started = Instant::now();
        while !done(self) {
            for daemon in &mut self.daemons {
                if let Some(status) = daemon.try_wait()? {
                    bail!("a daemon ended ({status}) before {what}\n{}", self.last_words());
                }
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "waited in vain for {what}\n{}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing of it stays, whatever has failed: jobs first, while there is somebody who ends them.
        let _ = self.bounded("scancel", &["--signal=KILL", "--full", "--user=root"]);
        let _ = self.bounded("scancel", &["--user=root"]);
        while let Some(mut daemon) = self.daemons.pop() {
            let _ = run_command(Command::new("kill").arg(daemon.id().to_string()));
            let asked = Instant::now();
            while matches!(daemon.try_wait(), Ok(None)) && asked.elapsed() < LAST_PATIENCE {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // A job, and the daemon that each has for itself, outlive the node's.
        for process in self.leftovers() {
            let _ = run_command(Command::new("kill").args(["-s", "KILL", &process]));
        }
    }
}

impl Cluster {
    /// Without a controller, Slurm's commands ask for a long time.
    fn bounded(&self, program: &str, args: &[&str]) -> Result<()> {
        let seconds = LAST_PATIENCE.as_secs().to_string();
        let mut command = self.command("timeout");
        run_command(command.arg(seconds).arg(program).args(args).stderr(Stdio::null()))
    }

    /// Processes that know this cluster by its folder.
    fn leftovers(&self) -> Vec<String> {
        let known = format!("SLURM_CONF={}", self.folder.join("slurm.conf").display());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = |process: &fs::DirEntry| {
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == known.as_bytes())
        };
        let ids = processes.filter(ours).map(|p| p.file_name().to_string_lossy().into_owned());
        ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).collect()
    }
}

fn configuration(folder: &Path) -> Result<String> {
    let (controller, node) = (free_port()?, free_port()?);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").context("the host's name")?;
    // Up to the first dot, as slurmd has it.
    let (host, folder) = (host.trim().split('.').next().unwrap_or_default(), folder.display());
    Ok(format!(
        "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job may begin when the old one's credential has expired: two minutes, if nobody says otherwise.
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=1,sched_min_interval=1
# How long after SIGTERM comes SIGKILL.
KillWait=120
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 MaxTime=60
PartitionName=high Nodes=ALL PriorityTier=10 MaxTime=60
"
    ))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn random() -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = vec![0; 1024];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What a command prints.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {command:?}: {}", output.status, said.trim());
    Ok(String::from_utf8(output.stdout)?)
}
