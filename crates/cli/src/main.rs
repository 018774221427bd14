//! The command line: reads arguments and environment, calls the library, prints, exits.

mod args;
mod cmd;
mod env;
mod exit;
mod output;
mod ui;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::Failure;
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
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

fn run(cli: &Cli, ui: Ui) -> Result<(), Failure> {
    let cache = cli.output.cache.as_deref();
    match &cli.command {
        Some(Command::Plan(args)) => cmd::plan::run(args, ui, cache),
        Some(Command::Lint(args)) => cmd::lint::run(args, ui, cache),
        Some(Command::Inspect(args)) => cmd::inspect::run(args, ui, cache),
        Some(Command::Mirror(args)) => cmd::mirror::run(args, ui, cache),
        Some(Command::Fsck(args)) => cmd::care::fsck(args, ui),
        Some(Command::Gc(args)) => cmd::care::gc(args, ui),
        Some(Command::Completions { shell }) => cmd::help::completions(*shell, ui),
        Some(Command::Man) => cmd::help::man(ui),
        _ => cmd::build::run(&cli.build, ui, cache),
    }
}
