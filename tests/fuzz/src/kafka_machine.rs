//! The Kafka machine, with everything that may happen: answers that are wrong, late, cut or twice,
//! brokers that die, leaders and coordinators that move, logs that lose their end, what applications
//! ask.
//!
//! **Input:** the options; how it is run; then a tape of what happens. Zeros are a cluster that answers
//! as it should.
//!
//! The cluster, the application and the driver are those of `core/tests/kafka_machine`, which checks
//! what holds always: order and epochs, commits, that nothing spins or is silent.

#[path = "../../../core/tests/kafka_machine/answers.rs"]
mod answers;
#[path = "../../../core/tests/kafka_machine/chaos.rs"]
mod chaos;
#[path = "../../../core/tests/kafka_machine/fetching_model.rs"]
mod fetching_model;
#[path = "../../../core/tests/kafka_machine/model.rs"]
mod model;
#[path = "../../../core/tests/kafka_machine/modes.rs"]
mod modes;
#[path = "../../../core/tests/kafka_machine/spoil.rs"]
mod spoil;
#[path = "../../../core/tests/kafka_machine/world.rs"]
mod world;

/// No panic, whatever comes; each request is done, a close by its deadline; when all is well again it
/// goes on, or has said that it doesn't; the same again gives the same, and single bytes the same
/// deliveries.
pub fn kafka_machine(data: &[u8]) {
    let Some(([choice, how], tape)) = data.split_first_chunk() else { return };
    let choice = usize::from(*choice);
    let options = chaos::options(choice % 6, choice / 6 % 4, choice / 24 % 2 == 1);
    match how % 8 {
        6 => {
            let whole = chaos::run(&options, tape, false, true);
            let single = chaos::run(&options, tape, true, true);
            assert_eq!((whole.got, whole.lane), (single.got, single.lane));
        }
        7 => {
            let first = chaos::run(&options, tape, false, false);
            let again = chaos::run(&options, tape, false, false);
            assert!(first.transcript == again.transcript, "not the same again");
        }
        _ => drop(chaos::run(&options, tape, false, true)),
    }
}
