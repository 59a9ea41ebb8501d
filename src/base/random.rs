use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// What a random stream is drawn for; every purpose has a stream of its own per phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// When within the spread a phone boots or is reset.
    Arrival = 1,
    /// Serial numbers and names of certificates (owner: the cluster).
    Certificate = 2,
    /// Delay of datagrams and connections in virtual time.
    Network = 3,
    /// Model of a phone.
    Model = 4,
    /// Keys that the bank of test keys no longer holds (owner: the cluster).
    Key = 5,
    /// Site of a phone.
    Site = 6,
    /// How long a phone takes to boot.
    Boot = 7,
    /// EC keys and the serial numbers of their certificates (owner: the cluster).
    EcKey = 8,
    /// Which phones are visited of a share of them.
    Visit = 9,
    /// Whether a phone's settings can be reached at the phone.
    SettingsAccess = 10,
    /// Phone security profile of a phone.
    SecurityProfile = 12,
    /// Whether the cluster encrypts for a key that a phone no longer holds.
    StaleKey = 13,
    /// The key under which a configuration is encrypted.
    ContentKey = 14,
    /// Keys of devices, how long they take to make one, and serial numbers of their certificates.
    DeviceKey = 17,
    /// Which phones get an LSC, of a share of them.
    Rollout = 18,
    /// When somebody presses a button of a phone.
    Press = 15,
    /// Names, questions and planned starts of a capacity measurement (owner: a request or a worker).
    Load = 16,
    /// When a user does at his phone what a mail asks for.
    Mail = 41,
    /// Which phones are traced whatever becomes of them.
    Trace = 40,
}

/// A deterministic source of random numbers that nobody shares.
#[derive(Clone, Debug)]
pub struct Stream(Pcg64Mcg);

/// The stream of `owner` (a phone's number, or `u64::MAX` for the cluster) for one purpose.
///
/// Streams of different owners or purposes are independent, so that one more draw for one phone
/// moves no other phone.
pub fn stream(seed: u64, owner: u64, purpose: Purpose) -> Stream {
    let mut state = splitmix(seed);
    state = splitmix(state ^ owner);
    state = splitmix(state ^ purpose as u64);
    let high = splitmix(state);
    Stream(Pcg64Mcg::new((u128::from(high) << 64) | u128::from(splitmix(high))))
}

impl Stream {
    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in 0.0..1.0 with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// SplitMix64's output function: spreads near seeds over the whole range.
fn splitmix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_owner_and_purpose_give_the_same_draws() {
        let mut a = stream(42, 7, Purpose::Arrival);
        let mut b = stream(42, 7, Purpose::Arrival);
        assert_eq!(a.next_u64(), b.next_u64());
        assert_eq!(a.unit().to_bits(), b.unit().to_bits());
    }

    #[test]
    fn owners_purposes_and_seeds_do_not_share_a_stream() {
        let first = |seed, owner, purpose| stream(seed, owner, purpose).next_u64();
        let base = first(42, 7, Purpose::Arrival);
        assert_ne!(base, first(43, 7, Purpose::Arrival));
        assert_ne!(base, first(42, 8, Purpose::Arrival));
        assert_ne!(base, first(42, 7, Purpose::Network));
    }

    #[test]
    fn unit_stays_below_one_and_spreads() {
        let draws: Vec<f64> =
            (0..1_000).map(|owner| stream(1, owner, Purpose::Arrival).unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "mean {mean}");
    }
}
