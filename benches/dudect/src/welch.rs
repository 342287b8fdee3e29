//! Welch's t of two classes of measurements.

/// Of which class a guess was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    A,
    B,
}

impl Class {
    /// One for each bit.
    pub(crate) fn eight(bits: u8) -> impl Iterator<Item = Self> {
        (0..8).map(move |bit| if bits >> bit & 1 == 0 { Self::A } else { Self::B })
    }
}

/// What was measured, in nanoseconds.
#[derive(Default)]
pub(crate) struct Measured(Vec<(Class, f64)>);

#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Welford's way.
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    /// The variance of the mean.
    fn uncertainty(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

impl Measured {
    pub(crate) fn add(&mut self, class: Class, value: f64) {
        self.0.push((class, value));
    }

    /// Of the measurements below the 90th percentile: those above are interrupts and other programs.
    pub(crate) fn t(&self) -> f64 {
        let mut all: Vec<f64> = self.0.iter().map(|(_, value)| *value).collect();
        all.sort_by(f64::total_cmp);
        let bound = all[all.len() * 9 / 10];
        let (mut a, mut b) = (Moments::default(), Moments::default());
        for (class, value) in self.0.iter().filter(|(_, value)| *value <= bound) {
            match class {
                Class::A => a.add(*value),
                Class::B => b.add(*value),
            }
        }
        let uncertainty = a.uncertainty() + b.uncertainty();
        if uncertainty == 0.0 { 0.0 } else { (a.mean - b.mean) / uncertainty.sqrt() }
    }
}
