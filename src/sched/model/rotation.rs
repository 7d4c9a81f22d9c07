//! Replacement against a pool that is done the slow way: each slot a list of its workers, each worker what it is told.

use std::collections::BTreeMap;

use super::Run;
use crate::{sched::rotation::Rotation, task::Slot};

#[derive(Debug, Clone, Copy)]
enum Event {
    /// The present worker of this slot is to be replaced.
    Want(usize),
    Grant,
    /// The youngest worker of this slot has started.
    Ready(usize),
    /// One of this slot's workers has ended.
    End(usize, usize),
    Resize(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Worker {
    life: u32,
    ready: bool,
    leaving: bool,
    /// It is being replaced, or leaves for that.
    permit: bool,
    /// When it was first to be replaced.
    wants: Option<u64>,
}

#[derive(Debug, Default)]
struct Place {
    workers: Vec<Worker>,
    lives: u32,
    /// It is to have a worker, and two are leaving.
    owed: bool,
}

impl Place {
    fn start(&mut self) {
        self.workers.push(Worker {
            life: self.lives,
            ready: false,
            leaving: false,
            permit: false,
            wants: None,
        });
        self.lives += 1;
    }

    /// The one that is being replaced by one that starts.
    fn replaced(&mut self) -> Option<&mut Worker> {
        let mut workers = self.workers.iter_mut();
        workers.find(|worker| worker.permit && !worker.leaving)
    }

    fn is_left(&self) -> bool {
        self.workers.iter().any(|worker| worker.leaving)
    }
}

struct Pool {
    rotation: Rotation,
    places: Vec<Place>,
    size: usize,
    clock: u64,
}

fn slot(index: usize) -> Slot {
    Slot::new(u32::try_from(index).unwrap())
}

impl Pool {
    fn new(size: usize) -> Self {
        let mut places: Vec<Place> = (0..size).map(|_| Place::default()).collect();
        places.iter_mut().for_each(Place::start);
        Self {
            rotation: Rotation::new(size),
            places,
            size,
            clock: 0,
        }
    }

    fn apply(&mut self, event: Event) -> &'static str {
        self.clock += 1;
        match event {
            Event::Want(index) => self.want(index),
            Event::Grant => self.grant(),
            Event::Ready(index) => self.ready(index),
            Event::End(index, which) => self.end(index, which),
            Event::Resize(size) => self.resize(size),
        }
    }

    fn want(&mut self, index: usize) -> &'static str {
        let place = &mut self.places[index];
        let changes = place.replaced().is_some();
        let present = place.workers.iter_mut().rev().find(|worker| worker.ready);
        let Some(present) = present else {
            return "nobody there";
        };
        self.rotation.want(slot(index), present.life);
        if present.leaving || present.wants.is_some() || changes {
            return "wanted already";
        }
        present.wants = Some(self.clock);
        "wanted"
    }

    fn grant(&mut self) -> &'static str {
        let workers = self.places.iter().flat_map(|place| &place.workers);
        let out = workers.filter(|worker| worker.permit).count();
        let mut wanting: Vec<(u64, usize)> = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            let wants = place.workers.iter().find_map(|worker| worker.wants);
            wanting.extend(wants.filter(|_| !place.is_left()).map(|at| (at, index)));
        }
        let free = out < (self.size / 10).max(1);
        let first = wanting.iter().min().filter(|_| free);
        assert_eq!(self.rotation.grant(), first.map(|(_, index)| slot(*index)));
        let Some((_, index)) = first else {
            return "not granted";
        };
        let place = &mut self.places[*index];
        for worker in &mut place.workers {
            worker.permit = worker.wants.take().is_some();
        }
        place.start();
        "granted"
    }

    fn ready(&mut self, index: usize) -> &'static str {
        let place = &mut self.places[index];
        let Some(worker) = place.workers.last_mut().filter(|worker| !worker.ready) else {
            return "nobody starting";
        };
        worker.ready = true;
        let found = self.rotation.ready(slot(index), worker.life);
        let Some(old) = place.replaced() else {
            assert_eq!(found, None);
            return "ready";
        };
        assert_eq!(found, Some(old.life));
        old.leaving = true;
        "replaced"
    }

    fn end(&mut self, index: usize, which: usize) -> &'static str {
        let place = &mut self.places[index];
        let worker = place.workers.remove(which);
        let starts = self.rotation.ended(slot(index), worker.life);
        let what = if worker.leaving {
            let leaving = place.workers.iter().filter(|worker| worker.leaving);
            let now = leaving.count() <= 1 && std::mem::take(&mut place.owed);
            assert_eq!(starts, now);
            if now { "followed" } else { "left" }
        } else {
            // The one that replaces it is under way.
            assert_eq!(starts, !worker.permit);
            if starts {
                "lost"
            } else {
                "lost while replaced"
            }
        };
        if starts {
            place.start();
        }
        what
    }

    fn resize(&mut self, size: usize) -> &'static str {
        let before = std::mem::replace(&mut self.size, size);
        self.rotation.resize(size);
        while self.places.len() < size {
            self.places.push(Place::default());
        }
        for (index, place) in self.places.iter_mut().enumerate() {
            if (size..before).contains(&index) {
                for worker in &mut place.workers {
                    worker.leaving = true;
                    worker.wants = None;
                }
                place.owed = false;
                let lives: Vec<u32> = place.workers.iter().map(|one| one.life).collect();
                self.rotation.dismiss(slot(index), &lives);
            } else if (before..size).contains(&index) {
                place.owed = place.workers.len() > 1;
                assert_eq!(self.rotation.recall(slot(index)), !place.owed);
                if !place.owed {
                    place.start();
                }
            }
        }
        "resized"
    }
}

#[test]
fn slots_are_replaced_in_turn_few_at_a_time_and_never_have_three_workers() {
    let mut run = Run::new();
    let mut seen = BTreeMap::<&str, u64>::new();
    while run.goes_on() {
        let mut pool = Pool::new(run.random.between(1, 25));
        for _ in 0..run.random.between(10, 2000) {
            let index = run.random.below(pool.places.len());
            let workers = pool.places[index].workers.len();
            let event = match run.random.below(40) {
                0..=9 => Event::Want(index),
                10..=19 => Event::Grant,
                20..=31 => Event::Ready(index),
                32..=38 if workers > 0 => Event::End(index, run.random.below(workers)),
                _ => Event::Resize(run.random.between(1, 25)),
            };
            run.note(event);
            *seen.entry(pool.apply(event)).or_default() += 1;
            for (index, place) in pool.places.iter().enumerate() {
                assert!(place.workers.len() <= 2, "{place:?}");
                let there = place.workers.iter().any(|worker| !worker.leaving);
                assert_eq!(there || place.owed, index < pool.size, "{place:?}");
                let stays = |worker: &&Worker| !worker.leaving && !worker.permit;
                let slot = slot(index);
                for worker in &place.workers {
                    assert_eq!(pool.rotation.stays(slot, worker.life), stays(&worker));
                }
                // As if some of them had ended, or had never begun.
                for known in 0..=place.workers.len() {
                    let known = &place.workers[..known];
                    let lives = known.iter().map(|worker| worker.life);
                    let lacks = known.iter().find(stays).is_none();
                    let lacks = lacks && index < pool.size && !place.owed;
                    assert_eq!(pool.rotation.lacks(slot, lives), lacks, "{place:?}");
                }
            }
        }
    }
    if run.is_long() {
        for what in [
            "wanted",
            "wanted already",
            "granted",
            "not granted",
            "ready",
            "replaced",
            "lost",
            "lost while replaced",
            "left",
            "followed",
            "resized",
        ] {
            assert!(seen.contains_key(what), "{what} never happened: {seen:?}");
        }
    }
}
