//! Pages of phone services: XML objects of Cisco IP phones, as far as a menu leads to a page.

use quick_xml::escape::escape;
use quick_xml::events::Event;

/// What a phone uses of a page: what it is, and where its items lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhonePage {
    /// Which object it is.
    pub kind: PageKind,
    /// What stands at its top.
    pub title: String,
    /// Name and URL of each item of a menu, in their order.
    pub items: Vec<(String, String)>,
}

/// Objects that a phone shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// `CiscoIPPhoneMenu`: items that lead to pages.
    Menu,
    /// `CiscoIPPhoneInput`: fields to be filled in.
    Input,
    /// `CiscoIPPhoneText`: a text.
    Text,
    /// `CiscoIPPhoneDirectory`: names and numbers.
    Directory,
}

/// A page is no XML object that a phone shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no XML object of a phone: {0}")]
pub struct PageError(&'static str);

/// Longest page in bytes that a phone takes (choice).
pub const PAGE_SIZE_MAX: usize = 64 * 1_024;
/// Most items of a menu (the XML schema of the phones: 100).
const ITEMS_MAX: usize = 100;
/// Deepest nesting of elements (choice: the objects have three levels).
const DEPTH_MAX: usize = 16;

/// The item of the directories that leads to the search.
pub const CORPORATE_DIRECTORY: &str = "Corporate Directory";
/// The item of the services that leads to the login of Extension Mobility.
pub const EXTENSION_MOBILITY: &str = "Extension Mobility";
/// The item of the services that leads to the login across clusters.
pub const CROSS_CLUSTER: &str = "Extension Mobility Cross Cluster";

const OBJECTS: [(&str, PageKind); 4] = [
    ("CiscoIPPhoneMenu", PageKind::Menu),
    ("CiscoIPPhoneInput", PageKind::Input),
    ("CiscoIPPhoneText", PageKind::Text),
    ("CiscoIPPhoneDirectory", PageKind::Directory),
];

impl PhonePage {
    /// Reads a page.
    ///
    /// # Errors
    /// If it is too long, not well-formed XML, or another object.
    pub fn parse(bytes: &[u8]) -> Result<PhonePage, PageError> {
        if bytes.len() > PAGE_SIZE_MAX {
            return Err(PageError("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PageError("it is not UTF-8"))?;
        let mut reader = quick_xml::Reader::from_str(text);
        let mut walk = Walk::default();
        loop {
            match reader.read_event().map_err(|_| PageError("it is not well-formed"))? {
                Event::Eof => break,
                Event::Start(tag) => walk.enter(tag.name().as_ref())?,
                Event::Text(part) => walk.text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => walk.refer(reference.as_ref())?,
                Event::End(_) => walk.leave()?,
                _ => {}
            }
        }
        walk.page.filter(|_| walk.path.is_empty()).ok_or(PageError("it is not complete"))
    }
}

/// Where a reader of a page is.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    text: String,
    page: Option<PhonePage>,
    item: (String, String),
}

impl Walk {
    fn enter(&mut self, name: &str) -> Result<(), PageError> {
        if self.path.len() >= DEPTH_MAX {
            return Err(PageError("its elements are nested too deep"));
        }
        if self.path.is_empty() {
            let known = OBJECTS.iter().find(|(object, _)| *object == name);
            let &(_, kind) = known.ok_or(PageError("phones do not know the object"))?;
            self.page = Some(PhonePage { kind, title: String::new(), items: Vec::new() });
        }
        if name == "MenuItem" {
            self.item = <(String, String)>::default();
        }
        self.path.push(name.to_owned());
        self.text.clear();
        Ok(())
    }

    /// One of the five characters that XML has names for.
    fn refer(&mut self, name: &str) -> Result<(), PageError> {
        let characters = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
        let known = characters.iter().find(|(known, _)| *known == name);
        self.text.push(known.ok_or(PageError("it has an unknown reference"))?.1);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), PageError> {
        let Some(page) = &mut self.page else { return Ok(()) };
        let path: Vec<&str> = self.path.iter().skip(1).map(String::as_str).collect();
        let text = self.text.trim();
        match path[..] {
            ["Title"] => text.clone_into(&mut page.title),
            ["MenuItem", "Name"] => text.clone_into(&mut self.item.0),
            ["MenuItem", "URL"] => text.clone_into(&mut self.item.1),
            ["MenuItem"] if page.items.len() >= ITEMS_MAX => {
                return Err(PageError("it has more than 100 items"));
            }
            ["MenuItem"] => page.items.push(std::mem::take(&mut self.item)),
            _ => {}
        }
        self.path.pop();
        self.text.clear();
        Ok(())
    }
}

/// A menu whose items have these names and lead to these URLs.
pub fn menu(title: &str, prompt: &str, items: &[(&str, String)]) -> String {
    let item = |(name, url): &(&str, String)| {
        let (name, url) = (escape(*name), escape(url.as_str()));
        format!("  <MenuItem>\n    <Name>{name}</Name>\n    <URL>{url}</URL>\n  </MenuItem>\n")
    };
    object("CiscoIPPhoneMenu", title, prompt, &items.iter().map(item).collect::<String>())
}

/// Fields (what stands before it, the name of its parameter, how it is typed) whose contents go to
/// this URL.
pub fn input(title: &str, prompt: &str, url: &str, fields: &[(&str, &str, &str)]) -> String {
    let field = |(shown, parameter, flags): &(&str, &str, &str)| {
        let (shown, parameter, flags) = (escape(*shown), escape(*parameter), escape(*flags));
        format!(
            "  <InputItem>\n    <DisplayName>{shown}</DisplayName>\n    \
             <QueryStringParam>{parameter}</QueryStringParam>\n    \
             <InputFlags>{flags}</InputFlags>\n    <DefaultValue></DefaultValue>\n  </InputItem>\n"
        )
    };
    let fields: String = fields.iter().map(field).collect();
    let inside = format!("  <URL>{}</URL>\n{fields}", escape(url));
    object("CiscoIPPhoneInput", title, prompt, &inside)
}

fn object(name: &str, title: &str, prompt: &str, inside: &str) -> String {
    let (title, prompt) = (escape(title), escape(prompt));
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{name}>\n  <Title>{title}</Title>\n  \
         <Prompt>{prompt}</Prompt>\n{inside}</{name}>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn menus_and_inputs_come_back_as_they_were_made() {
        let url = "https://10.0.0.1:8443/ccmcip/x.jsp?a=1&b=2".to_owned();
        let page = menu("Directories", "Choose <one>", &[("A & B", url.clone())]);
        let read = PhonePage::parse(page.as_bytes()).unwrap();
        assert_eq!((read.kind, read.title.as_str()), (PageKind::Menu, "Directories"));
        assert_eq!(read.items, [("A & B".to_owned(), url.clone())]);
        let page = input("Search", "", &url, &[("First Name", "f", "A"), ("Number", "n", "T")]);
        assert!(page.contains("<QueryStringParam>n</QueryStringParam>"), "{page}");
        let read = PhonePage::parse(page.as_bytes()).unwrap();
        assert_eq!((read.kind, read.items.len()), (PageKind::Input, 0));
    }

    #[test]
    fn hostile_pages_are_refused_with_a_bound_on_everything() {
        let deep = "<CiscoIPPhoneMenu>".to_owned() + &"<a>".repeat(1_000);
        let items = "<MenuItem><Name>n</Name></MenuItem>".repeat(101);
        let many = format!("<CiscoIPPhoneMenu>{items}</CiscoIPPhoneMenu>");
        let long = format!("<CiscoIPPhoneText>{}</CiscoIPPhoneText>", "x".repeat(PAGE_SIZE_MAX));
        for page in [
            "",
            "<html></html>",
            "<CiscoIPPhoneMenu>",
            "no xml",
            "<CiscoIPPhoneMenu></Other>",
            &deep,
            &many,
            &long,
            "<CiscoIPPhoneText>&bomb;</CiscoIPPhoneText>",
        ] {
            assert!(PhonePage::parse(page.as_bytes()).is_err(), "{page:.40}");
        }
        assert!(PhonePage::parse(&[0xFF, 0x00]).is_err());
    }
}
