//! Flags of other roles: each is refused with the names of those that take it, found in clap's own tree of commands.

use clap::{Command, CommandFactory as _};

use super::Cli;
use super::refused::long_names;

/// The message for the first of `args`, the program's name before them, that the subcommand which they ask for does not
/// take but another does.
pub(super) fn refuse_flags_of_others(args: &[String]) -> Result<(), String> {
    let mut root = Cli::command();
    root.build();
    let (mut asked, mut path) = (&root, root.get_name().to_string());
    for arg in args.iter().skip(1).take_while(|arg| *arg != "--") {
        if let Some(flag) = arg.strip_prefix("--") {
            let name = flag.split('=').next().unwrap_or(flag);
            if long_names(asked).any(|known| known == name) {
                continue;
            }
            let mut takers = Vec::new();
            find_takers(&root, root.get_name(), name, &mut takers);
            if !takers.is_empty() {
                let takers = takers.join(", ");
                return Err(format!("{path} does not take --{name}; it is a flag of: {takers}"));
            }
        } else if !arg.starts_with('-') && asked.has_subcommands() {
            // An unknown subcommand is clap's, which names what is spelled alike.
            let Some(below) = asked.find_subcommand(arg) else { return Ok(()) };
            (asked, path) = (below, format!("{path} {}", below.get_name()));
        }
    }
    Ok(())
}

/// The commands, from `command` at `path` downwards, that take the flag `name`.
fn find_takers(command: &Command, path: &str, name: &str, takers: &mut Vec<String>) {
    if long_names(command).any(|known| known == name) {
        takers.push(path.to_string());
    }
    // What clap adds itself, `help`, repeats the whole tree.
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        find_takers(below, &format!("{path} {}", below.get_name()), name, takers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &str) -> Result<(), String> {
        refuse_flags_of_others(&args.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_flag_of_other_roles_names_them() {
        for (args, message) in [
            (
                "pando agent --storage.tsdb.retention.time=15d",
                "pando agent does not take --storage.tsdb.retention.time; it is a flag of: pando all, pando controller",
            ),
            (
                "pando agent --config.file a.yml --query.timeout 1m",
                "pando agent does not take --query.timeout; it is a flag of: pando all, pando query-frontend",
            ),
            (
                "pando check config p.yml --tenant=a",
                "pando check config does not take --tenant; it is a flag of: pando query instant, pando query range",
            ),
            (
                "pando --config.file=p.yml",
                "pando does not take --config.file; it is a flag of: pando all, pando agent",
            ),
        ] {
            assert_eq!(check(args), Err(message.to_string()), "{args}");
        }
        let error =
            check("pando receiver --storage.path=d --objstore.config-file=f").expect_err("refused");
        for taker in ["pando all", "pando ingester", "pando compactor", "pando block inspect"] {
            assert!(error.contains(taker), "{error}");
        }
    }

    #[test]
    fn what_the_role_takes_and_what_nobody_does_is_left_to_clap() {
        for args in [
            "pando",
            "pando --help",
            "pando --version",
            "pando agent --help --config.file=x --log.level debug --storage.path=d",
            "pando all --query.timeout=1m --storage.tsdb.retention.time=15d",
            "pando admin limits a --max-series=1 --controller=c",
            // Typing errors, which clap answers with what is spelled alike.
            "pando agnet --query.timeout=1m",
            "pando agent --log.leve=debug",
            "pando block inspect -- --query.timeout",
        ] {
            assert_eq!(check(args), Ok(()), "{args}");
        }
    }
}
