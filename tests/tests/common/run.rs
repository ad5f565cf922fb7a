//! Vectors through `BPF_PROG_TEST_RUN` of the real programs.

use super::outcome::{Outcome, split_mark};
use super::vector::{Case, Direction, File, Hook, Vector};
use super::world::{Target, World, rx_target};
use aya::maps::MapData;
use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use aya::{TestRun as _, TestRunOptions};
use l2xdp::datapath::{Datapath, Limits, ProgramName};
use l2xdp_common::SlowFrame;
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The programs, loaded once: each vector has the maps to itself.
static DATAPATH: LazyLock<Mutex<Result<Loaded, String>>> = LazyLock::new(|| Mutex::new(Loaded::new()));

/// The programs, and what they give to user space.
pub struct Loaded {
    /// The programs.
    pub datapath: Datapath,
    /// Of each CPU.
    queues: Vec<PerfEventArrayBuffer<MapData>>,
}

impl Loaded {
    fn new() -> Result<Self, String> {
        let mut datapath = Datapath::load(LIMITS, SPLITTER, false).map_err(text)?;
        let mut slow_path = datapath.take_slow_path().map_err(text)?;
        let cpus = aya::util::online_cpus().map_err(|(file, error)| format!("{file}: {error}"))?;
        let queues = cpus.into_iter().map(|cpu| slow_path.open(cpu, Some(PAGES)).map_err(text));
        Ok(Self { queues: queues.collect::<Result<_, _>>()?, datapath })
    }

    /// What was given to user space, which the queues hold no more.
    pub fn given(&mut self) -> Result<Vec<(SlowFrame, Vec<u8>)>, String> {
        let mut given = Vec::new();
        for queue in &mut self.queues {
            queue.for_each(|event| {
                // The other events tell of frames that found the queue full; the program counts them.
                if let PerfEvent::Sample { head, tail } = event {
                    given.push(slow_frame(&[head, tail].concat()));
                }
            });
        }
        given.into_iter().collect()
    }
}

/// Of a queue.
const PAGES: usize = 8;

/// A record is padded to eight bytes.
fn slow_frame(bytes: &[u8]) -> Result<(SlowFrame, Vec<u8>), String> {
    let (told, frame) = bytes.split_at_checked(size_of::<SlowFrame>()).ok_or("a record is too short")?;
    let told: SlowFrame = bytemuck::pod_read_unaligned(told);
    let frame = frame.get(..told.len as usize).ok_or("a record ends within its frame")?;
    Ok((told, frame.to_vec()))
}

/// Enough for any vector.
pub const LIMITS: Limits = Limits { sessions: 64, ports: 64 };

/// Where super-packets are sent to; nothing is sent in test runs.
pub const SPLITTER: u32 = 9;

/// Does something with the programs.
pub fn with_loaded<T>(action: impl FnOnce(&mut Loaded) -> Result<T, String>) -> Result<T, String> {
    let mut loaded = DATAPATH.lock().unwrap_or_else(PoisonError::into_inner);
    action(loaded.as_mut().map_err(|error| error.clone())?)
}

/// Why programs can't be loaded here.
pub fn obstacle() -> Option<&'static str> {
    (!nix::unistd::geteuid().is_root()).then_some("loading eBPF programs needs root")
}

/// Tests that can't run are shown with the reason.
pub fn unless(obstacle: Option<&str>, trials: Vec<Trial>) -> Vec<Trial> {
    let Some(reason) = obstacle else { return trials };
    trials.iter().for_each(|trial| println!("skipped: {}: {reason}", trial.name()));
    trials.into_iter().map(|trial| trial.with_ignored_flag(true)).collect()
}

/// A test for each vector and hook.
pub fn trials(vectors: &[Case]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in vectors.iter().filter(|case| case.vector.host_only.is_none()) {
        for hook in case.vector.hooks() {
            let case = case.clone();
            let name = format!("{}/run-{}", case.vector.name, hook.name());
            trials.push(Trial::test(name, move || Ok(check(&case.file, &case.vector, hook)?)));
        }
    }
    trials
}

fn check(file: &File, vector: &Vector, hook: Hook) -> Result<(), String> {
    let world = World::new(file)?;
    let expected = Outcome::of_program(&world, vector, hook)?;
    with_loaded(|loaded| {
        install(&mut loaded.datapath, &world)?;
        let mut outcomes = vec![run(&mut loaded.datapath, &world, vector, hook)];
        if hook == Hook::Xdp {
            // The sessions were in hash tables alone so far.
            loaded.datapath.publish().map_err(text)?;
            outcomes.push(run(&mut loaded.datapath, &world, vector, hook));
        }
        remove(&mut loaded.datapath, &world)?;
        let given = loaded.given()?;
        outcomes
            .into_iter()
            .try_for_each(|outcome| Outcome { slow: given.clone(), ..outcome? }.check(&expected))
    })
}

/// Fills the maps.
pub fn install(datapath: &mut Datapath, world: &World) -> Result<(), String> {
    for (key, tx) in &world.plan.tx {
        datapath.set_tx(key, tx).map_err(text)?;
    }
    for (&id, rx) in &world.plan.rx {
        datapath.set_rx(id, rx).map_err(text)?;
    }
    world.ports.iter().try_for_each(|&port| datapath.add_port(port)).map_err(text)
}

/// Empties them.
pub fn remove(datapath: &mut Datapath, world: &World) -> Result<(), String> {
    world.plan.tx.keys().try_for_each(|key| datapath.remove_tx(key)).map_err(text)?;
    world.plan.rx.keys().try_for_each(|&id| datapath.remove_rx(id)).map_err(text)?;
    world.ports.iter().try_for_each(|&port| datapath.remove_port(port)).map_err(text)
}

/// Runs the program of a hook on a vector's packet.
pub fn run(datapath: &mut Datapath, world: &World, vector: &Vector, hook: Hook) -> Result<Outcome, String> {
    let before = Counts::read(datapath, world)?;
    let mut outcome = match hook {
        Hook::Xdp => run_xdp(datapath, vector)?,
        Hook::Tc | Hook::Split => run_tc(datapath, vector, hook)?,
    };
    let after = Counts::read(datapath, world)?;
    outcome.counters = moved(&before.sessions, &after.sessions);
    outcome.reasons = moved(&before.reasons, &after.reasons);
    outcome.target = target(world, hook, &outcome);
    Ok(outcome)
}

/// A test run does not tell where it would send a frame: it is what the maps say of the session that was counted.
fn target(world: &World, hook: Hook, outcome: &Outcome) -> Option<Target> {
    let (session, counter) = *outcome.counters.keys().next()?;
    let slot = world.sessions.iter().position(|&id| id == session)? as u32;
    match (counter, hook) {
        ("tx_bytes", _) => {
            let tx = world.plan.tx.values().find(|tx| tx.slot == slot)?;
            Some(Target { ifindex: tx.ifindex, ingress: false })
        }
        ("rx_bytes", _) => Some(rx_target(world.plan.rx.get(&session)?, hook)),
        _ => None,
    }
}

fn run_xdp(datapath: &mut Datapath, vector: &Vector) -> Result<Outcome, String> {
    let name = match vector.direction {
        Direction::Encap => ProgramName::XdpEncap,
        Direction::Decap => ProgramName::XdpDecap,
    };
    let mut frame = [0; MAX_FRAME];
    let result = datapath.xdp(name).map_err(text)?.test_run(TestRunOptions {
        data_in: Some(&vector.input),
        data_out: Some(&mut frame),
        ..TestRunOptions::default()
    });
    let result = result.map_err(text)?;
    let frame = frame[..result.data_size_out as usize].to_vec();
    Ok(Outcome { verdict: named(&XDP_ACTIONS, result.return_value), frame, ..Outcome::default() })
}

fn run_tc(datapath: &mut Datapath, vector: &Vector, hook: Hook) -> Result<Outcome, String> {
    let name = match (hook, vector.direction) {
        (Hook::Split, _) => ProgramName::TcSplit,
        (_, Direction::Encap) => ProgramName::TcEncap,
        (_, Direction::Decap) => ProgramName::TcDecap,
    };
    let (mut frame, mut context, mut context_out) = ([0; MAX_FRAME], [0; SK_BUFF], [0; SK_BUFF]);
    let mut set = |field: usize, value: u32| context[field..][..4].copy_from_slice(&value.to_ne_bytes());
    if let Some(segments) = vector.segments {
        set(GSO_SIZE, segments.len);
        set(GSO_SEGS, segments.count);
    }
    if hook == Hook::Split {
        set(MARK, split_mark(vector.direction));
    }
    let result = datapath.tc(name).map_err(text)?.test_run(TestRunOptions {
        data_in: Some(&vector.input),
        data_out: Some(&mut frame),
        ctx_in: Some(&context),
        ctx_out: Some(&mut context_out),
        ..TestRunOptions::default()
    });
    let result = result.map_err(text)?;
    let mark = *bytemuck::from_bytes(&context_out[MARK..][..4]);
    let frame = frame[..result.data_size_out as usize].to_vec();
    Ok(Outcome {
        verdict: named(&TC_ACTIONS, result.return_value.wrapping_add(1)),
        frame,
        mark,
        ..Outcome::default()
    })
}

/// The longest frame that comes out.
const MAX_FRAME: usize = 4096;

/// `struct __sk_buff` of `linux/bpf.h`, and where its fields are.
const SK_BUFF: usize = 192;
const MARK: usize = 8;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

/// `enum xdp_action` of `linux/bpf.h`.
const XDP_ACTIONS: [&str; 5] = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"];
/// `linux/pkt_cls.h`, from `TC_ACT_UNSPEC` = −1 on.
const TC_ACTIONS: [&str; 9] = [
    "TC_ACT_UNSPEC",
    "TC_ACT_OK",
    "TC_ACT_RECLASSIFY",
    "TC_ACT_SHOT",
    "TC_ACT_PIPE",
    "TC_ACT_STOLEN",
    "TC_ACT_QUEUED",
    "TC_ACT_REPEAT",
    "TC_ACT_REDIRECT",
];

fn named(actions: &[&str], value: u32) -> String {
    actions.get(value as usize).map_or_else(|| format!("{value}"), |&name| name.to_owned())
}

/// All counters there are.
struct Counts {
    sessions: BTreeMap<(u32, &'static str), u64>,
    reasons: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn read(datapath: &Datapath, world: &World) -> Result<Self, String> {
        let mut sessions = BTreeMap::new();
        for (slot, &session) in world.sessions.iter().enumerate() {
            let counters = datapath.counters(slot as u32).map_err(text)?;
            sessions.extend(counters.named().map(|(name, count)| ((session, name), count)));
        }
        let reasons = datapath.reasons().map_err(text)?;
        Ok(Self {
            sessions,
            reasons: reasons.into_iter().map(|(reason, count)| (reason.label(), count)).collect(),
        })
    }
}

fn moved<K: Ord + Copy>(before: &BTreeMap<K, u64>, after: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let by = |(key, count): (&K, &u64)| (*key, count - before[key]);
    after.iter().map(by).filter(|&(_, by)| by != 0).collect()
}

/// An error and its causes, in a line.
pub fn text(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
