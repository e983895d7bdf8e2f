//! HTTPS as clients meet it: a certificate of the site CA, HTTP/2 and HTTP/1.1, and the one suite that the oldest can do.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::Stage;
use crate::branch::check;
use crate::bytes::{Object, sha256};
use crate::nginx::Nginx;
use crate::node::Node;

pub(crate) fn tls(stage: &Stage) -> io::Result<String> {
    let root = stage.folder.join("root");
    fs::create_dir_all(root.join("c/msdownload/update"))?;
    let object = Object::new("/c/msdownload/update/tls.cab", (9 << 20) + 3, 51);
    object.write(&root.join(&object.path[1..]))?;
    let nginx = Nginx::start(&stage.folder, &root)?;
    let mut node = Node::start(
        &stage.program,
        &stage.folder,
        &[nginx.address],
        "[advertise]\nnames = [\"patches.site.example\"]\nexternal = [\"127.0.0.1\"]\n",
    )?;
    let ca = stage.folder.join("ca.pem");
    fs::write(&ca, node.verb(&["tls", "ca", "export"])?)?;
    let port = node.https.port();
    let url = format!("https://patches.site.example:{port}{}", Node::target(nginx.address, &object.path));
    let resolve = format!("patches.site.example:{port}:127.0.0.1");
    for version in ["--http1.1", "--http2"] {
        let out = Command::new("curl")
            .args(["-sSf", version, "--resolve", &resolve, "--cacert", &ca.to_string_lossy(), &url])
            .stdin(Stdio::null())
            .output()?;
        check(out.status.success() && sha256(&out.stdout) == object.sha256(), || {
            format!("curl {version}: {} {}", out.status, String::from_utf8_lossy(&out.stderr))
        })?;
    }
    let out = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "patches.site.example", "-tls1_2"])
        .args([
            "-cipher",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "-verify_return_error",
            "-CAfile",
            &ca.to_string_lossy(),
            "-brief",
        ])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    check(out.status.success() && said.contains("ECDHE-ECDSA-AES128-GCM-SHA256"), || {
        format!("openssl s_client: {said}")
    })?;
    node.stop()?;
    Ok("     curl --http1.1 and --http2, openssl with ECDHE-ECDSA-AES128-GCM-SHA256 only, all against the site CA"
        .into())
}
