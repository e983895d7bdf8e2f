//! The board: lanes, limits, and how records end.

use super::*;
use crate::jobs::work::{Backup, Verify};

fn work(scheduled: bool) -> Work {
    Work::Verify(Verify { scheduled, ..Verify::default() })
}

fn begin(board: &Board, work: &Work) -> Result<Arc<Record>, Error> {
    board.begin(work, "test", Timestamp::from_ms(1000), &CancellationToken::new(), 2)
}

fn backup() -> Work {
    Work::Backup(Backup { to: "/b".into() })
}

#[test]
fn two_readers_of_the_whole_disk_do_not_run_at_once() {
    let board = Board::default();
    let first = begin(&board, &work(true)).unwrap();
    assert!(matches!(begin(&board, &work(false)), Err(Error::Busy { id: 1, kind: "scrub" })));
    let second = begin(&board, &backup()).unwrap();
    let fetch = Work::Fetch(crate::jobs::work::Fetch::default());
    assert!(matches!(begin(&board, &fetch), Err(Error::Full { running: 2 })));
    first.end(Ok("well".into()), Timestamp::from_ms(3000));
    assert_eq!(begin(&board, &work(false)).unwrap().id(), 3);
    second.stop("ada");
    second.stop("grace");
    assert_eq!(second.stopped_by().get().map(String::as_str), Some("ada"), "who asked first");
    assert!(second.cancel().is_cancelled() && second.is_running(), "stopping is not having ended");
}

#[test]
fn the_oldest_ended_jobs_make_room_and_running_ones_stay() {
    let board = Board::default();
    let running = begin(&board, &work(false)).unwrap();
    for _ in 0..REMEMBERED * 2 {
        begin(&board, &backup()).unwrap().end(Err(Error::Stopped), Timestamp::from_ms(2000));
    }
    let all = board.all();
    assert_eq!(all.len(), REMEMBERED);
    assert!(board.get(running.id()).is_some() && board.get(2).is_none());
    assert_eq!(all[0].id(), 201);
}

#[test]
fn the_lines_of_all_ended_jobs_are_bounded_and_each_text_is() {
    let board = Board::default();
    let many = ENDED_LINES_MAX / LINES_MAX + 2;
    for _ in 0..many {
        let record = begin(&board, &backup()).unwrap();
        for _ in 0..=LINES_MAX {
            record.add(Line::waiting("a".into()));
        }
        record.end(Ok("well".into()), Timestamp::from_ms(2000));
    }
    let last = begin(&board, &backup()).unwrap();
    let views: Vec<View> = board.all().iter().map(|record| record.view(true)).collect();
    assert_eq!(views.iter().map(|view| view.lines.len()).sum::<usize>(), ENDED_LINES_MAX);
    let oldest = board.get(1).unwrap().view(true);
    assert_eq!((oldest.lines.len(), oldest.lines_left_out), (0, LINES_MAX as u64 + 1));
    let at = last.add(Line::waiting("é".repeat(TEXT_MAX))).unwrap();
    last.line(at, |line| line.text = "x".repeat(5 * TEXT_MAX));
    let line = &last.view(true).lines[at];
    assert!(line.item.len() <= TEXT_MAX + 3 && line.text.len() == TEXT_MAX + 3);
    assert!(last.view(false).lines.is_empty(), "a list needs none");
}

#[tokio::test]
async fn an_ended_job_leaves_no_line_open_and_wakes_who_waits() {
    let board = Board::default();
    let record = begin(&board, &work(false)).unwrap();
    let at = record.add(Line::waiting("a".into())).unwrap();
    record.line(at, |line| line.step = Step::Running);
    record.add(Line::ended("b".into(), Step::Done, 7, "well".into()));
    record.progress(|progress| progress.bytes = 4000);
    let waiting = tokio::spawn({
        let record = Arc::clone(&record);
        async move { record.ended().await }
    });
    record.end(Err(Error::Items { failed: 1, total: 2 }), Timestamp::from_ms(3000));
    waiting.await.unwrap();
    let view = record.view(true);
    assert_eq!((view.state, view.result.as_deref()), (State::Failed, Some("1 of 2 failed")));
    assert_eq!(view.progress.bytes_per_s, 2000);
    assert_eq!(view.lines.iter().map(|line| line.step).collect::<Vec<_>>(), [Step::Stopped, Step::Done]);
    record.end(Ok("again".into()), Timestamp::from_ms(9000));
    assert_eq!(record.state(), State::Failed, "a job ends once");
}

#[test]
fn lines_are_bounded_and_the_rest_is_counted() {
    let board = Board::default();
    let record = begin(&board, &work(false)).unwrap();
    for number in 0..LINES_MAX + 3 {
        record.add(Line::waiting(number.to_string()));
    }
    let view = record.view(true);
    assert_eq!((view.lines.len(), view.lines_left_out), (LINES_MAX, 3));
}
