//! Turns for whoever is not a task that is ready.
//!
//! Belongs here: when tasks that are ready wait for sockets and timers. Does not belong here: polling them.
//! Invariants: whoever waits is called in the order in which it came to be polled, once however often it is woken, and whoever comes
//! later comes behind it, but for those that are ready at the moment at which it opens; nobody waits for a task that is never polled.
//!
//! tokio looks at sockets and timers behind 61 polls. Of tasks that hold the loop for 2 ms each that is 120 ms, in which a
//! worker that has ended some of them hears nothing of those that it might start instead, and no time-out goes off. So once
//! polls have held the loop for as long as the clock can tell, those that are ready stand in line, and between any two of them that
//! hold it for as long there is a look at both.
//!
//! States: *open* ─ held for long, and one is to be polled ▶ *closed*: it stands in line, and so does whoever follows; one after
//! the other is called ─ as many as stood there at the last look have been called without the need for another ▶ *open*.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A poll of less counts for nothing: of such ones tokio looks often enough.
const LONG: Duration = Duration::from_micros(100);

/// For so long the loop may be held: the resolution of tokio's clock.
const HELD: Duration = Duration::from_millis(1);

/// What tasks pass before they are polled.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    /// How long polls have held the loop since the last look that was made here. tokio's own are not known of: at worst there is
    /// one look too many.
    held: Cell<Duration>,
    closed: Cell<bool>,
    line: RefCell<Line>,
    /// Who may be polled next.
    called: Cell<Option<u64>>,
}

/// Who waits.
#[derive(Debug, Default)]
struct Line {
    /// By ticket, each once.
    order: VecDeque<u64>,
    wakers: HashMap<u64, Waker>,
}

impl Line {
    fn join(&mut self, ticket: u64, waker: Waker) {
        if self.wakers.insert(ticket, waker).is_none() {
            self.order.push_back(ticket);
        }
    }

    fn next(&mut self) -> Option<(u64, Waker)> {
        let ticket = self.order.pop_front()?;
        Some((ticket, self.wakers.remove(&ticket)?))
    }
}

impl Turnstile {
    /// A poll took so long.
    pub(super) fn held(&self, took: Duration) {
        if took >= LONG {
            self.held.set(self.held.get().saturating_add(took));
        }
    }

    /// Whether a task may be polled now. If not, it is woken when it may.
    pub(super) fn admits(self: &Rc<Self>, ticket: u64, cx: &Context<'_>) -> bool {
        if !self.closed.get() {
            if self.held.get() < HELD {
                return true;
            }
            self.closed.set(true);
            // None of the tasks themselves, each of which may be dropped.
            tokio::task::spawn_local(Rc::clone(self).call());
        } else if self.called.get() == Some(ticket) {
            self.called.set(None);
            return true;
        }
        self.line.borrow_mut().join(ticket, cx.waker().clone());
        false
    }

    /// Calls those in line.
    async fn call(self: Rc<Self>) {
        let mut left = 0;
        loop {
            if self.held.get() >= HELD {
                // Goes on behind a look at sockets and timers, and behind whoever was woken by that.
                tokio::task::yield_now().await;
                self.held.set(Duration::ZERO);
                left = self.line.borrow().order.len();
            }
            if left == 0 {
                break;
            }
            left -= 1;
            let Some((ticket, waker)) = self.line.borrow_mut().next() else {
                break;
            };
            self.called.set(Some(ticket));
            waker.wake();
            behind_those_that_are_ready().await;
        }
        self.called.set(None);
        self.closed.set(false);
        let mut left = self.line.take();
        while let Some((_, waker)) = left.next() {
            waker.wake();
        }
    }
}

/// The loop has polled whoever was woken by now, if that is still there.
async fn behind_those_that_are_ready() {
    let mut first = true;
    std::future::poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use tokio::task::{JoinHandle, spawn_local, yield_now};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What has happened, in its order.
    type Notes = Rc<RefCell<Vec<u32>>>;

    /// A task that is polled so often, holds the loop for so long each time, and is ready again.
    fn task(
        turnstile: &Rc<Turnstile>,
        notes: &Notes,
        number: u32,
        mut polls: u32,
        took: Duration,
    ) -> JoinHandle<()> {
        let (turnstile, notes) = (Rc::clone(turnstile), Rc::clone(notes));
        spawn_local(poll_fn(move |cx| {
            if !turnstile.admits(number.into(), cx) {
                return Poll::Pending;
            }
            notes.borrow_mut().push(number);
            turnstile.held(took);
            polls -= 1;
            if polls == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    async fn all(tasks: Vec<JoinHandle<()>>) {
        for task in tasks {
            let _ = task.await;
        }
    }

    #[cfg(unix)]
    #[actix::test]
    async fn whoever_a_look_wakes_comes_before_those_that_are_ready() {
        let (turnstile, notes) = (Rc::default(), Notes::default());
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let heard = Rc::clone(&notes);
        let hears = spawn_local(async move {
            ours.readable().await.unwrap();
            heard.borrow_mut().push(0);
        });
        // Looked at once, in vain.
        yield_now().await;
        let mut tasks: Vec<_> = (1..=3)
            .map(|number| task(&turnstile, &notes, number, 1, 2 * MS))
            .collect();
        let says = Rc::clone(&notes);
        tasks.push(spawn_local(poll_fn(move |cx| {
            if !says.borrow().contains(&2) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            theirs.try_write(b".").unwrap();
            Poll::Ready(())
        })));
        tasks.extend((4..=9).map(|number| task(&turnstile, &notes, number, 1, 2 * MS)));
        all(tasks).await;
        hears.await.unwrap();
        assert_eq!(*notes.borrow(), [1, 2, 0, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[actix::test]
    async fn all_have_their_turns_in_their_order() {
        let (turnstile, notes) = (Rc::default(), Notes::default());
        let tasks = (1..=20).map(|number| task(&turnstile, &notes, number, 3, 2 * MS));
        all(tasks.collect()).await;
        let expected: Vec<u32> = (0..3).flat_map(|_| 1..=20).collect();
        assert_eq!(*notes.borrow(), expected);
        assert!(turnstile.line.borrow().order.is_empty());
    }

    #[actix::test]
    async fn nobody_waits_for_one_that_is_dropped_or_woken_by_others() {
        let (turnstile, notes) = (Rc::default(), Notes::default());
        let first = task(&turnstile, &notes, 1, 1, 2 * MS);
        let dropped = task(&turnstile, &notes, 2, 1, 2 * MS);
        let others: Vec<_> = (3..=9)
            .map(|number| task(&turnstile, &notes, number, 1, 2 * MS))
            .collect();
        while turnstile.line.borrow().order.len() < 8 {
            behind_those_that_are_ready().await;
        }
        for waker in turnstile.line.borrow().wakers.values() {
            waker.wake_by_ref();
        }
        dropped.abort();
        all(vec![first, dropped]).await;
        all(others).await;
        assert_eq!(*notes.borrow(), [1, 3, 4, 5, 6, 7, 8, 9]);
    }

    /// tokio wakes whoever yields before it wakes those in line.
    #[actix::test]
    async fn one_that_is_always_ready_first_comes_behind_those_in_line() {
        let (turnstile, notes) = (Rc::<Turnstile>::default(), Notes::default());
        let (own, noted) = (Rc::clone(&turnstile), Rc::clone(&notes));
        let works = spawn_local(async move {
            for _ in 0..5 {
                poll_fn(|cx| match own.admits(0, cx) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                noted.borrow_mut().push(0);
                own.held(2 * MS);
                yield_now().await;
            }
        });
        let mut tasks = vec![works];
        tasks.extend((1..=3).map(|number| task(&turnstile, &notes, number, 3, MS / 100)));
        all(tasks).await;
        let notes = notes.borrow();
        for number in 1..=3 {
            let mut turns = notes.split(|noted| *noted == number);
            // Twice where it opens between.
            let most = turns
                .by_ref()
                .take(3)
                .map(|others| others.iter().filter(|noted| **noted == 0).count());
            assert!(most.max() <= Some(2), "{number}: {notes:?}");
        }
        assert_eq!(notes.len(), 5 + 3 * 3);
    }

    /// Each wake-up of one that stands in line already is a poll that comes to nothing.
    #[actix::test]
    async fn one_that_is_woken_in_the_line_has_no_more_turns_than_others() {
        let (turnstile, notes) = (Rc::<Turnstile>::default(), Notes::default());
        let mut tasks = vec![task(&turnstile, &notes, 1, 10, 2 * MS)];
        let wakers = Rc::new(RefCell::new(None));
        let (kept, own, noted) = (Rc::clone(&wakers), Rc::clone(&turnstile), Rc::clone(&notes));
        let mut polls = 30;
        tasks.push(spawn_local(poll_fn(move |cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            if !own.admits(2, cx) {
                return Poll::Pending;
            }
            noted.borrow_mut().push(2);
            own.held(2 * MS);
            polls -= 1;
            if polls == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
        let all_done = Rc::clone(&notes);
        let wakes = spawn_local(poll_fn(move |cx| {
            if let Some(waker) = &*wakers.borrow() {
                Waker::wake_by_ref(waker);
            }
            if all_done.borrow().len() == 40 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        tasks.push(wakes);
        all(tasks).await;
        let notes = notes.borrow();
        let first_turns = &notes[..20];
        assert!(
            first_turns.iter().filter(|noted| **noted == 2).count() <= 11,
            "{notes:?}"
        );
    }

    #[actix::test]
    async fn it_stays_open_for_what_is_short_and_opens_when_that_is_all() {
        let turnstile = Rc::new(Turnstile::default());
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            turnstile.held(LONG - MS / 1000);
            assert!(turnstile.admits(1, &cx));
        }
        let notes = Notes::default();
        turnstile.held(2 * MS);
        let tasks = (1..=20).map(|number| task(&turnstile, &notes, number, 50, MS / 100));
        let tasks: Vec<_> = tasks.collect();
        while notes.borrow().len() < 20 + 20 {
            yield_now().await;
        }
        assert!(!turnstile.closed.get() && turnstile.line.borrow().order.is_empty());
        all(tasks).await;
        assert_eq!(notes.borrow().len(), 1000);
    }
}
