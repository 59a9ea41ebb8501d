use super::tlv::WireError;

/// What a reader has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The message is not whole: at least so many bytes are missing, at least 1.
    More(usize),
    /// One whole message of this length in bytes; what is behind it belongs to the next.
    Whole(usize),
}

/// The framing of messages with a head of `N` bytes that says how long the whole is.
pub(super) fn frame_by_head<const N: usize>(
    bytes: &[u8],
    length: impl FnOnce(&[u8; N]) -> Result<usize, WireError>,
) -> Result<Framing, WireError> {
    let Some(head) = bytes.first_chunk() else { return Ok(Framing::More(N - bytes.len())) };
    let length = length(head)?.max(N);
    Ok(match length.checked_sub(bytes.len()) {
        None | Some(0) => Framing::Whole(length),
        Some(missing) => Framing::More(missing),
    })
}
