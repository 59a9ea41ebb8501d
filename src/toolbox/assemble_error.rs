use crate::wire::WireError;

/// Why JSON gives no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}")]
pub struct AssembleError {
    /// Where in the JSON.
    path: String,
    /// What should be there.
    expected: String,
}

impl AssembleError {
    pub(super) fn new(path: &str, expected: &str) -> AssembleError {
        AssembleError { path: path.to_owned(), expected: expected.to_owned() }
    }

    /// The same fault, in what stands at `path`.
    pub(super) fn within(self, path: &str) -> AssembleError {
        AssembleError { path: format!("{path}.{}", self.path), ..self }
    }
}

impl From<WireError> for AssembleError {
    fn from(error: WireError) -> AssembleError {
        AssembleError { path: error.what.to_owned(), expected: error.expected.into_owned() }
    }
}
