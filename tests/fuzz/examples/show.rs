//! What an input of the target `redis_machine` does, as a trace: `show FILE`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: show FILE")?;
    tidegate_fuzz::redis_machine_told(&std::fs::read(file)?, |line| print!("{line}"));
    Ok(())
}
