//! The toolbox commands as a user types them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use assert_cmd::Command;
use resetstorm::crypto::KeyStore;
use resetstorm::listing::{ListName, ShowOptions, Verdict, show};
use resetstorm::toolbox::{InspectOptions, assemble, inspect};
use resetstorm::wire::tvs;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn the_commands_of_the_readme_work() {
    let lab = Lab::new();
    let mut count = 0;
    for line in readme_commands() {
        let (command, into) = match line.split_once(" > ") {
            Some((command, into)) => (command, Some(into)),
            None => (line.as_str(), None),
        };
        let output = lab.run(&words(command));
        assert!(output.status.success(), "{line}\n{}", stderr(&output));
        if let Some(into) = into {
            std::fs::write(lab.path(into), &output.stdout).unwrap();
        }
        count += 1;
    }
    assert!(count >= 15, "{count} commands");
    assert_eq!(lab.read("again.tlv"), lab.read("ITLFile.tlv"));
    assert_eq!(lab.read("same.tlv"), lab.read("ITLFile.tlv"));
    assert_eq!(lab.read("signed-again.tlv"), lab.read("ITLFile.tlv"), "RSA signs alike");
    assert_eq!(lab.read("lab.cnf.xml"), lab.read("SEP001122334455.cnf.xml"));
    assert_eq!(lab.read("lab.xml"), lab.read("SEP001122334455.cnf.xml"));
}

#[test]
fn listings_equal_the_vectors() {
    for (name, list) in [
        ("CTLFile-nonsecure-3746.tlv", ListName::Ctl),
        ("CTLFile-tokenless-4947.tlv", ListName::Ctl),
        ("ITLFile-5438.tlv", ListName::Itl),
        ("ITLFile-7rec-ec.tlv", ListName::Itl),
        ("ITLFile-blank-sast-only.tlv", ListName::Itl),
    ] {
        let bytes = vector(&format!("cucm-layout/{name}"));
        let expected = String::from_utf8(vector(&format!("cucm-layout/{name}.show.txt"))).unwrap();
        let modified = expected.lines().find_map(|l| l.split_once("last modified on ")).unwrap().1;
        let listing = show(Some(&bytes), &ShowOptions { list, modified, checksum: true });
        assert_eq!(listing.verdict, Verdict::Valid);
        let collapsed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(collapsed(&listing.text), collapsed(&expected), "{name}");
        // The vectors keep the tabs, so the text is equal as it stands, too.
        assert_eq!(listing.text.trim_end(), expected.trim_end(), "{name}");
    }
}

#[test]
fn show_exits_by_how_the_list_is() {
    let lab = Lab::new();
    lab.put("bad.tlv", "trustlist/tampered/sig-flip.tlv");
    lab.put("short.tlv", "trustlist/tampered/trunc-40.tlv");
    let code = |name: &str| lab.run(&["resetstorm", "show", "itl", name]);
    assert_eq!(code("ITLFile.tlv").status.code(), Some(0));
    let failed = code("bad.tlv");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stdout(&failed).ends_with("Verification of the ITL file failed.\n"));
    let broken = code("short.tlv");
    assert_eq!(broken.status.code(), Some(2));
    assert!(stdout(&broken).ends_with("Error parsing the ITL file!!\n"));
    let none = lab.run(&["resetstorm", "show", "ctl", "no-such.tlv"]);
    assert!(stdout(&none).starts_with("Length of CTL file: 0\nCTL File not found ."));
}

#[test]
fn inspect_gives_verdict_and_exit_code_of_every_tampered_list() {
    let lab = Lab::new();
    for entry in manifest("tlv-tampered") {
        let path = entry["path"].as_str().unwrap();
        lab.put("file.tlv", path);
        let mut args = vec!["resetstorm", "inspect", "--format", "json", "file.tlv"];
        let untrusted = entry["expect"]["verdict"] == "valid-but-untrusted";
        if untrusted {
            args.extend(["--trust", "ITLFile.tlv"]);
        }
        let output = lab.run(&args);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let verdict = match value.get("error") {
            Some(error) => {
                assert!(error["what"].is_string() && error["expected"].is_string(), "{path}");
                assert!(error["offset"].is_u64(), "{path}");
                assert_eq!(output.status.code(), Some(2), "{path}");
                "malformed"
            }
            None => value["signature"]["verdict"].as_str().unwrap(),
        };
        let also = entry["expect"]["also_acceptable"].as_array().cloned().unwrap_or_default();
        let listed = entry["expect"]["verdict"] == verdict || also.contains(&json!(verdict));
        assert!(listed, "{path}: {verdict}");
        let code = match verdict {
            "valid" => 0,
            "malformed" => 2,
            _ => 1,
        };
        assert_eq!(output.status.code(), Some(code), "{path}");
    }
}

#[test]
fn inspect_json_of_a_list_has_the_documented_fields() {
    let lab = Lab::new();
    let value = lab.json(&["inspect", "--format", "json", "ITLFile.tlv"]);
    for name in [
        "kind",
        "version",
        "header_length",
        "signer",
        "digest",
        "signature",
        "file_name",
        "timestamp",
        "length",
        "md5",
        "sha1",
        "records",
        "findings",
    ] {
        assert!(!value[name].is_null(), "{name}");
    }
    assert_eq!((&value["kind"], &value["version"]), (&json!("itl"), &json!("1.2")));
    assert_eq!(value["schema"], 1);
    let two = lab.run(&["resetstorm", "inspect", "--format", "json", "ITLFile.tlv", "none.tlv"]);
    assert_eq!(two.status.code(), Some(2), "nothing of it is no document");
    let two = lab.json(&["inspect", "--format", "json", "ITLFile.tlv", "ITLFile.tlv"]);
    assert_eq!((&two["schema"], two["files"].as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(
        (&two["files"][1]["kind"], &two["files"][1]["file"]),
        (&json!("itl"), &json!("ITLFile.tlv"))
    );
    assert_eq!(value["signature"]["verdict"], "valid");
    assert_eq!(value["signature"]["bits"], 2048);
    assert_eq!(value["md5"], "2dd3e17e07391a375612ec3463673269");
    let record = &value["records"][0];
    for name in [
        "number",
        "length",
        "dns_name",
        "subject",
        "function",
        "issuer",
        "serial",
        "public_key_bytes",
        "signature_bytes",
        "certificate_sha1",
        "not_before",
        "not_after",
    ] {
        assert!(!record[name].is_null(), "{name}");
    }
    assert_eq!(record["key"], json!({ "type": "RSA", "bits": 2048 }));
    assert_eq!(record["used_to_sign"], true);
    assert_eq!(value["records"][1]["used_to_sign"], false);
    let codes: Vec<_> =
        value["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert!(codes.contains(&json!("weak-digest")), "{codes:?}");
}

#[test]
fn inspect_answers_for_a_phone_and_names_the_path() {
    let lab = Lab::new();
    lab.put("other.sgn", "signed/small-rsa4096.xml.sgn");
    lab.put("flip.sgn", "signed/tampered/body-flip.sgn");
    let ask = |file: &str| {
        let output =
            lab.run(&["resetstorm", "inspect", "--format", "json", "--trust", "ITLFile.tlv", file]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), value["decision"].clone())
    };
    let (code, decision) = ask("SEP001122334455.cnf.xml.sgn");
    assert_eq!((code, &decision["outcome"]), (0, &json!("accept")));
    assert_eq!(decision["path"], "signed by record 3 of the phone's ITL");
    assert_eq!((ask("other.sgn").0, ask("other.sgn").1["outcome"].clone()), (1, json!("ask-tvs")));
    assert_eq!((ask("flip.sgn").0, ask("flip.sgn").1["outcome"].clone()), (1, json!("reject")));
}

#[test]
fn every_list_and_message_of_the_vectors_survives_json() {
    for kind in ["tlv", "tvs", "capf"] {
        for entry in manifest(kind) {
            let path = entry["path"].as_str().unwrap();
            let bytes = vector(path);
            let value = inspect(&bytes, &InspectOptions::default()).unwrap().value;
            assert_eq!(assemble(&value, None).unwrap(), bytes, "{path}");
        }
    }
}

#[test]
fn assemble_makes_the_edits_and_signs_again() {
    let lab = Lab::new();
    let mut value = lab.json(&["inspect", "--format", "json", "ITLFile.tlv"]);
    value["records"][2]["function"] = json!("CAPF");
    value["records"].as_array_mut().unwrap().remove(6);
    value["digest"] = json!("SHA-512");
    std::fs::write(lab.path("edited.json"), value.to_string()).unwrap();
    lab.ok(&["assemble", "edited.json", "-o", "unsigned.tlv"]);
    let output = lab.run(&["resetstorm", "inspect", "unsigned.tlv"]);
    assert_eq!(output.status.code(), Some(1), "the old signature no longer fits");
    for key in ["sast.pem", "rogue.pem"] {
        lab.ok(&["assemble", "edited.json", "--key", key, "-o", "signed.tlv"]);
        let output = lab.run(&["resetstorm", "inspect", "--format", "json", "signed.tlv"]);
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["signature"]["verdict"] == "valid", key == "sast.pem");
        assert_eq!(read["records"].as_array().unwrap().len(), 6);
        assert_eq!(read["records"][2]["function"], "CAPF");
    }
    let bad = lab.run_with_input(&["resetstorm", "assemble", "-"], b"{\"kind\": \"itl\"}");
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).contains("error: -: header: expected a list"), "{}", stderr(&bad));
}

#[test]
fn made_files_equal_those_of_the_reference_tool() {
    let lab = Lab::new();
    let signed = [
        "sign",
        "SEP001122334455.cnf.xml",
        "--key",
        "tftp.pem",
        "--digest",
        "sha1",
        "--style",
        "compact",
        "--timestamp",
        "1795280439",
    ];
    lab.put("SEP001122334455.cnf.xml", "signed/small.xml");
    assert_eq!(lab.ok(&signed), vector("signed/SEP001122334455.cnf.xml.sgn"));
    let list = [
        "make",
        "itl",
        "--key",
        "sast.pem",
        "--digest",
        "sha1",
        "--style",
        "compact",
        "--timestamp",
        "1795280428",
        "--signer-version",
        "1.0",
    ];
    assert_eq!(lab.ok(&list), vector("trustlist/ITLFile-sast-only.tlv"));
}

#[test]
fn keys_come_from_pkcs12_too() {
    use p12_keystore::{Certificate, KeyStore as P12, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    let lab = Lab::new();
    let pem = String::from_utf8(vector("keys/tftp.pem")).unwrap();
    let store = KeyStore::from_pem(&pem).unwrap();
    let chain = PrivateKeyChain::new(
        "1",
        PrivateKey::from_der(store.pkcs8().unwrap()).unwrap(),
        [Certificate::from_der(store.certificates[0].der()).unwrap()],
    );
    let mut p12 = P12::new();
    p12.add_entry("tftp", KeyStoreEntry::PrivateKeyChain(chain));
    let bytes = p12.writer("secret").encryption_iterations(10).write().unwrap();
    std::fs::write(lab.path("tftp.p12"), bytes).unwrap();
    let value = lab.json(&["inspect", "--format", "json", "--password", "secret", "tftp.p12"]);
    assert_eq!((&value["kind"], &value["keys"]), (&json!("pkcs12"), &json!(1)));
    assert_eq!(value["certificates"][0]["subject"], "CN=tftp-pub;OU=Test;O=Test");
    let sign = |key: &str| {
        lab.ok(&[
            "sign",
            "SEP001122334455.cnf.xml",
            "--key",
            key,
            "--password",
            "secret",
            "--timestamp",
            "1",
        ])
    };
    assert_eq!(sign("tftp.p12"), sign("tftp.pem"));
    let wrong = lab.run(&["resetstorm", "inspect", "--password", "x", "tftp.p12"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn stubs_equal_those_of_the_reference_tool() {
    for (folder, name, device) in [
        ("sha1-pad16", "SEP001122334455", "device"),
        ("sha512-pad1", "SEP001122334455", "device"),
        ("sha1-device1024", "SEP00AABBCCDD01", "device1024"),
    ] {
        let config = vector(&format!("encrypted/{folder}/{name}.cnf.xml"));
        let pem = String::from_utf8(vector(&format!("keys/{device}.pem"))).unwrap();
        let store = KeyStore::from_pem(&pem).unwrap();
        let hash = resetstorm::listing::hex(&resetstorm::crypto::md5(store.certificates[0].der()));
        let xml = resetstorm::wire::stub_xml(&config, &hash).unwrap();
        let stub = vector(&format!("encrypted/{folder}/{name}.cnf.xml.sgn"));
        let file = resetstorm::wire::SignedFile::parse(&stub).unwrap();
        assert_eq!(xml.as_bytes(), file.body, "{folder}");
    }
}

#[test]
fn decrypt_tells_the_faults_apart() {
    let lab = Lab::new();
    lab.put("good.enc.sgn", "encrypted/sha1-pad16/SEP001122334455.cnf.xml.enc.sgn");
    lab.put("digest.enc.sgn", "encrypted/tampered/resigned-digest-wrong.enc.sgn");
    lab.put("iv.enc.sgn", "encrypted/tampered/resigned-iv-15.enc.sgn");
    lab.put("flip.enc.sgn", "encrypted/tampered/cipher-flip.enc.sgn");
    let run = |file: &str, key: &str| {
        let output =
            lab.run(&["resetstorm", "decrypt", file, "--key", key, "--certificate", "tftp.pem"]);
        (output.status.code().unwrap(), stderr(&output))
    };
    assert_eq!(run("good.enc.sgn", "device.pem").0, 0);
    let (code, text) = run("digest.enc.sgn", "device.pem");
    assert!(code == 1 && text.contains("invalid-digest"), "{text}");
    let (code, text) = run("flip.enc.sgn", "device.pem");
    assert!(code == 1 && text.contains("invalid-signature"), "{text}");
    assert_eq!(run("iv.enc.sgn", "device.pem").0, 2);
    assert_eq!(run("good.enc.sgn", "rogue.pem").0, 1);
}

#[test]
fn what_a_tool_cannot_use_is_told_by_its_file_and_its_repair() {
    let lab = Lab::new();
    lab.put_store("clear.p12");
    std::fs::write(lab.path("empty.pem"), "").unwrap();
    std::fs::write(lab.path("empty.xml"), "<?xml version=\"1.0\"?>\n").unwrap();
    std::fs::write(lab.path("short.sgn"), &lab.read("SEP001122334455.cnf.xml.sgn")[..200]).unwrap();
    let signed = "SEP001122334455.cnf.xml.sgn";
    let encrypt = ["encrypt", "empty.xml", "--key", "tftp.pem", "--device", "device.pem"];
    let stub = [&encrypt[..], &["--stub", "stub.sgn", "-o", "x.enc.sgn"]].concat();
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["decrypt", signed, "--key", "device.pem"],
            &["xml.sgn: not encrypted", "help: `unsign`"],
        ),
        (&stub, &["empty.xml: ", "help: --stub"]),
        (&["inspect", "clear.p12"], &["its integrity is protected by a password", "--password"]),
        (&["make", "itl", "--key", "empty.pem"], &["empty.pem: file is empty", "PKCS#12"]),
        (&["inspect", "short.sgn"], &["the file ends early", "a header of"]),
        (&["inspect", "nobody.tlv"], &["nobody.tlv: No such file"]),
    ];
    for (words, parts) in cases {
        let output = lab.run(&[&["resetstorm"], words].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{words:?}: no {part:?} in {text}");
        }
    }
    let other = lab.run(&["resetstorm", "show", "ctl", "ITLFile.tlv"]);
    assert!(stderr(&other).contains("it is an ITL, not a CTL"), "{}", stderr(&other));
    let right = lab.run(&["resetstorm", "show", "itl", "ITLFile.tlv"]);
    assert_eq!(stderr(&right), "");
}

#[test]
fn every_tool_has_an_example_in_its_help() {
    let lab = Lab::new();
    for tool in [
        "inspect", "show", "make", "sign", "unsign", "encrypt", "decrypt", "assemble", "tvs",
        "tftp",
    ] {
        let help = stdout(&lab.run(&["resetstorm", tool, "--help"]));
        assert!(help.contains("Example") && help.contains(&format!("resetstorm {tool}")), "{tool}");
    }
}

#[test]
fn tftp_get_writes_the_file_and_tells_the_times() {
    let lab = Lab::new();
    let file = vector("trustlist/ITLFile-sast-only.tlv");
    let server = serve_tftp(file.clone());
    let host = server.to_string();
    let value =
        lab.json(&["tftp", "get", &host, "ITLFile.tlv", "-o", "got.tlv", "--format", "json"]);
    assert_eq!(lab.read("got.tlv"), file);
    assert_eq!((&value["schema"], &value["bytes"]), (&json!(1), &json!(file.len())));
    assert!(value["total_ms"].as_f64().unwrap() > 0.0);
    let other = lab.run(&["resetstorm", "tftp", "get", "192.0.2.1", "x"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("help: give --allow-target"), "{}", stderr(&other));
}

#[test]
fn an_output_that_cannot_be_written_leaves_the_former_file_and_a_device_stays_one() {
    let lab = Lab::new();
    let sign =
        |out: &str| lab.run(&["resetstorm", "sign", "ITLFile.tlv", "--key", "tftp.pem", "-o", out]);
    // A list tells the second of its signature: two of the same second are equal.
    let is_same = || {
        assert_eq!(sign("signed").status.code(), Some(0));
        sign("/dev/stdout").stdout == lab.read("signed")
    };
    assert!((0..20).any(|_| is_same()), "a pipe");
    let signed = lab.read("signed");
    let full = sign("/dev/full");
    assert_eq!(full.status.code(), Some(4), "{}", stderr(&full));
    assert!(stderr(&full).contains("/dev/full: No space left on device"), "{}", stderr(&full));
    assert_eq!(sign("no/such/folder").status.code(), Some(4));
    assert_eq!(lab.read("signed"), signed, "none of them touched it");
}

#[test]
fn tvs_query_trusts_the_record_of_a_list() {
    let lab = Lab::new();
    let ask = |extra: &[&str]| {
        let host = serve_tvs().to_string();
        let mut args = vec!["resetstorm", "tvs", "query", &host, "--signer-of", "ITLFile.tlv"];
        args.extend(extra);
        let output = lab.run(&args);
        (output.status.code().unwrap(), stdout(&output), stderr(&output))
    };
    let (code, text, _) = ask(&["--trust", "ITLFile.tlv"]);
    assert_eq!(code, 0);
    assert!(text.contains("known, roles System Administrator Security Token"), "{text}");
    let serial = |name: &str| {
        let pem = String::from_utf8(vector(&format!("keys/{name}.pem"))).unwrap();
        let store = KeyStore::from_pem(&pem).unwrap();
        resetstorm::listing::upper_hex(store.certificates[0].serial(), ":")
    };
    let (shown, other) = (serial("tvs"), serial("rogue"));
    let both = format!("\nserial          {shown}\nin the list     {shown}\n");
    assert!(text.contains(&both), "{text}");
    let made = ["make", "itl", "--key", "sast.pem", "--style", "compact"];
    lab.ok(&[&made[..], &["--record", "tvs=rogue.pem", "-o", "old.tlv"]].concat());
    let (code, _, text) = ask(&["--trust", "old.tlv"]);
    let second = format!("the TVS records of --trust have serial {other}; ");
    assert!(code == 1 && text.contains(&second), "{text}");
    assert!(text.contains(&format!(", serial {shown}\n")), "{text}");
    let (_, text, _) = ask(&["--insecure", "--format", "json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["server_serial"], &value["listed_serials"]), (&json!(shown), &json!([])));
    assert_eq!((&value["schema"], &value["known"]), (&json!(1), &json!(true)));
    assert_eq!(ask(&["--certificate", "tvs.pem"]).0, 0);
    assert_eq!(ask(&["--insecure"]).0, 0);
    let (code, _, text) = ask(&["--certificate", "rogue.pem"]);
    assert!(code == 1 && text.contains("CN=tvs-pub"), "{text}");
    assert_eq!(ask(&[]).0, 2, "somebody must be trusted");
}

#[test]
fn a_certificate_whose_issuer_has_dc_is_the_signer_in_every_mix_of_styles() {
    let lab = Lab::new();
    lab.put_store("ad.pem");
    for list in ["cucm", "compact"] {
        let record = ["--record", "tftp=ad.pem", "--record", "tvs=ad.pem"];
        let made = ["make", "itl", "--key", "sast.pem", "--style", list, "-o", "ad.tlv"];
        lab.ok(&[&made[..], &record].concat());
        for file in ["cucm", "compact"] {
            let name = "SEP001122334455.cnf.xml";
            lab.ok(&["sign", name, "--key", "ad.pem", "--style", file, "-o", "ad.sgn"]);
            let text = lab.ok(&["inspect", "--trust", "ad.tlv", "ad.sgn"]);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("accept: signed by record 2"), "{list} {file}: {text}");
        }
    }
}

#[test]
fn names_cannot_forge_lines_of_a_listing_or_steer_a_terminal() {
    let lab = Lab::new();
    lab.put_store("inj.pem");
    let record = ["--record", "tftp=inj.pem", "-o", "inj.tlv"];
    lab.ok(&[&["make", "itl", "--key", "sast.pem", "--style", "compact"][..], &record].concat());
    for command in [
        &["show", "itl", "inj.tlv"][..],
        &["inspect", "inj.tlv"],
        &["inspect", "--format", "json", "inj.tlv"],
        &["inspect", "inj.pem"],
    ] {
        let text = String::from_utf8(lab.ok(command)).unwrap();
        let hidden = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
        assert!(!text.contains(hidden), "{command:?}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("verdict         valid (by")), "{text}");
        assert!(text.contains("red") && text.contains("\\u"), "{command:?}: {text}");
    }
}

#[test]
fn a_file_without_a_certificate_says_what_it_holds() {
    let lab = Lab::new();
    let pem = "-----BEGIN PUBLIC KEY-----\nMAowAwYBKgMDAAEC\n-----END PUBLIC KEY-----\n";
    std::fs::write(lab.path("public.pem"), pem).unwrap();
    let output = lab.run(&["resetstorm", "inspect", "public.pem"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("no certificate in the file; it holds: PUBLIC KEY"), "{text}");
}

#[test]
fn keys_that_cannot_sign_are_refused_for_their_true_reason() {
    let lab = Lab::new();
    for name in ["two-keys.pem", "chain-root-first.pem", "ec.p12", "pkcs8-sha1.pem", "leaf.der"] {
        lab.put_store(name);
    }
    let sign = |args: &[&str]| {
        let common = ["resetstorm", "sign", "SEP001122334455.cnf.xml", "-o", "x.sgn"];
        let output = lab.run(&[&common, args].concat());
        (output.status.code().unwrap(), stderr(&output))
    };
    for (args, reason) in [
        (&["--key", "ec.p12", "--password", "lab"][..], "the private key is EC"),
        (&["--key", "tftp.pem", "--certificate", "tvs.pem"], "does not belong to the key"),
        (&["--key", "pkcs8-sha1.pem", "--certificate", "tvs.pem"], "no password was given"),
        (&["--key", "ec.p12", "--password", "bad"], "the password does not fit"),
    ] {
        let (code, text) = sign(args);
        assert!(code == 2 && text.contains(reason) && text.contains("help: "), "{text}");
    }
    // The second of two keys, because its certificate is named.
    assert_eq!(sign(&["--key", "two-keys.pem", "--certificate", "leaf.der"]).0, 0);
    // A record takes the end of a chain, not its root.
    let args = ["make", "itl", "--key", "sast.pem", "-o", "x.tlv"];
    lab.ok(&[&args[..], &["--record", "tftp=chain-root-first.pem"]].concat());
    let value = lab.json(&["inspect", "--format", "json", "x.tlv"]);
    assert_eq!(value["records"][1]["subject"], "CN=pub;O=Test, Inc");
}

#[test]
fn a_list_that_phones_refuse_for_its_size_is_made_with_a_warning() {
    let lab = Lab::new();
    let make = |records: usize| {
        let mut args = vec!["resetstorm", "make", "itl", "--key", "sast.pem", "-o", "x.tlv"];
        args.extend(["--record", "tftp=tftp.pem"].repeat(records));
        let output = lab.run(&args);
        assert_eq!(output.status.code(), Some(0));
        stderr(&output)
    };
    assert_eq!(make(2), "");
    let text = make(60);
    assert!(
        text.contains("warning: ") && text.contains("phones refuse lists above 65536"),
        "{text}"
    );
}

/// A folder with files of the vectors under plain names.
struct Lab(TempDir);

impl Lab {
    fn new() -> Lab {
        let lab = Lab(TempDir::new().unwrap());
        for name in ["sast", "tftp", "tvs", "ccmtftp", "device", "rogue"] {
            lab.put(&format!("{name}.pem"), &format!("keys/{name}.pem"));
        }
        lab.put("ITLFile.tlv", "trustlist/ITLFile-all-roles-sha1-v10.tlv");
        lab.put("CTLFile.tlv", "cucm-layout/CTLFile-tokenless-4947.tlv");
        lab.put("SEP001122334455.cnf.xml.sgn", "signed/SEP001122334455.cnf.xml.sgn");
        lab.put("SEP001122334455.cnf.xml", "encrypted/sha1-pad16/SEP001122334455.cnf.xml");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn put(&self, name: &str, vector_path: &str) {
        std::fs::write(self.path(name), vector(vector_path)).unwrap();
    }

    /// A file of `tests/stores` under its name.
    fn put_store(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores").join(name);
        std::fs::copy(path, self.path(name)).unwrap();
    }

    fn run<S: AsRef<str>>(&self, words: &[S]) -> Output {
        self.run_with_input(words, b"")
    }

    fn run_with_input<S: AsRef<str>>(&self, words: &[S], input: &[u8]) -> Output {
        assert_eq!(words[0].as_ref(), "resetstorm");
        Command::cargo_bin("resetstorm")
            .unwrap()
            .current_dir(self.0.path())
            .args(words[1..].iter().map(AsRef::as_ref))
            .write_stdin(input)
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; gives its output.
    fn ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(&[&["resetstorm"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        output.stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.ok(args)).unwrap()
    }
}

/// The commands of the guide's chapter about the toolbox, without those that need a lab.
fn readme_commands() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chapter = std::fs::read_to_string(root.join("src/cli/guide/toolbox.md")).unwrap();
    let blocks = chapter.split("```console\n").skip(1);
    let inside = blocks.map(|block| block.split("```").next().unwrap());
    inside.flat_map(str::lines).filter_map(|l| l.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// Splits a command at blanks outside of quotes.
fn words(command: &str) -> Vec<String> {
    let pieces = command.split('"').enumerate();
    let words = pieces.flat_map(|(at, piece)| match at % 2 {
        0 => piece.split_whitespace().map(str::to_owned).collect(),
        _ => vec![piece.to_owned()],
    });
    words.collect()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn vector(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(kind: &str) -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(&vector("manifest.json")).unwrap();
    let entries = manifest["entries"].as_array().unwrap().iter();
    entries.filter(|entry| entry["kind"] == kind).cloned().collect()
}

/// Serves one file to one client, from a port of its own.
fn serve_tftp(file: Vec<u8>) -> SocketAddr {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 600];
        let (_, client) = listener.recv_from(&mut buffer).unwrap();
        let transfer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (index, block) in file.chunks(512).enumerate() {
            let number = (index as u16 + 1).to_be_bytes();
            let datagram = [&[0, 3], &number[..], block].concat();
            transfer.send_to(&datagram, client).unwrap();
            transfer.recv_from(&mut buffer).unwrap();
        }
    });
    address
}

/// A TVS server with the key of the vectors that knows every certificate.
fn serve_tvs() -> SocketAddr {
    let pem = String::from_utf8(vector("keys/tvs.pem")).unwrap();
    let store = KeyStore::from_pem(&pem).unwrap();
    let certificate = store.certificates[0].der().to_vec();
    let key = store.pkcs8().unwrap().to_vec();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone().into()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.into()),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::StreamOwned::new(connection, tcp);
        let mut header = [0; tvs::HEADER_LENGTH];
        if tls.read_exact(&mut header).is_err() {
            return; // the client refused the certificate
        }
        let mut request = header.to_vec();
        request.resize(tvs::message_length(&header).unwrap(), 0);
        tls.read_exact(&mut request[tvs::HEADER_LENGTH..]).unwrap();
        let session_id = tvs::Request::parse(&request).unwrap().session_id;
        let known = tvs::Known { certificate: Some(&certificate), roles: &[0, 3], ttl_s: 86_400 };
        let command = tvs::Command::QueryResponse;
        let response = tvs::Response { command, session_id, known: Some(known) };
        tls.write_all(&response.encode()).unwrap();
        tls.flush().unwrap();
    });
    address
}
