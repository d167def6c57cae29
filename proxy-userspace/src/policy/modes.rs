//! The choices that are one word, in flags and in the config file alike.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A word that is none of those a setting knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got '{}'", got.escape_debug())]
pub struct UnknownWord {
    /// The words that the setting knows.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl UnknownWord {
    fn new(known: &[&str], got: &str) -> Self {
        let expected = match known {
            [others @ .., last] => format!("{} or {last}", others.join(", ")),
            [] => String::new(),
        };
        Self { expected, got: got.to_owned() }
    }
}

/// Whether application sends travel to the proxy by `sk_msg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkMsgMode {
    /// Where the self-test at start passes on this kernel.
    #[default]
    Auto,
    /// Always, whatever the self-test says.
    On,
    /// Never.
    Off,
}

impl SkMsgMode {
    /// How much it wants `sk_msg`: not at all, where that is safe, whatever comes.
    #[must_use]
    pub const fn strength(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Auto => 1,
            Self::On => 2,
        }
    }
}

/// Who carries the bytes of opaque connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OpaquePath {
    /// The kernel, unless something needs the bytes.
    #[default]
    Auto,
    /// The kernel: the connection goes by itself.
    Kernel,
    /// The proxy.
    Proxy,
}

impl OpaquePath {
    /// Whether the connection goes by itself. Nothing needs the bytes of an opaque one so far.
    #[must_use]
    pub const fn is_kernel(self) -> bool {
        match self {
            Self::Auto | Self::Kernel => true,
            Self::Proxy => false,
        }
    }
}

/// Whether opaque connections between workloads of one node that both want it go past TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BypassMode {
    /// Never.
    #[default]
    Disabled,
    /// Where the self-test passes on this kernel.
    Enabled,
    /// Always, whatever the self-test says.
    Forced,
}

/// Whether destinations that no rule names are learned to be opaque.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LearnOpaque {
    /// By what was seen, where the kernel carries opaque connections.
    #[default]
    On,
    /// Never: every connection that no rule names is looked at.
    Off,
}

/// What becomes of a new connection while no proxy is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenProxyDown {
    /// It goes direct.
    #[default]
    Open,
    /// It is refused with EPERM.
    Strict,
}

/// Whose address an application sees as that of a client whose connection came through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAddress {
    /// The client's own, as without a proxy.
    #[default]
    Preserve,
    /// The proxy's: an address of the workload itself.
    Proxy,
}

/// Which pods of the node are enrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnrolMode {
    /// Those that the annotation `linkerd.io/inject: enabled` asks for.
    #[default]
    Annotated,
    /// Every pod but those with `linkerd.io/inject: disabled`.
    All,
}

/// Gives each choice its words: those that serde knows it by.
macro_rules! words {
    ($($choice:ident: $($variant:ident = $word:literal),+;)+) => {$(
        impl $choice {
            const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word used in flags, annotations, files and listings.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl FromStr for $choice {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().find(|choice| choice.label() == word);
                known.copied().ok_or_else(|| UnknownWord::new(&[$($word),+], word))
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(self.label())
            }
        }
    )+};
}

words! {
    SkMsgMode: Auto = "auto", On = "on", Off = "off";
    OpaquePath: Auto = "auto", Kernel = "kernel", Proxy = "proxy";
    BypassMode: Disabled = "disabled", Enabled = "enabled", Forced = "forced";
    LearnOpaque: On = "on", Off = "off";
    WhenProxyDown: Open = "open", Strict = "strict";
    ClientAddress: Preserve = "preserve", Proxy = "proxy";
    EnrolMode: Annotated = "annotated", All = "all";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_back_from_its_word_in_flags_and_in_files() {
        fn reads_back<Choice>(all: &[Choice])
        where
            Choice: Copy + fmt::Debug + fmt::Display + PartialEq + Serialize + FromStr<Err = UnknownWord>,
        {
            for choice in all {
                assert_eq!(choice.to_string().parse(), Ok(*choice));
                assert_eq!(serde_json::to_value(choice).unwrap(), choice.to_string());
            }
        }
        reads_back(SkMsgMode::ALL);
        reads_back(OpaquePath::ALL);
        reads_back(BypassMode::ALL);
        reads_back(LearnOpaque::ALL);
        reads_back(WhenProxyDown::ALL);
        reads_back(ClientAddress::ALL);
        reads_back(EnrolMode::ALL);
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = "On".parse::<SkMsgMode>().unwrap_err();
        assert_eq!(error.to_string(), "expected auto, on or off, got 'On'");
        let error = "".parse::<WhenProxyDown>().unwrap_err();
        assert_eq!(error.to_string(), "expected open or strict, got ''");
    }
}
