//! The commands, one family a file. Each checks everything first and changes afterwards.

mod blocks;
mod commit;
mod deletes;
mod members;
mod shards;
mod tenants;
mod work;

use crate::command::CommandReply;
use crate::error::CommandRefused;

/// What a command answers.
pub(crate) type Applied = Result<CommandReply, CommandRefused>;

/// Refuses with `reason` and a formatted message.
macro_rules! refuse {
    ($reason:ident, $($message:tt)*) => {
        return Err($crate::error::CommandRefused::new(
            $crate::error::Reason::$reason,
            format!($($message)*),
        ))
    };
}
pub(crate) use refuse;

/// Refuses where `count` passes the limit `max`.
pub(crate) fn within(name: &'static str, count: usize, max: usize) -> Result<(), CommandRefused> {
    if count > max { Err(CommandRefused::limit(name, count, max)) } else { Ok(()) }
}
