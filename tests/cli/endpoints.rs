//! The verbs of endpoints, with a node and without one: machines come over HTTP, people let them in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::*;

const OF_CLIENT: &str = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService";
const OF_AUTH: &str = "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService";

fn well(data: &Path, args: &[&str]) -> String {
    let output = run(data, args);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn ill(data: &Path, args: &[&str]) -> String {
    let output = run(data, args);
    assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

/// One question of an agent; the whole answer.
fn ask(node: SocketAddr, method: &str, inside: &str) -> String {
    let (path, namespace) = if method == "GetAuthorizationCookie" {
        ("/SimpleAuthWebService/SimpleAuth.asmx", OF_AUTH)
    } else {
        ("/ClientWebService/client.asmx", OF_CLIENT)
    };
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><{method} xmlns=\"{namespace}\">\
         {inside}</{method}></s:Body></s:Envelope>"
    );
    let mut stream = TcpStream::connect(node).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_mins(1))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {node}\r\nContent-Type: text/xml; charset=utf-8\r\nConnection: close\r\n\
         SOAPAction: \"{namespace}/{method}\"\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn inside<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}")).1;
    rest.split_once(&format!("</{name}>")).unwrap().0
}

/// A machine comes with an id: it shakes hands and says what it is; what it is answered.
fn comes(node: SocketAddr, id: &str, name: &str, build: u32) -> String {
    let who = ask(
        node,
        "GetAuthorizationCookie",
        &format!("<clientId>{id}</clientId><targetGroupName>Pilot</targetGroupName><dnsName>{name}</dnsName>"),
    );
    let cookie = ask(
        node,
        "GetCookie",
        &format!(
            "<authCookies><AuthorizationCookie><PlugInId>SimpleTargeting</PlugInId><CookieData>{}</CookieData>\
             </AuthorizationCookie></authCookies><oldCookie><Expiration>2026-10-04T15:03:36Z</Expiration></oldCookie>\
             <currentTime>2026-10-04T15:03:36Z</currentTime><protocolVersion>2.90</protocolVersion>",
            inside(&who, "CookieData")
        ),
    );
    ask(
        node,
        "RegisterComputer",
        &format!(
            "<cookie>{}</cookie><computerInfo><DnsName>{name}</DnsName><OSMajorVersion>10</OSMajorVersion>\
             <OSMinorVersion>0</OSMinorVersion><OSBuildNumber>{build}</OSBuildNumber>\
             <ComputerManufacturer>QEMU</ComputerManufacturer><ComputerModel>Standard PC</ComputerModel>\
             <OldProductType>1</OldProductType></computerInfo>",
            inside(&cookie, "GetCookieResult")
        ),
    )
}

fn id(of: u8) -> String {
    format!("{of:02x}da06a3-5601-43c9-bac3-52d5db701494")
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_come_are_listed_let_in_bound_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let mut node = NodeProcess::start(
        data,
        &[
            "--set",
            "scan.unknown=refuse",
            "--set",
            "scan.unknown_networks=127.0.0.0/8: hold",
            "--set",
            "scan.site_networks=10.0.0.0/8",
        ],
    );
    assert!(well(data, &["endpoints", "list"]).contains("no machine has scanned against this node yet"));
    let http = node.address("http");
    for (of, name, build) in
        [(0xa1, "pc1.site.example", 26_100), (0xa2, "=pc2.site.example", 22_631), (0xa3, "pc3.site.example", 99_999)]
    {
        let answer = comes(http, &id(of), name, build);
        assert_eq!(inside(&answer, "ErrorCode"), "InvalidParameters", "{answer}");
        assert_eq!(inside(&answer, "Message"), "computerInfo", "{answer}");
    }
    node.logged("`waystation endpoints admit` lets it in");
    let listed = well(data, &["endpoints", "list"]);
    for part in [
        "a1da06a3",
        "pc1.site.example",
        "Windows 11 24H2",
        "Windows 10.0.99999",
        "127.0.0.1, roaming",
        "3 endpoints wait",
    ] {
        assert!(listed.contains(part), "{part:?} in {listed}");
    }
    let some = well(data, &["endpoints", "list", "--limit", "2"]);
    let place = some.split("--after '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap().to_owned();
    let rest = well(data, &["endpoints", "list", "--after", &place]);
    assert!(some.contains("2 of 3;") && rest.contains("pc3") && !rest.contains("pc1"), "{some}{rest}");
    assert!(well(data, &["endpoints", "list", "--filter", "nothing like it"]).contains("none fits of 3 endpoints"));
    let csv = well(data, &["endpoints", "list", "--csv"]);
    assert!(csv.starts_with("id,name,system,") && csv.contains(",\"'=pc2.site.example\",Windows 11 23H2,"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), 4, "{csv}");
    let output = run(data, &["endpoints", "list", "--csv", "--json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));

    let admitted = well(data, &["endpoints", "admit", "pc1", "a3da06a3"]);
    assert!(admitted.contains("pc3.site.example") && admitted.contains("served from their next scan on"), "{admitted}");
    assert!(well(data, &["endpoints", "admit", "pc1"]).contains("1 endpoint was let in already"));
    assert!(comes(http, &id(0xa1), "pc1.site.example", 26_100).contains("RegisterComputerResponse"));
    let error = ill(data, &["endpoints", "admit", "pc9"]);
    assert!(error.contains("no endpoint is called \"pc9\"") && error.contains("endpoints list --filter"), "{error}");

    // Another machine under the id of the first.
    let answer = comes(http, &id(0xa1), "new1.site.example", 26_100);
    assert_eq!(inside(&answer, "ErrorCode"), "InvalidParameters", "{answer}");
    let listed = well(data, &["endpoints", "list", "--contested"]);
    assert!(listed.contains("admitted, contested") && !listed.contains("pc3"), "{listed}");
    let shown = well(data, &["endpoints", "show", "pc1"]);
    for part in
        ["new1.site.example", "QEMU Standard PC", "endpoints bind pc1.site.example MACHINE", "first seen", "Pilot"]
    {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    node.signal(Signal::TERM);
    assert!(node.ended().success());

    // Without a node the same verbs work on the data directory.
    let error = ill(data, &["endpoints", "bind", "pc1", "other"]);
    assert!(error.contains("new1.site.example"), "{error}");
    assert!(well(data, &["endpoints", "bind", "pc1", "new1.site.example"]).contains("new1.site.example"));
    assert!(well(data, &["endpoints", "forget", "pc3"]).contains("forgot pc3.site.example"));
    let whole: Value = serde_json::from_str(&well(data, &["endpoints", "show", "new1", "--json"])).unwrap();
    assert_eq!((&whole["id"], &whole["state"]), (&id(0xa1).into(), &"admitted".into()));
    let node = NodeProcess::start(data, &["--set", "scan.unknown=refuse"]);
    assert!(comes(node.address("http"), &id(0xa1), "new1.site.example", 26_100).contains("RegisterComputerResponse"));
    let answer = comes(node.address("http"), &id(0xa3), "pc3.site.example", 99_999);
    assert_eq!(inside(&answer, "ErrorCode"), "InvalidParameters", "it was forgotten: {answer}");
    let all: Value = serde_json::from_str(&well(data, &["endpoints", "list", "--json"])).unwrap();
    assert_eq!(all["known"], 2, "{all}");
}
