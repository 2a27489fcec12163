//! Good texts and messages, damaged at random: nothing panics, and what is still read is read faithfully.

mod corpus;
mod damage;
mod messages;
mod texts;
