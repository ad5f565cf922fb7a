//! Choices that have one word each in the file.

use super::value::{Checked, refuse};
use super::{Backend, Encap};
use l2xdp_common::pseudowire::{L2Spec, Seq};
use toml::de::DeValue;

/// A choice of which the file names each by a word, iproute2's where it has one.
pub trait Word: Copy + 'static {
    /// All that there is to choose from, as messages list them.
    const ALL: &'static [Self];

    /// The word for it.
    fn word(self) -> &'static str;
}

impl Word for Backend {
    const ALL: &'static [Self] = &[Self::Auto, Self::Kernel, Self::Standalone];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Standalone => "standalone",
        }
    }
}

impl Word for Encap {
    const ALL: &'static [Self] = &[Self::Udp, Self::Ip];

    fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Ip => "ip",
        }
    }
}

impl Word for L2Spec {
    const ALL: &'static [Self] = &[Self::Default, Self::None];

    fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::None => "none",
        }
    }
}

impl Word for Seq {
    const ALL: &'static [Self] = &[
        Self { send: false, recv: false },
        Self { send: true, recv: false },
        Self { send: false, recv: true },
        Self { send: true, recv: true },
    ];

    fn word(self) -> &'static str {
        match (self.send, self.recv) {
            (false, false) => "none",
            (true, false) => "send",
            (false, true) => "recv",
            (true, true) => "both",
        }
    }
}

/// The choice that a value is the word for.
pub fn word<T: Word>(value: &DeValue) -> Checked<T> {
    let chosen = value.as_str().and_then(|text| T::ALL.iter().find(|choice| choice.word() == text));
    chosen.copied().ok_or_else(|| refuse(value, &list::<T>()))
}

/// The words of all choices, like `"a", "b" or "c"`.
fn list<T: Word>() -> String {
    let words: Vec<_> = T::ALL.iter().map(|choice| format!("{:?}", choice.word())).collect();
    match words.as_slice() {
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
        [] => String::new(),
    }
}
