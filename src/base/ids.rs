use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A phone of the fleet: its number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneId(pub u32);

/// A cluster of the run: its number, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u8);

impl ClusterId {
    /// The only cluster of most runs.
    pub const FIRST: ClusterId = ClusterId(0);

    /// The node with this number of the cluster.
    pub const fn node(self, node: u8) -> NodeId {
        NodeId { cluster: self, node }
    }
}

/// A node: its cluster and its position in the topology of that cluster, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The cluster.
    pub cluster: ClusterId,
    /// The position.
    pub node: u8,
}

impl NodeId {
    /// The position as an index into the nodes of its cluster.
    pub const fn index(self) -> usize {
        self.node as usize
    }
}

/// The TFTP nodes of a phone as option 150 names them, first asked first: at least one. Phones of a
/// group share a list.
pub type Home = Arc<[NodeId]>;

/// The name of a phone: `SEP` and twelve upper-case hexadecimal digits of its MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName([u8; 6]);

/// Length of every device name.
pub const DEVICE_NAME_LENGTH: usize = 15;

/// The first half of the MAC address of every virtual phone: an OUI of IP phones, as in the
/// published phone logs.
const FLEET_OUI: [u8; 3] = [0x0C, 0x75, 0xBD];

impl DeviceName {
    /// The name of phone number `phone` of the fleet; numbers are below 2^24 (16.7 million).
    pub fn of_phone(phone: PhoneId) -> DeviceName {
        let mut mac = [0; 6];
        mac[..3].copy_from_slice(&FLEET_OUI);
        mac[3..].copy_from_slice(&phone.0.to_be_bytes()[1..]);
        DeviceName(mac)
    }

    /// The number of the phone with this name, if it is one of the fleet's names.
    pub fn phone(self) -> Option<PhoneId> {
        let number = self.0.strip_prefix(&FLEET_OUI)?;
        Some(PhoneId(number.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte))))
    }

    /// The name as text, which is ASCII.
    pub fn text(self) -> [u8; DEVICE_NAME_LENGTH] {
        // Names are written for every request of every phone: no formatting machinery.
        let mut text = *b"SEP000000000000";
        for (pair, byte) in text[3..].chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// Whether the name begins so.
    pub fn begins_with(self, text: &str) -> bool {
        self.text().starts_with(text.as_bytes())
    }

    /// The name of the phone with this MAC address.
    pub const fn of_mac(mac: [u8; 6]) -> DeviceName {
        DeviceName(mac)
    }

    /// The MAC address.
    pub const fn mac(self) -> [u8; 6] {
        self.0
    }
}

/// Hexadecimal digits as phones write them.
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("digits are ASCII"))
    }
}

/// What is wrong with a text that should be a device name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SEP and twelve upper-case hexadecimal digits")]
pub struct DeviceNameError;

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<DeviceName, DeviceNameError> {
        let digits = text.strip_prefix("SEP").ok_or(DeviceNameError)?.as_bytes();
        if digits.len() != 12 {
            return Err(DeviceNameError);
        }
        let mut mac = [0; 6];
        for (byte, pair) in mac.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(DeviceName(mac))
    }
}

/// The value of one upper-case hexadecimal digit; phones never write lower case here.
fn nibble(digit: u8) -> Result<u8, DeviceNameError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(DeviceNameError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_name_round_trips_and_names_its_phone() {
        let name = DeviceName::of_phone(PhoneId(0x0011_0317));
        assert_eq!(name.to_string(), "SEP0C75BD110317");
        assert_eq!("SEP0C75BD110317".parse(), Ok(name));
        assert_eq!(name.phone(), Some(PhoneId(0x0011_0317)));
        assert_eq!("SEP001122334455".parse::<DeviceName>().unwrap().phone(), None);
    }

    #[test]
    fn device_name_refuses_other_texts() {
        for text in ["", "SEP", "SEP00112233445", "SEP0011223344556", "sep001122334455"] {
            assert_eq!(text.parse::<DeviceName>(), Err(DeviceNameError), "{text}");
        }
        assert!("SEP00112233445g".parse::<DeviceName>().is_err());
        assert!("SEP00aabbccddee".parse::<DeviceName>().is_err(), "lower case is not a phone's");
    }
}
