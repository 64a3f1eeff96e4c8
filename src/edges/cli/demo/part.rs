//! Part: what the demo starts, each in a process of its own. A part ends when its input does, so that none outlives
//! the demo, however that ended.

use std::{
    io::{self, BufRead as _, Read as _},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};

use super::super::{Call, Ended, exit::Exit, out};

/// An agent that works says so this often.
const STEP: Duration = Duration::from_millis(200);

/// With this an agent fails; any code but 0 would do.
pub(super) const FAILURE: u8 = 3;

/// A part of the demo
#[derive(Debug, clap::Args)]
pub(in crate::edges::cli) struct DemoPart {
    #[arg(value_enum)]
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// `run`, until the input ends
    Daemon,
    /// Works until the input ends, or as it is ordered there
    Agent,
}

/// What an agent is ordered to do, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Live on, and get nowhere.
    StandStill,
    GoOn,
    Fail,
}

impl Order {
    const ALL: [Self; 3] = [Self::StandStill, Self::GoOn, Self::Fail];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::StandStill => "stand still",
            Self::GoOn => "go on",
            Self::Fail => "fail",
        }
    }
}

impl Call<'_> {
    pub(in crate::edges::cli) fn demo_part(&self, part: &DemoPart) -> Ended {
        match part.role {
            Role::Daemon => {
                thread::spawn(stop_at_end_of_input);
                self.serve()
            }
            Role::Agent => Ended { code: work(&orders()), out: Vec::new(), errors: String::new() },
        }
    }
}

/// Ends the daemon in good order, as systemd would.
fn stop_at_end_of_input() {
    // An input that cannot be read has ended too.
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    // It is our own process: there it is.
    let _ = kill_process(getpid(), Signal::TERM);
}

/// What comes in, until the input ends.
fn orders() -> mpsc::Receiver<Order> {
    let (send, orders) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let order = Order::ALL.into_iter().find(|it| it.word() == line);
            if order.is_some_and(|it| send.send(it).is_err()) {
                return;
            }
        }
    });
    orders
}

/// Writes a line for each step that it gets ahead: `exec` counts its output as progress.
fn work(orders: &mpsc::Receiver<Order>) -> u8 {
    let (mut works, mut steps) = (true, 0_u64);
    loop {
        match orders.recv_timeout(STEP) {
            Ok(Order::StandStill) => works = false,
            Ok(Order::GoOn) => works = true,
            Ok(Order::Fail) => return FAILURE,
            Err(RecvTimeoutError::Timeout) if works => {
                steps += 1;
                if out::line(&format!("step {steps}")).is_err() {
                    return Exit::BadNews.code();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Exit::Well.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[Order], code: u8) {
        let (send, orders) = mpsc::channel();
        for order in given {
            send.send(*order).expect("it listens");
        }
        drop(send);
        assert_eq!(work(&orders), code, "{given:?}");
    }

    #[test]
    fn an_agent_ends_with_its_input_and_fails_when_ordered() {
        check(&[], 0);
        check(&[Order::StandStill, Order::GoOn], 0);
        check(&[Order::StandStill, Order::Fail, Order::GoOn], FAILURE);
    }
}
