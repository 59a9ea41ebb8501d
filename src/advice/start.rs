//! A first scenario of somebody's own cluster, with a comment on what everything is.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use crate::base::Span;

/// A cluster and its phones, as far as somebody has told them.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Name of the scenario.
    pub name: String,
    /// The release in the scenario's words.
    pub release: String,
    /// Whether the cluster is in mixed mode.
    pub is_mixed: bool,
    /// The nodes, the publisher first.
    pub nodes: Vec<StartNode>,
    /// The `CallManager` groups; none: one of the first nodes that fit.
    pub groups: Vec<StartGroup>,
    /// The TFTP nodes of the phones, first asked first; none: every TFTP node in turns.
    pub tftp: Vec<String>,
    /// Phones.
    pub phones: u32,
    /// Models and how many phones have them, in any unit.
    pub models: Vec<(String, f64)>,
    /// Sites; none: all phones are beside the cluster.
    pub sites: Vec<StartSite>,
    /// What the reader should know of where this is from, a sentence each.
    pub remarks: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartNode {
    /// Its host name.
    pub name: String,
    /// Its address; `None`: one in loopback.
    pub address: Option<IpAddr>,
    /// Its services; `None`: those that its name and place suggest.
    pub services: Option<Vec<String>>,
}

/// A `CallManager` group.
#[derive(Clone, Debug, PartialEq)]
pub struct StartGroup {
    /// Its name.
    pub name: String,
    /// Its nodes, first asked first; none: those of the group that would be there without it.
    pub members: Vec<String>,
    /// How many phones are in it, in any unit.
    pub weight: f64,
}

/// A site.
#[derive(Clone, Debug, PartialEq)]
pub struct StartSite {
    /// Its name.
    pub name: String,
    /// How many phones are there, in any unit.
    pub weight: f64,
    /// There and back.
    pub rtt: Option<Span>,
}

/// Nodes of a topology that many have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// One node with everything (HOST-08).
    PublisherOnly,
    /// Business Edition: one node with everything (HOST-08).
    BusinessEdition,
    /// A publisher and a subscriber, both with TFTP.
    Pair,
    /// A publisher, two TFTP nodes and two nodes that run `CallManager`.
    TwoTftp,
}

impl Preset {
    /// Its nodes.
    pub fn nodes(self) -> Vec<StartNode> {
        let names: &[&str] = match self {
            Preset::PublisherOnly | Preset::BusinessEdition => &["pub"],
            Preset::Pair => &["pub", "sub1"],
            Preset::TwoTftp => &["pub", "tftp1", "tftp2", "cm1", "cm2"],
        };
        let services = |name: &&str| match (self, *name) {
            (Preset::Pair, "sub1") => Some(words(&["callmanager", "tftp", "tvs"])),
            _ => None,
        };
        let node = |name: &&str| StartNode {
            name: (*name).to_owned(),
            address: None,
            services: services(name),
        };
        names.iter().map(node).collect()
    }

    const fn remark(self) -> Option<&'static str> {
        match self {
            Preset::PublisherOnly => Some(
                "One node is publisher, TFTP and TVS at once: there is no second TVS that could \
                 vouch for it, so its certificates never change together.",
            ),
            Preset::BusinessEdition => Some(
                "Business Edition runs on one node; its certificates never change together, because \
                 no second TVS could vouch for it.",
            ),
            Preset::Pair | Preset::TwoTftp => None,
        }
    }

    /// What is to be known of it.
    pub fn remarks(self) -> Vec<String> {
        self.remark().map(str::to_owned).into_iter().collect()
    }
}

fn words(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Members of a `CallManager` group at most.
const MEMBERS_MAX: usize = 3;

impl Start {
    /// The scenario: the topology, and several orders of the same changes to compare.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        match self.write(&mut out) {
            Ok(()) => out,
            Err(std::fmt::Error) => unreachable!("writing to a String does not fail"),
        }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        self.write_head(out)?;
        self.write_cluster(out)?;
        self.write_fleet(out)?;
        self.write_orders(out)?;
        out.write_str(
            "\n# What must hold at the end; `sim` and `run` exit with 1 otherwise.\n\
             [[slo]]\nexpr = \"phones.stuck == 0\"\n\n\
             [[slo]]\nexpr = \"phones.ready == phones.total\"\n\n\
             [[slo]]\nexpr = \"phones.registered == phones.total\"\n",
        )
    }

    fn write_head(&self, out: &mut String) -> std::fmt::Result {
        let Start { name, .. } = self;
        writeln!(out, "# {name}: your cluster, and orders of one change to choose from.\n#")?;
        writeln!(out, "#   resetstorm lint {name}.toml      who would be stranded, and why")?;
        writeln!(out, "#   resetstorm whatif {name}.toml    the orders, ranked")?;
        writeln!(out, "#   resetstorm guide keys            every key that may stand here")?;
        for remark in &self.remarks {
            out.push_str("#\n");
            for line in crate::base::wrapped(remark, 97) {
                writeln!(out, "# {line}")?;
            }
        }
        writeln!(out, "schema = 1\nname   = {name:?}")?;
        writeln!(out, "about  = \"a change of CallManager.pem and TVS.pem on every node\"")?;
        writeln!(out, "seed   = 42            # one number decides every draw")
    }

    /// The services of each node.
    fn services(&self) -> Vec<Vec<String>> {
        let named = |prefix: &str| {
            self.nodes.iter().any(|node| node.name.to_lowercase().starts_with(prefix))
        };
        let has_tftp = named("tftp") || self.says("tftp");
        let suggested = |at: usize, node: &StartNode| {
            if node.name.to_lowercase().starts_with("tftp") {
                return words(&["tftp"]);
            }
            let mut services = words(&["callmanager", "tvs"]);
            if at == 0 {
                services.push("capf".to_owned());
                if !has_tftp {
                    services.push("tftp".to_owned());
                }
            }
            services
        };
        let of = |(at, node): (usize, &StartNode)| {
            node.services.clone().unwrap_or_else(|| suggested(at, node))
        };
        self.nodes.iter().enumerate().map(of).collect()
    }

    fn says(&self, service: &str) -> bool {
        let given = self.nodes.iter().filter_map(|node| node.services.as_ref());
        given.flatten().any(|one| one == service)
    }

    /// The names of the nodes with a service.
    fn with(&self, service: &str) -> Vec<&str> {
        let has = |services: &Vec<String>| services.iter().any(|one| one == service);
        let nodes = self.nodes.iter().zip(self.services()).filter(|(_, services)| has(services));
        nodes.map(|(node, _)| node.name.as_str()).collect()
    }

    /// Nodes that a group would have: subscribers before the publisher.
    fn usual_members(&self) -> Vec<String> {
        let (with_tvs, calls) = (self.with("tvs"), self.with("callmanager"));
        let first = self.nodes.first().map(|node| node.name.as_str());
        let both = with_tvs.iter().filter(|name| calls.contains(name));
        let mut members: Vec<&str> = both.copied().collect();
        members.sort_by_key(|name| Some(*name) == first && self.nodes.len() > 3);
        if members.is_empty() {
            members = with_tvs;
        }
        members.truncate(MEMBERS_MAX);
        members.into_iter().map(str::to_owned).collect()
    }

    fn write_cluster(&self, out: &mut String) -> std::fmt::Result {
        let mode = if self.is_mixed { "mixed" } else { "non-secure" };
        writeln!(out, "\n[cluster]\nrelease       = {:?}", self.release)?;
        let about = if self.is_mixed {
            "phones hold a CTL beside their ITL"
        } else {
            "security by default: phones hold an ITL, no CTL"
        };
        writeln!(out, "security-mode = {mode:?}    # {about}")?;
        writeln!(
            out,
            "\n# The publisher first. Addresses in loopback suit `sim`, `lint` and `run` here."
        )?;
        for (at, (node, services)) in self.nodes.iter().zip(self.services()).enumerate() {
            let loopback = || format!("127.0.0.{}", at + 1);
            let address = node.address.map_or_else(loopback, |address| address.to_string());
            let quoted: Vec<String> = services.iter().map(|one| format!("{one:?}")).collect();
            writeln!(out, "[[cluster.node]]\nname     = {:?}\naddress  = {address:?}", node.name)?;
            let guess =
                if node.services.is_none() { "    # a guess, by name and place" } else { "" };
            writeln!(out, "services = [{}]{guess}\n", quoted.join(", "))?;
        }
        writeln!(
            out,
            "# A CallManager group: whose TVS its phones ask, in this order. A group of one node has\n\
             # nobody to ask when that node's certificates change."
        )?;
        let usual = self.usual_members();
        let alone = [StartGroup { name: "all".to_owned(), members: Vec::new(), weight: 1.0 }];
        let groups = if self.groups.is_empty() { &alone[..] } else { &self.groups };
        let all: f64 = groups.iter().map(|group| group.weight).sum();
        for group in groups {
            let members = if group.members.is_empty() { &usual } else { &group.members };
            let guess = if group.members.is_empty() && groups.len() > 1 {
                "    # a guess: put in the nodes of this group"
            } else {
                ""
            };
            writeln!(out, "[[cluster.group]]\nname    = {:?}", group.name)?;
            writeln!(
                out,
                "members = {members:?}{guess}\nshare   = {:?}\n",
                share(group.weight, all)
            )?;
        }
        if self.is_mixed {
            writeln!(
                out,
                "# Phones register over TLS: they look for the CallManagers' certificates in their CTL.\n\
                 [[cluster.phone-security-profile]]\nname  = \"secure\"\n\
                 share = 1.0    # a guess: the part of the phones that has such a profile\n\
                 device-security-mode = \"encrypted\"\n"
            )?;
        }
        Ok(())
    }

    fn write_fleet(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "[fleet]\nphones = {}", self.phones)?;
        let all: f64 = self.models.iter().map(|(_, weight)| weight).sum();
        let models: Vec<String> = self
            .models
            .iter()
            .map(|(model, weight)| format!("{model:?} = {:?}", share(*weight, all)))
            .collect();
        writeln!(out, "models = {{ {} }}    # shares add up to 1", models.join(", "))?;
        let (tftp, guess) = if self.tftp.is_empty() {
            (self.turns(), "; a guess")
        } else {
            (format!("[{:?}]", self.tftp), "")
        };
        writeln!(out, "tftp   = {tftp}    # option 150: the first is asked first{guess}")?;
        writeln!(
            out,
            "start  = \"itl-current\"    # each phone holds what the cluster serves now"
        )?;
        writeln!(
            out,
            "\n# Ready phones register: only then can they call. Without this section they do not."
        )?;
        writeln!(out, "[registration]")?;
        writeln!(
            out,
            "\n[phone]\nboot-time = \"model\"    # from the reset to the first request, a guess for each model"
        )?;
        let all: f64 = self.sites.iter().map(|site| site.weight).sum();
        for site in &self.sites {
            writeln!(out, "\n[[fleet.site]]\nname  = {:?}", site.name)?;
            writeln!(out, "share = {:?}", share(site.weight, all))?;
            let (rtt, note) = match site.rtt {
                Some(rtt) => (rtt.to_string(), ""),
                None => ("20ms".to_owned(), "    # a guess"),
            };
            writeln!(out, "link  = {{ rtt = {rtt:?} }}{note}")?;
        }
        Ok(())
    }

    /// Lists of TFTP nodes: each node is the first one for its share of the phones.
    fn turns(&self) -> String {
        let nodes = self.with("tftp");
        match nodes.as_slice() {
            [one] => format!("{one:?}"),
            [one, two] => format!("[[{one:?}, {two:?}], [{two:?}, {one:?}]]"),
            many => format!("{many:?}"),
        }
    }

    /// Orders of the same changes; every step waits until all phones have settled.
    fn write_orders(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n# What comes before every order. Each step waits until all phones have settled.\n\
             [[event]]\nwhen   = \"fleet-settled\"\nbackup = {{}}"
        )?;
        let (tftp, tvs) = (self.with("tftp"), self.with("tvs"));
        // Each node that serves files or calls has a CallManager.pem of its own.
        let calls = self.with("callmanager");
        let all = self.nodes.iter().map(|node| node.name.as_str());
        let signers: Vec<&str> =
            all.filter(|name| tftp.contains(name) || calls.contains(name)).collect();
        let both: BTreeSet<&str> = signers.iter().chain(&tvs).copied().collect();
        order(out, "both-at-once", "both certificates on every node, then one reset")?;
        regenerate(out, "CallManager", &signers)?;
        regenerate(out, "TVS", &tvs)?;
        let nodes = self.nodes.iter().map(|node| node.name.as_str());
        self.write_end(out, &nodes.filter(|name| both.contains(name)).collect::<Vec<_>>())?;

        order(out, "one-type-at-a-time", "the recommended order: a reset between the two types")?;
        regenerate(out, "CallManager", &signers)?;
        self.write_end(out, &signers)?;
        regenerate(out, "TVS", &tvs)?;
        self.write_end(out, &self.both_in_order(&both))?;

        order(out, "node-by-node", "both certificates of a node, a reset, then the next node")?;
        for node in self.both_in_order(&both) {
            let one = [node];
            let if_in = |nodes: &[&str]| usize::from(nodes.contains(&node));
            regenerate(out, "CallManager", &one[..if_in(&signers)])?;
            regenerate(out, "TVS", &one[..if_in(&tvs)])?;
            let restarted =
                if tvs.contains(&node) { self.both_in_order(&both) } else { vec![node] };
            self.write_end(out, &restarted)?;
        }
        if !self.is_mixed {
            order(out, "rollback", "blank lists while both change; not for mixed mode")?;
            let nodes = self.both_in_order(&both);
            step(out, &format!("procedure = {{ name = \"rollback\", nodes = {nodes:?} }}"))?;
            return Ok(());
        }
        writeln!(out, "\n# No order \"rollback\": blank lists do not help where phones hold a CTL.")
    }

    fn both_in_order<'a>(&'a self, both: &BTreeSet<&'a str>) -> Vec<&'a str> {
        let nodes = self.nodes.iter().map(|node| node.name.as_str());
        nodes.filter(|name| both.contains(name)).collect()
    }

    /// Restarts, in mixed mode a new CTL, and the reset.
    fn write_end(&self, out: &mut String, nodes: &[&str]) -> std::fmt::Result {
        let restart = |out: &mut String, nodes: &[&str]| {
            nodes.iter().try_for_each(|node| step(out, &format!("restart = {{ node = {node:?} }}")))
        };
        // TVS before TFTP, which builds its lists from what TVS presents.
        let (tftp, first): (Vec<&str>, Vec<&str>) =
            nodes.iter().partition(|node| self.with("tftp").contains(node));
        restart(out, &first)?;
        restart(out, &tftp)?;
        if self.is_mixed {
            step(out, "update-ctl = {}")?;
            restart(out, &self.both_with_ctl())?;
        }
        step(out, "reset-phones = { spread = \"30s\" }")
    }

    /// The nodes that serve a CTL or hold it.
    fn both_with_ctl(&self) -> Vec<&str> {
        let (calls, tftp) = (self.with("callmanager"), self.with("tftp"));
        let calls = calls.into_iter().filter(|name| !tftp.contains(name)).collect::<Vec<_>>();
        calls.into_iter().chain(tftp).collect()
    }
}

/// A part of all, with as many digits as anybody reads.
fn share(weight: f64, all: f64) -> f64 {
    (weight / all * 1e9).round() / 1e9
}

fn order(out: &mut String, name: &str, about: &str) -> std::fmt::Result {
    writeln!(out, "\n[[procedure]]\nname  = {name:?}\nabout = {about:?}")
}

fn regenerate(out: &mut String, kind: &str, nodes: &[&str]) -> std::fmt::Result {
    nodes.iter().try_for_each(|node| {
        step(out, &format!("regenerate = {{ certificate = {kind:?}, node = {node:?} }}"))
    })
}

fn step(out: &mut String, action: &str) -> std::fmt::Result {
    writeln!(out, "[[procedure.event]]\nwhen = \"fleet-settled\"\n{action}")
}
