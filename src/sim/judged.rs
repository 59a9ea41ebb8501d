use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::Certificate;
use crate::phone::{Trust, TrustList, TrustLists};

/// Verdicts on servers by the lists that judged them and the service that presented itself; what
/// they name is kept, so that no other list or service can have its place.
#[derive(Debug, Default)]
pub(super) struct Judged {
    verdicts: HashMap<[usize; 3], (TrustLists, Certificate, bool)>,
}

impl Judged {
    /// Whether a phone accepts this server.
    pub(super) fn judge(&mut self, trust: &Trust, presented: &Certificate) -> bool {
        let lists = &trust.lists;
        let place = |list: &Option<Arc<TrustList>>| {
            list.as_ref().map_or(0, |list| Arc::as_ptr(list).addr())
        };
        // A certificate is of one kind: its place tells the roles, too.
        let key = [place(&lists.ctl), place(&lists.itl), presented.der().as_ptr().addr()];
        let judge = || {
            let verdict = trust.accepts(presented.der());
            (lists.clone(), presented.clone(), verdict)
        };
        self.verdicts.entry(key).or_insert_with(judge).2
    }

    /// Forgets everything: services may have changed.
    pub(super) fn clear(&mut self) {
        self.verdicts.clear();
    }
}
