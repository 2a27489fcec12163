//! `Told`: a trouble that is looked at again and again is told once.

/// What was told last.
#[derive(Default)]
pub(crate) struct Told(String);

impl Told {
    /// Whether `trouble` is another one than was told last. Numbers do not make it another: a client says how often
    /// and for how long it has tried.
    pub(crate) fn is_news(&mut self, trouble: &str) -> bool {
        let counts = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        let gist: Vec<&str> = trouble.split_whitespace().filter(|word| !counts(word)).collect();
        let gist = gist.join(" ");
        if self.0 == gist {
            return false;
        }
        self.0 = gist;
        true
    }

    /// The trouble is over: where it comes back, it is news.
    pub(crate) fn over(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_until_it_is_over() {
        let mut told = Told::default();
        assert!(told.is_news("store: refused in 375.4ms, after 3 retries"));
        assert!(!told.is_news("store: refused in 1.2s, after 10 retries"));
        assert!(told.is_news("store: denied in 1.2s, after 10 retries"));
        told.over();
        assert!(told.is_news("store: denied in 1.2s, after 10 retries"));
    }
}
