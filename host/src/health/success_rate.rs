//! Endpoints that fail more of their requests than the others of their upstream do.
//!
//! Each endpoint is compared with the mean of the others, not with a fixed bound: if all fail alike (a missing table, a
//! service behind them), none is an outlier and nothing is gained by sending its share to the rest. Envoy's rule, mean
//! less 1.9 standard deviations, was rejected: with four endpoints or fewer, one that fails everything can never be
//! below it, because it moves both.

use std::time::Duration;

/// When an endpoint is an outlier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// By how many percentage points its success rate is below the mean of the others.
    pub margin: u8,
    /// How often this is checked, each time for the requests since the last check.
    pub window: Duration,
    /// Minimum requests in the window for an endpoint to take part in the comparison.
    pub min_requests: u64,
    /// Minimum endpoints with that many requests for a comparison. At least 2.
    pub min_endpoints: u32,
}

impl Default for SuccessRate {
    fn default() -> SuccessRate {
        SuccessRate { margin: 30, window: Duration::from_secs(10), min_requests: 100, min_endpoints: 3 }
    }
}

/// The counts of one endpoint in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
}

/// An endpoint that fails more than the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// Its position among the samples.
    pub endpoint: usize,
    /// Its success rate in percent.
    pub rate: f64,
    /// The mean success rate of the others.
    pub others: f64,
}

impl Sample {
    /// In percent.
    fn success_rate(self) -> f64 {
        let requests = self.requests.max(1) as f64;
        100.0 * (1.0 - self.failures.min(self.requests) as f64 / requests)
    }
}

impl SuccessRate {
    /// The outliers, the worst first.
    pub fn outliers(&self, samples: &[Sample]) -> Vec<Outlier> {
        let rates: Vec<(usize, f64)> = samples
            .iter()
            .enumerate()
            .filter(|(_, sample)| sample.requests >= self.min_requests.max(1))
            .map(|(endpoint, sample)| (endpoint, sample.success_rate()))
            .collect();
        if rates.len() < (self.min_endpoints as usize).max(2) {
            return Vec::new();
        }
        let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
        let others = |rate: f64| (sum - rate) / (rates.len() - 1) as f64;
        let mut outliers: Vec<Outlier> = rates
            .iter()
            .map(|(endpoint, rate)| Outlier { endpoint: *endpoint, rate: *rate, others: others(*rate) })
            .filter(|outlier| outlier.others - outlier.rate > f64::from(self.margin))
            .collect();
        outliers.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        outliers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_far_below_the_others() {
        let policy = SuccessRate::default();
        for (samples, expected) in [
            (&[][..], &[][..]),
            (&[(100, 0), (100, 0), (100, 0), (100, 100)], &[3]),
            // 30 points are not more than 30.
            (&[(100, 0), (100, 0), (1000, 300)], &[]),
            (&[(100, 0), (100, 0), (1000, 301)], &[2]),
            // All fail alike.
            (&[(100, 90), (100, 95), (100, 100)], &[]),
            // Too few requests, or too few endpoints with enough.
            (&[(100, 0), (100, 0), (99, 99)], &[]),
            (&[(100, 0), (100, 100)], &[]),
            // Two of four, the worse first.
            (&[(100, 70), (100, 0), (100, 100), (100, 0)], &[2, 0]),
        ] {
            let given: Vec<Sample> = samples
                .iter()
                .map(|(requests, failures)| Sample { requests: *requests, failures: *failures })
                .collect();
            let found: Vec<usize> = policy.outliers(&given).iter().map(|outlier| outlier.endpoint).collect();
            assert_eq!(found, expected, "{samples:?}");
        }
    }
}
