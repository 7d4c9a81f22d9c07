//! The queue alone: whatever goes in, out of the middle and back again, its order is the one that was promised.

use super::Run;
use crate::{sched::queue::Queue, task::TaskId};

#[derive(Debug, Clone, Copy)]
enum Event {
    PushBack(u64),
    Requeue(u64),
    Remove(u64),
    Pop,
}

#[test]
fn requeued_tasks_come_first_and_each_group_in_its_old_order() {
    let mut run = Run::new();
    while run.goes_on() {
        let mut queue = Queue::default();
        let (mut again, mut fresh, mut out) = (Vec::new(), Vec::new(), Vec::<u64>::new());
        let mut next = 1;
        // Long and short ones: the queue sweeps itself only when much was removed.
        let inflow = run.random.between(1, 6);
        for _ in 0..run.random.between(10, 1000) {
            let waiting = || again.iter().chain(&fresh).copied().collect::<Vec<u64>>();
            let event = match run.random.below(10) {
                kind if kind < inflow => Event::PushBack(next),
                6 | 7 => match run.random.pick(&waiting()) {
                    Some(id) => Event::Remove(id),
                    None => continue,
                },
                8 => match run.random.pick(&out) {
                    Some(id) => Event::Requeue(id),
                    None => continue,
                },
                _ => Event::Pop,
            };
            run.note(event);
            match event {
                Event::PushBack(id) => {
                    queue.push_back(TaskId::new(id));
                    fresh.push(id);
                    next += 1;
                }
                Event::Requeue(id) => {
                    queue.requeue(TaskId::new(id));
                    out.retain(|other| *other != id);
                    again.push(id);
                    again.sort_unstable();
                }
                Event::Remove(id) => {
                    queue.remove(TaskId::new(id));
                    again.retain(|other| *other != id);
                    fresh.retain(|other| *other != id);
                    out.push(id);
                }
                Event::Pop => {
                    let first = waiting().first().copied();
                    assert_eq!(queue.front().map(TaskId::get), first);
                    assert_eq!(queue.pop_front().map(TaskId::get), first);
                    again.retain(|other| Some(*other) != first);
                    fresh.retain(|other| Some(*other) != first);
                    out.extend(first);
                }
            }
            if out.len() > 50 {
                out.remove(0);
            }
            let waiting: Vec<u64> = again.iter().chain(&fresh).copied().collect();
            assert_eq!(queue.len(), waiting.len());
            if run.random.odds(1, 16) {
                assert_eq!(queue.iter().map(TaskId::get).collect::<Vec<u64>>(), waiting);
            }
        }
    }
}

#[test]
fn room_that_a_flood_has_taken_is_given_back() {
    let mut queue = Queue::default();
    for id in 1..=1_000_000 {
        queue.push_back(TaskId::new(id));
    }
    let room = queue.room();
    while queue.pop_front().is_some() {}
    assert!(queue.room() < room / 20, "{} of {room}", queue.room());
}
