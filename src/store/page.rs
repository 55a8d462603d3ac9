//! Pages of 4,096 offsets, the form of offset sets on disk: runs, or a bitmap once that is shorter. Pure;
//! decoding never panics on any bytes.

use bytes::Buf;

use super::record::{RecordError, VERSION, versioned};

/// Offsets in one page of settled or gone offsets.
pub const PAGE_OFFSETS: u64 = 4096;

/// The page that holds an offset.
pub fn page_of(offset: u64) -> u64 {
    offset / PAGE_OFFSETS
}

const PAGE_AS_RUNS: u8 = 0;
const PAGE_AS_BITMAP: u8 = 1;
const BITMAP_LEN: usize = 512; // PAGE_OFFSETS / 8
const RUN_LEN: usize = 4;

/// The settled (or gone) offsets of one page, as runs relative to its first offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageBits {
    /// Start to end (exclusive), ascending, disjoint, at most 4,096.
    runs: Vec<(u16, u16)>,
}

impl PageBits {
    /// The runs must ascend, be disjoint, not empty and lie in the page; see [`PageBits::from_runs`].
    pub(super) fn new(runs: Vec<(u16, u16)>) -> PageBits {
        PageBits { runs }
    }

    /// Checks runs (start, exclusive end). `None` unless they ascend, are disjoint, not empty and lie in the
    /// page.
    pub fn from_runs(runs: Vec<(u16, u16)>) -> Option<PageBits> {
        let mut at = 0;
        for &(start, end) in &runs {
            if start < at || end <= start || u64::from(end) > PAGE_OFFSETS {
                return None;
            }
            at = end;
        }
        Some(PageBits { runs })
    }

    /// The runs (start, exclusive end), ascending.
    pub fn runs(&self) -> &[(u16, u16)] {
        &self.runs
    }

    /// Number of offsets in the page.
    pub fn len(&self) -> u64 {
        self.runs
            .iter()
            .map(|&(start, end)| u64::from(end - start))
            .sum()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl PageBits {
    /// Length of the encoding.
    pub(super) fn encoded_len(&self) -> usize {
        2 + BITMAP_LEN.min(self.runs().len() * RUN_LEN)
    }

    /// Encodes as runs, or as a bitmap once that is shorter.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.push(VERSION);
        if self.runs().len() * RUN_LEN < BITMAP_LEN {
            out.push(PAGE_AS_RUNS);
            for (start, end) in self.runs() {
                out.extend_from_slice(&start.to_le_bytes());
                out.extend_from_slice(&end.to_le_bytes());
            }
        } else {
            out.push(PAGE_AS_BITMAP);
            let mut bitmap = [0u8; BITMAP_LEN];
            for offset in self.runs().iter().flat_map(|&(start, end)| start..end) {
                if let Some(byte) = bitmap.get_mut(usize::from(offset / 8)) {
                    *byte |= 1 << (offset % 8);
                }
            }
            out.extend_from_slice(&bitmap);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<PageBits, RecordError> {
        let body = versioned(bytes)?;
        let (&form, body) = body.split_first().ok_or(RecordError::Malformed)?;
        let runs = match form {
            PAGE_AS_RUNS => runs_from_pairs(body),
            PAGE_AS_BITMAP if body.len() == BITMAP_LEN => Some(runs_from_bitmap(body)),
            _ => None,
        };
        runs.and_then(PageBits::from_runs)
            .ok_or(RecordError::Malformed)
    }
}

fn runs_from_pairs(mut body: &[u8]) -> Option<Vec<(u16, u16)>> {
    if !body.len().is_multiple_of(RUN_LEN) {
        return None;
    }
    let mut runs = Vec::with_capacity(body.len() / RUN_LEN);
    while body.has_remaining() {
        runs.push((body.get_u16_le(), body.get_u16_le()));
    }
    Some(runs)
}

fn runs_from_bitmap(bitmap: &[u8]) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    let page = u16::try_from(PAGE_OFFSETS).unwrap_or(u16::MAX);
    for offset in 0..page {
        let byte = bitmap.get(usize::from(offset / 8)).copied().unwrap_or(0);
        if byte & (1 << (offset % 8)) == 0 {
            continue;
        }
        match runs.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => runs.push((offset, offset + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ranges::RangeSet;
    use super::*;

    #[test]
    fn malformed_pages_are_refused() {
        for runs in [
            vec![(5, 5)],
            vec![(5, 4)],
            vec![(3, 8), (7, 9)],
            vec![(0, 4097)],
        ] {
            assert_eq!(PageBits::from_runs(runs.clone()), None, "{runs:?}");
        }
        assert_eq!(PageBits::decode(&[2, 0]), Err(RecordError::Version(2)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_survive_encoding_in_either_form(offsets in prop::collection::vec(0u64..4096, 0..900)) {
            let mut set = RangeSet::new();
            offsets.into_iter().for_each(|offset| { set.insert(offset); });
            let bits = set.page(0);
            let encoded = bits.encode();
            prop_assert_eq!(encoded.len(), bits.encoded_len());
            prop_assert!(encoded.len() <= 2 + BITMAP_LEN);
            prop_assert_eq!(PageBits::decode(&encoded), Ok(bits));
        }

        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), version in 0u8..3, form in 0u8..3) {
            let mut bytes = bytes;
            if let Some(first) = bytes.get_mut(0) { *first = version; }
            if let Some(second) = bytes.get_mut(1) { *second = form; }
            if let Ok(page) = PageBits::decode(&bytes) {
                prop_assert!(page.len() <= 4096);
            }
        }
    }
}
