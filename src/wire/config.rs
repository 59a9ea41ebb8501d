use std::ops::Range;
use std::sync::Arc;

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use super::auth_mode::AuthMode;
use crate::base::{DEVICE_NAME_LENGTH, DeviceName};

/// Most TVS members that are read from a configuration (`spec/phone-boot.md` section 3).
const TVS_MEMBERS_MAX: usize = 5;

/// What a phone uses of `SEP<MAC>.cnf.xml` (`spec/phone-boot.md` section 4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Config {
    /// TVS servers in the order of their priority.
    pub tvs: Vec<TvsMember>,
    /// Members of the `CallManager` group in the order of their priority.
    pub call_managers: Vec<SipMember>,
    /// Whether the phone registers over TLS (`deviceSecurityMode` 2 or 3).
    pub is_secure: bool,
    /// The firmware load that the phone is to run (`loadInformation`); empty if none is named.
    pub load: String,
    /// Whether it is a stub that says no more than that the configuration is encrypted
    /// (`fullConfig` false).
    pub is_stub: bool,
    /// Whether the phone's configuration is encrypted (`encrConfig`).
    pub is_encrypted: bool,
    /// Hash of the certificate that the cluster knows of the phone, hexadecimal; empty if none.
    pub cert_hash: String,
    /// What it tells the phone to do at CAPF, if anything.
    pub enrolment: Option<Enrolment>,
    /// Where the buttons of the phone lead.
    pub urls: ServiceUrls,
}

/// What a configuration tells a phone to do at CAPF.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Enrolment {
    /// How the phone is to prove who it is (`capfAuthMode`); not [`AuthMode::None`].
    pub mode: AuthMode,
    /// Host name or address of the first server of `capfList`; empty if none is named.
    pub host: String,
    /// Its TCP port (`phonePort`).
    pub port: u16,
}

/// The CAPF server that a configuration names.
#[derive(Clone, Copy, Debug)]
pub struct CapfServer<'a> {
    /// What the phone is told to do there.
    pub mode: AuthMode,
    /// Host name or address.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
}

/// Where the buttons of a phone lead; empty if they lead nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceUrls {
    /// `directoryURL`.
    pub directory: String,
    /// `secureDirectoryURL`, which counts before it where a phone speaks HTTPS.
    pub secure_directory: String,
    /// `servicesURL`.
    pub services: String,
    /// `secureServicesURL`.
    pub secure_services: String,
}

/// One TVS server of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TvsMember {
    /// Host name or address.
    pub address: String,
    /// TCP port.
    pub port: u16,
}

/// One CallManager of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SipMember {
    /// Host name or address (`processNodeName`).
    pub address: String,
    /// TCP port of SIP.
    pub port: u16,
    /// TCP port of SIP over TLS.
    pub secured_port: u16,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}: expected {expected}")]
pub struct ConfigError {
    /// The fault.
    pub what: String,
    /// Offset in bytes.
    pub offset: usize,
    /// What should be there.
    pub expected: &'static str,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// If it is not well-formed XML with a `device` root, or a TVS port is no port.
    pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
        let text = std::str::from_utf8(bytes).map_err(|error| ConfigError {
            what: "text is not UTF-8".into(),
            offset: error.valid_up_to(),
            expected: "UTF-8",
        })?;
        let mut reader = quick_xml::Reader::from_str(text);
        let mut walk = Walk::default();
        loop {
            let event = reader.read_event();
            let offset = reader.buffer_position() as usize;
            let fault = |what: String, expected| ConfigError { what, offset, expected };
            match event {
                Err(error) => return Err(fault(error.to_string(), "well-formed XML")),
                Ok(Event::Eof) => break,
                Ok(Event::Start(tag)) => walk.enter(tag.name().as_ref(), priority(&tag)),
                Ok(Event::Text(part)) => walk.text.push_str(&part.xml10_content()),
                Ok(Event::End(tag)) => {
                    walk.leave(tag.name().as_ref())
                        .map_err(|what| fault(what, "a port from 1 to 65535"))?;
                }
                Ok(_) => {}
            }
        }
        let end = bytes.len();
        if !walk.path.is_empty() || !walk.device_seen {
            return Err(ConfigError {
                what: "the document is not complete".into(),
                offset: end,
                expected: "one device element",
            });
        }
        Ok(walk.into_config())
    }
}

/// Where a reader of a configuration is, and what it has found.
#[derive(Default)]
struct Walk {
    /// The elements around what is read, each behind a blank: no name has one.
    path: String,
    text: String,
    device_seen: bool,
    /// Priority, address, port of each TVS member.
    members: Vec<(u32, String, u16)>,
    priority: u32,
    address: String,
    port: Option<u16>,
    capf_mode: AuthMode,
    capf_host: String,
    capf_port: Option<u16>,
    secured_port: Option<u16>,
    /// Priority, name and ports of each CallManager.
    call_managers: Vec<(u32, SipMember)>,
    /// What stands beside the TVS members.
    others: Config,
}

const TVS_MEMBER: &str = " device TVS members member";
const CAPF: &str = " device capfList capf";
/// Port of CAPF where a configuration names none.
const CAPF_PORT: u16 = 3804;
const SIP_MEMBER: &str = " device devicePool callManagerGroup members member";

impl Walk {
    fn enter(&mut self, name: &str, priority: Option<u32>) {
        self.path.push(' ');
        self.path.push_str(name);
        self.text.clear();
        if self.path == TVS_MEMBER || self.path == SIP_MEMBER {
            (self.address, self.port, self.secured_port) = (String::new(), None, None);
            self.priority = priority.unwrap_or(u32::MAX);
        }
        self.device_seen |= self.path == " device";
    }

    fn leave(&mut self, name: &str) -> Result<(), String> {
        // The reader sees to it that an element ends with the name with which it began.
        let outer = self.path.len() - name.len() - 1;
        let around = &self.path[..outer];
        let in_member = around == TVS_MEMBER;
        let in_capf = around == CAPF;
        let of_sip_member = around.strip_prefix(SIP_MEMBER);
        let in_call_manager = of_sip_member == Some(" callManager");
        let in_ports = of_sip_member == Some(" callManager ports");
        match name {
            "processNodeName" if in_call_manager => {
                self.text.trim().clone_into(&mut self.address);
            }
            // Where nobody registers it does not matter what stands there: the usual ports count.
            "sipPort" if in_ports => self.port = port(self.text.trim()).ok(),
            "securedSipPort" if in_ports => {
                self.secured_port = port(self.text.trim()).ok();
            }
            "member" if self.path == SIP_MEMBER && !self.address.is_empty() => {
                let member = SipMember {
                    address: std::mem::take(&mut self.address),
                    port: self.port.unwrap_or(5060),
                    secured_port: self.secured_port.unwrap_or(5061),
                };
                self.call_managers.push((self.priority, member));
            }
            "address" if in_member => self.text.trim().clone_into(&mut self.address),
            "port" if in_member => self.port = Some(port(self.text.trim())?),
            // The first server counts.
            "processNodeName" if in_capf && self.capf_host.is_empty() => {
                self.text.trim().clone_into(&mut self.capf_host);
            }
            "phonePort" if in_capf && self.capf_port.is_none() => {
                self.capf_port = self.text.trim().parse().ok().filter(|&port| port != 0);
            }
            "capfAuthMode" if around == " device" => {
                let number = self.text.trim().parse().ok();
                self.capf_mode = number.and_then(AuthMode::from_number).unwrap_or_default();
            }
            _ if around == " device" => {
                let (text, others) = (self.text.trim(), &mut self.others);
                match name {
                    "loadInformation" => text.clone_into(&mut others.load),
                    "fullConfig" => others.is_stub = text == "false",
                    "deviceSecurityMode" => others.is_secure = matches!(text, "2" | "3"),
                    "encrConfig" => others.is_encrypted = text == "true",
                    "certHash" => text.clone_into(&mut others.cert_hash),
                    "directoryURL" => text.clone_into(&mut others.urls.directory),
                    "secureDirectoryURL" => text.clone_into(&mut others.urls.secure_directory),
                    "servicesURL" => text.clone_into(&mut others.urls.services),
                    "secureServicesURL" => text.clone_into(&mut others.urls.secure_services),
                    _ => {}
                }
            }
            "member" if self.path == TVS_MEMBER && !self.address.is_empty() => {
                let address = std::mem::take(&mut self.address);
                self.members.push((self.priority, address, self.port.unwrap_or(2445)));
            }
            _ => {}
        }
        self.path.truncate(outer);
        self.text.clear();
        Ok(())
    }

    fn into_config(mut self) -> Config {
        let enrolment = (self.capf_mode != AuthMode::None).then(|| Enrolment {
            mode: self.capf_mode,
            host: std::mem::take(&mut self.capf_host),
            port: self.capf_port.unwrap_or(CAPF_PORT),
        });
        self.members.sort_by_key(|member| member.0);
        self.members.truncate(TVS_MEMBERS_MAX);
        let member = |(_, address, port)| TvsMember { address, port };
        self.call_managers.sort_by_key(|member| member.0);
        self.call_managers.truncate(TVS_MEMBERS_MAX);
        let call_managers = self.call_managers.into_iter().map(|(_, member)| member);
        self.others.call_managers = call_managers.collect();
        let tvs = self.members.into_iter().map(member).collect();
        Config { tvs, enrolment, ..self.others }
    }
}

/// The `priority` attribute of a member; 0 is tried first, members without one come last.
fn priority(tag: &BytesStart<'_>) -> Option<u32> {
    tag.try_get_attribute("priority").ok()??.value.parse().ok()
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("port `{text}`")),
        Ok(port) => Ok(port),
    }
}

/// What differs between the configurations of one CallManager group.
#[derive(Clone, Copy, Debug)]
pub struct ConfigValues<'a> {
    /// Device name, `SEP<MAC>`.
    pub device: &'a str,
    /// Directory number of the first line, seven digits.
    pub line: u32,
}

/// The configurations of one group: put together once, then filled in per phone by copying, because 50,000 phones ask for theirs at once.
#[derive(Clone, Debug)]
pub struct ConfigTemplate {
    /// The text with zeros where values go.
    text: String,
    /// Where the values go, in order.
    holes: Vec<Hole>,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    at: usize,
    value: Value,
}

/// What differs from phone to phone.
#[derive(Clone, Copy, Debug)]
enum Value {
    Device,
    /// The directory number plus this.
    Line(u32),
}

impl Hole {
    const fn end(self) -> usize {
        self.at
            + match self.value {
                Value::Device => DEVICE_NAME_LENGTH,
                Value::Line(_) => LINE_LENGTH,
            }
    }
}

/// The configuration of one phone as a template and what is filled in: any part of it can be
/// copied out, and the whole is never kept.
#[derive(Clone, Debug)]
pub struct FilledConfig {
    template: Arc<ConfigTemplate>,
    device: DeviceName,
    line: u32,
}

impl FilledConfig {
    /// The configuration of `device`, whose first line has the number `line` of seven digits.
    pub const fn new(template: Arc<ConfigTemplate>, device: DeviceName, line: u32) -> FilledConfig {
        FilledConfig { template, device, line }
    }

    /// Length in bytes: all of a template are of one length.
    pub fn length(&self) -> usize {
        self.template.text.len()
    }

    /// Appends the bytes of `range`, which lies within the length, to `out`.
    pub fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let ConfigTemplate { text, holes } = &*self.template;
        let offset = out.len();
        out.extend_from_slice(&text.as_bytes()[range.clone()]);
        let first = holes.partition_point(|hole| hole.end() <= range.start);
        for hole in holes[first..].iter().take_while(|hole| hole.at < range.end) {
            let (start, end) = (hole.at.max(range.start), hole.end().min(range.end));
            let part = start - hole.at..end - hole.at;
            let place = offset + start - range.start..offset + end - range.start;
            match hole.value {
                Value::Device => out[place].copy_from_slice(&self.device.text()[part]),
                Value::Line(add) => out[place].copy_from_slice(&digits(self.line, add)[part]),
            }
        }
    }
}

/// The seven digits of a directory number.
fn digits(line: u32, add: u32) -> [u8; LINE_LENGTH] {
    let mut number = (line + add) % 10_000_000;
    let mut text = [b'0'; LINE_LENGTH];
    for digit in text.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    text
}

/// A ring list (`Ringlist.xml`): the element names are those of the manuals of phones.
pub const RING_LIST: &str = include_str!("ringlist.xml");
/// The tones of a network locale (`g3-tones.xml`): the content is ours.
pub const LOCALE: &str = include_str!("tones.xml");

/// A configuration with marks where values go; how many speed dials it has is chosen: a signed one
/// has about 7.6 kB (TFTP-11).
const DEVICE: &str = include_str!("config.xml");
/// Stands for the directory number plus the number behind it.
const LINE_MARK: &str = "{{line+";
/// Digits of a directory number.
const LINE_LENGTH: usize = 7;

/// A node of a template's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigNode {
    /// Its name, or how else phones are to call its CallManager.
    pub name: String,
    /// Address or full name of its TVS.
    pub address: String,
    /// Port of its TVS.
    pub tvs: u16,
    /// Ports of its CallManager: of SIP, and of SIP over TLS.
    pub sip: (u16, u16),
}

type Node = ConfigNode;

/// The device security mode of the template, and that of phones that register over TLS.
const NON_SECURE: &str = "<deviceSecurityMode>1<";
const ENCRYPTED: &str = "<deviceSecurityMode>3<";

impl ConfigTemplate {
    /// The template of a group whose members are `nodes`, first asked first, for phones that are
    /// to run this load; encrypted for the device certificate with this hash, if there is one.
    /// Phones of a `secure` one register over TLS. Where `urls` are given, buttons lead there.
    pub fn new(
        nodes: &[Node],
        capf: CapfServer<'_>,
        load: &str,
        cert_hash: Option<&str>,
        secure: bool,
        urls: Option<&ServiceUrls>,
    ) -> ConfigTemplate {
        let members = |member: fn(usize, &Node) -> String| -> String {
            nodes.iter().enumerate().map(|(priority, node)| member(priority, node)).collect()
        };
        let marks = [
            ("{{call-managers}}", members(call_manager).into()),
            ("{{tvs}}", members(tvs_member).into()),
            ("{{load}}", escape(load)),
            ("{{capf-mode}}", capf.mode.number().to_string().into()),
            ("{{capf-port}}", capf.port.to_string().into()),
            ("{{capf}}", escape(capf.host)),
            ("{{node}}", escape(&nodes[0].name)),
            ("{{cert-hash}}", cert_hash.unwrap_or_default().into()),
            ("{{encrypted}}", if cert_hash.is_some() { "true" } else { "false" }.into()),
        ];
        let device = urls.map_or_else(|| DEVICE.to_owned(), |urls| with_urls(DEVICE, urls));
        let text = marks.iter().fold(device, |text, (mark, value)| text.replace(mark, value));
        split_marks(&if secure { text.replace(NON_SECURE, ENCRYPTED) } else { text })
    }

    /// The configuration of one device, whose name may have any length.
    pub fn render(&self, values: ConfigValues<'_>) -> String {
        let mut out = String::with_capacity(self.text.len() + values.device.len());
        let mut at = 0;
        for hole in &self.holes {
            out.push_str(&self.text[at..hole.at]);
            match hole.value {
                Value::Device => out.push_str(values.device),
                Value::Line(add) => out.extend(digits(values.line, add).map(char::from)),
            }
            at = hole.end();
        }
        out + &self.text[at..]
    }
}

/// The same with other contents of the elements that say where buttons lead.
fn with_urls(device: &str, urls: &ServiceUrls) -> String {
    let elements = [
        ("directoryURL", &urls.directory),
        ("secureDirectoryURL", &urls.secure_directory),
        ("servicesURL", &urls.services),
        ("secureServicesURL", &urls.secure_services),
    ];
    let line = |line: &str| {
        let is_of = |name: &str| line.trim_start().starts_with(&format!("<{name}>"));
        match elements.iter().find(|(name, _)| is_of(name)) {
            Some((name, url)) => format!("  <{name}>{}</{name}>\n", escape(url.as_str())),
            None => format!("{line}\n"),
        }
    };
    device.lines().map(line).collect()
}

/// Puts holes in the place of marks.
fn split_marks(marked: &str) -> ConfigTemplate {
    let (mut text, mut holes) = (String::with_capacity(marked.len()), Vec::new());
    let mut rest = marked;
    while let Some(at) = rest.find("{{") {
        text.push_str(&rest[..at]);
        let end = at + rest[at..].find("}}").expect("marks are closed") + 2;
        let value = match rest[at..end].strip_prefix(LINE_MARK) {
            Some(add) => {
                Value::Line(add.trim_end_matches('}').parse().expect("marks carry numbers"))
            }
            None => Value::Device,
        };
        let hole = Hole { at: text.len(), value };
        text.extend(std::iter::repeat_n('0', hole.end() - hole.at));
        holes.push(hole);
        rest = &rest[end..];
    }
    text.push_str(rest);
    ConfigTemplate { text, holes }
}

fn call_manager(priority: usize, node: &Node) -> String {
    let (name, (sip, secured)) = (escape(&node.name), node.sip);
    format!(
        r#"
        <member priority="{priority}">
          <callManager>
            <ports>
              <ethernetPhonePort>2000</ethernetPhonePort>
              <sipPort>{sip}</sipPort>
              <securedSipPort>{secured}</securedSipPort>
            </ports>
            <processNodeName>{name}</processNodeName>
          </callManager>
        </member>"#
    )
}

fn tvs_member(priority: usize, node: &Node) -> String {
    let (address, port) = (escape(&node.address), node.tvs);
    format!(
        r#"
      <member priority="{priority}">
        <port>{port}</port>
        <address>{address}</address>
      </member>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<ConfigNode> {
        let node = |name: &str, address: &str, tvs| ConfigNode {
            name: name.into(),
            address: address.into(),
            tvs,
            sip: (5060, 5061),
        };
        vec![node("sub1", "127.0.0.2", 2445), node("pub", "127.0.0.1", 12_445)]
    }

    const CAPF: CapfServer<'_> = CapfServer { mode: AuthMode::None, host: "pub", port: CAPF_PORT };

    #[test]
    fn a_configuration_says_what_to_do_at_capf_if_anything() {
        let told = |mode| {
            let capf = CapfServer { mode, host: "pub.lab", port: 13_804 };
            let template = ConfigTemplate::new(&nodes(), capf, "load", None, false, None);
            let text = template.render(ConfigValues { device: "SEP001122334455", line: 1 });
            Config::parse(text.as_bytes()).unwrap().enrolment
        };
        assert_eq!(told(AuthMode::None), None);
        let host = "pub.lab".to_owned();
        let mode = AuthMode::NullString;
        assert_eq!(told(mode), Some(Enrolment { mode, host, port: 13_804 }));
        let bare = "<device><capfAuthMode>4</capfAuthMode></device>";
        let bare = Config::parse(bare.as_bytes()).unwrap().enrolment.unwrap();
        assert_eq!((bare.mode, bare.host.as_str(), bare.port), (AuthMode::Mic, "", CAPF_PORT));
    }

    fn member(address: &str, port: u16) -> TvsMember {
        TvsMember { address: address.into(), port }
    }

    #[test]
    fn rendered_configuration_names_its_tvs_servers_in_order() {
        let template =
            ConfigTemplate::new(&nodes(), CAPF, "sip8841.14-2-1-0001-125", None, false, None);
        let text = template.render(ConfigValues { device: "SEP001122334455", line: 5_550_000 });
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.tvs, [member("127.0.0.2", 2445), member("127.0.0.1", 12_445)]);
        assert!(text.contains("<phoneLabel>SEP001122334455</phoneLabel>"));
        assert!(text.contains("<name>5550001</name>"), "second line");
        assert!(!text.contains("{{"));
    }

    #[test]
    fn every_part_of_a_filled_template_is_the_part_of_the_whole() {
        let template = Arc::new(ConfigTemplate::new(
            &nodes(),
            CAPF,
            "sip8841.14-2-1-0001-125",
            None,
            false,
            None,
        ));
        for (device, line) in [("SEP001122334455", 9_999_990), ("SEP0C75BD00FFFF", 7)] {
            let whole = template.render(ConfigValues { device, line }).into_bytes();
            let filled = FilledConfig::new(Arc::clone(&template), device.parse().unwrap(), line);
            assert_eq!(filled.length(), whole.len());
            for size in [1, 7, 16, 512, 1_428, 10_000] {
                let mut all = b"head".to_vec();
                for start in (0..whole.len()).step_by(size) {
                    filled.copy(start..(start + size).min(whole.len()), &mut all);
                }
                assert_eq!(all[4..], whole, "{size}");
            }
        }
    }

    #[test]
    fn configuration_has_the_size_of_a_real_one() {
        let template =
            ConfigTemplate::new(&nodes()[1..], CAPF, "sip8841.14-2-1-0001-125", None, false, None);
        let text = template.render(ConfigValues { device: "SEP001122334455", line: 5_550_000 });
        // 7,652 bytes with a header of about 408 were seen in a phone log (TFTP-11).
        assert!((7_000..7_500).contains(&text.len()), "{} bytes", text.len());
    }

    #[test]
    fn call_managers_are_read_with_their_ports_and_the_security_mode() {
        let mut nodes = nodes();
        nodes[1].sip = (15_060, 15_061);
        for secure in [false, true] {
            let template = ConfigTemplate::new(&nodes, CAPF, "sip8841.14-2-1", None, secure, None);
            let text = template.render(ConfigValues { device: "SEP001122334455", line: 1 });
            let config = Config::parse(text.as_bytes()).unwrap();
            let member = |address: &str, port, secured_port| SipMember {
                address: address.into(),
                port,
                secured_port,
            };
            assert_eq!(
                config.call_managers,
                [member("sub1", 5060, 5061), member("pub", 15_060, 15_061)]
            );
            assert_eq!(config.is_secure, secure);
        }
    }

    #[test]
    fn members_without_a_port_use_2445_and_other_members_do_not_count() {
        let xml = "<device><TVS><members><member><address>a.example</address></member></members>\
                   </TVS><members><member><address>b</address></member></members></device>";
        assert_eq!(Config::parse(xml.as_bytes()).unwrap().tvs, [member("a.example", 2445)]);
    }

    #[test]
    fn members_are_tried_by_priority_not_by_place() {
        let xml = "<device><TVS><members><member priority=\"1\"><address>b</address></member>\
                   <member priority=\"0\"><address>a</address></member></members></TVS></device>";
        let config = Config::parse(xml.as_bytes()).unwrap();
        assert_eq!(config.tvs, [member("a", 2445), member("b", 2445)]);
    }

    #[test]
    fn a_name_that_looks_like_a_path_is_one_element() {
        let nested = "<device><TVS><members><member><address>a</address></member></members></TVS>\
                      </device >";
        assert_eq!(Config::parse(nested.as_bytes()).unwrap().tvs, [member("a", 2445)]);
        let flat =
            nested.replace("TVS><members", "TVS/members").replace("members></TVS", "TVS/members");
        assert_eq!(flat.matches("TVS/members").count(), 2, "{flat}");
        assert_eq!(Config::parse(flat.as_bytes()).unwrap().tvs, []);
        assert!(Config::parse(b"< device></ device>").is_err());
    }

    #[test]
    fn broken_documents_are_refused() {
        for xml in ["", "<device>", "<device></devic>", "<other/>", "no xml", "<device/"] {
            assert!(Config::parse(xml.as_bytes()).is_err(), "{xml}");
        }
        assert!(Config::parse(&[0xFF, 0xFE]).is_err());
        let zero = "<device><TVS><members><member><port>0</port></member></members></TVS></device>";
        assert_eq!(Config::parse(zero.as_bytes()).unwrap_err().expected, "a port from 1 to 65535");
    }

    #[test]
    fn at_most_five_members_are_read() {
        let member = "<member><address>x</address></member>".repeat(9);
        let xml = format!("<device><TVS><members>{member}</members></TVS></device>");
        assert_eq!(Config::parse(xml.as_bytes()).unwrap().tvs.len(), 5);
    }
}
