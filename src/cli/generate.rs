//! `smarthost completions` and `smarthost man`: made from the definition of the command line, so never out of date.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};

#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell to print completions for.
    shell: Shell,
}

pub fn completions(options: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "smarthost", &mut text);
    Ok(io::Write::write_all(&mut io::stdout(), &text)?)
}

/// One page: the program, then each command.
pub fn man() -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    let out = &mut io::stdout();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let page = clap_mangen::Man::new(sub.clone());
        io::Write::write_all(out, format!(".SH \"smarthost {}\"\n", sub.get_name()).as_bytes())?;
        page.render_description_section(out)?;
        page.render_options_section(out)?;
        if sub.has_subcommands() {
            page.render_subcommands_section(out)?;
        }
    }
    Ok(())
}
