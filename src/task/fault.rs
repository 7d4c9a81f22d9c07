//! Faults that tests of this crate inject into it.
//!
//! Belongs here: naming the places. Does not belong here: anything that is there without the feature `test-util`.

/// A place where a test can make the pool panic once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultPoint {
    SubmitHandler,
    ProxyHandler,
    Session,
}

/// The injected fault, if any.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    #[cfg(feature = "test-util")]
    next: parking_lot::Mutex<Option<FaultPoint>>,
}

impl Fault {
    #[cfg(feature = "test-util")]
    pub(crate) fn set(&self, point: FaultPoint) {
        *self.next.lock() = Some(point);
    }

    /// Panics if a test asked for it here.
    #[inline]
    pub(crate) fn hit(&self, point: FaultPoint) {
        #[cfg(feature = "test-util")]
        {
            let mut next = self.next.lock();
            if *next == Some(point) {
                *next = None;
                drop(next);
                std::panic::resume_unwind(Box::new(format!("injected at {point:?}")));
            }
        }
        #[cfg(not(feature = "test-util"))]
        let _ = point;
    }
}
