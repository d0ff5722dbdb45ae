//! How many allocations there may be: of one user, and of all.

use std::collections::HashMap;

use super::drops::TurnDrop;

/// A user as quotas know it: the same for all of a session's credentials, whenever they were made.
pub(super) type UserKey = [u8; 16];

/// Allocations and reserved ports by user.
#[derive(Debug)]
pub(super) struct Quotas {
    users: HashMap<UserKey, u32>,
    total: usize,
    most_of_user: u32,
    most: usize,
}

impl Quotas {
    /// Nothing taken.
    pub(super) fn new(most: usize, most_of_user: u32) -> Quotas {
        Quotas { users: HashMap::new(), total: 0, most_of_user, most }
    }

    /// Other bounds from now on. Who has more keeps it, and gets nothing beside it.
    pub(super) fn set_most(&mut self, most: usize, most_of_user: u32) {
        (self.most, self.most_of_user) = (most, most_of_user);
    }

    /// Takes `count` for a user, or nothing at all.
    pub(super) fn take(&mut self, user: UserKey, count: u32) -> Result<(), TurnDrop> {
        if self.total + count as usize > self.most {
            return Err(TurnDrop::TotalQuota);
        }
        let taken = self.users.get(&user).copied().unwrap_or(0);
        if taken + count > self.most_of_user {
            return Err(TurnDrop::UserQuota);
        }
        self.users.insert(user, taken + count);
        self.total += count as usize;
        Ok(())
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, user: UserKey) {
        if let Some(taken) = self.users.get_mut(&user) {
            *taken -= 1;
            self.total -= 1;
            if *taken == 0 {
                self.users.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_and_all_of_them_are_bounded_and_what_is_given_back_is_free() {
        let mut quotas = Quotas::new(3, 2);
        assert_eq!(quotas.take([1; 16], 2), Ok(()));
        assert_eq!(quotas.take([1; 16], 1), Err(TurnDrop::UserQuota));
        assert_eq!(quotas.take([2; 16], 2), Err(TurnDrop::TotalQuota));
        assert_eq!(quotas.take([2; 16], 1), Ok(()));
        quotas.give_back([1; 16]);
        quotas.give_back([2; 16]);
        assert_eq!(quotas.take([1; 16], 1), Ok(()));
        assert!(!quotas.users.contains_key(&[2; 16]), "nothing is kept of who has nothing");
    }

    #[test]
    fn who_has_more_than_a_new_bound_keeps_it_and_gets_no_more() {
        let mut quotas = Quotas::new(10, 4);
        quotas.take([1; 16], 4).unwrap();
        quotas.set_most(5, 2);
        assert_eq!(quotas.take([1; 16], 1), Err(TurnDrop::UserQuota));
        assert_eq!(quotas.take([2; 16], 1), Ok(()));
        assert_eq!(quotas.take([3; 16], 1), Err(TurnDrop::TotalQuota));
        (0..3).for_each(|_| quotas.give_back([1; 16]));
        assert_eq!(quotas.take([1; 16], 1), Ok(()));
        quotas.set_most(100, 50);
        assert_eq!(quotas.take([1; 16], 48), Ok(()));
    }
}
