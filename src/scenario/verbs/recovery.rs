use crate::cluster::operator::recovery::{BackUp, Rebuild, Restore, RestoreTrustedItl};

use super::{Argument, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[BACKUP, RESTORE, RESTORE_TRUSTED_ITL, REBUILD];

const BACKUP: Verb = Verb {
    key: "backup",
    word: "backup",
    takes: &[],
    read: |_, _| Ok(BackUp.into()),
    write: |entry, _| entry.action.get::<BackUp>().map(|_| Vec::new()),
};

const RESTORE: Verb = Verb {
    key: "restore",
    word: "restore",
    takes: &[Argument::text("node"), Argument::count("from").or_none()],
    read: |given, reader| {
        let node = reader.node(given.text("node"))?;
        Ok(Restore { node, from: given.count_if("from")? }.into())
    },
    write: |entry, topology| {
        let Restore { node, from } = *entry.action.get()?;
        let from = from.map(|number| ("from", i64::from(number).into()));
        Some([("node", name_of(topology, node))].into_iter().chain(from).collect())
    },
};

const RESTORE_TRUSTED_ITL: Verb = Verb {
    key: "restore-trusted-itl",
    word: "restore",
    takes: &[Argument::text("node")],
    read: |given, reader| Ok(RestoreTrustedItl { node: reader.node(given.text("node"))? }.into()),
    write: |entry, topology| {
        let RestoreTrustedItl { node } = *entry.action.get()?;
        Some(vec![("node", name_of(topology, node))])
    },
};

const REBUILD: Verb = Verb {
    key: "rebuild",
    word: "rebuild",
    takes: &[Argument::text("node")],
    read: |given, reader| Ok(Rebuild { node: reader.node(given.text("node"))? }.into()),
    write: |entry, topology| {
        let Rebuild { node } = *entry.action.get()?;
        Some(vec![("node", name_of(topology, node))])
    },
};
