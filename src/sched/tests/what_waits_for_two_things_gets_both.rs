//! A task whose name may run once and whose key's worker is busy needs both to be free. It keeps the first that it gets, or
//! others could take turns in having one each for ever.

use std::time::Instant;

use super::{A, B};
use crate::{
    sched::{Ledger, NewTask, Seat, Ticket, model::RULES},
    task::{Key, Slot, TaskId, Terms, TimeLimits},
};

const FREE: u16 = 0;
const LIMITED: u16 = 1;

fn accept(ledger: &mut Ledger<(), ()>, name: u16, terms: Terms) -> TaskId {
    let task = NewTask {
        name,
        payload: (),
        bytes: 1,
        terms,
        limits: TimeLimits::default(),
        reply: (),
    };
    ledger.accept(task, None, Instant::now).unwrap()
}

fn send(ledger: &mut Ledger<(), ()>, seat: Seat) -> Option<(Ticket, TaskId)> {
    ledger.assign(false, Instant::now, |_| {});
    let mut sent = None;
    ledger.take_outbox(seat, Instant::now, |task| {
        sent = Some((task.ticket, task.id))
    });
    sent
}

#[test]
fn though_others_ask_for_one_of_them_all_the_time() {
    for exclusive in [false, true] {
        let names = [("free", None), ("limited", Some(1))];
        let mut ledger: Ledger<(), ()> = Ledger::new(names, RULES, None, Instant::now());
        let keyed = Terms {
            key: Some(Key::of(7)),
            exclusive,
            ..Terms::default()
        };
        // The only worker is where the key is at home.
        ledger.up(Slot::new(0), 1, None);
        accept(&mut ledger, FREE, keyed);
        let (mut on_a, _) = send(&mut ledger, A).unwrap();
        ledger.up(Slot::new(1), 1, None);
        accept(&mut ledger, LIMITED, Terms::default());
        let (on_b, _) = send(&mut ledger, B).unwrap();
        let wanted = accept(&mut ledger, LIMITED, keyed);
        for _ in 0..5 {
            accept(&mut ledger, LIMITED, Terms::default());
            accept(&mut ledger, FREE, Terms::default());
        }
        // Its name is free now, and its worker is not.
        ledger.finished(B, on_b).unwrap();
        assert!(send(&mut ledger, B).is_some());
        ledger.finished(A, on_a).unwrap();
        let sent = send(&mut ledger, A).unwrap();
        assert_eq!(sent.1, wanted);
        on_a = sent.0;
        // And it gives it back.
        ledger.finished(A, on_a).unwrap();
        assert!(send(&mut ledger, A).is_some());
    }
}
