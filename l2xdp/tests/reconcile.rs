//! From what is there to what is wanted, in a kernel that is a picture in memory and as strict as the real one.

use anyhow::{Result, bail, ensure};
use l2xdp::config::{Backend, Config};
use l2xdp::devices;
use l2xdp::l2tp::{KernelSession, KernelTunnel};
use l2xdp::observe::{Link, Observed};
use l2xdp::reconcile::{self, Desired, Made, Settings, Step, World, desired, steps};
use l2xdp_common::pseudowire::Seq;
use std::collections::{BTreeMap, BTreeSet};

/// A kernel in memory, and what l2xdp believes to have made in it.
#[derive(Clone, Default)]
struct Memory {
    observed: Observed,
    made: Made,
    /// The steps it still takes before it fails once.
    patience: Option<usize>,
}

/// All that an administrator would see.
type Picture = (BTreeMap<u32, KernelTunnel>, BTreeMap<(u32, u32), KernelSession>, BTreeMap<String, Link>);

impl Memory {
    fn with_bridges() -> Self {
        let mut memory = Self::default();
        for name in ["br0", "br1"] {
            memory.add(Link { name: name.to_owned(), bridge: true, ..Link::default() });
        }
        memory
    }

    fn add(&mut self, link: Link) {
        let ifindex = self.observed.links.keys().max().map_or(1, |last| last + 1);
        self.observed.links.insert(ifindex, Link { ifindex, mtu: link.mtu.max(68), ..link });
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        let ifindex = self.observed.link(name).map(|link| link.ifindex);
        ensure!(ifindex.and_then(|ifindex| self.observed.links.remove(&ifindex)).is_some(), "no {name}");
        Ok(())
    }

    fn add_device(
        &mut self,
        id: u32,
        name: Option<&String>,
        veth: bool,
        settings: &Settings,
    ) -> Result<String> {
        let free = |name: &String| self.observed.link(name).is_none();
        let name = match name {
            Some(name) => name.clone(),
            None => (0..).map(|n| format!("l2tpeth{n}")).find(free).unwrap(),
        };
        ensure!(free(&name), "{name} exists");
        self.add(Link {
            name: name.clone(),
            veth,
            alias: Some(devices::alias(id, settings.own_tunnel)),
            ..Link::default()
        });
        self.set_up(id, settings)?;
        Ok(name)
    }

    fn set_up(&mut self, id: u32, settings: &Settings) -> Result<()> {
        let bridge = settings.bridge.as_ref().map(|name| self.observed.link(name).map(|link| link.ifindex));
        ensure!(bridge != Some(None), "no such bridge");
        let of_session = |link: &&mut Link| devices::session_of(link) == Some(id);
        let mut devices = self.observed.links.values_mut().filter(of_session);
        let device = devices.find(|link| !link.name.starts_with("l2xw"));
        let Some(device) = device else { bail!("no device of session {id}") };
        device.controller = bridge.flatten();
        device.mtu = settings.mtu.unwrap_or(device.mtu);
        Ok(())
    }

    /// Takes the steps to what a configuration wants.
    fn follow(&mut self, config: &Config) -> Result<()> {
        let wanted = desired(config, &self.observed);
        self.reach(&wanted)
    }

    fn reach(&mut self, wanted: &Desired) -> Result<()> {
        let steps = steps(wanted, &self.made, &self.observed)?;
        let mut made = self.made.clone();
        let result = now(reconcile::carry_out(self, &mut made, &steps));
        self.made = made;
        result
    }

    fn picture(&self) -> Picture {
        let links = self.observed.links.values().map(|link| {
            let controller = link.controller.map(|index| u32::from(self.observed.links.contains_key(&index)));
            (link.name.clone(), Link { ifindex: 0, controller, ..link.clone() })
        });
        (self.observed.l2tp.tunnels.clone(), self.observed.l2tp.sessions.clone(), links.collect())
    }
}

impl World for Memory {
    async fn take(&mut self, step: &Step) -> Result<()> {
        if let Some(patience) = &mut self.patience {
            if *patience == 0 {
                self.patience = None;
                bail!("out of patience");
            }
            *patience -= 1;
        }
        match step {
            Step::CreateTunnel(tunnel) => {
                let old = self.observed.l2tp.tunnels.insert(tunnel.tunnel_id, tunnel.clone());
                ensure!(old.is_none(), "tunnel {} exists", tunnel.tunnel_id);
            }
            Step::DeleteTunnel(tunnel) => {
                let id = tunnel.tunnel_id;
                ensure!(self.observed.l2tp.tunnels.remove(&id).is_some(), "no tunnel {id}");
                let with_it = self.observed.l2tp.sessions.keys().any(|key| key.0 == id);
                ensure!(!with_it, "the real kernel would remove sessions too, which nobody noted");
            }
            Step::CreateSession(session, settings) => {
                ensure!(self.observed.l2tp.tunnels.contains_key(&session.tunnel_id), "no tunnel");
                let id = session.session_id;
                ensure!(self.observed.l2tp.sessions.keys().all(|key| key.1 != id), "session {id} exists");
                let name = self.add_device(id, session.ifname.as_ref(), false, settings)?;
                let ifindex = self.observed.link(&name).map(|link| (session.key(), link.ifindex));
                self.observed.kernel_devices.extend(ifindex);
                let session = KernelSession { ifname: Some(name), l2spec: None, ..session.clone() };
                self.observed.l2tp.sessions.insert(session.key(), session);
            }
            Step::DeleteSession(session, _) => {
                let Some(there) = self.observed.l2tp.sessions.remove(&session.key()) else {
                    bail!("no session {:?}", session.key())
                };
                self.remove(&there.ifname.unwrap())?;
            }
            Step::ModifySession { key, from, to } => {
                let Some(session) = self.observed.l2tp.sessions.get_mut(key) else {
                    bail!("no session {key:?}")
                };
                assert_eq!(session.seq, *from);
                session.seq = *to;
            }
            Step::CreateDevice(device) => {
                let (id, settings) = (device.session_id, &device.settings);
                self.add_device(id, device.name.as_ref(), true, settings)?;
                self.add(Link { name: format!("l2xw{id}"), veth: true, ..Link::default() });
            }
            Step::DeleteDevice(device) => {
                self.remove(&format!("l2xw{}", device.session_id))?;
                let alias = Some(format!("l2xdp session {}", device.session_id));
                let visible = self.observed.links.values().find(|link| link.alias == alias);
                let name = visible.unwrap().name.clone();
                self.remove(&name)?;
            }
            Step::SetUp { session_id, to, .. } => self.set_up(*session_id, to)?,
            Step::CreateDelivery(id) => {
                ensure!(self.observed.link(&format!("l2xw{id}")).is_none(), "l2xw{id} exists");
                self.add(Link { name: format!("l2xw{id}"), veth: true, ..Link::default() });
            }
            Step::DeleteDelivery(id) => self.remove(&format!("l2xw{id}"))?,
        }
        Ok(())
    }
}

/// Nothing here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn config(backend: Backend, text: &str) -> Config {
    let text = text
        .replace("TUNNEL", "local = '1.1.1.2'\nremote = '2.2.2.2'\n")
        .replace("SESSION", "[[tunnel.session]]\npeer_session_id");
    let mut config = Config::parse("test", &text).unwrap();
    config.tunnels.iter_mut().for_each(|tunnel| tunnel.backend = backend);
    config
}

/// Configurations that differ in everything that can be told apart, each in both backends.
fn configs() -> Vec<Config> {
    let tunnel = |id: u32, port: u32| {
        format!("[[tunnel]]\ntunnel_id = {id}\npeer_tunnel_id = 9\nudp_sport = {port}\nudp_dport = 5\nTUNNEL")
    };
    let first = tunnel(1, 6000);
    let texts = [
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'a'\n"),
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'a'\nbridge = 'br0'\nmtu = 1400\n"),
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'a'\nbridge = 'br1'\n"),
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'b'\n"),
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'a'\nseq = 'both'\n"),
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'a'\ncookie = '01020304'\n"),
        format!("{first}SESSION = 1\nsession_id = 1\nname = 'a'\nSESSION = 2\nsession_id = 2\nname = 'b'\n"),
        format!("{}SESSION = 1\nsession_id = 1\nname = 'a'\n", tunnel(1, 6001)),
        format!("{}SESSION = 1\nsession_id = 1\nname = 'a'\n{first}", tunnel(2, 6001)),
        first.clone(),
    ];
    let of = |backend| texts.iter().map(move |text| config(backend, text)).collect::<Vec<_>>();
    [of(Backend::Kernel), of(Backend::Standalone)].concat()
}

#[test]
fn any_configuration_follows_any_other_and_leaves_nothing() {
    for from in configs() {
        for to in configs() {
            let mut memory = Memory::with_bridges();
            let empty = memory.picture();
            memory.follow(&from).unwrap();
            memory.follow(&to).unwrap_or_else(|error| panic!("{from:#?}\n{to:#?}\n{error:#}"));
            let mut fresh = Memory::with_bridges();
            fresh.follow(&to).unwrap();
            let (mut there, mut as_new) = (memory.picture(), fresh.picture());
            // The MTU of `auto` follows the path, not the configuration.
            for link in there.2.values_mut().chain(as_new.2.values_mut()) {
                link.mtu = 0;
            }
            assert_eq!(there, as_new, "{from:#?}\n{to:#?}");
            let wanted = desired(&to, &memory.observed);
            assert_eq!(steps(&wanted, &memory.made, &memory.observed).unwrap(), [], "there already");
            memory.reach(&Desired::default()).unwrap();
            assert_eq!(memory.picture(), empty);
            assert_eq!(memory.made, Made::default());
        }
    }
}

#[test]
fn a_step_that_fails_leaves_everything_as_it_was() {
    let mut failed = 0;
    for from in configs() {
        for to in configs() {
            let mut before = Memory::with_bridges();
            before.follow(&from).unwrap();
            let wanted = desired(&to, &before.observed);
            let count = steps(&wanted, &before.made, &before.observed).unwrap().len();
            for patience in 0..count {
                let mut memory = Memory { patience: Some(patience), ..before.clone() };
                assert_eq!(memory.reach(&wanted).unwrap_err().to_string(), "out of patience");
                assert_eq!(memory.picture(), before.picture(), "after {patience} steps\n{from:#?}\n{to:#?}");
                assert_eq!(memory.made, before.made);
                failed += 1;
            }
        }
    }
    assert!(failed > 500, "{failed}");
}

/// What an administrator makes by `ip l2tp`.
fn foreign(config: &Config) -> Memory {
    let mut memory = Memory::with_bridges();
    memory.follow(config).unwrap();
    memory.made = Made::default();
    memory.observed.links.values_mut().for_each(|link| link.alias = None);
    memory
}

#[test]
fn what_others_made_is_used_if_it_fits_and_never_touched() {
    let configs = configs();
    let mut memory = foreign(&configs[0]);
    let before = memory.picture();
    memory.follow(&configs[0]).unwrap();
    assert_eq!(memory.made, Made::default(), "all was there");
    memory.reach(&Desired::default()).unwrap();
    assert_eq!(memory.picture(), before);

    let refused = |config: &Config| {
        let mut memory = foreign(&configs[0]);
        let error = memory.follow(config).unwrap_err().to_string();
        assert_eq!(memory.picture(), before);
        error
    };
    let error = refused(&configs[7]);
    assert!(error.contains("tunnel 1 exists, and is another") && error.contains("6000"), "{error}");
    assert!(error.contains("ip l2tp del tunnel tunnel_id 1"), "{error}");
    let error = refused(&configs[5]);
    assert!(error.contains("session 1 of tunnel 1 exists, and is another"), "{error}");
}

#[test]
fn a_tunnel_of_ours_stays_for_the_sessions_of_others() {
    let configs = configs();
    let mut memory = Memory::with_bridges();
    memory.follow(&configs[0]).unwrap();
    let session = memory.observed.l2tp.sessions[&(1, 1)].clone();
    let foreign = KernelSession { session_id: 77, ifname: Some("theirs".into()), ..session };
    memory.observed.l2tp.sessions.insert((1, 77), foreign);
    memory.reach(&Desired::default()).unwrap();
    assert_eq!(memory.observed.l2tp.sessions.keys().collect::<Vec<_>>(), [&(1, 77)]);
    assert_eq!(memory.observed.l2tp.tunnels.len(), 1);
}

#[test]
fn a_session_that_others_have_made_anew_is_theirs() {
    let mut memory = Memory::with_bridges();
    memory.follow(&configs()[0]).unwrap();
    memory.observed.links.values_mut().for_each(|link| link.alias = None);
    memory.reach(&Desired::default()).unwrap();
    assert_eq!(memory.observed.l2tp.sessions.keys().collect::<Vec<_>>(), [&(1, 1)]);
}

#[test]
fn a_taken_name_is_refused() {
    for config in configs() {
        let mut memory = Memory::with_bridges();
        memory.add(Link { name: "a".into(), ..Link::default() });
        let result = memory.follow(&config);
        let wants_it = format!("{config:?}").contains("name: Some(\"a\")");
        assert_eq!(result.is_err(), wants_it, "{config:#?}");
        if let Err(error) = result {
            assert!(error.to_string().contains("a device of that name exists"), "{error}");
        }
    }
}

#[test]
fn what_a_killed_run_left_is_known_by_its_devices() {
    let configs = configs();
    for config in &configs[..9] {
        let mut memory = Memory::with_bridges();
        memory.follow(config).unwrap();
        let made = Made::left_behind(&memory.observed);
        let keys = |made: &Made| made.sessions.keys().copied().collect::<BTreeSet<_>>();
        assert_eq!(keys(&made), keys(&memory.made));
        // Nothing tells of a tunnel without sessions.
        let with_sessions: BTreeSet<_> = keys(&made).into_iter().map(|(tunnel, _)| tunnel).collect();
        assert_eq!(made.tunnels, with_sessions);
    }
}

#[test]
fn a_killed_run_has_not_made_the_tunnel_that_was_there() {
    let configs = configs();
    let mut memory = foreign(&configs[9]);
    memory.follow(&configs[0]).unwrap();
    let made = Made::left_behind(&memory.observed);
    assert_eq!((made.tunnels.len(), made.sessions.len()), (0, 1));
    memory.made = made;
    memory.reach(&Desired::default()).unwrap();
    assert_eq!(memory.observed.l2tp.tunnels.len(), 1);
    assert!(memory.observed.l2tp.sessions.is_empty());
}

#[test]
fn a_device_stays_in_the_bridge_that_an_administrator_chose() {
    let texts = ["", "mtu = 1300\n"].map(|mtu| {
        format!(
            "[[tunnel]]\ntunnel_id = 1\npeer_tunnel_id = 9\nudp_sport = 6000\nudp_dport = 5\nTUNNEL\
             SESSION = 1\nsession_id = 1\nname = 'a'\n{mtu}"
        )
    });
    let [before, after] = texts.map(|text| config(Backend::Kernel, &text));
    let mut memory = Memory::with_bridges();
    memory.follow(&before).unwrap();
    let steps = steps(&desired(&after, &memory.observed), &memory.made, &memory.observed).unwrap();
    let [Step::SetUp { from, to, .. }] = steps.as_slice() else { panic!("{steps:#?}") };
    assert_eq!((&from.bridge, &to.bridge, to.mtu), (&None, &None, Some(1300)), "the bridge is not touched");
}

#[test]
fn a_name_that_is_left_to_the_kernel_is_no_difference() {
    let text = "[[tunnel]]\ntunnel_id = 1\npeer_tunnel_id = 9\nudp_sport = 6000\nudp_dport = 5\nTUNNEL\
                SESSION = 1\nsession_id = 1\n";
    let nameless = config(Backend::Kernel, text);
    let mut memory = Memory::with_bridges();
    memory.follow(&nameless).unwrap();
    assert!(memory.observed.link("l2tpeth0").is_some());
    let mut named = Memory::with_bridges();
    named.follow(&configs()[0]).unwrap();
    let before = named.picture();
    named.follow(&nameless).unwrap();
    assert_eq!(named.picture(), before);
}

#[test]
fn sequence_numbers_are_changed_in_place() {
    let configs = configs();
    let mut memory = Memory::with_bridges();
    memory.follow(&configs[0]).unwrap();
    let wanted = desired(&configs[4], &memory.observed);
    let both = Seq { send: true, recv: true };
    assert_eq!(
        steps(&wanted, &memory.made, &memory.observed).unwrap(),
        [Step::ModifySession { key: (1, 1), from: Seq::default(), to: both }]
    );
}
