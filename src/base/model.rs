use std::fmt;
use std::str::FromStr;

/// Longest name of a phone model in characters (choice: `Webex-DeskPro` has 13).
const LENGTH_MAX: usize = 15;

/// A phone model as Cisco writes it: `8841`, `CP-8832`, `ATA191`, `DX80`, `CIPC`. One to fifteen
/// letters, digits and inner hyphens; small enough that every phone holds its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Model {
    bytes: [u8; LENGTH_MAX],
    length: u8,
}

/// A text that names no phone model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to 15 letters, digits and inner hyphens, such as 8841, CP-8832, ATA191 or DX80")]
pub struct ModelError;

impl Model {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("a model is ASCII")
    }

    /// The name without the `CP-` that data sheets put before it.
    pub fn short(&self) -> &str {
        self.as_str().strip_prefix("CP-").unwrap_or(self.as_str())
    }

    /// The four digits that name its series, if it begins with four and no more: those of
    /// `CP-8845-K9` and of `8851NR` are 8845 and 8851, `ATA191` has none.
    pub fn digits(&self) -> Option<&str> {
        let (short, is_digit) = (self.short(), |c: char| c.is_ascii_digit());
        let length = short.find(|c| !is_digit(c)).unwrap_or(short.len());
        (length == 4).then(|| &short[..4])
    }
}

impl FromStr for Model {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Model, ModelError> {
        let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        let ends_well = !text.starts_with('-') && !text.ends_with('-');
        if text.is_empty() || text.len() > LENGTH_MAX || !text.bytes().all(inner) || !ends_well {
            return Err(ModelError);
        }
        let mut bytes = [0; LENGTH_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Model { bytes, length: text.len() as u8 })
    }
}

/// A model whose name is a number, such as 8841.
impl From<u16> for Model {
    fn from(number: u16) -> Model {
        format!("{number:04}").parse().expect("at most five digits")
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_as_cisco_writes_them() {
        for name in ["8841", "ATA191", "DX80", "CP-8832", "CIPC", "CSF", "8851NR", "CP-8845-K9"] {
            let model: Model = name.parse().unwrap();
            assert_eq!((model.as_str(), model.to_string().as_str()), (name, name));
        }
        for bad in ["", "-", "-7841", "7841-", "ATA 191", "88_41", "8841.", "ä", "A234567890123456"]
        {
            assert_eq!(bad.parse::<Model>(), Err(ModelError), "{bad}");
        }
        assert_eq!(Model::from(8841), "8841".parse().unwrap());
    }

    #[test]
    fn a_series_is_four_digits_with_or_without_its_prefix_and_ending() {
        let digits = |name: &str| name.parse::<Model>().unwrap().digits().map(str::to_owned);
        for (name, series) in [("8841", "8841"), ("CP-8832", "8832"), ("8851NR", "8851")] {
            assert_eq!(digits(name).as_deref(), Some(series));
        }
        for name in ["ATA191", "DX80", "78411", "841"] {
            assert_eq!(digits(name), None, "{name}");
        }
    }
}
