//! The governor at work, under tokio's paused clock: time goes on only when all wait.

use tokio_util::sync::CancellationToken;

use super::driver::{TICK_MAX, TICK_MIN};
use super::*;

/// A wall clock that goes with tokio's.
#[derive(Debug)]
struct Wall {
    began: Instant,
    at: Timestamp,
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        self.at.after(self.began.elapsed())
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Friday, 20 November 2026, 12:00 UTC.
const FRIDAY_NOON: u64 = 1_795_176_000_000;

struct Scene {
    governor: Governor,
    stop: CancellationToken,
    driver: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn new(config: Config) -> Self {
        let clock = Wall { began: Instant::now(), at: Timestamp::from_ms(FRIDAY_NOON) };
        let governor = Governor::new(config, Arc::new(clock));
        let stop = CancellationToken::new();
        let driver = tokio::spawn(governor.clone().run(stop.clone()));
        Self { governor, stop, driver }
    }

    async fn settled(config: Config) -> Self {
        let scene = Self::new(config);
        tokio::time::sleep(TICK_MIN).await;
        scene
    }

    async fn end(self) {
        self.stop.cancel();
        self.driver.await.unwrap();
    }
}

fn rules(class: Class, rules: &[&str]) -> Config {
    Config::default().with(class, rules).unwrap()
}

/// Takes as much as it gets until `until`; how much that was, and the longest that nothing came.
async fn pull(mut flow: Flow, until: Instant) -> (u64, Duration) {
    let (mut all, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    while Instant::now() < until {
        let Ok(got) = tokio::time::timeout_at(until, flow.take(1 << 20)).await else { break };
        all += got;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (all, longest.max(last.elapsed()))
}

fn near(got: u64, wanted: u64) -> bool {
    got.abs_diff(wanted) * 20 <= wanted
}

#[tokio::test(start_paused = true)]
async fn every_class_keeps_its_rate_over_ten_seconds() {
    for rate in [4_000, 64_000, 2_500_000, 125_000_000] {
        let rule = Limit::Rate(rate).to_string();
        for class in [Class::Sync, Class::Prefetch, Class::Demand, Class::Clients, Class::Nodes] {
            let scene = Scene::settled(rules(class, &[&rule])).await;
            let governor = &scene.governor;
            let flow = || match class {
                Class::Clients => governor.to_client([10, 0, 0, 1].into()),
                Class::Nodes => governor.to_node(),
                class => governor.lane(class).flow(),
            };
            let until = Instant::now() + 10 * SECOND;
            let (one, two, three) = tokio::join!(pull(flow(), until), pull(flow(), until), pull(flow(), until));
            let all = one.0 + two.0 + three.0;
            assert!(near(all, rate * 10), "{class:?} at {rate}: {all}");
            assert!(
                one.0.abs_diff(two.0) * 20 <= all && two.0.abs_diff(three.0) * 20 <= all,
                "{one:?} {two:?} {three:?}"
            );
            assert_eq!(governor.counters().bytes(class), all);
            scene.end().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_wait_without_falling_silent_and_leave_no_trace() {
    let scene = Scene::settled(rules(Class::Clients, &["200 Mbit/s"])).await;
    let until = Instant::now() + 30 * SECOND;
    let flows: Vec<_> = (0..4000_u32)
        .map(|n| tokio::spawn(pull(scene.governor.to_client(std::net::Ipv4Addr::from(n).into()), until)))
        .collect();
    let mut all = 0;
    for flow in flows {
        let (got, longest) = flow.await.unwrap();
        all += got;
        // 25 MB/s for 4000 are 6 kB/s for each.
        assert!(longest < 5 * SECOND, "silent for {longest:?}");
        assert!(got >= 4_000 * 30, "only {got}");
    }
    assert!(near(all, 25_000_000 * 30), "{all}");
    assert_eq!(scene.governor.lock().state.tickets(), 0);
    assert_eq!(scene.governor.report().classes[Class::Clients.index()].waiting, 0);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_window_opens_and_closes_by_the_clock_on_the_wall() {
    let scene = Scene::settled(rules(Class::Prefetch, &["12:00-12:01: 80 kbit/s", "12:01-12:02: paused"])).await;
    let lane = scene.governor.lane(Class::Prefetch);
    let began = Instant::now();
    let (in_window, _) = pull(lane.flow(), began + 60 * SECOND).await;
    assert!(near(in_window, 600_000), "{in_window}");
    tokio::time::sleep(TICK_MIN).await;
    assert!(lane.is_paused() && !lane.flow().is_free());
    let mut flow = lane.flow();
    let got = flow.take(1 << 20).await;
    let waited = began.elapsed();
    assert_eq!(got, 1 << 20, "unlimited from then on");
    assert!(waited > 119 * SECOND && waited < 121 * SECOND, "{waited:?}");
    assert!(flow.is_free() && !lane.is_paused());
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_heard_of_and_a_change_of_lane_ends_the_wait() {
    let scene = Scene::settled(rules(Class::Prefetch, &["paused"])).await;
    let lane = scene.governor.lane(Class::Prefetch);
    lane.paused().await;
    let mut flow = lane.flow();
    assert!(tokio::time::timeout(60 * SECOND, flow.take(9)).await.is_err());
    // It stands in line still; as soon as somebody waits for it, it goes.
    lane.set(Class::Demand);
    assert_eq!(tokio::time::timeout(SECOND, flow.take(9)).await, Ok(9));
    let pausing = tokio::spawn(async move {
        lane.paused().await;
        lane
    });
    scene.governor.set_config(rules(Class::Sync, &["paused"]));
    tokio::time::sleep(SECOND).await;
    assert!(!pausing.is_finished());
    pausing.abort();
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn new_rules_hold_for_those_who_wait_already() {
    let scene = Scene::settled(rules(Class::Demand, &["32 kbit/s"])).await;
    let lane = scene.governor.lane(Class::Demand);
    let until = Instant::now() + 20 * SECOND;
    let pulls: Vec<_> = (0..50).map(|_| tokio::spawn(pull(lane.flow(), until))).collect();
    tokio::time::sleep(10 * SECOND).await;
    let slow = scene.governor.counters().bytes(Class::Demand);
    assert!(near(slow, 40_000), "{slow}");
    scene.governor.set_config(rules(Class::Demand, &["80 Mbit/s"]));
    let mut all = 0;
    for pull in pulls {
        all += pull.await.unwrap().0;
    }
    assert!(near(all - slow, 100_000_000), "{all}");
    // Without a limit one goes on at once, and with the next one it does not.
    scene.governor.set_config(Config::default());
    assert!(lane.flow().is_free());
    assert_eq!(lane.flow().take(u64::MAX).await, u64::MAX);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn each_network_has_its_own_bucket_within_the_class() {
    let mut config = rules(Class::Clients, &["80 Mbit/s"]);
    config.networks =
        network::NetworkRule::parse_all(&["10.0.0.0/8 each /24: 8 Mbit/s", "10.0.9.0/24: unlimited"]).unwrap();
    let scene = Scene::settled(config).await;
    let until = Instant::now() + 10 * SECOND;
    let flow = |third: u8, last: u8| pull(scene.governor.to_client([10, 0, third, last].into()), until);
    let (one, two, other, free) = tokio::join!(flow(1, 1), flow(1, 2), flow(2, 1), flow(9, 1));
    assert!(near(one.0 + two.0, 10_000_000) && near(one.0, two.0), "{one:?} {two:?}");
    assert!(near(other.0, 10_000_000), "{other:?}");
    assert!(near(free.0, 80_000_000), "the class has the last word: {free:?}");
    let report = scene.governor.report();
    assert_eq!(report.networks[1].parts, 2);
    // At rest they are forgotten.
    tokio::time::sleep(3 * TICK_MAX).await;
    assert_eq!(scene.governor.report().networks[1].parts, 0);
    // Rules that go while somebody waits leave nobody behind.
    let mut waiting = scene.governor.to_client([10, 0, 1, 1].into());
    while tokio::time::timeout(Duration::ZERO, waiting.take(1 << 20)).await.is_ok() {}
    scene.governor.set_config(Config::default());
    assert!(tokio::time::timeout(SECOND, waiting.take(1 << 20)).await.is_ok());
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_number_of_buckets_is_bounded() {
    let networks = network::NetworkRule::parse_all(&["2001:db8::/32 each /128: 8 Mbit/s"]).unwrap();
    let config = Config::new(Zone::default(), networks, false);
    let scene = Scene::settled(config).await;
    for n in 0..3 * state::PARTS_MAX as u128 {
        let client = std::net::Ipv6Addr::from((0x2001_0db8 << 96) + n);
        assert!(scene.governor.to_client(client.into()).take(1).await == 1);
    }
    assert!(scene.governor.report().networks[0].parts <= state::PARTS_MAX + 1);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_goes_before_the_background_on_the_sites_link() {
    let scene = Scene::settled(rules(Class::Upstream, &["8 Mbit/s"])).await;
    let until = Instant::now() + 10 * SECOND;
    let flow = |class| pull(scene.governor.lane(class).flow(), until);
    let (demand, prefetch, sync) = tokio::join!(flow(Class::Demand), flow(Class::Prefetch), flow(Class::Sync));
    let all = demand.0 + prefetch.0 + sync.0;
    assert!(near(all, 10_000_000), "{all}");
    assert!(demand.0 > all * 8 / 10, "{demand:?}");
    assert!(prefetch.0 > all / 50 && sync.0 > all / 50, "{prefetch:?} {sync:?}");
    // Alone the background has all of it.
    let (alone, _) = pull(scene.governor.lane(Class::Prefetch).flow(), Instant::now() + 10 * SECOND).await;
    assert!(near(alone, 10_000_000), "{alone}");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_narrow_gate_counted_too_much_is_given_back() {
    // The class grants 128 kB at a time, the link far less: the class's bucket must not run dry of it.
    let config = rules(Class::Demand, &["20 Mbit/s"]).with(Class::Upstream, &["16 Mbit/s"]).unwrap();
    let scene = Scene::settled(config).await;
    let until = Instant::now() + 10 * SECOND;
    let lane = scene.governor.lane(Class::Demand);
    let pulls: Vec<_> = (0..40).map(|_| tokio::spawn(pull(lane.flow(), until))).collect();
    let mut all = 0;
    for pull in pulls {
        all += pull.await.unwrap().0;
    }
    assert!(near(all, 20_000_000), "{all}");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_loses_nothing_for_the_others() {
    let scene = Scene::settled(rules(Class::Demand, &["80 kbit/s"])).await;
    let lane = scene.governor.lane(Class::Demand);
    let until = Instant::now() + 20 * SECOND;
    let steady = tokio::spawn(pull(lane.flow(), until));
    // Others come, wait a little, and go before their turn.
    while Instant::now() < until {
        let mut flow = lane.flow();
        drop(tokio::time::timeout(Duration::from_millis(7), flow.take(1 << 20)).await);
    }
    let (got, _) = steady.await.unwrap();
    let all = scene.governor.counters().bytes(Class::Demand);
    assert!(near(all, 200_000), "{all}");
    assert!(got > all / 2, "{got} of {all}");
    assert_eq!(scene.governor.lock().state.tickets(), 0);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_does_not_come_back_holds_up_nobody() {
    let scene = Scene::settled(rules(Class::Clients, &["80 kbit/s"])).await;
    let flow = || scene.governor.to_client([10, 0, 0, 1].into());
    // They are in line, have their turn, and are never polled again.
    let asleep = futures_of(flow, 100).await;
    let (got, _) = pull(flow(), Instant::now() + 10 * SECOND).await;
    assert!(got >= 45_000, "all but the one grain that each of them had: {got}");
    let (got, _) = pull(flow(), Instant::now() + 10 * SECOND).await;
    assert!(near(got, 100_000), "{got}");
    drop(asleep);
    assert_eq!(scene.governor.lock().state.tickets(), 0);
    scene.end().await;
}

/// Flows that stand in line and sleep.
async fn futures_of(flow: impl Fn() -> Flow, count: usize) -> Vec<Flow> {
    let mut asleep = Vec::new();
    while asleep.len() < count {
        let mut flow = flow();
        if std::future::poll_fn(|cx| Poll::Ready(flow.poll_take(cx, 1 << 20).is_pending())).await {
            asleep.push(flow);
        }
    }
    asleep
}

#[tokio::test(start_paused = true)]
async fn without_its_driver_nothing_is_held_back() {
    let config = rules(Class::Clients, &["32 kbit/s"]);
    let governor = Governor::new(config.clone(), Arc::new(SystemClock));
    let mut early = governor.to_client([10, 0, 0, 1].into());
    assert_eq!(early.take(1 << 20).await, 1 << 20, "it does not run yet");

    let scene = Scene::settled(config).await;
    let waiting = futures_of(|| scene.governor.to_client([10, 0, 0, 1].into()), 20).await;
    let governor = scene.governor.clone();
    scene.end().await;
    for mut flow in waiting {
        assert!(tokio::time::timeout(SECOND, flow.take(1 << 20)).await.is_ok(), "it runs no more");
    }
    assert!(governor.to_client([10, 0, 0, 1].into()).is_free());
    governor.set_config(rules(Class::Clients, &["32 kbit/s"]));
    assert!(governor.to_client([10, 0, 0, 1].into()).is_free());
}

#[tokio::test(start_paused = true)]
async fn the_background_gives_way_when_origins_answer_late() {
    let scene = Scene::settled(Config::new(Zone::default(), Vec::new(), true)).await;
    let governor = scene.governor.clone();
    let slow = Arc::new(AtomicBool::new(false));
    let asked = tokio::spawn({
        let (governor, slow) = (governor.clone(), Arc::clone(&slow));
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let took = if slow.load(ORDER) { 500 } else { 20 };
                governor.answered("dl.example", Duration::from_millis(took));
            }
        }
    });
    // 10 MB/s, if it may.
    let flowing = tokio::spawn({
        let governor = governor.clone();
        async move {
            let mut flow = governor.lane(Class::Prefetch).flow();
            loop {
                let mut left = 1_000_000;
                while left > 0 {
                    left -= flow.take(left).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let rate = async |seconds: u32| {
        let before = governor.counters().bytes(Class::Prefetch);
        tokio::time::sleep(seconds * SECOND).await;
        (governor.counters().bytes(Class::Prefetch) - before) / u64::from(seconds)
    };
    assert!(rate(10).await > 9_000_000);
    slow.store(true, ORDER);
    rate(10).await;
    assert!(rate(5).await < 1_000_000);
    assert!(governor.report().gives_way_to.is_some() && governor.counters().gave_way.get() >= 3);
    assert!(governor.lane(Class::Demand).flow().is_free(), "nobody who is waited for gives way");
    slow.store(false, ORDER);
    rate(60).await;
    assert!(rate(5).await > 9_000_000);
    assert_eq!(governor.report().gives_way_to, None);
    asked.abort();
    flowing.abort();
    scene.end().await;
}
