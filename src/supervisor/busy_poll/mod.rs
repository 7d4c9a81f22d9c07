//! Staying awake for what comes in a moment.
//!
//! Belongs here: whether an arbiter looks for news once more before it sleeps. Does not belong here: what the news are.
//! Invariant: nothing else on the arbiter waits for it, and nothing is polled while it sleeps.
//!
//! A thread that sleeps is woken in 5 µs on bare metal and in 60 µs in a virtual machine, where a sleeping CPU has to be fetched
//! from the hypervisor, at the expense of whoever wakes it. Of workers that give back 16 tasks of a microsecond each, that is
//! more than the tasks take. So an arbiter whose workers have little to do looks for their results as long as waking would take,
//! as the kernel's `net.core.busy_poll` and the halt polling of its virtual machines do. To spin for as long as a wake-up
//! costs and then to sleep is never worse than twice the best: A. Karlin, K. Li, M. Manasse and S. Owicki, "Empirical Studies
//! of Competitive Spinning for a Shared-Memory Multiprocessor", SOSP 1991.

mod policy;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::task::{self, AbortHandle};

use crate::supervisor::busy_poll::policy::Policy;

thread_local! {
    /// One for all pools of an arbiter: one look is for all.
    static HERE: RefCell<Weak<RefCell<BusyPoll>>> = const { RefCell::new(Weak::new()) };
}

/// What a worker's session knows of it, for as long as this lives.
#[derive(Debug)]
pub(super) struct Expects {
    here: Rc<RefCell<BusyPoll>>,
    work: u64,
}

impl Expects {
    /// On the current arbiter, which has so many CPUs. Of the workers on other arbiters nothing is known, nor of those of other
    /// pools that are on theirs.
    pub(super) fn new(cpus: usize) -> Self {
        let here = HERE.with_borrow_mut(|here| {
            // One that looks no more was of a `System` that this thread had before.
            let looks = |here: &Rc<RefCell<BusyPoll>>| here.borrow().looks();
            here.upgrade().filter(looks).unwrap_or_else(|| {
                let own = Rc::new(RefCell::new(BusyPoll::new(Policy::new(cpus))));
                let look = task::spawn_local(look(Rc::downgrade(&own)));
                own.borrow_mut().task = Some(look.abort_handle());
                *here = Rc::downgrade(&own);
                own
            })
        });
        Self { here, work: 0 }
    }

    /// Its tasks take so long in all by now, in nanoseconds. `news` says that some of them have just ended.
    pub(super) fn has(&mut self, work: u64, news: bool, now: Instant) {
        if work == self.work && !news {
            return;
        }
        let mut here = self.here.borrow_mut();
        here.policy.changes(self.work, work);
        self.work = work;
        if here.policy.moves(news, now)
            && let Some(waker) = here.waker.take()
        {
            waker.wake();
        }
    }
}

impl Drop for Expects {
    fn drop(&mut self) {
        self.here.borrow_mut().policy.changes(self.work, 0);
    }
}

/// What looks on one arbiter.
#[derive(Debug)]
struct BusyPoll {
    policy: Policy,
    /// Of the task that looks, while it sleeps.
    waker: Option<Waker>,
    task: Option<AbortHandle>,
}

impl BusyPoll {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            waker: None,
            task: None,
        }
    }

    fn looks(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Whether it is over until something moves.
    fn rests(&mut self, cx: &Context<'_>) -> bool {
        let rests = !self.policy.goes_on(Instant::now());
        if rests {
            self.waker = Some(cx.waker().clone());
        }
        rests
    }
}

impl Drop for BusyPoll {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Has the arbiter look for news, and then poll this again, as long as it is awake.
async fn look(here: Weak<RefCell<BusyPoll>>) {
    poll_fn(|cx| {
        let Some(here) = here.upgrade() else {
            return Poll::Ready(());
        };
        if !here.borrow_mut().rests(cx) {
            // The only way to say so: whoever yields is polled again behind a look that does not wait.
            let _ = pin!(task::yield_now()).poll(cx);
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::busy_poll::policy::WINDOW;

    #[cfg(feature = "test-util")]
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Hangs(bool);

    #[cfg(feature = "test-util")]
    impl crate::Task for Hangs {
        const NAME: &'static str = "hangs";
        type Output = ();
        type Error = crate::NoError;
        type State = ();
        async fn run(self, _: crate::TaskContext<()>) -> Result<(), crate::NoError> {
            if self.0 {
                std::future::pending().await
            }
            Ok(())
        }
    }

    #[cfg(feature = "test-util")]
    #[actix::test]
    async fn a_session_says_what_its_worker_has_and_that_there_are_news() {
        let spec = crate::WorkerSpec::new().task::<Hangs>();
        let pool = crate::Pool::builder(crate::testing::in_process(spec)).processes(1);
        let pool = pool.start().await.unwrap();
        for _ in 0..1000 {
            pool.submit(Hangs(false)).await.unwrap();
        }
        let other = Expects::new(1);
        // Whatever has become of those: nothing is with the worker now. And whether they have been quick or, beside others on this
        // machine, slow: somebody else has something quick, and there are CPUs left.
        let mut policy = Policy::new(64);
        policy.changes(0, 1000);
        other.here.borrow_mut().policy = policy;
        let in_vain = || other.here.borrow().policy.in_vain();
        let hangs = pool.submit(Hangs(true));
        let looks = async {
            while in_vain() == 0 {
                task::yield_now().await;
            }
            // Beside it others end, and some of them while the arbiter looks.
            while in_vain() > 0 {
                pool.submit(Hangs(false)).await.unwrap();
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, looks).await.expect("a look");
        drop(hangs);
        pool.stop().await;
    }

    #[test]
    fn what_looked_in_a_system_that_has_ended_does_not_look_in_the_next() {
        let of_one = || actix::System::new().block_on(async { Expects::new(1) });
        let old = of_one();
        actix::System::new().block_on(async {
            let new = Expects::new(1);
            assert!(!Rc::ptr_eq(&old.here, &new.here));
            assert!(Rc::ptr_eq(&new.here, &Expects::new(1).here));
        });
    }

    #[actix::test]
    async fn an_arbiter_looks_while_a_worker_has_quick_tasks_and_others_get_their_turns() {
        let mut one = Expects::new(1);
        let other = Expects::new(1);
        assert!(Rc::ptr_eq(&one.here, &other.here));
        one.here.borrow_mut().policy = Policy::new(2);
        let sleeps = |one: &Expects| one.here.borrow().waker.is_some();
        task::yield_now().await;
        assert!(sleeps(&one));

        let began = Instant::now();
        one.has(1000, false, began);
        let mut turns = 0;
        while !sleeps(&one) {
            turns += 1;
            task::yield_now().await;
        }
        assert!(turns > 0 && began.elapsed() >= WINDOW, "{turns}");

        // Nothing has moved, so none of them is the one that may pass.
        for _ in 0..3 {
            one.has(1000, false, Instant::now());
            assert!(sleeps(&one));
        }
        let here = Rc::downgrade(&one.here);
        drop(one);
        // What it had is not expected any more.
        let moves = || other.here.borrow_mut().policy.moves(true, began);
        assert!(!moves() && !moves());
        drop(other);
        assert_eq!(here.strong_count(), 0);
    }
}
