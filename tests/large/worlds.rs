//! Random clusters, fleets and operators, each drawn from its number: scenarios for
//! `small_worlds.rs` (virtual time, faulty links) and `live_worlds.rs` (real sockets).

use std::fmt::Write;

use resetstorm::base::{Purpose, Stream, stream};

/// Draws a world.
struct Dice(Stream);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// What a world consists of, as far as its operator must know.
struct Shape {
    /// Services of each node.
    services: Vec<Vec<&'static str>>,
    recovery: bool,
}

impl Shape {
    fn draw(dice: &mut Dice, recovery: bool) -> Shape {
        let nodes = 1 + dice.below(4) as usize;
        let mut services = Vec::new();
        for node in 0..nodes {
            let mut of_node = Vec::new();
            if node == 0 && dice.chance(80) {
                of_node.push("capf");
            }
            if node == 0 || dice.chance(40) {
                of_node.push("tftp");
            }
            if dice.chance(85) {
                of_node.push("tvs");
            }
            if dice.chance(70) {
                of_node.push("callmanager");
            }
            services.push(of_node);
        }
        // Somebody runs TVS: members of groups do.
        if services.iter().all(|of_node| !of_node.contains(&"tvs")) {
            services[0].push("tvs");
        }
        Shape { services, recovery }
    }

    fn nodes(&self) -> u64 {
        self.services.len() as u64
    }

    fn tftp_nodes(&self) -> Vec<u64> {
        let serves = |node: &u64| self.services[*node as usize].contains(&"tftp");
        (0..self.nodes()).filter(serves).collect()
    }

    /// Lists of two TFTP nodes for the phones, in half of the worlds that have two; `lists` has
    /// draws of its own, so that the other worlds stay what they were. Else one node, or all.
    fn tftp(&self, dice: &mut Dice, mut lists: Dice) -> String {
        let one_each = self.turns(dice);
        let mut tftp = self.tftp_nodes();
        if tftp.len() < 2 || lists.chance(50) {
            return one_each;
        }
        let first = tftp.swap_remove(lists.below(tftp.len() as u64) as usize);
        let second = lists.pick(&tftp);
        let back = if lists.chance(50) {
            String::new()
        } else {
            format!(", [\"n{second}\", \"n{first}\"]")
        };
        format!("[[\"n{first}\", \"n{second}\"]{back}]")
    }

    fn turns(&self, dice: &mut Dice) -> String {
        let tftp = self.tftp_nodes();
        let one = dice.pick(&tftp);
        if dice.chance(70) {
            format!("\"n{one}\"")
        } else {
            format!("{:?}", tftp.iter().map(|node| format!("n{node}")).collect::<Vec<_>>())
        }
    }
}

/// The scenario of world number `seed` in virtual time.
pub fn scenario(seed: u64) -> String {
    let mut dice = Dice(stream(seed, 0, Purpose::Network));
    let release = dice.pick(&["8.6", "11.5", "12.5", "14"]);
    let shape = Shape::draw(&mut dice, release != "8.6");
    let mut out = format!("schema = 1\nname = \"world\"\nseed = {seed}\n[cluster]\n");
    let cache = dice.pick(&["off", "lazy", "lazy", "prewarm"]);
    writeln!(out, "release = \"{release}\"\nsign-cache = \"{cache}\"").unwrap();
    // Draws of its own: the worlds without names stay what they were.
    let mut dns = Dice(stream(seed, 1, Purpose::Network));
    let dns = dns.chance(40).then_some(&mut dns);
    if dns.is_some() {
        out.push_str("domain = \"cucm.example\"\n");
    }
    write_costs(&mut out, &mut dice);
    for (node, services) in shape.services.iter().enumerate() {
        let http = dice.pick(&["", ", http = 6970", ", http = 6970, https = 6971"]);
        writeln!(
            out,
            "[[cluster.node]]\nname = \"n{node}\"\naddress = \"127.0.0.{}\"\n\
             services = {services:?}\nports = {{ tftp = 6969, tvs = 2445{http} }}",
            node + 1
        )
        .unwrap();
    }
    write_groups(&mut out, &mut dice, &shape);
    write_fleet(&mut out, &mut dice, &shape, Dice(stream(seed, 5, Purpose::Network)));
    write_operator(&mut out, &mut dice, &shape, dns);
    out.push_str("[run]\nmax-wall = \"10h\"\n");
    out
}

fn write_costs(out: &mut String, dice: &mut Dice) {
    if dice.chance(60) {
        return;
    }
    writeln!(out, "[cluster.cost]\ncores = {}", 1 + dice.below(3)).unwrap();
    writeln!(out, "shared-host = {}", dice.chance(50)).unwrap();
    let lengths = ["0s", "2ms", "300ms"];
    writeln!(out, "sign = \"{}\"", dice.pick(&lengths)).unwrap();
    writeln!(out, "handshake = \"{}\"", dice.pick(&lengths)).unwrap();
    writeln!(out, "build-time = \"{}\"", dice.pick(&["0s", "0s", "5s"])).unwrap();
    writeln!(out, "resets-per-second = {:?}", dice.pick(&[0.0, 2.0])).unwrap();
    writeln!(out, "registrations-per-second = {:?}", dice.pick(&[0.0, 5.0])).unwrap();
}

fn write_groups(out: &mut String, dice: &mut Dice, shape: &Shape) {
    let groups = 1 + dice.below(3);
    let mut left = 100;
    for group in 0..groups {
        let part = if group + 1 == groups { left } else { dice.below(left + 1) };
        left -= part;
        let runs_tvs = |node: &u64| shape.services[*node as usize].contains(&"tvs");
        let mut members: Vec<u64> = (0..shape.nodes()).filter(runs_tvs).collect();
        let size = 1 + dice.below(members.len().min(3) as u64);
        for at in 0..members.len() {
            let other = at + dice.below((members.len() - at) as u64) as usize;
            members.swap(at, other);
        }
        let names: Vec<String> =
            members.iter().take(size as usize).map(|node| format!("n{node}")).collect();
        writeln!(
            out,
            "[[cluster.group]]\nname = \"g{group}\"\nmembers = {names:?}\nshare = {:?}",
            part as f64 / 100.0
        )
        .unwrap();
    }
}

fn write_fleet(out: &mut String, dice: &mut Dice, shape: &Shape, lists: Dice) {
    let nodes = shape.tftp(dice, lists);
    writeln!(
        out,
        "[fleet]\nphones = {}\nmodels = {{ 8841 = 0.5, 7962 = 0.5 }}\ntftp = {}\n\
         start = \"{}\"\narrival = {{ within = \"{}\" }}",
        1 + dice.below(12),
        nodes,
        dice.pick(&["itl-current", "itl-current", "factory"]),
        dice.pick(&["0s", "3s", "40s"]),
    )
    .unwrap();
    for (name, share) in [("near", 0.5), ("far", 0.5)] {
        writeln!(
            out,
            "[[fleet.site]]\nname = \"{name}\"\nshare = {share:?}\n\
             link = {{ rtt = \"{}\", jitter = \"{}\", loss = \"{}\" }}",
            dice.pick(&["0s", "500us", "80ms", "700ms"]),
            dice.pick(&["0s", "3ms", "40ms"]),
            dice.pick(&["0%", "0%", "0.5%", "2%"]),
        )
        .unwrap();
    }
    writeln!(
        out,
        "[phone]\nboot-time = \"{}\"\nthink = \"{}\"\ntransport = \"{}\"",
        dice.pick(&["0s", "2s"]),
        dice.pick(&["0s", "100ms"]),
        dice.pick(&["tftp", "http", "model"]),
    )
    .unwrap();
    if dice.chance(30) {
        writeln!(out, "tftp-block-size = {}", dice.pick(&[64, 1_428])).unwrap();
    }
}

/// What the operator does, then the end of all faults: everything runs, every certificate that is
/// in a store is presented, and all phones are reset.
fn write_operator(out: &mut String, dice: &mut Dice, shape: &Shape, mut dns: Option<&mut Dice>) {
    for step in 0..=dice.below(9) {
        let node = dice.below(shape.nodes());
        let Some(action) = action(dice, shape, node) else { continue };
        let first = step == 0 || !out.contains("[[event]]");
        match dice.below(if first { 5 } else { 10 }) {
            0..=4 => writeln!(out, "[[event]]\nwhen = \"fleet-settled\"").unwrap(),
            5..=7 => writeln!(out, "[[event]]\nafter = \"previous\"").unwrap(),
            _ => {
                let delay = dice.pick(&["50ms", "1s", "9s"]);
                writeln!(out, "[[event]]\nafter = \"previous\"\ndelay = \"{delay}\"").unwrap();
            }
        }
        writeln!(out, "{action}").unwrap();
        if let Some(dns) = &mut dns
            && dns.chance(70)
        {
            let node = dns.below(shape.nodes());
            let change = dns.pick(&["remove", "remove", "add"]);
            writeln!(out, "[[event]]\nafter = \"previous\"").unwrap();
            writeln!(out, "{change}-record = {{ node = \"n{node}\" }}").unwrap();
            if dns.chance(60) {
                let tftp = dns.below(shape.nodes());
                out.push_str("[[event]]\nafter = \"previous\"\n");
                writeln!(
                    out,
                    "regenerate = {{ certificate = \"CallManager\", node = \"n{tftp}\" }}\n\
                     [[event]]\nafter = \"previous\"\nrestart = {{ node = \"n{tftp}\" }}\n\
                     [[event]]\nafter = \"previous\"\nreset-phones = {{ spread = \"1s\" }}"
                )
                .unwrap();
            }
        }
    }
    for node in 0..shape.nodes() {
        let trigger = if node == 0 { "when = \"fleet-settled\"" } else { "after = \"previous\"" };
        writeln!(out, "[[event]]\n{trigger}\nrestart = {{ node = \"n{node}\" }}").unwrap();
    }
    // Lists are built when TFTP starts: the last word belongs to a cluster that knows all nodes.
    for node in 0..shape.nodes() {
        writeln!(out, "[[event]]\nafter = \"previous\"\nrestart = {{ node = \"n{node}\" }}")
            .unwrap();
    }
    for node in (0..shape.nodes()).filter(|_| dns.is_some()) {
        writeln!(out, "[[event]]\nafter = \"previous\"\nadd-record = {{ node = \"n{node}\" }}")
            .unwrap();
    }
    let spread = dice.pick(&["0s", "10s"]);
    writeln!(out, "[[event]]\nafter = \"previous\"\nreset-phones = {{ spread = \"{spread}\" }}")
        .unwrap();
}

fn action(dice: &mut Dice, shape: &Shape, node: u64) -> Option<String> {
    let services = &shape.services[node as usize];
    let service = (!services.is_empty()).then(|| dice.pick(services));
    Some(match dice.below(10) {
        0..=2 => {
            let mut kinds = vec!["CallManager", "CallManager", "TVS", "CAPF"];
            if shape.recovery && node == 0 {
                kinds.push("ITLRecovery");
            }
            let kind = dice.pick(&kinds);
            format!("regenerate = {{ certificate = \"{kind}\", node = \"n{node}\" }}")
        }
        3 | 4 => format!("restart = {{ service = \"{}\", node = \"n{node}\" }}", service?),
        5 => {
            let length = dice.pick(&["1s", "30s"]);
            let service = service?;
            format!("stop = {{ service = \"{service}\", node = \"n{node}\", for = \"{length}\" }}")
        }
        6 => format!("stop = {{ service = \"{}\", node = \"n{node}\" }}", service?),
        7 => format!("rename = {{ node = \"n{node}\", to = \"m{}\" }}", dice.below(1_000)),
        _ => format!("reset-phones = {{ spread = \"{}\" }}", dice.pick(&["0s", "5s"])),
    })
}

/// The scenario of live world number `seed`: nothing in it depends on how fast the machine is.
/// Nobody is reset or restarted while phones boot, time-outs are far away, and ports come from the
/// operating system.
pub fn live_scenario(seed: u64) -> String {
    let mut dice = Dice(stream(seed, 1, Purpose::Network));
    let release = dice.pick(&["8.6", "11.5", "12.5", "14"]);
    let shape = Shape::draw(&mut dice, release != "8.6");
    let mut out = format!("schema = 1\nname = \"live-world\"\nseed = {seed}\n[cluster]\n");
    let cache = dice.pick(&["off", "lazy", "lazy", "prewarm"]);
    writeln!(out, "release = \"{release}\"\nsign-cache = \"{cache}\"").unwrap();
    if dice.chance(40) {
        writeln!(out, "file-signature = \"{}\"", dice.pick(&["sha1", "sha512"])).unwrap();
    }
    if dice.chance(3) {
        out.push_str("key-bits = 4096\n");
    }
    // Draws of its own, as for the block size: the other worlds stay what they were.
    let mut dns = Dice(stream(seed, 2, Purpose::Network));
    let dns = dns.chance(35).then_some(&mut dns);
    if dns.is_some() {
        out.push_str("domain = \"cucm.example\"\n");
    }
    // Addresses of its own, so that no other program answers on a default port.
    let block = 20 + seed % 200;
    for (node, services) in shape.services.iter().enumerate() {
        let http = dice.pick(&["", ", http = 0", ", http = 0, https = 0", ", https = 0"]);
        writeln!(
            out,
            "[[cluster.node]]\nname = \"n{node}\"\naddress = \"127.0.0.{}\"\n\
             services = {services:?}\nports = {{ tftp = 0, tvs = 0, capf = 0{http} }}",
            block + node as u64
        )
        .unwrap();
    }
    write_groups(&mut out, &mut dice, &shape);
    let [sizes, lists] = [3, 5].map(|draws| Dice(stream(seed, draws, Purpose::Network)));
    write_live_fleet(&mut out, &mut dice, &shape, sizes, lists);
    let names = (0..shape.nodes()).map(|node| vec![format!("n{node}")]).collect();
    let dice = &mut dice;
    LiveOperator { dice, dns, shape: &shape, names, settled: false }.write(&mut out);
    out.push_str("[run]\nmax-wall = \"1h\"\n");
    if dice.chance(30) {
        writeln!(out, "transfers-in-flight = {}", 4 + dice.below(9)).unwrap();
        writeln!(out, "lookups-in-flight = {}", 1 + dice.below(3)).unwrap();
        writeln!(out, "connections-in-flight = {}", 1 + dice.below(3)).unwrap();
    }
    out
}

fn write_live_fleet(
    out: &mut String,
    dice: &mut Dice,
    shape: &Shape,
    mut sizes: Dice,
    lists: Dice,
) {
    let phones = if dice.chance(10) { 1 } else { 20 + dice.below(41) };
    let tftp = shape.tftp(dice, lists);
    writeln!(
        out,
        "[fleet]\nphones = {phones}\nmodels = {{ 8841 = 0.5, 7962 = 0.3, 8861 = 0.2 }}\n\
         tftp = {tftp}\nstart = \"{}\"\narrival = {{ within = \"{}\" }}",
        dice.pick(&["itl-current", "itl-current", "factory"]),
        dice.pick(&["0s", "50ms"]),
    )
    .unwrap();
    // Nothing is lost on loopback: a time-out would only say that the machine is busy.
    writeln!(
        out,
        "[phone]\nboot-time = \"{}\"\nthink = \"{}\"\ntransport = \"{}\"\n\
         ctl-generic = {}\ntftp-timeout = \"30s\"\nhttp-timeout = \"30s\"\n\
         tvs-timeout = \"30s\"",
        dice.pick(&["0s", "0s", "10ms"]),
        dice.pick(&["0s", "0s", "3ms"]),
        dice.pick(&["tftp", "http", "model"]),
        dice.chance(30),
    )
    .unwrap();
    let common = dice.chance(30).then(|| dice.pick(&["64", "512", "1_428", "8_192"]));
    let sizes = sizes.chance(35).then(|| {
        // Thousands of blocks a file: for few phones only.
        let least = if phones == 1 { "8" } else { "32" };
        sizes.pick(&[least, "512", "1_024", "1_428", "65_464", "\"model\"", "\"model\""])
    });
    if let Some(size) = sizes.or(common) {
        writeln!(out, "tftp-block-size = {size}").unwrap();
    }
}

/// What the operator of a live world does: whatever comes after a reset, or after a service that
/// is away for a while, waits until the fleet has settled.
struct LiveOperator<'a> {
    dice: &'a mut Dice,
    /// Draws what becomes of DNS records; none in a cluster without a domain.
    dns: Option<&'a mut Dice>,
    shape: &'a Shape,
    /// The names of each node, the present one last.
    names: Vec<Vec<String>>,
    /// Whether the last event leaves nothing behind that takes time.
    settled: bool,
}

impl LiveOperator<'_> {
    fn write(&mut self, out: &mut String) {
        for _ in 0..=self.dice.below(9) {
            let node = self.dice.below(self.shape.nodes());
            let Some(action) = self.action(node) else { continue };
            self.event(out, &action);
            // New certificates mean nothing before somebody presents them.
            let renewed = action.starts_with("regenerate") || action.starts_with("rename");
            if renewed && self.dice.chance(70) {
                self.event(out, &format!("restart = {{ node = \"n{node}\" }}"));
            }
            self.records(out);
        }
        self.last_records(out);
        for _ in 0..=self.dice.below(2) {
            let reset = self.reset();
            self.event(out, &reset);
        }
    }

    fn event(&mut self, out: &mut String, action: &str) {
        let trigger = match self.dice.below(4) {
            0 | 1 if self.settled => "after = \"previous\"",
            2 if self.settled => "after = \"previous\"\ndelay = \"15ms\"",
            _ => "when = \"fleet-settled\"",
        };
        writeln!(out, "[[event]]\n{trigger}\n{action}").unwrap();
        let lasts =
            action.starts_with("reset") || action.starts_with("stop") && action.contains("for =");
        self.settled = !lasts;
    }

    /// Removes or adds the record of a name, present or earlier, and may have phones ask for names.
    fn records(&mut self, out: &mut String) {
        let Some(dns) = self.dns.take() else { return };
        if dns.chance(60) {
            let names = &self.names[dns.below(self.shape.nodes()) as usize];
            let name = &names[names.len() - 1 - usize::from(names.len() > 1 && dns.chance(30))];
            let change = dns.pick(&["remove", "remove", "remove", "add"]);
            self.at_rest(out, &format!("{change}-record = {{ node = \"{name}\" }}"));
            if dns.chance(40) {
                let node = dns.below(self.shape.nodes());
                let certificate = format!("certificate = \"CallManager\", node = \"n{node}\"");
                self.at_rest(out, &format!("regenerate = {{ {certificate} }}"));
                self.at_rest(out, &format!("restart = {{ node = \"n{node}\" }}"));
                self.at_rest(out, "reset-phones = {}");
                self.settled = false;
            }
        }
        self.dns = Some(dns);
    }

    /// In half of the clusters the present names have their records again at last.
    fn last_records(&mut self, out: &mut String) {
        if self.dns.as_mut().is_some_and(|dns| dns.chance(50)) {
            for names in self.names.clone() {
                let name = names.last().expect("each node has a name");
                self.at_rest(out, &format!("add-record = {{ node = \"{name}\" }}"));
            }
        }
    }

    /// An event without draws.
    fn at_rest(&mut self, out: &mut String, action: &str) {
        let trigger =
            if self.settled { "after = \"previous\"" } else { "when = \"fleet-settled\"" };
        writeln!(out, "[[event]]\n{trigger}\n{action}").unwrap();
        self.settled = true;
    }

    fn reset(&mut self) -> String {
        format!("reset-phones = {{ spread = \"{}\" }}", self.dice.pick(&["0s", "0s", "60ms"]))
    }

    fn action(&mut self, node: u64) -> Option<String> {
        let (dice, services) = (&mut *self.dice, &self.shape.services[node as usize]);
        let service = (!services.is_empty()).then(|| dice.pick(services));
        let of = |service: &str| format!("service = \"{service}\", node = \"n{node}\"");
        Some(match dice.below(20) {
            0..=4 => {
                let mut kinds = vec!["CallManager", "CallManager", "TVS", "TVS", "CAPF"];
                if self.shape.recovery && node == 0 {
                    kinds.extend(["ITLRecovery"; 2]);
                }
                let kind = dice.pick(&kinds);
                format!("regenerate = {{ certificate = \"{kind}\", node = \"n{node}\" }}")
            }
            5..=7 => format!("restart = {{ {} }}", of(service?)),
            8 => format!("restart = {{ node = \"n{node}\" }}"),
            9 => format!("restart = {{ {}, for = \"20ms\" }}", of(service?)),
            10 => format!("stop = {{ {}, for = \"25ms\" }}", of(service?)),
            11 | 17..=19 => format!("stop = {{ {} }}", of(service?)),
            12 => match service {
                Some(service) => format!("start = {{ {} }}", of(service)),
                None => format!("start = {{ node = \"n{node}\" }}"),
            },
            13 | 14 => {
                let renamed: usize = self.names.iter().map(|names| names.len() - 1).sum();
                let to = format!("m{}", renamed + 1);
                let event = format!("rename = {{ node = \"n{node}\", to = \"{to}\" }}");
                self.names[node as usize].push(to);
                event
            }
            _ => self.reset(),
        })
    }
}

/// The scenario of plan number `seed` for the linter: a topology with groups, models, sites, mode and
/// release, and what an operator might do to it, in a good order or a bad one.
pub fn plan_scenario(seed: u64) -> String {
    let mut dice = Dice(stream(seed, 7, Purpose::Network));
    let release = dice.pick(&["8.0", "8.6", "9.1", "10.5", "11.5", "12.0", "12.5", "14", "15"]);
    let recovery = !["8.0", "8.6", "9.1", "10.5"].contains(&release);
    let shape = Shape::draw(&mut dice, recovery);
    let mut out = format!("schema = 1\nname = \"plan\"\nseed = {seed}\n[cluster]\n");
    writeln!(out, "release = \"{release}\"").unwrap();
    let mixed = release != "8.0" && dice.chance(30);
    if mixed {
        out.push_str("security-mode = \"mixed\"\n");
        if ["8.6", "9.1"].contains(&release) || !recovery && dice.chance(20) {
            out.push_str("etokens = [\"t1\", \"t2\"]\n");
        }
    }
    if dice.chance(20) {
        out.push_str("domain = \"cucm.example\"\n");
    }
    if dice.chance(5) {
        writeln!(out, "replication-delay = \"{}\"", dice.pick(&["2s", "20s"])).unwrap();
    }
    for (node, services) in shape.services.iter().enumerate() {
        let http = dice.pick(&["", ", http = 6970", ", http = 6970, https = 6971"]);
        writeln!(
            out,
            "[[cluster.node]]\nname = \"n{node}\"\naddress = \"127.0.0.{}\"\n\
             services = {services:?}\nports = {{ tftp = 6969, tvs = 2445{http} }}",
            node + 1
        )
        .unwrap();
    }
    write_groups(&mut out, &mut dice, &shape);
    let (registers, has_tls) = (dice.chance(30), mixed && dice.chance(70));
    if registers && has_tls {
        out.push_str(
            "[[cluster.phone-security-profile]]\nname = \"plain\"\nshare = 0.5\n\
             [[cluster.phone-security-profile]]\nname = \"tls\"\nshare = 0.5\n\
             device-security-mode = \"encrypted\"\n",
        );
    } else if dice.chance(20) {
        out.push_str(
            "[[cluster.phone-security-profile]]\nname = \"open\"\nshare = 0.5\n\
             [[cluster.phone-security-profile]]\nname = \"closed\"\nshare = 0.5\n\
             encrypted-config = true\nstale-keys = \"30%\"\n",
        );
    }
    write_planned_fleet(&mut out, &mut dice, &shape);
    if registers {
        out.push_str("[registration]\n");
    }
    let names = (0..shape.nodes()).map(|node| vec![format!("n{node}")]).collect();
    Planner { dice: &mut dice, shape: &shape, names, mixed, under_way: false }.write(&mut out);
    if dice.chance(15) {
        writeln!(out, "[run]\nmax-wall = \"{}\"", dice.pick(&["40s", "3m", "1h"])).unwrap();
    }
    out
}

fn write_planned_fleet(out: &mut String, dice: &mut Dice, shape: &Shape) {
    let lists = Dice(stream(dice.below(u64::MAX), 8, Purpose::Network));
    let tftp = shape.tftp(dice, lists);
    writeln!(
        out,
        "[fleet]\nphones = {}\nmodels = {{ 8841 = 0.5, 7962 = 0.3, 7970 = 0.2 }}\ntftp = {tftp}\n\
         start = \"{}\"",
        20 + dice.below(41),
        dice.pick(&["itl-current", "itl-current", "itl-current", "itl-current", "factory"]),
    )
    .unwrap();
    for (name, share) in [("near", 0.5), ("far", 0.5)] {
        let loss = if dice.chance(5) { "3%" } else { "0%" };
        writeln!(
            out,
            "[[fleet.site]]\nname = \"{name}\"\nshare = {share:?}\n\
             link = {{ rtt = \"{}\", jitter = \"{}\", loss = \"{loss}\" }}",
            dice.pick(&["0s", "500us", "80ms", "700ms"]),
            dice.pick(&["0s", "3ms", "40ms"]),
        )
        .unwrap();
    }
    writeln!(
        out,
        "[phone]\nboot-time = \"{}\"\ntransport = \"{}\"",
        dice.pick(&["0s", "2s", "model"]),
        dice.pick(&["tftp", "http", "model"]),
    )
    .unwrap();
}

/// What the operator of a plan does: more often than not he waits for the phones.
struct Planner<'a> {
    dice: &'a mut Dice,
    shape: &'a Shape,
    names: Vec<Vec<String>>,
    mixed: bool,
    /// Whether phones boot, or a service is away for a while.
    under_way: bool,
}

impl Planner<'_> {
    fn write(&mut self, out: &mut String) {
        for step in 0..=self.dice.below(8) {
            let waits = if step == 0 { 100 } else { 85 };
            self.act(out, waits);
        }
        if self.dice.chance(80) {
            let node = self.dice.below(self.shape.nodes());
            self.event(out, 90, &format!("restart = {{ node = \"n{node}\" }}"));
            self.event(out, 95, "reset-phones = { spread = \"10s\" }");
        }
        if self.dice.chance(15) {
            let share = self.dice.pick(&["", ", share = 0.5"]);
            let people = format!("technicians = 5, per-phone = \"3s\"{share}");
            self.event(out, 100, &format!("erase-lists = {{ {people} }}"));
        }
    }

    fn event(&mut self, out: &mut String, waits: u64, action: &str) {
        let needs = self.under_way || !out.contains("[[event]]");
        let trigger = if needs && self.dice.chance(waits) {
            "when = \"fleet-settled\""
        } else if self.dice.chance(10) {
            "after = \"previous\"\ndelay = \"3s\""
        } else {
            "after = \"previous\""
        };
        writeln!(out, "[[event]]\n{trigger}\n{action}").unwrap();
        let lasts = ["reset-phones", "erase", "set-parameter"];
        self.under_way =
            lasts.iter().any(|verb| action.starts_with(verb)) || action.contains("for =");
    }

    fn act(&mut self, out: &mut String, waits: u64) {
        let node = self.dice.below(self.shape.nodes());
        let services = self.shape.services[node as usize].clone();
        match self.dice.below(20) {
            0..=9 => {
                let mut kinds = vec!["CallManager", "CallManager", "TVS", "TVS"];
                if node == 0 {
                    kinds.push("CAPF");
                }
                if self.shape.recovery && node == 0 {
                    kinds.push("ITLRecovery");
                }
                let kind = self.dice.pick(&kinds);
                let text = format!("certificate = \"{kind}\", node = \"n{node}\"");
                self.event(out, waits, &format!("regenerate = {{ {text} }}"));
                for other in 0..self.shape.nodes() {
                    if self.dice.chance(if other == node { 80 } else { 40 }) {
                        let restart = format!("restart = {{ node = \"n{other}\" }}");
                        self.event(out, waits, &restart);
                    }
                }
                if self.dice.chance(60) {
                    self.event(out, waits, "reset-phones = { spread = \"5s\" }");
                }
            }
            10 if !services.is_empty() => {
                let service = self.dice.pick(&services);
                let length = self.dice.pick(&["", ", for = \"8s\""]);
                let stop = format!("service = \"{service}\", node = \"n{node}\"{length}");
                self.event(out, waits, &format!("stop = {{ {stop} }}"));
            }
            11 if !services.is_empty() => {
                let service = self.dice.pick(&services);
                let start = format!("start = {{ service = \"{service}\", node = \"n{node}\" }}");
                self.event(out, waits, &start);
            }
            12 => {
                let renamed: usize = self.names.iter().map(|names| names.len() - 1).sum();
                let to = format!("m{}", renamed + 1);
                self.event(
                    out,
                    waits,
                    &format!("rename = {{ node = \"n{node}\", to = \"{to}\" }}"),
                );
                self.names[node as usize].push(to);
                self.event(out, waits, &format!("restart = {{ node = \"n{node}\" }}"));
            }
            13 => self.event(out, waits, "backup = {}"),
            14 if self.mixed => self.event(out, waits, "update-ctl = {}"),
            15 => {
                let value = self.dice.chance(50);
                let set = format!("name = \"rollback-to-pre-8.0\", value = {value}");
                self.event(out, waits, &format!("set-parameter = {{ {set} }}"));
            }
            _ => self.event(out, waits, "reset-phones = { spread = \"5s\" }"),
        }
    }
}
