use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The library that signs with SHA-512, verifies, and shakes hands in TLS. What is computed is the
/// same with each: signatures are those of RSASSA-PKCS1-v1_5, byte for byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// `ring`.
    #[default]
    Ring,
    /// `aws-lc-rs`, which makes twice the RSA signatures of `ring` on a processor with AVX-512 IFMA.
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
}

impl Provider {
    /// Those that this build has.
    pub const ALL: &[Provider] = &[
        Provider::Ring,
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLc,
    ];

    /// The name of the library.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Ring => "ring",
            #[cfg(feature = "aws-lc-rs")]
            Provider::AwsLc => "aws-lc-rs",
        }
    }

    /// The one of this program: `ring`, unless another was chosen before the first use.
    pub fn chosen() -> Provider {
        *CHOSEN.get_or_init(Provider::default)
    }

    /// Makes this the one of the program; says whether it is, which it is not if another was used
    /// already.
    pub fn choose(self) -> bool {
        *CHOSEN.get_or_init(|| self) == self
    }
}

static CHOSEN: OnceLock<Provider> = OnceLock::new();

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a provider cannot be chosen by this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It is none.
    #[error("must be ring or aws-lc-rs")]
    Unknown,
    /// The program was built without it.
    #[error("this program was built without aws-lc-rs; build it with --features aws-lc-rs")]
    NotBuilt,
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Provider, ProviderError> {
        let found = Provider::ALL.iter().find(|provider| provider.name() == text);
        found.copied().ok_or(match text {
            "aws-lc-rs" => ProviderError::NotBuilt,
            _ => ProviderError::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_found_by_name_and_one_that_was_not_built_is_named() {
        assert_eq!("ring".parse(), Ok(Provider::Ring));
        assert_eq!("openssl".parse::<Provider>(), Err(ProviderError::Unknown));
        let other = "aws-lc-rs".parse::<Provider>();
        if cfg!(feature = "aws-lc-rs") {
            assert_eq!(other.map(Provider::name), Ok("aws-lc-rs"));
        } else {
            assert_eq!(other, Err(ProviderError::NotBuilt));
        }
    }

    #[test]
    fn the_one_that_was_used_first_stays() {
        assert!(Provider::Ring.choose());
        assert_eq!(Provider::chosen(), Provider::Ring);
        for other in &Provider::ALL[1..] {
            assert!(!other.choose(), "{other}");
        }
    }
}
