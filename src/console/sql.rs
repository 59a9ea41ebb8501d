use std::fmt::Debug;

use crate::cluster::Cluster;

/// Who answers `run sql`.
pub trait Sql: Debug + Send + Sync {
    /// What the database of this cluster says to a query, line ends included.
    ///
    /// # Errors
    /// In the words of the database.
    fn answer(&self, cluster: &Cluster, query: &str) -> Result<String, String>;
}
