//! A gateway that receives for many sessions: `cargo xtask bench scale` measures it.
//!
//! `many_sessions PID SESSIONS WAN` takes the one session of the l2xdp whose process that is, says `sampled`, waits until l2xdp
//! has ended, and fills the maps of a data path of its own with as many copies, whose ids are 1 and up. It says what that
//! took as JSON, and receives on the device with the index WAN until it is ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use anyhow::{Context as _, Result, bail};
use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapInfo};
use aya::programs::XdpMode;
use l2xdp::datapath::{Datapath, Limits, ProgramName};
use l2xdp_common::RxSession;

/// A map's value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain(RxSession);

// SAFETY: `bytemuck::Pod` promises more than aya asks: any bytes are a session, it has no padding and no pointers.
unsafe impl Pod for Plain {}

/// Nobody measures for longer.
const END: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    let arguments: Vec<u32> =
        env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [pid, sessions, wan] = arguments[..] else { bail!("give three numbers: PID SESSIONS WAN") };
    let sample = sample(pid)?;
    println!("sampled");
    while Path::new("/proc").join(pid.to_string()).exists() {
        thread::sleep(Duration::from_millis(3));
    }

    let start = Instant::now();
    let mut datapath = Datapath::load(Limits { sessions, ports: 1 }, 0, false)?;
    let loaded = start.elapsed();
    for slot in 0..sessions {
        datapath.set_rx(slot + 1, &RxSession { slot, ..sample })?;
    }
    let filled = start.elapsed() - loaded;
    datapath.xdp(ProgramName::XdpDecap)?.attach_to_if_index(wan, XdpMode::Driver)?;
    let bytes: u64 = maps(process::id())?.values().sum();
    let [loaded, filled] = [loaded, filled].map(|time| time.as_secs_f64());
    println!("{{\"bytes\": {bytes}, \"load\": {loaded}, \"fill\": {filled}}} ready");
    thread::sleep(END);
    Ok(())
}

/// The session that a running l2xdp receives for.
fn sample(pid: u32) -> Result<RxSession> {
    for &id in maps(pid)?.keys() {
        if MapInfo::from_id(id)?.name_as_str() != Some("RX_SESSIONS") {
            continue;
        }
        let map = Map::HashMap(MapData::from_id(id)?);
        let sessions: HashMap<_, [u8; 4], Plain> = HashMap::try_from(map)?;
        let (_, session) = sessions.iter().next().context("it has no session")??;
        return Ok(session.0);
    }
    bail!("process {pid} has no map of sessions")
}

/// The bytes that a process's maps take in the kernel, by id.
fn maps(pid: u32) -> Result<BTreeMap<u32, u64>> {
    let dir = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let files = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let infos = files.flatten().filter_map(|file| fs::read_to_string(file.path()).ok());
    Ok(infos.filter_map(|info| Some((field(&info, "map_id:")? as u32, field(&info, "memlock:")?))).collect())
}

fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
