//! The command line: reads arguments and environment, calls the library, prints, exits.

mod args;
mod builders;
mod bundles;
mod chunking;
mod cmd;
mod credential_helper;
mod env;
mod exit;
mod forecast;
mod indexed;
mod judge;
mod kernels;
mod keys;
mod locks;
mod made;
mod memory;
mod normal;
mod output;
mod previous;
mod provenance;
mod registry;
mod signable;
mod signers;
mod trusted;
mod ui;
mod uncompressed;
mod wire;
mod works;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command};
use crate::exit::Failure;
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = parse().unwrap_or_else(|error| error.exit());
    let ui = Ui {
        json: cli.output.json,
        quiet: cli.output.quiet,
        verbose: cli.output.verbose,
        colour: env::colour(),
        watched: env::watched(),
    };
    match run(&cli, ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui.fail(&failure);
            ExitCode::from(failure.class.code())
        }
    }
}

/// The command line. How results are shown may stand before a subcommand as well as behind it; what a build takes may
/// not, as the subcommand would pass over it.
fn parse() -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    if let Some(name) = matches.subcommand_name() {
        let mut command = Cli::command();
        command.build();
        let own = command.get_arguments().filter(|argument| !argument.is_global_set());
        let given =
            |argument: &&clap::Arg| matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        if let Some(argument) = own.filter(|argument| argument.get_id() != "help").find(given) {
            let text = format!("the argument '{argument}' belongs to a build, or behind the subcommand '{name}'");
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        }
    }
    Cli::from_arg_matches(&matches)
}

fn run(cli: &Cli, ui: Ui) -> Result<(), Failure> {
    let cache = cli.output.cache.as_deref();
    match &cli.command {
        Some(Command::Plan(args)) => cmd::plan::run(args, ui, cache),
        Some(Command::Stage(args)) => cmd::stage::run(args, ui, cache),
        Some(Command::Lock(args)) => cmd::lock::run(args, ui, cache),
        Some(Command::Lint(args)) => cmd::lint::run(args, ui, cache),
        Some(Command::Inspect(args)) => cmd::inspect::run(args, ui, cache),
        Some(Command::Boot(args)) => cmd::boot::run(args, ui, cache),
        Some(Command::Mirror(args)) => cmd::mirror::run(args, ui, cache),
        Some(Command::Rechunk(args)) => cmd::rechunk::run(args, ui, cache),
        Some(Command::Delta(args)) => cmd::delta::run(args, ui, cache),
        Some(Command::Push(args)) => cmd::push::run(args, ui),
        Some(Command::Publish(args)) => cmd::publish::run(args, ui, cache),
        Some(Command::Sign(args)) => cmd::sign::sign_image(args, ui),
        Some(Command::Attest(args)) => cmd::sign::attest_image(args, ui),
        Some(Command::Policy(args)) => cmd::policy::run(args, ui),
        Some(Command::Verify(args)) => cmd::verify::run(args, ui),
        Some(Command::Fsck(args)) => cmd::care::fsck(args, ui),
        Some(Command::Gc(args)) => cmd::care::gc(args, ui),
        Some(Command::Cache(args)) => cmd::cache::run(args, ui, cache),
        Some(Command::Completions { shell }) => cmd::help::completions(*shell, ui),
        Some(Command::Man) => cmd::help::man(ui),
        _ => cmd::build::run(&cli.build, ui, cache),
    }
}
