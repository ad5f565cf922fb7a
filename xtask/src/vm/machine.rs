//! The virtual machine: QEMU's arguments, and whether KVM can be one of them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

use super::kernel::Prepared;
use crate::toolchain::cache_dir;

/// What the caller chooses of the machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Virtual CPUs.
    #[arg(long, default_value_t = Options::default().cpus)]
    pub cpus: u32,
    /// Memory in MiB.
    #[arg(long, default_value_t = Options::default().memory)]
    pub memory: u32,
    /// Emulate one CPU whose clock counts instructions, a nanosecond each: figures that repeat, but no throughput.
    #[arg(long)]
    pub icount: bool,
    /// Seconds from power-on until the guest is stopped.
    #[arg(long, default_value_t = Options::default().timeout)]
    pub timeout: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { cpus: 2, memory: 2048, icount: false, timeout: 300 }
    }
}

const QEMU: &str = "qemu-system-x86_64";

/// Without ERMS: emulated, `rep movsb` copies byte by byte, and kernels choose it for everything.
const EMULATED_CPU: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt";

/// Quick boot, full speed, and the end of QEMU where a guest would hang or reboot.
const KERNEL_PARAMETERS: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check \
    random.trust_cpu=on apparmor=0 audit=0 softlockup_panic=1 watchdog_thresh=20";

/// QEMU under a time limit, with the host's files and the folder `out` shared, and the console logged to `console`.
/// Its standard output is the guest's virtio port.
pub fn command(kernel: &Prepared, options: &Options, out: &Path, console: &Path) -> Command {
    let kvm = !options.icount && kvm_works(kernel);
    let mut qemu = Command::new("timeout");
    qemu.args(["--foreground", &options.timeout.to_string()]);
    qemu.arg(QEMU).args(processor(options, kvm)).args(["-m", &options.memory.to_string()]);
    qemu.args(BARE).arg("-serial").arg(format!("file:{}", escaped(console)));
    let variables = format!("out=\"{}\" modules=\"{}\"", out.display(), kernel.modules().display());
    let clock = if kvm || options.icount { "tsc=reliable" } else { EMULATED_CLOCK };
    boot(&mut qemu, kernel, &format!("{KERNEL_PARAMETERS} {clock} {variables}"));
    qemu.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=port,signal=off"]);
    qemu.args(["-device", "virtserialport,chardev=port,name=out"]);
    share(&mut qemu, "host", "/,readonly=on");
    share(&mut qemu, "out", &escaped(out));
    qemu
}

/// Emulated, the TSC is the host's, but on a busy host the guest measures its rate wrong, and its clock runs several
/// times too fast or too slow: no limit of time in a test would mean what it says.
const EMULATED_CLOCK: &str = "tsc=unstable clocksource=hpet";

const BARE: [&str; 7] = ["-M", "pc", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"];

fn processor(options: &Options, kvm: bool) -> Vec<String> {
    let cpus = options.cpus.to_string();
    let words: &[&str] = if options.icount {
        &[
            "-accel",
            "tcg,thread=single,tb-size=512",
            "-smp",
            "1",
            "-icount",
            "shift=0,sleep=off",
            "-cpu",
            EMULATED_CPU,
        ]
    } else if kvm {
        &["-accel", "kvm", "-smp", &cpus, "-cpu", "host"]
    } else {
        &["-accel", "tcg,thread=multi,tb-size=512", "-smp", &cpus, "-cpu", EMULATED_CPU]
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn boot(qemu: &mut Command, kernel: &Prepared, parameters: &str) {
    qemu.arg("-kernel")
        .arg(kernel.vmlinux())
        .arg("-initrd")
        .arg(kernel.initrd())
        .args(["-append", parameters]);
}

fn share(qemu: &mut Command, tag: &str, path: &str) {
    let backend = format!("local,id={tag},path={path},security_model=none,multidevs=remap");
    let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}");
    qemu.args(["-fsdev", &backend, "-device", &device]);
}

/// QEMU's option lists end a value at a comma, unless it is doubled.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Whether a guest really comes up under KVM. A /dev/kvm that can be opened says little: inside a virtual machine
/// it may refuse what an ordinary kernel does. The answer is kept until this machine boots again.
fn kvm_works(kernel: &Prepared) -> bool {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let cache = cache_dir().join("vm/kvm");
    if let Some(answer) = fs::read_to_string(&cache).ok().and_then(|known| known_answer(&known, &boot_id)) {
        return answer;
    }
    let works = probe_kvm(kernel).unwrap_or(false);
    if let Err(error) =
        fs::write(&cache, format!("{} {}\n", boot_id.trim(), if works { "yes" } else { "no" }))
    {
        eprintln!("vm: cannot write {}: {error}; KVM will be probed again next time", cache.display());
    }
    works
}

fn known_answer(known: &str, boot_id: &str) -> Option<bool> {
    let answer = known.trim().strip_prefix(boot_id.trim())?.trim();
    Some(answer == "yes")
}

fn probe_kvm(kernel: &Prepared) -> io::Result<bool> {
    let mut qemu = Command::new("timeout");
    qemu.args([
        "--kill-after=1",
        "20",
        QEMU,
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "512",
        "-serial",
        "stdio",
    ]);
    qemu.args(BARE);
    boot(&mut qemu, kernel, &format!("{KERNEL_PARAMETERS} l2xdp.probe"));
    let output = qemu.stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("l2xdp: the guest is up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_kvm_holds_for_one_boot() {
        assert_eq!(known_answer("1234-56 yes\n", "1234-56\n"), Some(true));
        assert_eq!(known_answer("1234-56 no\n", "1234-56\n"), Some(false));
        assert_eq!(known_answer("1234-56 yes\n", "9999-99\n"), None);
    }

    #[test]
    fn commas_do_not_end_a_path() {
        assert_eq!(escaped(Path::new("/a,b")), "/a,,b");
    }
}
