//! Trust lists: parse, check, list, explain; what is read is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::toolbox::{assemble, inspect};
use resetstorm::listing::{List, ListName, ShowOptions, check_list, show};
use resetstorm::wire::Document;

fuzz_target!(|bytes: &[u8]| {
    let options = ShowOptions { list: ListName::Itl, modified: "", checksum: true };
    let _ = show(Some(bytes), &options);
    let Ok(list) = List::parse(bytes) else { return };
    let _ = check_list(&list);
    let Ok(document) = Document::parse_list(bytes) else { return };
    assert_eq!(document.encode().unwrap(), bytes);
    let found = inspect(bytes, &Default::default()).map(|found| found.value);
    if let Ok(value) = found
        && matches!(value["kind"].as_str(), Some("ctl" | "itl"))
    {
        assert_eq!(assemble(&value, None).unwrap(), bytes);
    }
});
