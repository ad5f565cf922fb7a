//! The files in `tests/vectors`.

use super::hex;
use l2xdp::config::Config;
use l2xdp_common::pseudowire::Seq;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

/// A file: a configuration, the devices around it, and packets.
#[derive(Debug)]
pub struct File {
    /// Of the tables `[[tunnel]]`.
    pub config: Config,
    /// `[wan]`.
    pub wan: Wan,
    /// `[device]`.
    pub device: Device,
}

/// The WAN device and the way to the peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wan {
    /// Its MAC.
    #[serde(deserialize_with = "mac")]
    pub mac: [u8; 6],
    /// The next hop's MAC; none: it has not answered.
    #[serde(default, deserialize_with = "some_mac")]
    pub next_hop: Option<[u8; 6]>,
    /// The path's MTU, in bytes.
    pub mtu: u32,
    /// It is a veth.
    #[serde(default)]
    pub veth: bool,
    /// It leaves checksums to hardware, be there any or not.
    #[serde(default)]
    pub tx_checksum: bool,
    /// XDP can send to it.
    #[serde(default = "yes")]
    pub xdp_xmit: bool,
}

/// The pseudowire's device or the port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// It is a veth.
    pub veth: bool,
    /// XDP can send to it.
    pub xdp_xmit: bool,
    /// Where the kernel's driver is that carries what the programs don't; none: user space does.
    pub driver: Option<Driver>,
}

impl Default for Device {
    fn default() -> Self {
        Self { mtu: 1500, veth: false, xdp_xmit: true, driver: None }
    }
}

/// Which device is the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// This one.
    Here,
    /// Another.
    Elsewhere,
}

/// What all sessions have besides.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Messages are sent with sequence numbers.
    seq_send: bool,
    /// They are required of those received.
    seq_recv: bool,
    /// Messages are taken over IPv6 without an outer UDP checksum.
    zero_csum6_rx: bool,
}

/// A packet and what is to become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Unique among all files.
    pub name: String,
    /// For the reader.
    #[serde(rename = "about")]
    _about: String,
    /// Which way it goes.
    pub direction: Direction,
    /// The hooks that this is about; none: it is the same at all.
    #[serde(default)]
    hooks: Option<Vec<Hook>>,
    /// Why `BPF_PROG_TEST_RUN` can't have it.
    pub host_only: Option<String>,
    /// It is a super-packet.
    pub segments: Option<Segments>,
    /// The frame.
    #[serde(deserialize_with = "frame")]
    pub input: Vec<u8>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The device it is redirected to: "wan" or the name in the configuration.
    pub to: Option<String>,
    /// The label of the one reason that is counted.
    pub reason: Option<String>,
    /// The session whose counters move; none: the first.
    pub session: Option<u32>,
    /// The session's counters that move, and by how much.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// EtherType and control information of the tag that user space is told of beside the frame.
    #[serde(default, deserialize_with = "frame")]
    pub tag: Vec<u8>,
    /// The frame afterwards, or as the slow path gets it; none: unchanged.
    #[serde(default, deserialize_with = "some_frame")]
    pub output: Option<Vec<u8>>,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the tunnel.
    Encap,
    /// Out of it.
    Decap,
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// XDP.
    Xdp,
    /// TC.
    Tc,
    /// TC behind the splitter.
    Split,
}

impl Hook {
    /// All of them.
    const ALL: [Self; 3] = [Self::Xdp, Self::Tc, Self::Split];

    /// As test names have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
            Self::Split => "split",
        }
    }
}

/// The packets that a super-packet stands for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// The payload of each, in bytes.
    pub len: u32,
    /// How many.
    pub count: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Rewritten, and sent on.
    Redirect,
    /// On to the kernel.
    Pass,
    /// Split first.
    Split,
    /// On to the slow path, which TC sends it to.
    Slow,
    /// Dropped.
    Drop,
    /// Dropped half rewritten.
    Abort,
}

impl Vector {
    /// The hooks that it is about.
    pub fn hooks(&self) -> impl Iterator<Item = Hook> {
        let about = |hook: &Hook| self.hooks.as_ref().is_none_or(|hooks| hooks.contains(hook));
        Hook::ALL.into_iter().filter(about)
    }

    /// The frame afterwards, written out or not.
    pub fn output(&self) -> &[u8] {
        self.output.as_deref().unwrap_or(&self.input)
    }
}

/// A vector and the file it is from.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file.
    pub file: Arc<File>,
    /// The vector.
    pub vector: Arc<Vector>,
}

/// All vectors, in the order of the files' names.
pub fn load() -> Result<Vec<Case>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();

    let (mut vectors, mut names) = (Vec::new(), BTreeSet::new());
    for path in paths {
        let (file, packets) = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = Arc::new(file);
        for vector in packets {
            if !names.insert(vector.name.clone()) {
                return Err(format!("{}: there is another vector {}", path.display(), vector.name));
            }
            vectors.push(Case { file: Arc::clone(&file), vector: Arc::new(vector) });
        }
    }
    Ok(vectors)
}

/// A file as it lies there; its tunnels are left to the configuration's own parser.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tunnel: toml::Value,
    wan: Wan,
    #[serde(default)]
    device: Device,
    #[serde(default)]
    options: Options,
    vector: Vec<Vector>,
}

fn read(path: &Path) -> Result<(File, Vec<Vector>), String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let raw: Raw = toml::from_str(&text).map_err(|error| error.to_string())?;
    let tunnels = toml::Table::from_iter([("tunnel".to_owned(), raw.tunnel)]).to_string();
    let mut config = Config::parse("the vector's [[tunnel]]", &tunnels).map_err(|error| error.to_string())?;
    for session in config.tunnels.iter_mut().flat_map(|tunnel| &mut tunnel.sessions) {
        session.pseudowire.seq = Seq { send: raw.options.seq_send, recv: raw.options.seq_recv };
        session.pseudowire.zero_csum6_rx |= raw.options.zero_csum6_rx;
    }
    Ok((File { config, wan: raw.wan, device: raw.device }, raw.vector))
}

const fn yes() -> bool {
    true
}

fn frame<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn some_frame<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    frame(deserializer).map(Some)
}

fn mac<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 6], D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = hex::parse(&text.replace(':', " ")).map_err(serde::de::Error::custom)?;
    bytes.try_into().map_err(|_| serde::de::Error::custom(format!("{text} is no MAC")))
}

fn some_mac<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 6]>, D::Error> {
    mac(deserializer).map(Some)
}
