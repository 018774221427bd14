//! `assemble completions`, `assemble man`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{Class, Context, Failure};
use crate::ui::Ui;

pub(crate) fn completions(shell: clap_complete::Shell, ui: Ui) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "assemble", &mut script);
    ui.data(&String::from_utf8_lossy(&script))
}

/// One page with all subcommands.
pub(crate) fn man(ui: Ui) -> Result<(), Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let written = clap_mangen::Man::new(command.clone()).render(&mut page);
    written.context(Class::Io, "writing the manual page")?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let man = clap_mangen::Man::new(sub.clone().name(format!("assemble {}", sub.get_name())));
        page.extend_from_slice(format!(".SH ASSEMBLE {}\n", sub.get_name().to_uppercase()).as_bytes());
        for part in [
            clap_mangen::Man::render_synopsis_section,
            clap_mangen::Man::render_description_section,
            clap_mangen::Man::render_options_section,
        ] {
            part(&man, &mut page).context(Class::Io, "writing the manual page")?;
        }
    }
    ui.data(&String::from_utf8_lossy(&page))
}
