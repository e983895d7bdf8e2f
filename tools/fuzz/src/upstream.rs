//! What an origin answers: status line, headers, Content-Range, framing, body. It comes over a socket of its own, through the
//! client as it is.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use waystation::base::span::Span;
use waystation::model::origin::AllowList;
use waystation::model::payload::{Location, Standing, Validators};
use waystation::upstream::{Ask, Config, Method, Pinned, Proxy, Source as _, Upstream};

struct Bench {
    runtime: Runtime,
    listener: TcpListener,
}

/// The first byte says what is asked, the rest is what is answered, again and again until the client has had enough.
pub fn answer(data: &[u8]) {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let bench = BENCH.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        Mutex::new(Bench { runtime, listener })
    });
    let Some((&first, rest)) = data.split_first() else { return };
    let bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
    let address = bench.listener.local_addr().expect("an address");
    let validators = Validators { etag: Some("\"a\"".into()), last_modified: None };
    let ask = Ask {
        location: Location { url: format!("http://{address}/x.cab"), standing: Standing::Allowed },
        method: if first & 1 == 0 { Method::Get } else { Method::Head },
        span: match first & 6 {
            0 => None,
            2 => Some(Span::new(0, 10)),
            4 => Some(Span::new(5, 20)),
            _ => Some(Span::new(0, u64::MAX)),
        },
        pinned: (first & 8 != 0).then(|| Pinned {
            size: 20,
            validators: validators.clone(),
            digest_known: first & 16 != 0,
        }),
        revalidate: (first & 32 != 0).then(|| validators.clone()),
        via: None,
    };
    bench.runtime.block_on(async {
        let allow = Arc::new(AllowList::new(&[address.to_string()]).expect("an entry"));
        let config = Config {
            proxy: Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_millis(50),
            patience: Duration::from_millis(1),
            node: "fuzz".into(),
            hops_max: 5,
            own_addresses: Vec::new(),
        };
        let upstream = Upstream::new(config, allow).expect("a client");
        let asking = async {
            let wanted = ask.span;
            let Ok(mut answer) = upstream.ask(ask).await else { return };
            let told = answer.span.end().saturating_sub(answer.span.start());
            let mut got = 0;
            while let Ok(Some(bytes)) = answer.body.next().await {
                got += bytes.len() as u64;
                assert!(got <= told, "{got} bytes of {told} for {wanted:?}");
            }
        };
        let serving = async {
            loop {
                let Ok((mut stream, _)) = bench.listener.accept().await else { return };
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(rest).await;
                let _ = stream.shutdown().await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = serving => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => panic!("an ask without an end"),
        }
    });
}
