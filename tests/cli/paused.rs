//! What a person is told of a fetch that waits for its window.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::Site;
use crate::node_process::program;
use crate::origin::Object;

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_paused_says_so_everywhere() {
    let site = Site::new().await;
    site.origin.put("/a.cab", Object::made(9 << 20, 3));
    let url = site.origin.url("/a.cab");
    site.well(&["bandwidth", "set", "timezone", "UTC"]);
    // Whenever this runs, one of the windows says until when.
    let rules = ["00:00-12:00: paused", "12:00-00:00: paused"];
    site.well(&[&["bandwidth", "set", "prefetch"][..], &rules].concat());
    let mut fetch =
        program(site.data.path(), &["fetch", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(fetch.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (tell, lines) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || told.for_each(|line| drop(tell.send(line))));
    let line = lines.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
    let says = |text: &str| {
        for part in ["prefetch is paused until", "00 (UTC)", "waystation bandwidth show"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    };
    says(&line);
    let job = site.json(&["jobs", "list"])[0].clone();
    assert_eq!(job["progress"]["bytes_per_s"], 0, "{job}");
    says(job["progress"]["waits"].as_str().unwrap());
    says(&site.well(&["jobs", "list"]));
    says(&site.well(&["jobs", "show", "1"]));
    says(&site.well(&["status"]));
    assert_eq!(site.json(&["status"])["flights"][0]["step"], "paused");
    site.well(&["bandwidth", "clear", "prefetch"]);
    assert!(fetch.wait().unwrap().success());
    reading.join().unwrap();
    assert!(site.json(&["jobs", "list"])[0]["progress"]["waits"].is_null());
}
