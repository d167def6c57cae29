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
    pub expected: &'static str,
    /// What came.
    pub got: String,
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
    /// The word used in flags, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }

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
    /// The word used in flags, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Proxy => "proxy",
        }
    }

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

impl BypassMode {
    /// The word used in annotations, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Forced => "forced",
        }
    }
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

impl LearnOpaque {
    /// The word used in flags, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
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

impl WhenProxyDown {
    /// The word used in flags, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Strict => "strict",
        }
    }
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

impl ClientAddress {
    /// The word used in flags, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Preserve => "preserve",
            Self::Proxy => "proxy",
        }
    }
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

impl EnrolMode {
    /// The word used in flags, files and listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Annotated => "annotated",
            Self::All => "all",
        }
    }
}

impl FromStr for SkMsgMode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Auto, Self::On, Self::Off]
            .into_iter()
            .find(|mode| mode.label() == word)
            .ok_or_else(|| UnknownWord { expected: "auto, on or off", got: word.to_owned() })
    }
}

impl FromStr for OpaquePath {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Auto, Self::Kernel, Self::Proxy]
            .into_iter()
            .find(|path| path.label() == word)
            .ok_or_else(|| UnknownWord { expected: "auto, kernel or proxy", got: word.to_owned() })
    }
}

impl FromStr for BypassMode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Disabled, Self::Enabled, Self::Forced]
            .into_iter()
            .find(|mode| mode.label() == word)
            .ok_or_else(|| UnknownWord { expected: "disabled, enabled or forced", got: word.to_owned() })
    }
}

impl FromStr for LearnOpaque {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::On, Self::Off]
            .into_iter()
            .find(|choice| choice.label() == word)
            .ok_or_else(|| UnknownWord { expected: "on or off", got: word.to_owned() })
    }
}

impl FromStr for WhenProxyDown {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Open, Self::Strict]
            .into_iter()
            .find(|choice| choice.label() == word)
            .ok_or_else(|| UnknownWord { expected: "open or strict", got: word.to_owned() })
    }
}

impl FromStr for EnrolMode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Annotated, Self::All]
            .into_iter()
            .find(|mode| mode.label() == word)
            .ok_or_else(|| UnknownWord { expected: "annotated or all", got: word.to_owned() })
    }
}

impl fmt::Display for SkMsgMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

impl fmt::Display for OpaquePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

impl fmt::Display for BypassMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

impl fmt::Display for LearnOpaque {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

impl fmt::Display for WhenProxyDown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

impl fmt::Display for EnrolMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_reads_back_from_its_word_in_flags_and_in_files() {
        for mode in [SkMsgMode::Auto, SkMsgMode::On, SkMsgMode::Off] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.label());
        }
        for mode in [BypassMode::Disabled, BypassMode::Enabled, BypassMode::Forced] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.label());
        }
        for choice in [LearnOpaque::On, LearnOpaque::Off] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            assert_eq!(serde_json::to_value(choice).unwrap(), choice.label());
        }
        for choice in [WhenProxyDown::Open, WhenProxyDown::Strict] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            assert_eq!(serde_json::to_value(choice).unwrap(), choice.label());
        }
        for choice in [ClientAddress::Preserve, ClientAddress::Proxy] {
            assert_eq!(serde_json::to_value(choice).unwrap(), choice.label());
        }
        for mode in [EnrolMode::Annotated, EnrolMode::All] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.label());
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = "On".parse::<SkMsgMode>().unwrap_err();
        assert_eq!(error.to_string(), "expected auto, on or off, got 'On'");
        let error = "".parse::<WhenProxyDown>().unwrap_err();
        assert_eq!(error.to_string(), "expected open or strict, got ''");
    }
}
