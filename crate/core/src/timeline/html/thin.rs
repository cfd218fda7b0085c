//! Fewer points and marks of the same meaning: totals, extremes and ends stay exact.

use crate::timeline::Point;

/// Neighbouring points of a series, drawn as one span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    /// The time and value of the first.
    pub first: Point,
    /// The time and value of the last.
    pub last: Point,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// How many.
    pub points: u64,
}

impl Span {
    fn of(point: Point) -> Self {
        Self {
            first: point,
            last: point,
            min: point.value,
            max: point.value,
            points: 1,
        }
    }

    fn add(&mut self, point: Point) {
        self.last = point;
        self.min = self.min.min(point.value);
        self.max = self.max.max(point.value);
        self.points += 1;
    }

    fn join(&mut self, next: Self) {
        self.last = next.last;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.points += next.points;
    }
}

/// Points in the order of time as at most `budget` spans.
///
/// Neighbours of one value are one span first, which loses nothing of a line. If that is not
/// enough, spans are joined that begin in the same stretch of time, so that quiet times keep
/// their shape, but never too many, so that bursts keep theirs; what is longer than a stretch
/// stays alone.
pub(super) fn spans(points: &[Point], budget: usize) -> Vec<Span> {
    let ordered = points.is_sorted_by_key(|point| point.t_ns);
    let mut sorted;
    let points = if ordered {
        points
    } else {
        sorted = points.to_vec();
        sorted.sort_by_key(|point| point.t_ns);
        &sorted[..]
    };
    let finite = || points.iter().filter(|point| point.value.is_finite());
    if finite().count() <= budget {
        return finite().map(|&point| Span::of(point)).collect();
    }
    let mut runs: Vec<Span> = Vec::new();
    for &point in finite() {
        match runs.last_mut() {
            #[allow(clippy::float_cmp, reason = "the same value, to the last bit")]
            Some(run) if run.min == point.value => run.add(point),
            _ => runs.push(Span::of(point)),
        }
    }
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return Vec::new();
    };
    if runs.len() <= budget {
        return runs;
    }
    let quarter = (budget / 4).max(1);
    let each = runs.len().div_ceil(quarter);
    let bins = Bins::new(first.first.t_ns, last.last.t_ns, quarter);
    let long = |span: &Span| span.last.t_ns - span.first.t_ns >= bins.width;
    let mut spans: Vec<Span> = Vec::with_capacity(budget + 1);
    // Of the last span: its bin, and how many runs are in it.
    let (mut current, mut joined) = (usize::MAX, 0);
    for run in runs {
        let bin = bins.of(run.first.t_ns);
        match spans.last_mut() {
            Some(span) if bin == current && joined < each && !long(span) && !long(&run) => {
                span.join(run);
                joined += 1;
            }
            _ => {
                spans.push(run);
                joined = 1;
            }
        }
        current = bin;
    }
    spans
}

/// Time cut into equal parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bins {
    begin: u64,
    /// Nanoseconds of one; at least 1.
    pub width: u64,
    /// How many.
    pub count: usize,
}

impl Bins {
    /// At most `count` bins from `begin` to `end`, both included.
    pub(super) fn new(begin: u64, end: u64, count: usize) -> Self {
        let length = end.saturating_sub(begin);
        let count = count.max(1) as u64;
        // One more than needed for the last instant itself.
        let width = (length / count).saturating_add(1);
        Self {
            begin,
            width,
            count: usize::try_from(length / width).unwrap_or(0) + 1,
        }
    }

    /// The bin of an instant.
    pub(super) fn of(&self, t_ns: u64) -> usize {
        usize::try_from(t_ns.saturating_sub(self.begin) / self.width)
            .unwrap_or(usize::MAX)
            .min(self.count - 1)
    }

    /// When a bin begins.
    fn start(&self, bin: usize) -> u64 {
        self.begin
            .saturating_add((bin as u64).saturating_mul(self.width))
    }
}

/// How much of each bin intervals take, and how many begin in it.
#[derive(Debug)]
pub(super) struct Busy {
    bins: Bins,
    partial: Vec<u64>,
    /// Whole bins covered, as differences.
    whole: Vec<i64>,
    began: Vec<u64>,
}

impl Busy {
    pub(super) fn new(bins: Bins) -> Self {
        Self {
            bins,
            partial: vec![0; bins.count],
            whole: vec![0; bins.count + 1],
            began: vec![0; bins.count],
        }
    }

    pub(super) fn add(&mut self, begin: u64, end: u64) {
        let (first, last) = (self.bins.of(begin), self.bins.of(end));
        self.began[first] += 1;
        if first == last {
            add(&mut self.partial[first], end - begin);
            return;
        }
        add(
            &mut self.partial[first],
            self.bins.start(first + 1).saturating_sub(begin),
        );
        add(
            &mut self.partial[last],
            end.saturating_sub(self.bins.start(last)),
        );
        self.whole[first + 1] += 1;
        self.whole[last] -= 1;
    }

    /// Of each bin something is in: its index, how many began in it, nanoseconds taken.
    pub(super) fn rows(&self) -> Vec<(usize, u64, u64)> {
        let mut over = 0i64;
        let mut rows = Vec::new();
        for bin in 0..self.bins.count {
            over += self.whole[bin];
            let whole = u64::try_from(over).unwrap_or(0);
            let busy = self.partial[bin].saturating_add(whole.saturating_mul(self.bins.width));
            if busy > 0 || self.began[bin] > 0 {
                rows.push((bin, self.began[bin], busy));
            }
        }
        rows
    }
}

fn add(sum: &mut u64, value: u64) {
    *sum = sum.saturating_add(value);
}

/// A number that looks random, the same for the same index: whoever has the least ones makes a
/// sample spread over all.
pub(super) fn scatter(index: usize) -> u64 {
    // The constants of splitmix64.
    let mut value = (index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Shares `budget` among takers that want so much each: who wants little gets it whole, the
/// others get equal parts of what is left, never more than `most`.
pub(super) fn share(wants: &[usize], budget: usize, most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|&index| wants[index]);
    let mut shares = vec![0; wants.len()];
    let mut left = budget;
    for (done, &index) in order.iter().enumerate() {
        let part = left / (wants.len() - done);
        shares[index] = wants[index].min(part).min(most);
        left -= shares[index];
    }
    shares
}
