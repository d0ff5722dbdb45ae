//! Whom an allocation may talk with (RFC 8656 §9).

use std::net::IpAddr;

use super::address::{PackedIp, pack_ip, seconds};
use crate::time::Time;

/// RFC 8656 §9: how long a permission lasts, in seconds.
pub const PERMISSION_LIFETIME_S: u32 = 300;
/// Permissions that one allocation may have.
pub const MOST_PERMISSIONS: usize = 32;

/// The table is full of permissions that still last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Clone, Copy, Debug)]
struct Permission {
    ip: PackedIp,
    expires_s: u32,
}

/// The permissions of one allocation.
#[derive(Debug, Default)]
pub(super) struct Permissions(Vec<Permission>);

impl Permissions {
    /// Whether `ip` has one.
    pub(super) fn contains(&self, ip: IpAddr, now: Time) -> bool {
        let (ip, now_s) = (pack_ip(ip), seconds(now));
        self.0.iter().any(|permission| permission.ip == ip && permission.expires_s > now_s)
    }

    /// How many addresses of `ips` could be let in beside those that have a permission already.
    pub(super) fn has_room_for(&self, ips: impl Iterator<Item = IpAddr>, now: Time) -> bool {
        let now_s = seconds(now);
        let mut new: [Option<PackedIp>; MOST_PERMISSIONS] = [None; MOST_PERMISSIONS];
        let mut used = 0;
        for ip in ips.map(pack_ip) {
            let known = self.0.iter().any(|permission| permission.ip == ip && permission.expires_s > now_s);
            if known || new[..used].contains(&Some(ip)) {
                continue;
            }
            let Some(place) = new.get_mut(used) else { return false };
            *place = Some(ip);
            used += 1;
        }
        let live = self.0.iter().filter(|permission| permission.expires_s > now_s).count();
        live + used <= MOST_PERMISSIONS
    }

    /// Lets `ip` in, or lets it stay.
    pub(super) fn refresh(&mut self, ip: IpAddr, now: Time) -> Result<(), Full> {
        let (ip, now_s) = (pack_ip(ip), seconds(now));
        let fresh = Permission { ip, expires_s: now_s.saturating_add(PERMISSION_LIFETIME_S) };
        let place = self.0.iter().position(|permission| permission.ip == ip);
        let place = place.or_else(|| self.0.iter().position(|permission| permission.expires_s <= now_s));
        match place {
            Some(place) => self.0[place] = fresh,
            None if self.0.len() < MOST_PERMISSIONS => self.0.push(fresh),
            None => return Err(Full),
        }
        Ok(())
    }

    /// Bytes of memory behind the table.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Permission>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_permission_lasts_five_minutes_and_is_prolonged() {
        let mut permissions = Permissions::default();
        permissions.refresh(ip(1), Time::ZERO).unwrap();
        assert!(permissions.contains(ip(1), Time::from_millis(299_999)));
        assert!(!permissions.contains(ip(1), Time::from_millis(300_000)));
        permissions.refresh(ip(1), Time::from_millis(200_000)).unwrap();
        assert!(permissions.contains(ip(1), Time::from_millis(499_999)));
        assert!(!permissions.contains(ip(2), Time::ZERO));
    }

    #[test]
    fn the_table_is_bounded_and_takes_the_place_of_what_is_over() {
        let mut permissions = Permissions::default();
        for last in 0..MOST_PERMISSIONS {
            permissions.refresh(ip(last as u8), Time::ZERO).unwrap();
        }
        assert_eq!(permissions.refresh(ip(200), Time::ZERO), Err(Full));
        assert!(!permissions.has_room_for([ip(200)].into_iter(), Time::ZERO));
        assert!(permissions.has_room_for([ip(3), ip(4)].into_iter(), Time::ZERO));
        permissions.refresh(ip(200), Time::from_millis(300_000)).unwrap();
        assert_eq!(permissions.0.len(), MOST_PERMISSIONS);
    }

    #[test]
    fn the_same_address_many_times_needs_one_place() {
        let permissions = Permissions::default();
        assert!(permissions.has_room_for(std::iter::repeat_n(ip(1), 1000), Time::ZERO));
    }
}
