//! What vectors can't say: what happens over several packets, and the program that only hands frames on.

use crate::common::run::{self, Loaded};
use crate::common::vector::{Case, Hook};
use crate::common::world::{ATTACHED, World};
use aya::{TestRun as _, TestRunOptions};
use l2xdp::datapath::{Datapath, ProgramName};
use l2xdp_common::Delivery;
use l2xdp_common::session::{ROWS, flag};
use libtest_mimic::Trial;

/// The tests.
pub fn trials(vectors: &[Case]) -> Vec<Trial> {
    let message = vectors.iter().find(|case| case.vector.name == "decap_arp_v4").cloned();
    let too_big = vectors.iter().find(|case| case.vector.name == "size_v4_one_too_many").cloned();
    vec![
        Trial::test("full_slow_path", move || Ok(full_slow_path(&too_big.ok_or("no such vector")?)?)),
        Trial::test("shared_row", move || Ok(shared_row(&message.ok_or("no such vector")?)?)),
        Trial::test("deliveries", || Ok(run::with_loaded(deliveries)?)),
    ]
}

/// More frames than the queue holds, and nobody reads it: every frame is either in there or counted as an error.
fn full_slow_path(too_big: &Case) -> Result<(), String> {
    const FRAMES: u64 = 100;
    let world = World::new(&too_big.file)?;
    run::with_loaded(|loaded| {
        run::install(&mut loaded.datapath, &world)?;
        let outcomes: Result<Vec<_>, _> = (0..FRAMES)
            .map(|_| run::run(&mut loaded.datapath, &world, &too_big.vector, Hook::Split))
            .collect();
        run::remove(&mut loaded.datapath, &world)?;
        let (outcomes, given) = (outcomes?, loaded.given()?.len() as u64);

        let count = |reason: &str| outcomes.iter().filter_map(|outcome| outcome.reasons.get(reason)).sum();
        let (carried, full): (u64, u64) = (count("too_big"), count("slow_full"));
        let errors: u64 = outcomes.iter().flat_map(|outcome| outcome.counters.values()).sum();
        if given == 0 || full == 0 || carried != given || carried + full != FRAMES || errors != full {
            return Err(format!("{given} given: {carried} too big, {full} found it full, {errors} errors"));
        }
        outcomes.iter().try_for_each(|outcome| match outcome.verdict.as_str() {
            "TC_ACT_SHOT" => Ok(()),
            verdict => Err(format!("{verdict}: user space has the frame, or nobody has")),
        })
    })
}

/// Sessions whose ids have the same row: all are found, whichever has it, and none that has gone.
fn shared_row(message: &Case) -> Result<(), String> {
    let world = World::new(&message.file)?;
    let (&id, session) = world.plan.rx.iter().next().ok_or("no session")?;
    let other = id + ROWS;
    run::with_loaded(|loaded| {
        let datapath = &mut loaded.datapath;
        let decapsulate = |datapath: &mut Datapath| {
            datapath.publish().map_err(run::text)?;
            Ok::<_, String>(run::run(datapath, &world, &message.vector, Hook::Xdp)?.verdict)
        };
        datapath.set_rx(other, session).map_err(run::text)?;
        run::install(datapath, &world)?;
        let without_row = decapsulate(datapath)?;
        datapath.remove_rx(other).map_err(run::text)?;
        datapath.set_rx(id, session).map_err(run::text)?;
        let with_row = decapsulate(datapath)?;
        datapath.set_rx(other, session).map_err(run::text)?;
        datapath.remove_rx(id).map_err(run::text)?;
        let gone = decapsulate(datapath)?;
        datapath.remove_rx(other).map_err(run::text)?;
        run::remove(datapath, &world)?;
        let verdicts = [without_row, with_row, gone];
        if verdicts == ["XDP_REDIRECT", "XDP_REDIRECT", "XDP_PASS"] {
            Ok(())
        } else {
            Err(format!("{verdicts:?}"))
        }
    })
}

/// Frames are handed on from the devices that the map names, and from no other.
fn deliveries(loaded: &mut Loaded) -> Result<(), String> {
    const TO: Delivery = Delivery { ifindex: ATTACHED, flags: flag::INGRESS, vlan: 0, pad: [0; 2] };
    let datapath = &mut loaded.datapath;
    let cases = [
        (None, TC_ACT_UNSPEC),
        (Some(TO), TC_ACT_REDIRECT),
        (Some(Delivery { flags: flag::RETAG, vlan: 100, ..TO }), TC_ACT_REDIRECT),
    ];
    for (delivery, expected) in cases {
        if let Some(delivery) = delivery {
            datapath.set_delivery(ATTACHED, &delivery).map_err(run::text)?;
        }
        let verdict = deliver(datapath);
        datapath.remove_delivery(ATTACHED).map_err(run::text)?;
        let verdict = verdict?;
        if verdict != expected {
            return Err(format!("{delivery:?}: {verdict}, expected {expected}"));
        }
    }
    Ok(())
}

/// `linux/pkt_cls.h`.
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_REDIRECT: u32 = 7;

fn deliver(datapath: &mut Datapath) -> Result<u32, String> {
    let program = datapath.tc(ProgramName::TcDeliver).map_err(run::text)?;
    let options = TestRunOptions { data_in: Some(&[0x42; 60]), ..TestRunOptions::default() };
    Ok(program.test_run(options).map_err(run::text)?.return_value)
}
