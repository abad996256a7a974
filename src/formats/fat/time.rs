//! FAT's times: two seconds of resolution, local time without a zone (here UTC), 1980 to 2107.
//!
//! ```text
//! date  bits 15..9 year - 1980, 8..5 month, 4..0 day          time  bits 15..11 hour, 10..5 minute, 4..0 second / 2
//! ```

use crate::formats::calendar;

const SECONDS_PER_DAY: i64 = 86_400;
/// 1980-01-01T00:00:00Z and 2107-12-31T23:59:58Z.
const FIRST: i64 = 315_532_800;
const LAST: i64 = 4_354_819_198;

/// One moment as FAT stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    date: u16,
    time: u16,
    /// Hundredths of a second beyond `time`: 0 or 100.
    hundredths: u8,
}

impl Stamp {
    /// The moment `seconds` after 1970-01-01T00:00:00Z, or the nearest one FAT can store.
    pub fn from_unix(seconds: i64) -> Stamp {
        let seconds = seconds.clamp(FIRST, LAST);
        let (year, month, day) = calendar::day(seconds / SECONDS_PER_DAY);
        let second = seconds % SECONDS_PER_DAY;
        Stamp {
            date: (((year - 1980) << 9) | (month << 5) | day) as u16,
            time: (((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2)) as u16,
            hundredths: (second % 2 * 100) as u8,
        }
    }

    /// Writes it as time of creation, access and modification of a directory entry.
    pub fn put(self, entry: &mut [u8]) {
        let (date, time) = (self.date.to_le_bytes(), self.time.to_le_bytes());
        entry[13] = self.hundredths;
        entry[14..16].copy_from_slice(&time);
        entry[16..18].copy_from_slice(&date);
        entry[18..20].copy_from_slice(&date);
        entry[22..24].copy_from_slice(&time);
        entry[24..26].copy_from_slice(&date);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_stored_as_fat_does() {
        assert_eq!(Stamp::from_unix(0), Stamp { date: 1 << 5 | 1, time: 0, hundredths: 0 });
        // 2024-02-29T13:37:59Z
        let stamp = Stamp::from_unix(1_709_213_879);
        assert_eq!(stamp, Stamp { date: 44 << 9 | 2 << 5 | 29, time: 13 << 11 | 37 << 5 | 29, hundredths: 100 });
        assert_eq!(Stamp::from_unix(i64::MAX).date, 127 << 9 | 12 << 5 | 31);
        assert_eq!(Stamp::from_unix(i64::MAX).time, 23 << 11 | 59 << 5 | 29);
    }
}
