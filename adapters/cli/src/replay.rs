//! `tidegate replay`.

use tidegate::{AnyMachine, Backend};
use tidegate_core::trace::{Replayed, Trace, replay};
use tidegate_sim::{History, timeline};

use crate::args;
use crate::fatal::Fatal;
use crate::say;

pub(crate) fn run(args: &args::Replay) -> Result<(), Fatal> {
    let named = |what: &dyn std::fmt::Display| Fatal::new(format_args!("{}: {what}", args.file.display()));
    let bytes = std::fs::read(&args.file).map_err(|error| named(&error))?;
    let trace = Trace::parse(&bytes).map_err(|error| named(&error))?;
    let backend = Backend::named(trace.backend).ok_or_else(|| {
        let all = Backend::ALL.map(Backend::name).join(" and ");
        named(&format_args!("it is of a {} consumer, and this build knows {all}", trace.backend))
    })?;
    let machine = AnyMachine::of(backend, trace.setup.clone()).map_err(|error| named(&error))?;
    let Replayed { inputs, outputs, cut, .. } = replay(&trace, machine).map_err(|error| named(&error))?;
    if cut {
        say::line("notice: the last line is incomplete and was left out: whoever recorded was stopped");
    }
    if let Some(html) = &args.html {
        let history = History::from_trace(&trace).map_err(|error| named(&error))?;
        let failed = |error| Fatal::new(format_args!("{}: {error}", html.display()));
        std::fs::write(html, timeline::html(&history)).map_err(failed)?;
        say::line(format_args!("timeline: {}", html.display()));
    }
    say::line(format_args!("{}: {inputs} inputs, {outputs} outputs, all as recorded", args.file.display()));
    Ok(())
}
