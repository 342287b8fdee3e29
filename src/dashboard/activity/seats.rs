//! How many read the log for long at once: each of them asks the database every second.

use crate::ids::UserId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// For all together, in one process.
const ALL: usize = 64;
/// For one person.
const EACH: usize = 4;

/// Who reads.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<UserId, usize>>);

/// Somebody who reads; dropped, it is free again.
pub(super) struct Seat {
    seats: Arc<Seats>,
    user: UserId,
}

impl Seats {
    /// A seat for a person, if there is one left.
    pub(super) fn take(self: &Arc<Self>, user: UserId) -> Option<Seat> {
        let mut taken = self.0.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&user).copied().unwrap_or(0);
        if all >= ALL || own >= EACH {
            return None;
        }
        taken.insert(user, own + 1);
        Some(Seat { seats: self.clone(), user })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;

    #[test]
    fn a_person_has_a_few_seats_and_all_have_many() {
        let (seats, random) = (Arc::new(Seats::default()), Random::default());
        let ada = UserId::random(&random);
        let mut taken: Vec<_> = (0..EACH).map(|_| seats.take(ada).unwrap()).collect();
        assert!(seats.take(ada).is_none());
        drop(taken.pop());
        taken.push(seats.take(ada).unwrap());
        taken.extend((EACH..ALL).map(|_| seats.take(UserId::random(&random)).unwrap()));
        assert!(seats.take(UserId::random(&random)).is_none());
        drop(taken);
        assert!(seats.0.lock().is_empty());
    }
}
